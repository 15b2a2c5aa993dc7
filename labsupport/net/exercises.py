"""The exercises of notebook 04, networks."""

from collections.abc import Mapping

from labsupport.course.exercises import Exercise, Verdict
from labsupport.errors import NoAnswer
from labsupport.kernel.netlink import Link
from labsupport.net.servers import Serving, serve
from labsupport.sandbox.net import listening, rules
from labsupport.sandbox.sandbox import Sandbox

PATIENCE_SECONDS = 4  # a right answer is not refused because the machine is busy
CLOSED_SECONDS = 1  # a port that answers does so sooner


def seen(box: Sandbox) -> frozenset[str]:
    """What the kernel says of a network: links, routes, rules, ports, forwarding; in words."""
    links = box.net.links()
    found = {_words(link) for link in links}
    found |= {f"route {route}" for route in box.net.routes() if route.via}
    found |= {f"rule {rule}" for rule in rules(box)}
    found |= {f"a server at {place}" for place in listening(box)}
    if any(link.forwards for link in links if link.kind == "veth"):
        found.add("forwarding")
    return frozenset(found)


def _words(link: Link) -> str:
    port = f"port of {link.master}" if link.master else ""
    parts = ("link", link.name, *link.addresses, port, "" if link.up else "off")
    return " ".join(filter(None, parts))


class _Scene(Exercise):
    """An exercise in several sandboxes, which are closed when it stops.

    What `remember` has seen of them is what they should be again.
    """

    boxes: Mapping[str, Sandbox] = {}

    def open_boxes(self, *names: str) -> None:
        self._serving: dict[str, Serving] = {}
        self.boxes = {name: self.ends.enter_context(Sandbox(new={"net"})) for name in names}
        vars(self).update(self.boxes)

    def serve(self, box: Sandbox, page: str, at: str) -> None:
        """Start a web server that lasts as long as the scene."""
        self._serving[at] = serve(box, page, at)

    def remember(self) -> None:
        self._as_it_was = {name: seen(box) for name, box in self.boxes.items()}

    def differs(self, name: str, but: str = "\n") -> str:
        """Say what is different from what was remembered, apart from what begins with `but`."""
        then, now = self._as_it_was[name], seen(self.boxes[name])
        for found, word in ((now - then, "now has"), (then - now, "no longer has")):
            if words := sorted(each for each in found if not each.startswith(but)):
                return f"exercise.{name} {word}: {', '.join(words)}"
        return ""

    def page_at(self, address: str) -> tuple[str, str]:
        """What the client gets: the page, or why there is none."""
        client = self.boxes.get("client") or self.boxes["box"]
        try:
            return client.net.ask(address, timeout=PATIENCE_SECONDS), ""
        except NoAnswer as error:
            return "", str(error)


class JoinTheNetwork(_Scene):
    """Plug a sandbox into a switch, with an address that fits."""

    name = "04.1"
    hints = (
        "A cable has two ends: one is a port of the bridge br0 in exercise.switch, the other is "
        "eth0 of exercise.box. `ip address show br0` in exercise.switch tells how long the "
        "network's prefix is.",
        'exercise.switch.net.plug("br0", exercise.box, "10.?.0.?/24", port="mine") does all of it; '
        "so do the lines of the lesson, with exercise.box in orange's place.",
    )

    def begin(self) -> None:
        number = self.random.randrange(20, 250)
        self.server_address = f"10.{number}.0.{self.random.randrange(2, 100)}"
        self.wanted = f"10.{number}.0.{self.random.randrange(100, 250)}"
        self.open_boxes("switch", "server", "box")
        switch, server = self.boxes["switch"], self.boxes["server"]
        switch.net.add_bridge("br0", f"10.{number}.0.1/24")
        switch.net.plug("br0", server, f"{self.server_address}/24", port="to-server")
        self._page = f"page {self.random.randrange(1000, 9999)}"
        self.serve(server, self._page, f"{self.server_address}:80")
        self.remember()

    def task(self) -> str:
        return (
            f"A server listens at {self.server_address}, port 80, on the network of the bridge br0 "
            f"in exercise.switch. Give exercise.box the address {self.wanted} on that network, so "
            "that it reaches the server. Leave exercise.server alone."
        )

    def look(self) -> Verdict:
        ends = [link for link in self.boxes["box"].net.links() if link.kind == "veth"]
        if not ends:
            return Verdict(False, "exercise.box has only its loopback: no cable leads to it.")
        given = [address for end in ends for address in end.addresses]
        if [address.partition("/")[0] for address in given] != [self.wanted]:
            said = ", ".join(given) or "no address at all"
            return Verdict(False, f"exercise.box has {said}, not {self.wanted} alone.")
        if other := self.differs("server") or self._wrong_plug(ends):
            return Verdict(False, f"{other}.")
        page, why = self.page_at(self.server_address)
        if page != self._page:
            return Verdict(False, f"exercise.box has {self.wanted}, but {why or page}.")
        return Verdict(True, f"exercise.box is {self.wanted}, and the server says {page!r}.")

    def _wrong_plug(self, ends: list[Link]) -> str:
        """Say where the cable leads, if not to a port of the bridge."""
        switch = self.boxes["switch"].net
        ports = {link.index for link in switch.links() if link.master == "br0"}
        if len(ends) != 1 or ends[0].peer_index not in ports:
            return "the other end of exercise.box's cable is not a port of br0 in exercise.switch"
        new = [link.name for link in switch.links() if link.index == ends[0].peer_index]
        return self.differs("switch", but=f"link {new[0]} ")

    def answer(self) -> str:
        return f'exercise.switch.net.plug("br0", exercise.box, "{self.wanted}/24", port="mine")'


FAULTS = {
    "off": ("router", "ip link set right up"),
    "no route": ("client", "ip route add 10.0.2.0/24 via 10.0.1.254"),
    "no way back": ("server", "ip route add 10.0.1.0/24 via 10.0.2.254"),
    "no forwarding": ("router", "sysctl -w net.ipv4.ip_forward=1"),
    "wrong address": (
        "router",
        "ip address delete 10.0.3.254/24 dev left; ip address add 10.0.1.254/24 dev left",
    ),
}
"""Where each fault is, and the line that mends it."""
BREAKS = {
    "off": "ip link set right down",
    "no route": "ip route delete 10.0.2.0/24",
    "no way back": "ip route delete 10.0.1.0/24",
    "no forwarding": "sysctl -w net.ipv4.ip_forward=0",
    "wrong address": "ip address add 10.0.3.254/24 dev left; ip address del 10.0.1.254/24 dev left",
}


class FindTheFault(_Scene):
    """One thing is wrong on the way from a client through a router to a server."""

    name = "04.2"
    hints = (
        'NetworkMap({"client": exercise.client, "router": exercise.router, "server": '
        "exercise.server}).draw() shows all links, addresses and routes. Follow a packet from left "
        "to right, and its answer back.",
        "Ask five questions: is every link with a cable on? Does each address fit its cable? "
        "Does the client know a way to 10.0.2.2, and the server one back to 10.0.1.1? Does the "
        "router forward (`sysctl net.ipv4.ip_forward`)? One answer is no; leave the rest alone.",
    )

    def begin(self) -> None:
        self._fault = self.random.choice(sorted(FAULTS))
        self.open_boxes("client", "router", "server")
        client, router, server = self.boxes.values()
        for box, link, number in ((client, "left", 1), (server, "right", 2)):
            box.net.connect(router, "eth0", link)
            router.net.set_up(link, f"10.0.{number}.254/24")
            box.net.set_up("eth0", f"10.0.{number}.{number}/24")
        router.net.forward()
        client.run("ip route add 10.0.2.0/24 via 10.0.1.254")
        server.run("ip route add 10.0.1.0/24 via 10.0.2.254")
        self._page = f"page {self.random.randrange(1000, 9999)}"
        self.serve(server, self._page, "10.0.2.2:80")
        self.remember()
        self.boxes[FAULTS[self._fault][0]].run(BREAKS[self._fault])

    def task(self) -> str:
        return (
            "exercise.client should reach the server at 10.0.2.2, port 80, through "
            "exercise.router, and does not: one thing is wrong on the way. Find it, and mend only "
            "that. All cables are there, the client is 10.0.1.1, the server 10.0.2.2, and the "
            "router should be 10.0.1.254 and 10.0.2.254."
        )

    def look(self) -> Verdict:
        page, why = self.page_at("10.0.2.2")
        if page != self._page:
            return Verdict(False, f"asked by exercise.client: {why or page}.")
        for name in self.boxes:
            # a missing route may be mended by a default route
            routes = [route for route in self.boxes[name].net.routes() if route.via]
            mended = self._fault in ("no route", "no way back") and FAULTS[self._fault][0] == name
            but = "route " if mended and len(routes) == 1 else "\n"
            if other := self.differs(name, but=but):
                return Verdict(False, f"the page comes, but more than the fault changed: {other}.")
        return Verdict(True, f"asked by exercise.client, the server says {page!r}.")

    def answer(self) -> str:
        name, line = FAULTS[self._fault]
        return f'exercise.{name}.run("{line}")'


class OnePort(_Scene):
    """Let one port through, and no other."""

    name = "04.3"
    hints = (
        "The rule belongs in exercise.server, and is asked at the hook `input`. Rules are asked "
        "in order; the first that accepts or drops decides.",
        "Take the lines of the lesson, in exercise.server. `tcp dport 80 drop` drops one port; "
        "`tcp dport != 80 drop` drops all others.",
    )

    def begin(self) -> None:
        self.ports = sorted(self.random.sample(range(1000, 9999), 3))
        self.wanted = self.random.choice(self.ports)
        self.open_boxes("client", "server")
        client, server = self.boxes.values()
        client.net.connect(server)
        client.net.set_up("eth0", "10.0.0.1/24")
        server.net.set_up("eth0", "10.0.0.2/24")
        for port in self.ports:
            self.serve(server, f"page {port}", f"10.0.0.2:{port}")
        self.remember()

    def task(self) -> str:
        return (
            f"Servers in exercise.server listen at the ports {', '.join(map(str, self.ports))} of "
            "10.0.0.2. Put a packet filter into it, so that exercise.client reaches port "
            f"{self.wanted} and no other; the servers go on listening. This one takes commands "
            "only: type them below `%%shell in exercise.server`, or in Terminal(exercise.server)."
        )

    def look(self) -> Verdict:
        if other := self.differs("client") or self.differs("server", but="rule "):
            return Verdict(False, f"{other}.")
        answers = [port for port in self.ports if self._answers(port)]
        if not rules(self.boxes["server"]):
            return Verdict(False, f"exercise.server has no rule; ports {answers} answer.")
        if answers != [self.wanted]:
            return Verdict(False, f"ports {answers} answer, and it should be {self.wanted} alone.")
        return Verdict(True, f"of {self.ports}, only {self.wanted} answers.")

    def _answers(self, port: int) -> bool:
        patience = PATIENCE_SECONDS if port == self.wanted else CLOSED_SECONDS
        return self.boxes["client"].net.attempt("10.0.0.2", port, patience) == f"page {port}"

    def answer(self) -> str:
        return (
            'exercise.server.run("""\n'
            "nft add table inet mine\n"
            "nft add chain inet mine input '{ type filter hook input priority 0; }'\n"
            f"nft add rule inet mine input tcp dport != {self.wanted} drop\n"
            '""")'
        )
