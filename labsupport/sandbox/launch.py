"""The notebook's side of a sandbox: ask for its helper processes, and say why they were refused."""

import atexit
import contextlib
import errno
import functools
import io
import marshal
import os
import select
import signal
import socket
import subprocess
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any, Self

from labsupport import trace
from labsupport.errors import LabError, NamespaceRefused, ProgramNotFound, TimedOut
from labsupport.kernel import mounts, proc, refusals
from labsupport.kernel.procfs import kinds
from labsupport.ownership import marks
from labsupport.sandbox import messages
from labsupport.sandbox.process import Process

LAB_VM = "or run the notebook in the Lab VM (kernel “Lab VM”), where you are root"


def explain(error: Mapping[str, Any], new: Iterable[str]) -> tuple[str, str]:
    """Return (why, remedy) for a failed step, as a helper process reports it."""
    number, text = error["errno"], error["text"]
    if number == errno.EINVAL and error["step"].startswith("make "):
        return f"{text}: this kernel lacks one of {sorted(new)}", "see which with ./lab doctor"
    if number not in (errno.EPERM, errno.EACCES, errno.ENOSPC):
        return text, "see what this machine can do with ./lab doctor"
    made = ["mnt" if name == "mount" else name for name in new]
    step = f"the step “{error['step']}”"
    why, remedy = refusals.explain(step, number, refusals.gather(), made)
    return why, f"{remedy or 'see what this machine can do with ./lab doctor'}; {LAB_VM}"


# The commands that do what a sandbox did: unshare(1) and nsenter(1).

_PIVOT = (
    'mount --rbind "$0" "$0"; mount -t tmpfs tmpfs "$0/dev"; '
    "for d in null zero full random urandom tty; "
    'do : > "$0/dev/$d"; mount --bind "/dev/$d" "$0/dev/$d"; done; '
    'mount -t proc proc "$0/proc"; cd "$0"; pivot_root . .; umount -l .; exec "$@"'
)

_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"'


def in_cgroup(procs_paths: Sequence[str], argv: list[str]) -> list[str]:
    """Run `argv` in a cgroup, given by its `cgroup.procs` files."""
    return ["sh", "-ec", _JOIN, "sh", *procs_paths, "--", *argv] if procs_paths else argv


def unshare(
    new: Collection[str], argv: Sequence[str], rootfs: str | None, hostname: str | None,
    uid: int | None,
) -> list[str]:  # fmt: skip
    """Make the namespaces and run `argv` as the first program in them."""
    options = [kind.option for kind in kinds(new)]
    if "user" in new:
        options[options.index("--user")] = "--map-root-user"
    if "pid" in new:
        options += ["--fork", "--kill-child"]
        if "mount" in new and rootfs is None:
            options.append("--mount-proc")
    inside = list(argv) or ["sleep", "infinity"]
    if rootfs is not None:
        inside = ["sh", "-ec", _PIVOT, rootfs, *inside]
    if hostname is not None:
        inside = ["sh", "-ec", 'hostname "$0"; exec "$@"', hostname, *inside]
    who = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*who, "unshare", *options, *inside]


def nsenter(new: Collection[str], target: int, argv: Sequence[str]) -> list[str]:
    """Run `argv` in the namespaces of the process `target`."""
    options = [kind.option for kind in kinds(new)]
    if "user" in new:
        options.append("--preserve-credentials")
    return ["nsenter", f"--target={target}", *options, *argv]


def fresh_pid(new: Collection[str], target: int, argv: Sequence[str]) -> list[str]:
    """Run `argv` in the namespaces of `target`, but as PID 1 of a new PID namespace."""
    mount_proc = ["--mount-proc"] if "mount" in new else []
    inside = ["unshare", "--pid", "--fork", *mount_proc, *argv]
    return nsenter(set(new) - {"pid"}, target, inside)


# The notebook's side of the zygote: start it, ask it for holders and programs.

THAW_SECONDS, END_SECONDS = 1.0, 10.0  # until frozen programs are looked for; until we give up
_lock = threading.Lock()
_sandboxes: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_running: tuple[int, socket.socket, subprocess.Popen[bytes]] | None = None


def connect() -> socket.socket:
    """Return the socket of this process's zygote, which is started now if there is none."""
    global _running  # noqa: PLW0603 (one zygote for a process)
    with _lock:
        if _running is None or _running[0] != os.getpid() or _has_ended(_running[1]):
            marks.sweep()
            _running = (os.getpid(), *_start())
        return _running[1]


def _start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    try:
        owner = os.pidfd_open(os.getpid())
    except OSError as error:
        why = refusals.explain(refusals.WATCH_A_PROCESS, error.errno or 0, refusals.gather())
        raise NamespaceRefused("the sandbox was not made", *why) from error
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fds = (theirs.fileno(), owner)
    # the smaller it is, the faster it forks
    argv = marks.lean("labsupport.sandbox.holder", *map(str, fds))
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True, cwd="/",
        env=marks.environment(),
    )  # fmt: skip
    theirs.close()
    os.close(owner)
    atexit.register(_stop, os.getpid(), ours, process)
    return ours, process


@functools.cache
def may_make_namespaces() -> bool:
    """Whether this process had CAP_SYS_ADMIN when first asked, as its zygote then has, too."""
    # without it, all begins with a user namespace
    return proc.has_capability(proc.CAP_SYS_ADMIN)


def _stop(pid: int, channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    if pid == os.getpid():
        for sandbox in _sandboxes:  # those that nobody has closed
            if sandbox.fileno() != -1:
                sandbox.shutdown(socket.SHUT_WR)
        channel.close()
        try:
            process.wait(THAW_SECONDS)
        except subprocess.TimeoutExpired:
            for holder in proc.children(process.pid):
                thaw_below(holder)
            process.wait()


def _has_ended(zygote: socket.socket) -> bool:
    try:
        return not zygote.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def order_holder(order: dict[str, Any]) -> tuple[socket.socket, dict[str, Any]]:
    """Ask for a sandbox; return the socket of its holder, and what it answers."""
    zygote = connect()
    channel, answer = _order(zygote, order)
    if not answer and _has_ended(zygote):  # somebody has killed it
        channel.close()
        channel, answer = _order(connect(), order)
    return channel, answer


def _order(zygote: socket.socket, order: dict[str, Any]) -> tuple[socket.socket, dict[str, Any]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _sandboxes.add(ours)
    with theirs, contextlib.suppress(BrokenPipeError):
        messages.send(zygote, order, [theirs.fileno()])
    try:
        return ours, take(ours)[0]
    except BaseException:  # an interrupted cell, too
        _let_end(ours)
        raise


def _let_end(channel: socket.socket) -> None:
    """Wait until a holder that nobody wants has ended: it may still be making its root."""
    with channel, contextlib.suppress(ConnectionResetError):
        channel.shutdown(socket.SHUT_WR)
        while _is_ready(channel, END_SECONDS):
            data, fds = messages.receive(channel)
            _await_exit(fds)
            if not data:
                break


_neighbourhood: int | None = None  # a descriptor, which keeps it


def found_neighbourhood(holder_pid: int) -> None:
    """Keep the user namespace of the first sandbox of an ordinary user's that is only a network."""
    global _neighbourhood  # noqa: PLW0603 (one for this process)
    if _neighbourhood is None:
        _neighbourhood = os.open(f"/proc/{holder_pid}/ns/user", os.O_RDONLY)


def neighbourhood() -> str | None:
    """Say where to find that user namespace; None if there is none yet."""
    return None if _neighbourhood is None else f"/proc/{os.getpid()}/fd/{_neighbourhood}"


class HeldInterrupts:
    """`with HeldInterrupts() as interrupts:` keeps SIGINT for later, the first one at least.

    A request whose answer nobody took would give each later request the wrong one.
    """

    def __enter__(self) -> Self:
        self._count = 0
        self._handler = signal.getsignal(signal.SIGINT)
        self._may = threading.current_thread() is threading.main_thread()
        if self._may and callable(self._handler):
            signal.signal(signal.SIGINT, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        if self._may and callable(self._handler):
            signal.signal(signal.SIGINT, self._handler)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1 and callable(self._handler):  # the helper hangs: let the user go on
            self._handler(number, frame)

    def deliver(self, undo: Callable[[], object]) -> None:
        """Undo what an interrupted caller would never hear of, and interrupt them."""
        if self._count:
            undo()
            signal.raise_signal(signal.SIGINT)


def ask(
    channel: socket.socket, request: object, fds: Sequence[int] = ()
) -> tuple[dict[str, Any], list[int]]:
    """Send a holder a request and take its answer; an empty answer: nobody is there."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        messages.send(channel, request, list(fds))
    try:
        return take(channel)
    except BaseException:
        channel.shutdown(socket.SHUT_RDWR)  # no later answer could be told from this one
        raise


def take(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait for an answer and its descriptors; an empty answer: nobody is there."""
    try:
        data, fds = messages.receive(channel)
    except ConnectionResetError:
        return {}, []
    return (marshal.loads(data) if data else {}), fds  # noqa: S302


def give_socket(channel: socket.socket, family: int, kind: int, protocol: int) -> socket.socket:
    """Have a holder make a socket, of the network namespace that it is in."""
    with HeldInterrupts() as interrupts:
        answer, fds = ask(channel, (int(family), int(kind), protocol))
        if not answer:
            raise LabError("there is no socket", "the sandbox's helper process has ended")
        if "error" in answer:
            raise OSError(answer["error"]["errno"], answer["error"]["text"])
        made = socket.socket(family, kind, protocol, fileno=fds[0])
    interrupts.deliver(made.close)
    return made


def await_end(channel: socket.socket, holder: int) -> None:
    """Wait until a holder has ended its programs, and its namespaces with itself.

    Raises `TimedOut`: programs do not end.
    """
    with channel:
        channel.shutdown(socket.SHUT_WR)
        if not _is_ready(channel, THAW_SECONDS):
            thaw_below(holder)
            if not _is_ready(channel, END_SECONDS):
                found = [f"PID {pid}, state {proc.stat(pid)[0]}" for pid in proc.children(holder)]
                why = f"SIGKILL was sent {THAW_SECONDS + END_SECONDS:g} s ago to {'; '.join(found)}"
                remedy = "see why: ps -eo pid,stat,wchan,args (D: a disk, or a frozen group)"
                raise TimedOut("the sandbox's programs have not ended", why, remedy)
        _await_exit(take(channel)[1])


def _await_exit(pidfds: Sequence[int]) -> None:
    """Wait until a holder has gone, by its pidfd, which it sends unless it was killed."""
    for fd in pidfds:
        exit_of = select.poll()
        exit_of.register(fd, select.POLLIN)
        exit_of.poll()
        os.close(fd)


def _is_ready(channel: socket.socket, seconds: float) -> bool:
    return bool(select.select([channel], [], [], seconds)[0])


def thaw_below(pid: int) -> None:
    """Take a process's children, and theirs, out of groups that may be frozen: they are to end.

    In version 1 of cgroups what is frozen does not end, not even by SIGKILL. Our own group's
    processes run, for we do.
    """
    freezer = mounts.find("freezer")
    if freezer is None or freezer.read_only:
        return
    for child in proc.children(pid):
        thaw_below(child)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (freezer.own / "cgroup.procs").write_text(str(child))


class Launch:
    """A program that was forked and is about to execute; its report tells whether it did."""

    def __init__(self, process: Process, first: bool, calls: list[str], report: int) -> None:
        self.process, self.first, self.calls = process, first, calls
        self._report = report

    def undo(self) -> None:
        """End the program, as if it had never been started."""
        os.close(self._report)
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def settle(self) -> tuple[str, ...]:
        """Wait until it executes; return the system calls that were made.

        Raises `ProgramNotFound` or `NamespaceRefused`: it does not execute, and why.
        """
        told: dict[str, Any] = {}
        with open(self._report, "rb") as pipe:  # it ends when exec closes it
            stream = io.BytesIO(pipe.read())
        while stream.tell() < len(stream.getbuffer()):
            told |= marshal.load(stream)  # noqa: S302
        if "error" in told:
            self.process.wait()
            raise _not_started(self.process.argv, told["error"])
        return (*self.calls, *told.get("calls", ()))


def spawn(
    channel: socket.socket, request: dict[str, Any], stdin: int | None, lasting: bool
) -> Launch:
    """Ask the holder for a program."""
    with HeldInterrupts() as interrupts:
        null = os.open("/dev/null", os.O_RDONLY)
        # files in memory: they never block the program, and can be read while it runs
        files = [os.memfd_create(name) for name in ("stdout", "stderr")]
        status, status_write = os.pipe()
        report, report_write = os.pipe()
        fds = (null if stdin is None else stdin, *files, status_write, report_write)
        try:
            answer, received = ask(channel, request, fds)
        finally:
            _close(null, status_write, report_write)
        if "pid" not in answer:
            _close(*files, status, report)
            raise _not_started(request["argv"], answer.get("error"))
        process = Process(request["argv"], answer["pid"], received[0], status, files, lasting)
        launch = Launch(process, answer["first"], answer["calls"], report)
    interrupts.deliver(launch.undo)
    return launch


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


_ENDED = (errno.ESRCH, errno.ENOMEM)  # setns(2), and clone(2) in a namespace without its PID 1


def _not_started(
    argv: Sequence[str], error: Mapping[str, Any] | None
) -> ProgramNotFound | NamespaceRefused | LabError:
    line = trace.command(argv)
    if error is None:
        return LabError(f"{line} was not started", "the sandbox's helper process has ended")
    if error["step"] == "execute":
        remedy = "check its name, and that it is there inside the sandbox"
        return ProgramNotFound(f"{line} could not be executed", error["text"], remedy)
    if error["step"] == "enter the working folder":
        remedy = "let cwd= name a folder that is there inside the sandbox"
        return LabError(f"{line} was not started in {error['path']}", error["text"], remedy)
    if error["step"] == "enter the PID namespace" and error["errno"] in _ENDED:
        why = "the sandbox's PID 1 has just ended, and its PID namespace with it"
        return LabError(f"{line} was not started", why, "make a new Sandbox")
    why, remedy = explain(error, ("pid",))
    return NamespaceRefused(f"{line} was not started ({error['step']})", why, remedy)
