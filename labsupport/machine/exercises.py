"""The exercises of notebook 12: judged by the machine's answers, at its ports and by SSH."""

import urllib.error
import urllib.request
from collections.abc import Callable

from labsupport.build.bases import APP_BASE_TAG, find_archive
from labsupport.course.exercises import Exercise, Verdict
from labsupport.errors import LabError
from labsupport.kernel.procfs import tries
from labsupport.machine.virtual import VirtualMachine, running

ANSWER_SECONDS = 60
STARTS_SECONDS = 20
LONG_SECONDS = 600  # simulated, on a machine that is busy with others
INSTALL = """\
command -v docker || {
    sudo apt-get update && sudo apt-get install --yes --no-install-recommends docker.io docker-cli
    sudo usermod --append --groups docker $USER
}
sudo systemctl start docker
"""


class _InAMachine(Exercise):
    """What the exercises share: `exercise.vm`, a machine in which Docker runs."""

    container: str

    def begin(self) -> None:
        machines = running()
        self.vm = machines[0] if machines else VirtualMachine.create()
        self.vm.start()
        self.vm.wait()
        done = self.vm.run(["sh", "-c", INSTALL], timeout=LONG_SECONDS)
        if not self.say(f"docker image ls --quiet {APP_BASE_TAG}"):
            if (archive := find_archive()) is None:
                raise LabError("the app's base image is not here", "", "./lab base")
            done = self.vm.run(["docker", "load"], stdin=archive, timeout=LONG_SECONDS)
        if done.returncode:
            raise LabError("Docker could not be prepared in the machine", done.stderr)

    def at_end(self, do: Callable[..., object], *given: object) -> None:
        """Have something done when the exercise ends, if its machine still runs."""
        self.ends.callback(lambda: self.vm.is_running and do(*given))

    def say(self, script: str) -> str:
        """Run a line in the machine's shell; return what it says, in one piece."""
        done = self.vm.run(["sh", "-c", script])
        return done.stdout.strip() or done.stderr.strip()

    def state(self) -> str:
        """Return the state of the exercise's container, or what the engine says instead."""
        return self.say(f"docker inspect --format '{{{{.State.Status}}}}' {self.container}")


class TwoDoors(_InAMachine):
    """A page must get out of a container, and then out of the machine."""

    name = "12.1"
    hints = (
        "Two doors are closed, one behind the other: `docker run -p OUTSIDE:INSIDE` opens the "
        "container's, to the machine; the other is the machine's own, to this notebook.",
        "`docker run --detach …`, below `%%shell in exercise.vm`, starts the container in the "
        "background; `exercise.vm.open_port(PORT)` opens the machine, and returns the port to "
        "ask on this side.",
    )

    def begin(self) -> None:
        super().begin()
        self.word = f"{self.random.choice(['sesame', 'thistle', 'ember'])}-{self.seed}"
        self.port = self.random.choice([8080, 8081, 8888])
        self.container = f"page-{self.seed}"
        self.at_end(self.say, f"docker rm --force {self.container}")
        self.at_end(self.vm.close_port, self.port)
        self.say(f"mkdir -p ~/page; echo {self.word} > ~/page/index.html")

    def task(self) -> str:
        return (
            f"The machine has a page, `/home/student/page/index.html`. Serve it from a "
            f"container called `{self.container}` (the image `{APP_BASE_TAG}` has Python: "
            "`python3 -m http.server 8000 --directory /page` serves a folder) at the machine's "
            f"port {self.port}, and open that port, so that this notebook can read it."
        )

    def look(self) -> Verdict:
        if (state := self.state()) != "running":
            return Verdict(False, f"the container {self.container}: {state}.")
        ports = self.say(f"docker port {self.container}")
        if f":{self.port}" not in ports:
            saw = f"publishes no port {self.port} (found: {ports or 'none at all'})."
            return Verdict(False, f"the container runs, but {saw}")
        if self.port not in self.vm.open_ports:
            return Verdict(False, f"the machine's port {self.port} is closed to the outside.")
        url = f"http://127.0.0.1:{self.vm.open_ports[self.port]}/"
        try:
            said = _ask(url)
        except OSError as error:
            return Verdict(False, f"both doors are open, but {url} does not answer: {error}.")
        if said != self.word:
            return Verdict(False, f"something answers at {url}, but not with the page: {said!r}.")
        return Verdict(True, f"{url} answered “{said}”, through {ports.splitlines()[0]}.")

    def answer(self) -> str:
        return f"""\
exercise.vm.run(["docker", "run", "--detach", "--name", "{self.container}",
    "--publish", "{self.port}:8000", "--volume", "/home/student/page:/page:ro",
    "{APP_BASE_TAG}", "python3", "-m", "http.server", "8000", "--directory", "/page"])
exercise.vm.open_port({self.port})"""


class TheNightAfter(_InAMachine):
    """A service must come back after the machine has been restarted."""

    name = "12.2"
    hints = (
        "Who starts what as a machine starts? systemd starts the services that are enabled, and "
        "the engine starts the containers whose restart policy says so. Ask: `sudo systemctl "
        "is-enabled docker`, `docker inspect NAME`.",
        "`sudo systemctl enable --now docker` in the machine, and for a container that runs "
        "`docker update --restart POLICY NAME` (the policies are in `docker run --help`).",
    )

    def begin(self) -> None:
        super().begin()
        self.container = self.random.choice(["translator", "glossary", "subtitles"])
        # its `sleep` is PID 1 and ignores SIGTERM, for which each shutdown would wait
        made = f"--name {self.container} --stop-signal KILL {APP_BASE_TAG} sleep infinity"
        self.at_end(self.say, f"docker rm --force {self.container}")
        self.say(f"docker rm --force {self.container}; docker create {made}; "
                 "sudo systemctl disable docker.service docker.socket")  # fmt: skip

    def task(self) -> str:
        return (
            f"Tonight the machine is restarted, and the container `{self.container}` must run "
            "afterwards, without anybody logging in. See to it. The check restarts the machine, "
            "which takes about a minute, and looks."
        )

    def look(self) -> Verdict:
        if "no such" in (state := self.state()).lower():
            return Verdict(False, f"{self.container} is not there: {state}")
        self.vm.restart()
        self.vm.wait()
        self.say(_SETTLED)
        engine = self.say("sudo systemctl is-active docker.service")
        if engine != "active":  # asked anything, its socket might start it
            return Verdict(False, f"after the restart docker.service is {engine}: "
                           "systemd has not started the engine.")  # fmt: skip
        if (state := self.state()) != "running":
            asked = "{{.HostConfig.RestartPolicy.Name}}"
            policy = self.say(f"docker inspect --format '{asked}' {self.container}")
            return Verdict(False, f"after the restart the engine runs, but {self.container} is "
                           f"{state}; its restart policy is `{policy}`.")  # fmt: skip
        up = self.say("cut -d. -f1 /proc/uptime")
        return Verdict(True, f"the machine has been up for {up} s, and {self.container} runs.")

    def answer(self) -> str:
        return (
            "%%shell in exercise.vm\n"
            "sudo systemctl enable --now docker\n"
            f"docker start {self.container}\n"
            f"docker update --restart always {self.container}"
        )


_SETTLED = (
    "for i in $(seq 300); do sudo systemctl list-jobs | grep -q '^No jobs' && break; sleep 1; done"
)
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the guest's server at our own loopback, which no proxy of the environment reaches."""


def _ask(url: str) -> str:
    """Return what a server says; one that is only starting is given time."""
    for _ in tries(STARTS_SECONDS, 0.2):
        try:
            with _DIRECTLY.open(url, timeout=ANSWER_SECONDS) as answer:
                return str(answer.read(1000).decode(errors="replace").strip())
        except OSError as error:
            last = error
    raise last
