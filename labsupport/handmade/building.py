"""The base of a container script of notebook 08; the script imports it, in its own process.

The script defines steps, functions that each take one `Container`, and calls `start(steps)`. That
splits off a child, which takes the steps one after the other and turns into the program. The parent
stays outside, with all its privileges, and does what a container cannot do itself: plugging in its
network cable, or saying which users there are. In Docker, containerd and runc do that.

Nothing is imported once the steps begin: Python's own files may be out of reach by then.
"""

from __future__ import annotations

import json
import marshal
import os
import signal
import sys
import warnings  # noqa: F401 (os.execvpe would import it, too late)
from collections.abc import Callable, Iterable
from types import SimpleNamespace, TracebackType
from typing import Any, NoReturn

from labsupport.kernel import syscalls as linux
from labsupport.sandbox.messages import socket

FAILED = 125  # the exit status of docker-run(1), too, for "there was no container"
MESSAGE_BYTES = 1 << 16

Step = Callable[["Container"], None]


class Container(SimpleNamespace):
    """What the steps need to know; the fields are those of the script's `config.json`.

    `root` is the folder that becomes `/`, `name` the host name, `command` the program, `env` its
    environment, `pid` this process's number outside, `inside` its address, `bridge` the link
    outside that its cable goes to, `users` a line of user_namespaces(7), `cgroup` the files to join
    by, `kept` a bit mask of capabilities, `filter` a seccomp program.
    """

    def outside(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have the parent call `function`; it stayed outside, and may do more than we may."""
        self.line.send(marshal.dumps((function.__name__, arguments)))
        if refusal := marshal.loads(self.line.recv(MESSAGE_BYTES)):  # noqa: S302
            raise OSError(*refusal)


def write(path: str, text: str) -> None:
    """Write to a file of the kernel's, in one go."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def run(words: str, *more: object) -> None:
    """Run a program to its end: `run("ip link set eth0 up")`. The words are split at blanks."""
    argv = [*words.split(), *map(str, more)]
    read, errors = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, errors, 2)]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    os.close(errors)
    with open(read, errors="replace") as pipe:
        said = pipe.read().strip()
    if os.waitpid(pid, 0)[1]:
        raise OSError(0, f"{' '.join(argv)}: {said}")


def wait_and_exit(pid: int) -> NoReturn:
    """Wait for a child's end, and end as it did."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def become_root() -> None:
    """Be user 0 of the user namespace that we are in, and in no group of the world outside."""
    with open("/proc/self/setgroups") as file:
        allowed = file.read().strip() == "allow"
    if allowed:  # an ordinary user may not leave groups: a group may be what keeps them out
        os.setgroups([])
    os.setgid(0)
    os.setuid(0)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # a new identity has forgotten it


def start(steps: Iterable[Step]) -> NoReturn:
    """Take the steps and become the program of the settings, the file named on the command line."""
    with open(sys.argv[1]) as file:
        settings = json.load(file)
    settings["filter"] = bytes.fromhex(settings["filter"])
    journal = _Journal(settings.pop("journal", ""))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    us = os.getpid()
    if pid := os.fork():
        theirs.close()
        _serve(ours, pid)
    ours.close()
    linux.end_with(us)
    _become(Container(**settings, pid=os.getpid(), line=theirs), list(steps), journal)


def _serve(line: socket.socket, child: int) -> NoReturn:
    """The parent: call what the child asks for, until it executes or ends; then wait for it."""
    functions = {**globals(), **vars(sys.modules["__main__"])}
    while message := line.recv(MESSAGE_BYTES):
        name, arguments = marshal.loads(message)  # noqa: S302
        try:
            functions[name](*arguments)
            refusal: tuple[int, str] | None = None
        except OSError as error:
            refusal = error.errno or 0, str(error.strerror)
        line.send(marshal.dumps(refusal))
    wait_and_exit(child)


def _become(c: Container, steps: list[Step], journal: _Journal) -> NoReturn:
    """The child: take the steps, and execute."""
    for step in steps:
        try:
            step(c)
        except Exception as error:  # a step is the student's, and may do anything
            journal.failed(step.__name__, error)
        journal.add(step=step.__name__, **_standing())
    journal.add(execute=c.command)
    try:
        os.execvpe(c.command[0], c.command, c.env)  # noqa: S606
    except OSError as error:
        journal.failed("execute", error)


class _Journal:
    """Tells the notebook what was done, in a file that was opened before the steps."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "a", buffering=1) if path else None  # noqa: SIM115
        self.add(begun=sys.version.split()[0], filtered=_filtered())

    def add(self, **facts: Any) -> None:
        """Write a line with the facts."""
        if self.file:
            self.file.write(json.dumps(facts) + "\n")

    def failed(self, step: str, error: Exception) -> NoReturn:
        """Say which step failed and where, here and to a reader at a terminal; then end."""
        text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        line = _line_of(error.__traceback__)
        path = str(getattr(error, "filename", "") or "")
        number = getattr(error, "errno", None) or 0
        self.add(failed=step, errno=number, text=text, path=path, line=line, **_standing())
        os.write(2, f"step {step} failed: {text} {path}\n".encode())
        os._exit(FAILED)


def _standing() -> dict[str, Any]:
    """What we may do now: it explains a later refusal."""
    user = os.stat("/proc/self/ns/user").st_ino if os.path.exists("/proc/self/ns/user") else 0
    return {
        "capabilities": linux.capget()[0], "user_namespace": user, "pid": os.getpid(),
        "filtered": _filtered(),
    }  # fmt: skip


def _filtered() -> bool:
    return bool(linux.prctl(linux.PR_GET_SECCOMP))


def _line_of(trace: TracebackType | None) -> int:
    """The line of the script where it happened; 0: not in the script."""
    found = 0
    while trace:
        if trace.tb_frame.f_globals.get("__name__") == "__main__":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


# The nine steps from a process to a container, as notebook 08 has its reader write them; a test
# holds them equal to its cells, but for the reader's line. The exercises take them from here, and
# so does a step whose line is still missing.


def own_mounts(c: Container) -> None:
    """A copy of the mount table, whose changes do not spread."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)


def own_root(c: Container) -> None:
    """A folder as root file system, with a fresh /proc; the old root is let go."""
    linux.mount(c.root, c.root, None, linux.MS_BIND | linux.MS_REC)
    linux.mount("proc", c.root + "/proc", "proc")
    linux.mount("/dev/null", c.root + "/dev/null", None, linux.MS_BIND)
    os.chdir(c.root)
    linux.pivot_root(".", ".")
    linux.umount2(".", linux.MNT_DETACH)


def own_pids(c: Container) -> None:
    """A child as process 1, while its parent waits outside."""
    linux.unshare(linux.CLONE_NEWPID)
    if child := os.fork():
        wait_and_exit(child)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)


def own_name(c: Container) -> None:
    """A host name and shared memory, both its own."""
    linux.unshare(linux.CLONE_NEWUTS | linux.CLONE_NEWIPC)
    linux.sethostname(c.name)


def own_network(c: Container) -> None:
    """A cable to the host's bridge, and an address."""
    linux.unshare(linux.CLONE_NEWNET)
    c.outside(plug_cable, c.pid, c.bridge)
    run("ip address add dev eth0", c.inside)
    run("ip link set eth0 up")


def plug_cable(pid: int, bridge: str) -> None:
    """Outside: a cable with one end in the container, the other in a bridge."""
    run(f"ip link add veth{pid} type veth peer name eth0 netns {pid}")
    run(f"ip link set veth{pid} master {bridge} up")


def own_users(c: Container) -> None:
    """Root inside is nobody outside, and has no rights there."""
    linux.unshare(linux.CLONE_NEWUSER)
    c.outside(write, f"/proc/{c.pid}/uid_map", c.users)
    c.outside(write, f"/proc/{c.pid}/gid_map", c.users)
    become_root()


def own_cgroup(c: Container) -> None:
    """A control group with limits, and no other in sight."""
    for file in c.cgroup:
        write(file, "0")
    linux.unshare(linux.CLONE_NEWCGROUP)


def few_capabilities(c: Container) -> None:
    """A few of root's privileges, and the others given up for good."""
    linux.drop_from_bounding_set(c.kept)
    linux.capset(c.kept, c.kept, 0)


def own_filter(c: Container) -> None:
    """Some system calls refused, and never again more privileges."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.seccomp_set_filter(c.filter)


def no_more_users(c: Container) -> None:
    """A tenth: below our user namespace there will be no other, however it is asked for."""
    limit = "/proc/sys/user/max_user_namespaces"
    write(limit, "0")


STEPS: tuple[Step, ...] = (
    own_cgroup,
    own_users,
    own_network,
    own_name,
    own_pids,
    own_mounts,
    own_root,
    few_capabilities,
    own_filter,
)
"""The nine, in an order that the kernel accepts."""
