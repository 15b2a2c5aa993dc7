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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labsupport import servers
from labsupport.errors import ProcessGone, TimedOut
from labsupport.linux.building import Step
from labsupport.linux.handmade import Handmade, Workshop
from labsupport.linux.procfs import status_fields

CHILDREN = 30
_PATIENCE_SECONDS = 30.0
_USED_INSIDE = 9  # when the first thing is tried, a container has only just begun to count
_END = "== end"
_NOTHING = "nothing was printed"


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


@dataclass(frozen=True)
class Targets:
    """What there is outside to break out to; `host` is a process there that stays."""

    token: str
    secret: Path
    outsider: int
    page: str
    segment: str
    shared: Path
    host: int
    host_name: str

    def env(self) -> dict[str, str]:
        """Tell the attempts where it is."""
        return {
            "TOKEN": self.token,
            "SECRET": str(self.secret),
            "OUTSIDER": str(self.outsider),
            "PAGE": self.page,
            "SHARED": str(self.shared),
            "CHILDREN": str(CHILDREN),
        }


@dataclass(frozen=True)
class Outcome:
    """What an attempt printed inside, its exit status, and what is outside meanwhile."""

    said: str
    status: int
    targets: Targets
    outside: Mapping[str, str] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """Its last line: an error message, as a rule."""
        return self.said.strip().splitlines()[-1].strip() if self.said.strip() else _NOTHING


Judge = Callable[[Outcome], tuple[bool, str]]


@dataclass(frozen=True)
class Attempt:
    """One attempt: `code` for the shell inside, `shown` how we write it, and who judges it."""

    name: str
    words: str
    code: str
    shown: str
    judge: Judge


def _files(o: Outcome) -> tuple[bool, str]:
    if o.targets.token in o.said:
        return False, f"it read a file of the host, {o.targets.secret.name}: “{o.last}”"
    return True, o.last


def _mounts(o: Outcome) -> tuple[bool, str]:
    if o.outside["mounted"]:
        return False, "the file system that it mounted is in the host's mount table"
    if o.status:
        return True, f"it could not mount: {o.last}"
    return True, "it mounted something, and the host's mount table does not have it"


def _processes(o: Outcome) -> tuple[bool, str]:
    if "No such process" in o.said:
        return True, o.last
    if o.status:
        return False, f"process {o.targets.outsider} outside is there for it: {o.last}"
    return False, f"it may send signals to process {o.targets.outsider} outside"


def _name(o: Outcome) -> tuple[bool, str]:
    name = o.said.strip()
    if name == o.targets.host_name:
        return False, f"it learns the host's name: {name}"
    return True, f"it calls itself {name}, and not {o.targets.host_name}"


def _memory(o: Outcome) -> tuple[bool, str]:
    if o.targets.segment in o.said.split():
        return False, f"it sees the host's shared memory, key {o.targets.segment}"
    return True, "the list of shared memory is empty" if o.said.count("\n") < 2 else o.last


def _network(o: Outcome) -> tuple[bool, str]:
    if o.targets.token in o.said:
        return False, f"a server on the host's loopback answered it: “{o.last}”"
    return True, o.last


def _users(o: Outcome) -> tuple[bool, str]:
    owner = o.outside["owner"]
    if owner == "0":
        return False, "a file that it made as root belongs to user 0 outside: root"
    return True, f"a file that it made as root belongs to user {owner} outside"


def _children(o: Outcome) -> tuple[bool, str]:
    made = sum(line.isdigit() for line in o.said.split())
    if made >= CHILDREN:
        return False, f"it started {made} processes, and nobody stopped it"
    return True, f"after {made} processes: {o.last}"


def _privileges(o: Outcome) -> tuple[bool, str]:
    if o.status == 0:
        return False, "it gave itself an address that is somebody else's, 192.0.2.66"
    return True, o.last


def _calls(o: Outcome) -> tuple[bool, str]:
    if o.status == 0:
        count = int(o.last.split()[-1], 16).bit_count()
        return False, f"in a user namespace that it made it has {count} capabilities again"
    return True, o.last


ATTEMPTS = (
    Attempt("pid", "other processes", 'kill -0 "$OUTSIDER"', "kill -0 PID", _processes),
    Attempt("mount", "mounts", 'busybox mount -t tmpfs "$TOKEN" "$HERE/mnt"',
            "mount -t tmpfs … /shared/mnt", _mounts),
    Attempt("root", "files", 'busybox cat "$SECRET"', "cat secret.txt", _files),
    Attempt("uts", "host name", "busybox hostname", "hostname", _name),
    Attempt("ipc", "shared memory", "busybox cat /proc/sysvipc/shm",
            "cat /proc/sysvipc/shm", _memory),
    Attempt("net", "network", 'busybox wget -q -O - "$PAGE"',
            "wget http://127.0.0.1/", _network),
    Attempt("user", "root outside", 'busybox touch "$HERE/by-root"',
            "touch /shared/by-root", _users),
    Attempt("capabilities", "privileges", "busybox ip address add 192.0.2.66/32 dev lo",
            "ip address add 192.0.2.66/32 dev lo", _privileges),
    Attempt("seccomp", "system calls", "busybox unshare -r busybox grep CapEff /proc/self/status",
            "unshare -r grep CapEff /proc/self/status", _calls),
    Attempt("cgroup", "many processes", 'busybox sh -c "$SWARM" "$HERE/gate"; : <> "$HERE/gate"',
            f"start {CHILDREN} processes", _children),
)  # fmt: skip
"""In the order of trying: `kill` first, while numbers inside are small and none is the outsider's;
the swarm last, for where it is stopped nothing else can be started."""

ORDER = ("mount", "root", "pid", "uts", "ipc", "net", "user", "cgroup", "capabilities", "seccomp")
# each child waits for somebody to open the gate for writing
_SWARM = "n=0; while [ $n -lt $CHILDREN ]; do : < $0 & n=$((n+1)); echo $n; done"


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
            env = {**targets.env(), "SWARM": _SWARM}
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
        gate = self.targets.shared / "gate"
        gate.unlink(missing_ok=True)
        os.mkfifo(gate, 0o666)
        gate.chmod(0o666)
        self.workshop.stage.run(["ip", "address", "flush", "dev", "lo", "to", "192.0.2.66/32"])


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
