"""The exercises of notebook 04, networks."""

from __future__ import annotations

from collections.abc import Sequence

from labsupport.course.exercises import Exercise, Verdict
from labsupport.errors import NoAnswer
from labsupport.linux.sandbox import Sandbox
from labsupport.servers import Server, web_server

PATIENCE_SECONDS = 4  # a right answer is not refused because the machine is busy
CLOSED_SECONDS = 1  # a port that answers does so sooner


class _Scene(Exercise):
    """An exercise whose sandboxes are closed when it stops."""

    boxes: Sequence[Sandbox] = ()

    def open_boxes(self, count: int) -> Sequence[Sandbox]:
        self.boxes = [Sandbox(new={"net"}).open() for _ in range(count)]
        return self.boxes

    def stop(self) -> None:
        """Close the sandboxes."""
        super().stop()
        for box in self.boxes:
            box.close()
        self.boxes = ()


class JoinTheNetwork(_Scene):
    """Plug a sandbox into a switch, with an address that fits."""

    name = "04.1"
    hints = (
        "A cable has two ends: one is a port of the bridge in exercise.switch, the other is eth0 "
        "of exercise.box. exercise.switch.net.links() shows the bridge's own address and prefix.",
        'exercise.switch.net.plug("br0", exercise.box, "10.?.0.?/24", port="mine") does all of it. '
        "The address must begin as the server's does.",
    )

    def begin(self) -> None:
        """Make a switch with a server on it, and a sandbox beside."""
        number = self.random.randrange(20, 250)
        self.server_address = f"10.{number}.0.{self.random.randrange(2, 100)}"
        self.wanted = f"10.{number}.0.{self.random.randrange(100, 250)}"
        self.switch, self.server, self.box = self.open_boxes(3)
        self.switch.net.add_bridge("br0", f"10.{number}.0.1/24")
        self.switch.net.plug("br0", self.server, f"{self.server_address}/24", port="to-server")
        self.page = f"page {self.random.randrange(1000, 9999)}"
        self.pages: Server = web_server(self.page, at=f"{self.server_address}:80")
        self.server.start(self.pages.argv)

    def task(self) -> str:
        """The task, with this variant's addresses."""
        return (
            f"A server listens at {self.server_address}, port 80, on the network of "
            f"exercise.switch. Give exercise.box the address {self.wanted} on that network, so "
            "that it reaches the server."
        )

    def look(self) -> Verdict:
        """See which addresses the sandbox has, and whether the server answers it."""
        links = self.box.net.links()
        given = [address for link in links for address in link.addresses]
        if len(links) == 1 or not any(link.kind == "veth" for link in links):
            return Verdict(False, "exercise.box has only its loopback: no cable leads to it.")
        if self.wanted not in [address.partition("/")[0] for address in given]:
            said = ", ".join(given) or "no address at all"
            return Verdict(False, f"exercise.box has {said}, not {self.wanted}.")
        try:
            page = self.box.net.ask(self.server_address, timeout=PATIENCE_SECONDS)
        except NoAnswer as error:
            return Verdict(False, f"exercise.box has {self.wanted}, but {error}.")
        if page != self.page:
            return Verdict(False, f"somebody else answers at {self.server_address}: {page!r}.")
        return Verdict(True, f"exercise.box is {self.wanted}, and the server says {page!r}.")

    def answer(self) -> str:
        """One way to do it."""
        return f'exercise.switch.net.plug("br0", exercise.box, "{self.wanted}/24", port="mine")'


FAULTS = {
    "off": 'exercise.server.net.up("eth0")\n'
    'exercise.server.net.add_route("default", via="10.0.2.254")',
    "no route": 'exercise.client.net.add_route("default", via="10.0.1.254")',
    "no way back": 'exercise.server.net.add_route("default", via="10.0.2.254")',
    "no forwarding": "exercise.router.net.forward()",
    "wrong address": 'exercise.client.net.remove_address("eth0", "10.0.3.1/24")\n'
    'exercise.client.net.set_up("eth0", "10.0.1.1/24", gateway="10.0.1.254")',
}


class FindTheFault(_Scene):
    """One thing is wrong on the way from a client over a router to a server."""

    name = "04.2"
    hints = (
        'NetworkMap({"client": exercise.client, "router": exercise.router, "server": '
        "exercise.server}).draw() shows all links, addresses and routes. Follow a packet from left "
        "to right, and its answer back.",
        "Ask five questions: is every link on? Does each address fit its cable? Has the client a "
        "default route, has the server one? Does the router forward "
        '(exercise.router.run(["sysctl", "net.ipv4.ip_forward"]))?',
    )

    def begin(self) -> None:
        """Wire client, router and server up, with one fault."""
        self.fault = self.random.choice(sorted(FAULTS))
        self.client, self.router, self.server = self.open_boxes(3)
        self.client.net.connect(self.router, "eth0", "left")
        self.server.net.connect(self.router, "eth0", "right")
        self.router.net.set_up("left", "10.0.1.254/24")
        self.router.net.set_up("right", "10.0.2.254/24")
        self.router.net.forward(self.fault != "no forwarding")
        here = "10.0.3.1/24" if self.fault == "wrong address" else "10.0.1.1/24"
        way_out = None if self.fault in ("wrong address", "no route") else "10.0.1.254"
        self.client.net.set_up("eth0", here, gateway=way_out)
        way_back = None if self.fault == "no way back" else "10.0.2.254"
        self.server.net.set_up("eth0", "10.0.2.2/24", gateway=way_back)
        if self.fault == "off":
            self.server.net.down("eth0")
        self.page = f"page {self.random.randrange(1000, 9999)}"
        self.pages: Server = web_server(self.page, at="10.0.2.2:80")
        self.server.start(self.pages.argv)

    def task(self) -> str:
        """The task; what is wrong is not told."""
        return (
            "exercise.client should reach the server at 10.0.2.2, port 80, over exercise.router, "
            "and does not: something is wrong on the way. Find it, and mend only that. All cables "
            "are there, and the addresses of router and server are right."
        )

    def look(self) -> Verdict:
        """Ask the server from the client, and see that the way still leads over the router."""
        ends = [link for link in self.server.net.links() if link.kind == "veth"]
        if [end.addresses for end in ends] != [("10.0.2.2/24",)]:
            return Verdict(False, "the server has other cables or addresses than at the start.")
        if len(self.client.net.links()) != len(self.server.net.links()):
            return Verdict(False, "the client has a cable more than at the start.")
        try:
            page = self.client.net.ask("10.0.2.2", timeout=PATIENCE_SECONDS)
        except NoAnswer as error:
            return Verdict(False, f"asked by exercise.client: {error}.")
        return Verdict(page == self.page, f"asked by exercise.client, the server says {page!r}.")

    def answer(self) -> str:
        """What mends this variant."""
        return FAULTS[self.fault]


class OnePort(_Scene):
    """Let one port through, and no other."""

    name = "04.3"
    hints = (
        "The rule belongs into exercise.server, and is asked at the hook `input`. Rules are asked "
        "in order; the first that accepts or drops decides.",
        "Take the packet filter of the lesson, and let exercise.server.run it with nft. "
        "`tcp dport 80 drop` drops one port; `tcp dport != 80 drop` drops all others.",
    )

    def begin(self) -> None:
        """Make a server that listens at three ports, and a client."""
        self.ports = sorted(self.random.sample(range(1000, 9999), 3))
        self.wanted = self.random.choice(self.ports)
        self.client, self.server = self.open_boxes(2)
        self.client.net.connect(self.server)
        self.client.net.set_up("eth0", "10.0.0.1/24")
        self.server.net.set_up("eth0", "10.0.0.2/24")
        self.pages = [web_server(f"page {port}", at=f"10.0.0.2:{port}") for port in self.ports]
        for each in self.pages:
            self.server.start(each.argv)
            self.client.net.ask("10.0.0.2", int(each.address[1]))

    def task(self) -> str:
        """The task, with this variant's ports."""
        return (
            f"exercise.server listens at the ports {', '.join(map(str, self.ports))} of 10.0.0.2. "
            f"Put a packet filter into it, so that exercise.client reaches port {self.wanted} and "
            "no other."
        )

    def look(self) -> Verdict:
        """Try all three ports from the client, and see that it was a filter that closed them."""
        answers = [port for port in self.ports if self._answers(port)]
        from labsupport.linux.net.firewall import rules

        if not rules(self.server):
            return Verdict(False, f"exercise.server has no rule; ports {answers} answer.")
        if answers != [self.wanted]:
            return Verdict(False, f"ports {answers} answer, and it should be {self.wanted} alone.")
        return Verdict(True, f"of {self.ports}, only {self.wanted} answers.")

    def _answers(self, port: int) -> bool:
        patience = PATIENCE_SECONDS if port == self.wanted else CLOSED_SECONDS
        try:
            return self.client.net.ask("10.0.0.2", port, timeout=patience) == f"page {port}"
        except NoAnswer:
            return False

    def answer(self) -> str:
        """One way to do it."""
        return (
            'filter = """\n'
            "table inet mine {\n"
            "    chain input {\n"
            "        type filter hook input priority 0;\n"
            f"        tcp dport != {self.wanted} drop\n"
            "    }\n"
            '}\n"""\n'
            'exercise.server.run(["nft", "-f", "-"], input=filter)'
        )


EXERCISES: dict[str, type[Exercise]] = {
    each.name: each for each in (JoinTheNetwork, FindTheFault, OnePort)
}
