"""The small processes that sandboxes are forked from; runs outside the notebook's process.

Forking a Jupyter process of 300 MB costs ten times as much as forking a small one, and a process
with threads must not run Python between fork and exec. So the notebook starts one small, single-
threaded helper early, the *zygote*, and asks it for sandboxes:

    notebook ── zygote ── holder (one a sandbox: is in its namespaces, keeps them open)
                             └── programs (the first one is PID 1 of a new PID namespace)

Requests are marshalled dictionaries on a Unix socket, with descriptors beside them. Zygote and
holder end when that socket or the notebook's process does, whichever is noticed first; programs get
SIGKILL with their holder. Nothing can outlive the notebook, `kill -9` included.
"""

from __future__ import annotations

import fcntl
import gc
import marshal
import os
import select
import struct
import sys

from labsupport.linux import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable
    from typing import Any, NoReturn
else:
    # The C modules below those: what `signal` and `socket` add (enums, selectors) would be a third
    # of the memory of this process, and every fork copies it.
    import _signal as signal
    import _socket as socket

MESSAGE_BYTES = 1 << 18  # more than a Unix socket takes at once
FDS = struct.Struct("i")  # a descriptor in a message's ancillary data
ANCILLARY_BYTES = socket.CMSG_SPACE(5 * FDS.size)
MOST_DEATHS = 20  # then something is wrong that another fork will not mend
FLOCK = struct.Struct("hhqqi")  # struct flock
STATUS = struct.Struct("i")  # what the status pipe carries: a return code as subprocess has it
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class Failure(Exception):
    """A step that the kernel refused; sent to the notebook as plain data."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(step)
        self.facts = {
            "step": step,
            "errno": error.errno or 0,
            "text": str(error.strerror),
            "path": str(error.filename or ""),
        }

    @classmethod
    def again(cls, facts: dict[str, Any]) -> Failure:
        """Make a Failure of what another process told of one."""
        return cls(facts["step"], OSError(facts["errno"], facts["text"], facts["path"]))


class Stage:
    """`with Stage("map ids"):` turns an OSError into a Failure that says where it happened."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, OSError):
            raise Failure(self.step, error) from error


class Seats:
    """Where holders wait for requests: a byte each of a file in memory, locked by who sits there.

    The kernel frees the seats of the dead; fcntl_locking(2).
    """

    COUNT = 2

    def __init__(self) -> None:
        self.file = os.memfd_create("seats")

    def take(self) -> bool:
        """Sit down, if a seat is free."""
        for seat in range(self.COUNT):
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, seat)
            except BlockingIOError:
                continue
            return True
        return False

    def leave(self) -> None:
        """Free the seat."""
        fcntl.lockf(self.file, fcntl.LOCK_UN)

    def all_free(self) -> bool:
        """Tell whether nobody (else) waits."""
        ask = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = FLOCK.unpack(fcntl.fcntl(self.file, fcntl.F_GETLK, ask))
        return bool(found[0] == fcntl.F_UNLCK)


def zygote(requests: socket.socket, owner: int, need_user: bool) -> None:
    """Keep a spare holder ready, until the notebook (pidfd `owner`) is gone.

    A spare takes the next request from the socket that all share, so that no fork stands between
    a request and its sandbox; its byte in the pipe asks for the next spare, and so does its death.
    """
    sc.set_name("lab-zygote")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # holders need no waiting for
    sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)  # nor does what a killed holder leaves
    gc.disable()  # the collector would only unshare pages
    gc.freeze()
    seats = Seats()
    taken_read, taken_write = os.pipe2(os.O_CLOEXEC)
    waiting = select.poll()
    waiting.register(taken_read, select.POLLIN)
    waiting.register(owner, select.POLLIN)
    waiting.register(requests, 0)  # its end only
    home = os.pidfd_open(os.getpid())
    deaths = 0  # of holders, since a request was served
    while deaths < MOST_DEATHS:
        if seats.all_free():
            pid, pidfd = sc.clone3()
            if pid == 0:
                sc.set_name("lab-holder")
                os.close(taken_read)
                holder = Holder(owner, home, need_user)
                _live(_be_holder, holder, requests, seats, taken_write)
            waiting.register(pidfd, select.POLLIN)
        ready = [fd for fd, _ in waiting.poll()]
        if owner in ready or requests.fileno() in ready:
            break
        for fd in ready:
            if fd == taken_read:
                os.read(taken_read, 64)
                deaths = 0
            else:  # a holder has ended
                deaths += 1
                waiting.unregister(fd)
                os.close(fd)
    try:  # noqa: SIM105 (contextlib would be loaded for this)
        os.waitpid(-1, 0)  # with SIGCHLD ignored, it returns when the last holder has ended
    except ChildProcessError:
        pass


def _be_holder(holder: Holder, requests: socket.socket, seats: Seats, taken: int) -> None:
    """Serve one request after the other: wait, be the holder of a sandbox, come home."""
    sc.take_notes()
    while seats.take():
        holder.prepare()
        request = _wait_for_request(requests, holder.owner)
        if request is None:
            holder.drop_ahead()
            return
        seats.leave()
        data, channel = request
        holder.serve(marshal.loads(data), channel, seats, taken)  # noqa: S302
        channel.close()  # this tells the notebook that every program has ended
        if not holder.go_home():
            return


def _wait_for_request(requests: socket.socket, owner: int) -> tuple[bytes, socket.socket] | None:
    with select.epoll() as waiting:
        waiting.register(requests, select.EPOLLIN | select.EPOLLEXCLUSIVE)  # wake one spare only
        waiting.register(owner, select.EPOLLIN)
        while True:
            if owner in [fd for fd, _ in waiting.poll()]:
                return None
            try:
                data, fds = receive(requests, socket.MSG_DONTWAIT)
            except BlockingIOError:  # another spare was faster
                continue
            return (data, socket.socket(fileno=fds[0])) if data else None


def receive(channel: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """Take one message and its descriptors; an empty message is the end.

    Not by `socket.recv_fds`: it forgets its flags, and descriptors would leak into programs.
    """
    data, ancillary, _, _ = channel.recvmsg(
        MESSAGE_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC | flags
    )
    return data, descriptors(ancillary)


def send(channel: socket.socket, message: Any, fds: list[int]) -> None:
    """Send one message and descriptors with it."""
    raw = b"".join(map(FDS.pack, fds))
    channel.sendmsg([marshal.dumps(message)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, raw)])


def descriptors(ancillary: list[Any]) -> list[int]:
    """Return the descriptors that came with a message."""
    return [fd for _, _, raw in ancillary for (fd,) in FDS.iter_unpack(raw)]


def _live(life: Callable[..., None], *facts: Any) -> NoReturn:
    """Run a forked child's whole life; it never returns into its parent's code."""
    try:
        life(*facts)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(70)
    os._exit(0)


class Ahead:
    """A child that waits, in a PID namespace of its own, to become the first program.

    Its program comes through `channel`, but it looks there only once `gate` was written to: woken
    by the message itself, it would run before the holder has answered the notebook.
    """

    def __init__(self, pid: int, pidfd: int, channel: socket.socket, gate: int) -> None:
        self.pid, self.pidfd, self.channel, self.gate = pid, pidfd, channel, gate
        self.calls = sc.take_notes()


class Holder:
    """A process in a sandbox's namespaces (all but the PID namespace) that starts its programs.

    It prepares what it can before it knows the request: as root a mount namespace, which nearly
    every request wants and which it can leave again; as an ordinary user the user namespace,
    without which the kernel allows no other; and a child in a new PID namespace, ready to become
    the first program.
    """

    def __init__(self, owner: int, home: int, need_user: bool) -> None:
        self.owner, self.home, self.need_user = owner, home, need_user
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that the wake-up fd works
        self.wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        self.self_fd = os.pidfd_open(os.getpid())

    def prepare(self) -> None:
        """Do what any request will need; a refusal is told to whoever asks first."""
        self.status_pipes: dict[int, int] = {}
        self.init: tuple[int, int] | None = None  # PID and pidfd of the sandbox's PID 1
        self.ahead: Ahead | None = None
        self.gate: int | None = None  # the next program begins when this pipe is written to
        self.proc_mounted = False
        self.flags = self.late = 0
        self.early_failure: Failure | None = None
        self.home_mounts: int | None = None
        try:
            if self.need_user:
                self._new_user()
            else:
                self.home_mounts = os.open("/proc/self/mountinfo", os.O_RDONLY)
                self._new_mounts()  # there is a way back, should they not be wanted
            before = sc.take_notes()
            self.ahead = self._fork_ahead(early=True)
            for call in before:
                sc.note(call)
        except Failure as failure:
            self.early_failure = failure

    def serve(
        self, order: dict[str, Any], channel: socket.socket, seats: Seats, taken: int
    ) -> None:
        """Set the namespaces up, say so, and start programs until the notebook is done."""
        self.channel = channel
        try:
            self._set_up(order)
            channel.send(marshal.dumps({"pid": os.getpid(), "calls": sc.take_notes()}))
        except Failure as failure:
            channel.send(marshal.dumps({"error": failure.facts}))
            return
        finally:
            if seats.all_free():
                os.write(taken, b"!")
        waiting = select.poll()
        for fd in (channel.fileno(), self.owner, self.wake_read):
            waiting.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in waiting.poll()]
            if self.wake_read in ready:
                os.read(self.wake_read, 4096)
                self._reap()
            if self.owner in ready or (channel.fileno() in ready and not self._obey()):
                self._end_all()
                return

    def go_home(self) -> bool:
        """Return to the notebook's namespaces; False where the kernel knows no way back."""
        if self.flags & sc.CLONE_NEWUSER or self.early_failure:
            return False
        if others := self.flags & ~sc.CLONE_NEWPID:
            sc.setns(self.home, others)
        if not self.flags & sc.CLONE_NEWPID:
            sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 0)
        sc.take_notes()
        return True

    def _new_user(self) -> None:
        ids = os.geteuid(), os.getegid()
        with Stage("make the user namespace"):
            sc.unshare(sc.CLONE_NEWUSER)
        with Stage("map the user and group numbers"):
            map_ids(*ids)
        self.flags |= sc.CLONE_NEWUSER

    def _new_mounts(self) -> None:
        with Stage("make the mount namespace"):
            sc.unshare(sc.CLONE_NEWNS)
        with Stage("keep mounts from spreading to the host"):
            sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
        self.flags |= sc.CLONE_NEWNS

    def _set_up(self, order: dict[str, Any]) -> None:
        if self.early_failure:
            raise self.early_failure
        wanted = order["flags"]
        early = self.flags
        other = wanted & ~early & sc.CLONE_NEWUSER or early & ~wanted or wanted & sc.CLONE_NEWTIME
        if other or self._mounts_have_changed():
            self._start_over()
        elif not wanted & sc.CLONE_NEWPID:
            self.drop_ahead()
        if wanted & ~self.flags & sc.CLONE_NEWUSER:
            self._new_user()
        if wanted & ~self.flags & sc.CLONE_NEWNS:
            self._new_mounts()
        # PID and time namespaces are entered by the programs, which are our children
        if others := wanted & ~sc.CLONE_NEWPID & ~self.flags:
            with Stage("make the namespaces"):
                sc.unshare(others)
        self.late = self.flags & sc.CLONE_NEWNS if order["rootfs"] else 0
        self.late |= wanted & ~early & ~(sc.CLONE_NEWPID | sc.CLONE_NEWTIME)
        self.flags = wanted
        if order["rootfs"]:
            with Stage("enter the root file system"):
                # the kernel gives a user namespace a fresh /proc only where one is to be seen
                keep = self.flags & sc.CLONE_NEWUSER or not self.flags & sc.CLONE_NEWPID
                enter_root(order["rootfs"], share_proc=bool(keep))
        if order["hostname"]:
            with Stage("set the host name"):
                sc.sethostname(order["hostname"])
        if not self.flags & sc.CLONE_NEWPID:
            # no PID namespace will end what our programs leave behind, so orphans become ours
            with Stage("become the reaper of orphans"):
                sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)

    def _mounts_have_changed(self) -> bool:
        """Tell whether our mounts are no longer a copy of those at home; proc(5)."""
        if self.home_mounts is None:
            return False
        changes = select.poll()
        changes.register(self.home_mounts, select.POLLPRI)
        changed = bool(changes.poll(0))
        os.close(self.home_mounts)
        self.home_mounts = None
        return changed

    def _start_over(self) -> None:
        """Forget what was prepared: other namespaces are wanted around or instead of it."""
        self.drop_ahead()
        if self.flags & sc.CLONE_NEWNS and not self.need_user:
            sc.setns(self.home, sc.CLONE_NEWNS)
            self.flags &= ~sc.CLONE_NEWNS
        sc.take_notes()

    def _obey(self) -> bool:
        """Take one request from the notebook; False when there will be no more."""
        data, fds = receive(self.channel)
        if not data:
            return False
        try:
            answer = self._start(data, fds)
        except Failure as failure:
            self.channel.send(marshal.dumps({"error": failure.facts}))
            os.close(fds[3])
        else:
            pidfd = answer.pop("pidfd")
            send(self.channel, answer, [pidfd])
            if self.init != (answer["pid"], pidfd):
                os.close(pidfd)
        for fd in fds[:3] + fds[4:]:
            os.close(fd)
        if self.gate is not None:
            os.write(self.gate, b"!")
            os.close(self.gate)
            self.gate = None
        return True

    def _start(self, request: bytes, fds: list[int]) -> dict[str, Any]:
        sc.take_notes()
        first = bool(self.flags & sc.CLONE_NEWPID) and self.init is None
        with Stage("fork"):
            pid, pidfd = self._start_first(request, fds) if first else self._join(request, fds)
        self.status_pipes[pid] = fds[3]
        if first:
            self.init = pid, pidfd
            self.proc_mounted = bool(self.flags & sc.CLONE_NEWNS)
        return {"pid": pid, "pidfd": pidfd, "first": first, "calls": sc.take_notes()}

    def _start_first(self, request: bytes, fds: list[int]) -> tuple[int, int]:
        """Hand the request to the child that waits to be PID 1."""
        early, self.ahead = self.ahead, None
        child = early or self._fork_ahead()
        for call in child.calls:
            sc.note(call)
        # one that was forked early is not in the namespaces that were made since
        late = self.late if early else 0
        has_proc = early and self.flags & sc.CLONE_NEWNS and not late & sc.CLONE_NEWNS
        remount = 0
        if self.flags & sc.CLONE_NEWNS and not has_proc:
            remount = 2 if self.proc_mounted else 1
        send(child.channel, (late, remount, request), fds)
        child.channel.close()
        self.gate = child.gate
        return child.pid, child.pidfd

    def _fork_ahead(self, early: bool = False) -> Ahead:
        """Fork a child into a new PID namespace, where it waits for its program.

        What was prepared `early` gets its fresh /proc now; later it depends on the request.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gate, gate_write = os.pipe2(os.O_CLOEXEC)
        with Stage("make the PID namespace"):
            pid, pidfd = sc.clone3(sc.CLONE_NEWPID)
        if pid == 0:
            ours.close()
            os.close(gate_write)
            _live(self._be_first, theirs, gate, early)
        theirs.close()
        os.close(gate)
        return Ahead(pid, pidfd, ours, gate_write)

    def _be_first(self, channel: socket.socket, gate: int, early: bool) -> None:
        die_with(self.self_fd)
        forget_signals()
        os.setsid()
        sc.take_notes()
        if early and self.flags & sc.CLONE_NEWNS:
            fresh_proc()
        if not os.read(gate, 1):
            return
        data, fds = receive(channel)
        late, remount, request = marshal.loads(data)  # noqa: S302

        def enter() -> None:
            if late:
                with Stage("enter the sandbox"):
                    sc.setns(self.self_fd, late)
                sc.take_notes()  # we left the holder for a moment, which is nobody's concern
            if remount > 1:
                sc.umount2("/proc", sc.MNT_DETACH)
            if remount:
                fresh_proc()

        become(marshal.loads(request), fds, enter)  # noqa: S302

    def _join(self, request: bytes, fds: list[int]) -> tuple[int, int]:
        """Start a program beside the others, as nsenter(1) does."""
        if self.init is None:
            pid, pidfd = sc.clone3()
            if pid == 0:
                _live(self._be_another, request, fds)
            return pid, pidfd
        # Who has set the PID namespace of its children needs privileges to set it back. So a child
        # does this, and forks; with CLONE_PARENT the program is ours, as if we had forked it.
        told, tell_pid = os.pipe2(os.O_CLOEXEC)
        if sc.clone3()[0] == 0:
            _live(self._be_between, self.init[1], tell_pid, request, fds)
        os.close(tell_pid)
        with open(told, "rb") as pipe:
            facts = marshal.loads(pipe.read())  # noqa: S302
        if "error" in facts:
            raise Failure.again(facts["error"])
        sc.take_notes()
        for call in facts["calls"]:
            sc.note(call)
        return facts["pid"], os.pidfd_open(facts["pid"])

    def _be_between(self, init: int, tell_pid: int, request: bytes, fds: list[int]) -> None:
        sc.take_notes()
        try:
            with Stage("enter the PID namespace"):
                sc.setns(init, sc.CLONE_NEWPID)
                pid, _ = sc.clone3(sc.CLONE_PARENT, exit_signal=0)
            if pid == 0:
                self._be_another(request, fds)
            os.write(tell_pid, marshal.dumps({"pid": pid, "calls": sc.take_notes()}))
        except Failure as failure:
            os.write(tell_pid, marshal.dumps({"error": failure.facts}))

    def _be_another(self, request: bytes, fds: list[int]) -> None:
        die_with(self.self_fd)
        forget_signals()
        os.setsid()
        sc.take_notes()
        become(marshal.loads(request), fds, lambda: None)  # noqa: S302

    def drop_ahead(self) -> None:
        """End the child that waits to be PID 1: there will be no program for it."""
        if self.ahead:
            self.ahead.channel.close()
            os.close(self.ahead.gate)
            os.close(self.ahead.pidfd)
            os.waitpid(self.ahead.pid, 0)
            self.ahead = None

    def _reap(self) -> None:
        """Wait for what has ended, and tell the notebook how."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.init and pid == self.init[0]:
                os.close(self.init[1])
                self.init = None
            if (pipe := self.status_pipes.pop(pid, None)) is not None:
                tell(pipe, os.waitstatus_to_exitcode(status))

    def _end_all(self) -> None:
        """Kill every program of the sandbox and wait until the last one is gone."""
        self.drop_ahead()
        while True:
            for pid in self._children():
                os.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    def _children(self) -> list[int]:
        """Our children, adopted orphans included, as the host's /proc has them."""
        path = f"self/task/{os.getpid()}/children"
        try:
            fd = os.open(path, os.O_RDONLY, dir_fd=self.proc)
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            return list(self.status_pipes)
        with open(fd) as file:
            return [int(pid) for pid in file.read().split()]


def die_with(holder: int) -> None:
    """Ask for SIGKILL when the holder (a pidfd) ends, or end now if that has happened."""
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([holder], [], [], 0)[0]:
        os._exit(1)


def fresh_proc() -> None:
    """Mount the /proc that shows the PID namespace we are in."""
    with Stage("mount a fresh /proc"):
        sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)


def forget_signals() -> None:
    """Give back the dispositions that Python changed."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def become(request: dict[str, Any], fds: list[int], enter: Callable[[], None]) -> NoReturn:
    """In the child: finish the set-up, tell what was done, and turn into the program."""
    report = fds[4]
    try:
        enter()
        for target, fd in enumerate(fds[:3]):
            os.dup2(fd, target)
        argv = request["argv"]
        if not argv:
            os.write(report, marshal.dumps({"calls": sc.take_notes()}))
            os.closerange(3, 1 << 20)  # there is no exec to do it
            idle_init()
        with Stage("enter the working folder"):
            os.chdir(request["cwd"])
        sc.note(f"execve({quoted(argv[0])}, [{', '.join(map(quoted, argv))}])")
        os.write(report, marshal.dumps({"calls": sc.take_notes()}))
        with Stage("execute"):
            execute(argv, request["env"])
    except Failure as failure:
        os.write(report, marshal.dumps({"error": failure.facts}))
    os._exit(127)


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Search the PATH and execute; asking first is cheaper than an exception for each folder."""
    program = argv[0]
    if "/" not in program:
        paths = (f"{folder}/{program}" for folder in env.get("PATH", os.defpath).split(":"))
        program = next((path for path in paths if os.access(path, os.X_OK)), program)
    os.execve(program, argv, env)  # noqa: S606


def tell(pipe: int, returncode: int) -> None:
    """Write a program's return code to whoever waits for it, who may have gone."""
    try:  # noqa: SIM105 (contextlib would be loaded for this)
        os.write(pipe, STATUS.pack(returncode))
    except BrokenPipeError:
        pass
    os.close(pipe)


def map_ids(uid: int, gid: int) -> None:
    """Be root inside, and `uid`:`gid` seen from outside; user_namespaces(7)."""
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        sc.note(f'write("/proc/self/{file}", "{text}")')
        fd = os.open(f"/proc/self/{file}", os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def enter_root(rootfs: str, share_proc: bool) -> None:
    """Make `rootfs` the root of this mount namespace, with a few devices; pivot_root(2)."""
    sc.mount(rootfs, rootfs, None, sc.MS_BIND | sc.MS_REC)
    os.makedirs(f"{rootfs}/proc", exist_ok=True)
    os.makedirs(f"{rootfs}/dev", exist_ok=True)
    sc.mount("tmpfs", f"{rootfs}/dev", "tmpfs", sc.MS_NOSUID, "mode=755")
    for name in DEVICES:
        target = f"{rootfs}/dev/{name}"
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o666))
        sc.mount(f"/dev/{name}", target, None, sc.MS_BIND)
    if share_proc:
        sc.mount("/proc", f"{rootfs}/proc", None, sc.MS_BIND | sc.MS_REC)
    os.chdir(rootfs)
    sc.pivot_root(".", ".")  # the old root now lies over the new one, at the same place
    sc.umount2(".", sc.MNT_DETACH)
    os.chdir("/")


def quoted(text: str) -> str:
    """Quote as a C programmer would."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def idle_init() -> NoReturn:
    """Be a PID 1 that does what an init must: live, and reap orphans."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    sc.set_name("lab-init")
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


def main() -> None:
    """Serve the notebook whose socket and pidfd were inherited."""
    requests, owner = int(sys.argv[-2]), int(sys.argv[-1])
    for fd in (requests, owner):
        os.set_inheritable(fd, False)
    zygote(socket.socket(fileno=requests), owner, need_user=sys.argv[-3] == "user")
