"""Ten attempts to break out of a container, made inside it; each ends in a light, on or off.

Inside runs one busybox shell, which tries one thing after the other and prints what the kernel
answered. Meanwhile the notebook looks from outside for what came through. No light knows which
steps the container has taken.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from labsupport import servers
from labsupport.errors import ProcessGone, TimedOut
from labsupport.linux.procfs import status_fields
from labsupport.linux.workshop.attempts_out import ATTEMPTS, ORDER, SWARM, Outcome, Targets
from labsupport.linux.workshop.building import Step
from labsupport.linux.workshop.built import Handmade
from labsupport.linux.workshop.handmade import Workshop

_PATIENCE_SECONDS = 30.0
_USED_INSIDE = 9  # when the first thing is tried, a container has only just begun to count
_END = "== end"


@dataclass(frozen=True)
class Light:
    """What became of one attempt to break out.

    `held`: the container kept it in. `attempt` is the command that was tried inside, `evidence` a
    sentence made of what the kernel answered.
    """

    name: str
    words: str
    held: bool
    attempt: str
    evidence: str

    def __repr__(self) -> str:
        return f"<{self.name}: {'held' if self.held else 'BROKEN OUT'}: {self.evidence}>"


@dataclass(frozen=True)
class Lights:
    """The lights of one container, in the order of the steps that switch them on."""

    lights: tuple[Light, ...]
    steps: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Light]:
        return iter(self.lights)

    def __getitem__(self, name: str) -> Light:
        return next(light for light in self.lights if light.name == name)

    @property
    def held(self) -> set[str]:
        """The names of the lights that are on."""
        return {light.name for light in self.lights if light.held}


def _program() -> list[str]:
    lines = ['HERE="$SHARED"; [ -d "$HERE" ] || HERE=/shared']
    lines += [f'echo "== {a.name}"; ( {a.code} ) 2>&1; echo "== $?"' for a in ATTEMPTS]
    lines += [f'echo "{_END}"; read go_on', 'busybox umount "$HERE/mnt" 2> /dev/null; true']
    return ["busybox", "sh", "-c", "\n".join(lines)]


class Host:
    """What plays the host on a workshop's stage, and the trying itself."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.token = f"outside-{secrets.token_hex(4)}"
        self._server: servers.Server | None = None
        self._targets: Targets | None = None
        self._open_gate = -1

    @property
    def targets(self) -> Targets:
        """Make, once, what can be broken out to."""
        if self._targets is None:
            self._targets = self._make()
        return self._targets

    def _make(self) -> Targets:
        stage = self.workshop.stage
        first = stage.pid
        secret = self.workshop.folder / "secret.txt"
        secret.write_text(f"{self.token}: only the host knows this\n")
        self._server = servers.web_server(f"{self.token}: a page for the host alone\n")
        stage.start(self._server.argv)
        stage.run(["ipcmk", "--shmem", "4096"])
        segments = stage.run(["cat", "/proc/sysvipc/shm"]).stdout.splitlines()
        page = f"http://127.0.0.1:{self._server.address[1]}/"
        self.workshop.fetch(page)  # a server that nobody reaches would be no proof of anything
        return Targets(
            token=self.token,
            secret=secret,
            outsider=self._outsider(),
            page=page,
            segment=segments[-1].split()[0],
            shared=self.workshop.root / "shared",
            host=first,
            host_name=stage.run(["hostname"]).stdout.strip(),
        )

    def _outsider(self) -> int:
        """Start a process outside; return its number there, one that nobody has inside."""
        while True:
            process = self.workshop.stage.start(["sleep", "86400"])
            number = int(status_fields(process.pid)["NSpid"].split()[-1])
            if number > _USED_INSIDE:
                return number
            process.signal(signal.SIGKILL)
            process.wait()

    def try_all(self, steps: Iterable[Step]) -> Lights:
        """Build a container of these steps, try every way out of it, and return its lights.

        Raises:
            StepFailed, SourceMissing: there is no such container; see `Workshop.start`.
            TimedOut: the attempts do not come to an end.

        """
        steps = list(steps)
        targets = self.targets
        self._clear()
        read, write = os.pipe()
        try:
            env = {**targets.env(), "SWARM": SWARM}
            (targets.shared / "by-root").unlink(missing_ok=True)
            made = self.workshop.start(steps, _program(), env=env, stdin=read)
            os.close(read)
            read = -1
            _wait(made)
            outside = self._look_outside()
        finally:
            for fd in (read, write):
                if fd >= 0:
                    os.close(fd)
        made.process.wait(_PATIENCE_SECONDS)
        # children that were not at the gate yet find it open, and end as well
        self._open_gate = os.open(targets.shared / "gate", os.O_RDWR | os.O_CLOEXEC)
        return Lights(_judged(made.process.output, targets, outside), made.script.steps)

    def _look_outside(self) -> dict[str, str]:
        """Read what the attempts changed out here, while the container still lives."""
        table = Path(f"/proc/{self.targets.host}/mountinfo").read_text()
        file = self.targets.shared / "by-root"
        return {
            "mounted": "yes" if self.token in table else "",
            "owner": str(file.stat().st_uid) if file.exists() else "nobody",
        }

    def _clear(self) -> None:
        """Make the gate anew, and take back what an earlier attempt has left."""
        self.close_gate()
        gate = self.targets.shared / "gate"
        gate.unlink(missing_ok=True)
        os.mkfifo(gate, 0o666)
        gate.chmod(0o666)
        self.workshop.stage.run(["ip", "address", "flush", "dev", "lo", "to", "192.0.2.66/32"])

    def close_gate(self) -> None:
        """Let go of the gate, before the next children are to wait at it."""
        if self._open_gate >= 0:
            os.close(self._open_gate)
            self._open_gate = -1


def _wait(made: Handmade) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while _END not in made.process.output:
        if made.process.returncode is not None and _END not in made.process.output:
            raise ProcessGone(
                "the container ended before all was tried",
                (made.process.output + made.process.errors)[-300:].strip(),
            )
        if time.monotonic() > until:
            made.close()
            raise TimedOut("the attempts have not come to an end", made.process.output[-200:])
        time.sleep(0.005)


def _judged(output: str, targets: Targets, outside: Mapping[str, str]) -> tuple[Light, ...]:
    lights = {}
    for each in ATTEMPTS:
        said = output.partition(f"== {each.name}\n")[2]
        words, _, rest = said.partition("== ")
        words = words.replace(f"{targets.secret.parent}/", "…/")  # which says nothing
        outcome = Outcome(words, int(rest.split()[0]), targets, outside)
        held, evidence = each.judge(outcome)
        lights[each.name] = Light(each.name, each.words, held, each.shown, evidence)
    return tuple(lights[name] for name in ORDER)
