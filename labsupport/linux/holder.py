"""The process that holds a sandbox's namespaces and starts its programs; a child of the zygote."""

from __future__ import annotations

import marshal
import os
import select
from errno import EPERM

from labsupport.linux import syscalls as sc
from labsupport.linux.becoming import (
    become,
    become_user,
    die_with,
    enter_root,
    forget_signals,
    fresh_proc,
    map_ids,
    set_clocks,
)
from labsupport.linux.confining import enter_cgroup_namespace, open_groups
from labsupport.linux.light import signal, socket
from labsupport.linux.messages import STATUS, Failure, Stage, live, receive, send
from labsupport.linux.seats import Seats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


TAKEN = b"!"
"""What a holder writes into the zygote's pipe when it serves, and no other is free."""


class Ahead:
    """A child that waits, in a PID namespace of its own, to become the first program.

    Its program comes through `channel`, but it looks there only once `gate` was written to: woken
    by the message itself, it would run before the holder has answered the notebook. `has_proc`
    is at its end once its fresh /proc is mounted.
    """

    def __init__(
        self, pid: int, pidfd: int, channel: socket.socket, gate: int, has_proc: int
    ) -> None:
        self.pid, self.pidfd, self.channel = pid, pidfd, channel
        self.gate, self.has_proc = gate, has_proc
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
        self.groups: list[int] = []  # cgroup.procs files that programs join
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
                os.write(taken, TAKEN)
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
        """Return to the notebook's namespaces; False where the kernel knows no way back.

        The mounts come last, by `leave_mounts`: to take them down is dear, and nobody waits for it.
        """
        if self.flags & sc.CLONE_NEWUSER or self.early_failure:
            return False
        if others := self.flags & ~(sc.CLONE_NEWPID | sc.CLONE_NEWNS):
            sc.setns(self.home, others)
        for fd in self.groups:
            os.close(fd)
        if not self.flags & sc.CLONE_NEWPID:
            sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 0)
        return True

    def leave_mounts(self) -> None:
        """Return to the notebook's mounts, too."""
        if self.flags & sc.CLONE_NEWNS:
            sc.setns(self.home, sc.CLONE_NEWNS)
        sc.take_notes()

    def announce_end(self) -> None:
        """Hand our pidfd to the notebook, for our namespaces end with us: after our descriptors."""
        try:  # noqa: SIM105 (contextlib would be loaded for this)
            send(self.channel, {"ending": True}, [self.self_fd])
        except (BrokenPipeError, ConnectionResetError):  # it was refused, or has gone itself
            pass

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
        self.groups = open_groups(order["cgroups"])
        wanted = order["flags"]
        early = self.flags
        other = wanted & ~early & sc.CLONE_NEWUSER or early & ~wanted or wanted & sc.CLONE_NEWTIME
        # the /proc that was prepared shows the PID namespace of the child that waits in it
        stale_proc = early & sc.CLONE_NEWNS and not wanted & sc.CLONE_NEWPID
        if other or stale_proc or self._mounts_have_changed():
            self._start_over()
        elif not wanted & sc.CLONE_NEWPID:
            self.drop_ahead()
        if wanted & ~self.flags & sc.CLONE_NEWUSER:
            if order["uid"] is not None:
                with Stage("become the other user"):
                    become_user(order["uid"])
            self._new_user()
        if wanted & ~self.flags & sc.CLONE_NEWNS:
            self._new_mounts()
        if self.groups and wanted & ~self.flags & sc.CLONE_NEWCGROUP:
            enter_cgroup_namespace(self.groups, order["cgroups"])
            self.flags |= sc.CLONE_NEWCGROUP
        # PID and time namespaces are entered by the programs, which are our children
        if others := wanted & ~sc.CLONE_NEWPID & ~self.flags:
            with Stage("make the namespaces"):
                sc.unshare(others)
        if order["clocks"]:
            with Stage("set the clocks"):
                set_clocks(order["clocks"])
        self.late = self.flags & sc.CLONE_NEWNS if order["rootfs"] else 0
        self.late |= wanted & ~early & ~(sc.CLONE_NEWPID | sc.CLONE_NEWTIME)
        self.flags = wanted
        if order["rootfs"]:
            self._enter_root(order["rootfs"], early)
        if order["hostname"]:
            with Stage("set the host name"):
                sc.sethostname(order["hostname"])
        if not self.flags & sc.CLONE_NEWPID:
            # no PID namespace will end what our programs leave behind, so orphans become ours
            with Stage("become the reaper of orphans"):
                sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)

    def _enter_root(self, rootfs: str, early: int) -> None:
        if self.ahead and early & sc.CLONE_NEWNS:
            os.read(self.ahead.has_proc, 1)  # else it may yet be mounted in the new root
        with Stage("enter the root file system"):
            if not self.flags & sc.CLONE_NEWNS:  # this machine's root is not ours to take away
                raise PermissionError(EPERM, "it needs a mount namespace of its own")
            # the kernel gives a user namespace a fresh /proc only where one is to be seen
            keep = self.flags & sc.CLONE_NEWUSER or not self.flags & sc.CLONE_NEWPID
            enter_root(rootfs, share_proc=bool(keep))

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
        if not fds:  # a program's request comes with descriptors
            self._give_socket(*marshal.loads(data))  # noqa: S302
            return True
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

    def _give_socket(self, family: int, kind: int, protocol: int) -> None:
        """Make a socket in our network namespace, where it stays, whoever uses it."""
        try:
            with Stage("make the socket"):
                made = socket.socket(family, kind, protocol)
        except Failure as failure:
            self.channel.send(marshal.dumps({"error": failure.facts}))
            return
        send(self.channel, {"socket": True}, [made.fileno()])
        made.close()

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
        send(child.channel, (late, remount, request), fds + self.groups)
        child.channel.close()
        os.close(child.has_proc)
        self.gate = child.gate
        return child.pid, child.pidfd

    def _fork_ahead(self, early: bool = False) -> Ahead:
        """Fork a child into a new PID namespace, where it waits for its program.

        What was prepared `early` gets its fresh /proc now; later it depends on the request.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gate, gate_write = os.pipe2(os.O_CLOEXEC)
        has_proc, tell_proc = os.pipe2(os.O_CLOEXEC)
        with Stage("make the PID namespace"):
            pid, pidfd = sc.clone3(sc.CLONE_NEWPID)
        if pid == 0:
            ours.close()
            os.close(gate_write)
            os.close(has_proc)
            live(self._be_first, theirs, gate, tell_proc, early)
        theirs.close()
        os.close(gate)
        os.close(tell_proc)
        return Ahead(pid, pidfd, ours, gate_write, has_proc)

    def _be_first(self, channel: socket.socket, gate: int, has_proc: int, early: bool) -> None:
        die_with(self.self_fd)
        forget_signals()
        os.setsid()
        sc.take_notes()
        if early and self.flags & sc.CLONE_NEWNS:
            fresh_proc()
        os.close(has_proc)
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
                live(self._be_another, request, fds)
            return pid, pidfd
        # Who has set the PID namespace of its children needs privileges to set it back. So a child
        # does this, and forks; with CLONE_PARENT the program is ours, as if we had forked it.
        told, tell_pid = os.pipe2(os.O_CLOEXEC)
        if sc.clone3()[0] == 0:
            live(self._be_between, self.init[1], tell_pid, request, fds)
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
        become(marshal.loads(request), fds + self.groups, lambda: None)  # noqa: S302

    def drop_ahead(self) -> None:
        """End the child that waits to be PID 1: there will be no program for it."""
        if self.ahead:
            self.ahead.channel.close()
            os.close(self.ahead.gate)
            os.close(self.ahead.has_proc)
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
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if (pipe := self.status_pipes.pop(pid, None)) is not None:
                tell(pipe, os.waitstatus_to_exitcode(status))

    def _children(self) -> list[int]:
        """Our children, adopted orphans included, as the host's /proc has them."""
        path = f"self/task/{os.getpid()}/children"
        try:
            fd = os.open(path, os.O_RDONLY, dir_fd=self.proc)
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            return list(self.status_pipes)
        with open(fd) as file:
            return [int(pid) for pid in file.read().split()]


def tell(pipe: int, returncode: int) -> None:
    """Write a program's return code to whoever waits for it, who may have gone."""
    try:  # noqa: SIM105 (contextlib would be loaded for this)
        os.write(pipe, STATUS.pack(returncode))
    except BrokenPipeError:
        pass
    os.close(pipe)
