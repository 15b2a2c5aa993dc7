"""The ten attempts themselves: what is tried inside a container, and what counts as kept in.

Each is a line for the shell inside, and a judge, who gets what it printed and what was seen outside
meanwhile. A judge knows nothing of how the container was built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CHILDREN = 30
_NOTHING = "nothing was printed"


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
SWARM = "n=0; while [ $n -lt $CHILDREN ]; do : < $0 & n=$((n+1)); echo $n; done"
