"""The exercises of notebook 12: judged by the machine's answers, at its ports and by SSH."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

from labsupport.course.exercises import Exercise, Verdict
from labsupport.vm.machine.virtual import VirtualMachine, running

ANSWER_SECONDS = 60
STARTS_SECONDS = 20


class _InAMachine(Exercise):
    """What the exercises share: `exercise.vm`, a machine in which Docker runs."""

    def begin(self) -> None:
        """Take this notebook's machine, or start one; have its engine started."""
        machines = running()
        self.vm = machines[0] if machines else VirtualMachine.create()
        self.vm.start()
        self.vm.wait()
        self.vm.ssh(["sudo", "systemctl", "start", "docker"])

    def say(self, script: str) -> str:
        """Run a line in the machine's shell; return what it says, in one piece."""
        done = self.vm.ssh(["sh", "-c", script])
        return done.stdout.strip() or done.stderr.strip()


class TwoDoors(_InAMachine):
    """A page must get out of a container, and then out of the machine."""

    name = "12.1"
    hints = (
        "Two doors are closed, one after the other: `docker run -p OUTSIDE:INSIDE` opens the "
        "container's into the machine, and the machine's firewall opens the machine's.",
        "`exercise.vm.ssh(['docker', 'run', '-d', …])` starts the container in the background; "
        "`exercise.vm.open_port(PORT)` opens the machine and returns the port to ask on this side.",
    )

    def begin(self) -> None:
        """Write a page into the machine; choose a word for it, and a port."""
        super().begin()
        self.word = f"{self.random.choice(['sesame', 'thistle', 'ember'])}-{self.seed}"
        self.port = self.random.choice([8080, 8081, 8888])
        self.name_of_container = f"page-{self.seed}"
        self.say(f"docker rm -f {self.name_of_container} 2>/dev/null; mkdir -p ~/page; "
                 f"echo {self.word} > ~/page/index.html")  # fmt: skip

    def task(self) -> str:
        """The task, with the page's place."""
        return (
            f"In the machine lies a page, `/home/student/page/index.html`. Serve it from a "
            f"container called `{self.name_of_container}` (the app's image has Python: "
            "`python3 -m http.server 8000 --directory /page` serves a folder) at the machine's "
            f"port {self.port}, and open that port, so that this notebook can read it."
        )

    def look(self) -> Verdict:
        """Ask for the page from here; if it does not come, find the door that is closed."""
        ports = self.say(f"docker port {self.name_of_container}")
        state = self.say(f"docker inspect -f '{{{{.State.Status}}}}' {self.name_of_container}")
        if state != "running":
            return Verdict(False, f"the container {self.name_of_container}: {state}.")
        if f":{self.port}" not in ports:
            found = ports or "none at all"
            return Verdict(
                False, f"the container runs, but publishes no port {self.port} (found: {found})."
            )
        if self.port not in self.vm.open_ports:
            return Verdict(False, f"the machine's port {self.port} is closed to the outside.")
        url = f"http://127.0.0.1:{self.vm.open_ports[self.port]}/"
        try:
            said = _ask(url)
        except (urllib.error.URLError, OSError) as error:
            return Verdict(False, f"both doors are open, but {url} does not answer: {error}.")
        if said != self.word:
            return Verdict(False, f"something answers at {url}, but not with the page: {said!r}.")
        return Verdict(True, f"{url} answered “{said}”, through {ports.splitlines()[0]}.")

    def answer(self) -> str:
        """One way to do it."""
        return (
            'exercise.vm.ssh(["docker", "run", "--detach", '
            f'"--name", "{self.name_of_container}", "--publish", "{self.port}:8000",\n'
            '    "--volume", "/home/student/page:/page:ro", "--entrypoint", "python3", '
            'exercise.vm.base.app_base,\n    "-m", "http.server", "8000", "--directory", "/page"])'
            f"\nexercise.vm.open_port({self.port})"
        )


class TheNightAfter(_InAMachine):
    """A service must come back after the machine has been restarted."""

    name = "12.2"
    hints = (
        "Who starts what at a restart? systemd starts services that are enabled, and the engine "
        "starts containers whose restart policy says so. Ask: `sudo systemctl is-enabled docker`, "
        "`docker inspect NAME`.",
        "`sudo systemctl enable docker` in the machine, and `docker update --restart POLICY NAME` "
        "(the policies are in `docker run --help`).",
    )

    def begin(self) -> None:
        """Make a container that nobody would start again."""
        super().begin()
        self.service = self.random.choice(["translator", "glossary", "subtitles"])
        made = f"docker create --name {self.service} {self.vm.base.app_base} sleep infinity"
        enabled = "sudo systemctl is-enabled --quiet docker && sudo systemctl disable docker"
        self.say(f"docker rm -f {self.service} 2>/dev/null; {enabled}; {made}")

    def task(self) -> str:
        """The task, with the container's name."""
        return (
            f"Tonight the machine is restarted, and the container `{self.service}` must run again "
            "afterwards, without anybody logging in. See to it (nothing has to be restarted now)."
        )

    def look(self) -> Verdict:
        """Ask systemd and the engine what they would do."""
        engine = self.say("sudo systemctl is-enabled docker.service").splitlines()[-1]
        asked = "docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' " + self.service
        policy = self.say(asked)
        if policy not in ("no", "always", "unless-stopped", "on-failure"):
            return Verdict(False, f"the engine knows no container {self.service}: {policy}.")
        if policy not in ("always", "unless-stopped"):
            return Verdict(False, f"the restart policy of {self.service} is `{policy}`.")
        if engine != "enabled":
            return Verdict(False, f"the policy is `{policy}`, but docker.service is {engine}: "
                           "at a restart nobody starts the engine.")  # fmt: skip
        state = self.say(f"docker inspect -f '{{{{.State.Status}}}}' {self.service}")
        if state != "running":
            return Verdict(False, f"{self.service} is {state}: the engine brings back only what "
                           "ran when it ended. Start it once.")  # fmt: skip
        return Verdict(True, f"docker.service is {engine}, and the policy is `{policy}`.")

    def answer(self) -> str:
        """One way to do it."""
        return (
            f'exercise.vm.ssh(["docker", "update", "--restart", "always", "{self.service}"])\n'
            f'exercise.vm.ssh(["docker", "start", "{self.service}"])\n'
            'exercise.vm.ssh(["sudo", "systemctl", "enable", "docker"])'
        )


def _ask(url: str) -> str:
    """Return what a server says; one that is only starting is given time."""
    until = time.monotonic() + STARTS_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                return str(answer.read(1000).decode(errors="replace").strip())
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


EXERCISES: dict[str, type[Exercise]] = {each.name: each for each in (TwoDoors, TheNightAfter)}
