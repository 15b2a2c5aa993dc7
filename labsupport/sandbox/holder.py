"""The processes behind a sandbox: they put programs into namespaces, outside the notebook's own.

Forking a Jupyter process of 300 MB costs ten times as much as forking a small one, and a process
with threads must not run Python between fork and exec. So the notebook starts one small process
with a single thread, the *zygote*, and asks it for sandboxes:

    notebook ── zygote ── holder (one for each sandbox: is in its namespaces, keeps them open)
                             └── programs (the first one is PID 1 of a new PID namespace)

Requests are marshalled dictionaries on a Unix socket, together with descriptors. Zygote and
holder end when that socket or the notebook's process does, whichever they notice first; programs
get SIGKILL with their holder. Nothing can outlive the notebook, `kill -9` included.
"""

from __future__ import annotations

import gc
import marshal
import os
import select
from errno import EINVAL, EPERM

from labsupport.kernel import syscalls as sc
from labsupport.sandbox.messages import STATUS, Failure, Stage, live, receive, send, signal, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def join_groups(groups: Iterable[int], paths: Sequence[str]) -> None:
    """Move the calling process into the cgroups; cgroups(7)."""
    for fd, path in zip(groups, paths, strict=True):
        sc.note(f'write("{path}", "0")')
        with Stage("join the cgroup"):
            os.write(fd, b"0")


def enter_cgroup_namespace(groups: list[int], paths: Sequence[str]) -> None:
    """Enter a cgroup namespace whose root is the given cgroup; cgroup_namespaces(7).

    Its root is where the process is that makes it. So a child joins the cgroup and makes it: the
    holder itself must not be counted there.
    """
    ready, tell = os.pipe2(os.O_CLOEXEC)
    wait, release = os.pipe2(os.O_CLOEXEC)
    with Stage("make the cgroup namespace"):
        pid, pidfd = sc.clone3()
        if pid == 0:
            os.close(release)
            try:
                join_groups(groups, paths)
                sc.unshare(sc.CLONE_NEWCGROUP)
                os.write(tell, b"!")
            finally:
                os.close(tell)
            os.read(wait, 1)
            os._exit(0)
        os.close(tell)
        try:
            if not os.read(ready, 1):
                raise PermissionError(1, "the cgroup could not be joined or its namespace made")
            sc.setns(pidfd, sc.CLONE_NEWCGROUP)
        finally:
            for fd in (ready, wait, release, pidfd):
                os.close(fd)
            os.waitpid(pid, 0)


def load_filters(programs: Iterable[bytes]) -> None:
    """Put the calling process under seccomp filters, for good."""
    for program in programs:
        with Stage("load the seccomp filter"):
            sc.seccomp_set_filter(program)


def become(request: dict[str, Any], streams: list[int], report: int) -> NoReturn:
    """Become the program, with these standard streams; tell by the pipe `report`."""
    for target, fd in enumerate(streams):
        os.dup2(fd, target)
    argv, kept = request["argv"], request["keep_caps"]
    if kept is not None:
        # the bounding set caps what root gains by execve, so what is effective may stay until
        # then: loading a seccomp filter takes CAP_SYS_ADMIN; capabilities(7)
        with Stage("drop capabilities"):
            sc.drop_from_bounding_set(kept)
            effective, permitted, _ = sc.capget()
            sc.capset(effective, permitted, 0)
    if not argv:
        become_init(request["filters"], kept, report)
    with Stage("enter the working folder"):
        enter_folder(request["cwd"], request["lenient"])
    for program in request["filters"]:
        sc.note(f"seccomp(SECCOMP_SET_MODE_FILTER, {len(program) // 8} instructions)")
    call = f"execve({quoted(argv[0])}, [{', '.join(map(quoted, argv))}])"
    # the pipe that tells of it takes 64 KiB, and is read after the end
    sc.note(call if len(call) <= 4000 else call[:4000] + "…")
    # told before the filter holds: it may well forbid writing
    os.write(report, marshal.dumps({"calls": sc.take_notes()}))
    load_filters(request["filters"])
    with Stage("execute"):
        execute(argv, request["env"])


def enter_folder(folder: str, lenient: bool) -> None:
    """Enter a folder; where nobody asked for it by name, `/` if it may not be entered."""
    # root of a new user namespace is nobody in particular to the owner of a home of mode 0700
    try:
        os.chdir(folder)
    except PermissionError:
        if not lenient:
            raise
        os.chdir("/")


def become_init(filters: Sequence[bytes], kept: int | None, report: int) -> NoReturn:
    """Become a PID 1 that does what an init must: live, and reap orphans."""
    os.write(report, marshal.dumps({"calls": sc.take_notes()}))
    load_filters(filters)
    if kept is not None:
        sc.capset(kept, kept, 0)
    os.closerange(3, 1 << 20)  # there is no exec to do it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    sc.set_name("lab-init")
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Search the PATH and execute; asking first is cheaper than an exception for each folder."""
    program = argv[0]
    if "/" not in program:
        paths = (f"{folder}/{program}" for folder in env.get("PATH", os.defpath).split(":"))
        program = next((path for path in paths if os.access(path, os.X_OK)), program)
    try:
        os.execve(program, argv, env)  # noqa: S606
    except (TypeError, ValueError) as error:  # a NUL, or a variable that is not text
        raise OSError(EINVAL, str(error)) from error


def new_user(uid: int | None) -> None:
    """Become user `uid` if it is given, then enter a new user namespace and be root in it."""
    if uid is not None:
        with Stage("become the other user"):
            become_user(uid)
    ids = os.geteuid(), os.getegid()
    with Stage("make the user namespace"):
        sc.unshare(sc.CLONE_NEWUSER)
    with Stage("map the user and group numbers"):
        map_ids(*ids)


def map_ids(uid: int, gid: int) -> None:
    """Be root inside, and `uid`:`gid` seen from outside; user_namespaces(7)."""
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        sc.note(f'write("/proc/self/{file}", "{text}")')
        fd = os.open(f"/proc/self/{file}", os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def become_user(uid: int) -> None:
    """Become an ordinary user, without privileges, for good; setresuid(2)."""
    os.setgroups([])
    sc.note("setgroups(0, NULL) = 0")
    os.setresgid(uid, uid, uid)
    sc.note(f"setresgid({uid}, {uid}, {uid}) = 0")
    os.setresuid(uid, uid, uid)
    sc.note(f"setresuid({uid}, {uid}, {uid}) = 0")
    sc.prctl(sc.PR_SET_DUMPABLE, 1)  # else our own /proc/self would belong to root from here on


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


class Holder:
    """A process in a sandbox's namespaces (all but the PID namespace) that starts its programs."""

    def __init__(self, flags: int, channel: socket.socket, owner: int) -> None:
        self.flags, self.channel, self.owner = flags, channel, owner
        self.init: tuple[int, int] | None = None  # PID and pidfd of the sandbox's PID 1
        self.status_pipes: dict[int, int] = {}
        self.groups: list[int] = []  # cgroup.procs files that programs join
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that the wake-up fd works
        self.wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        self.self_fd = os.pidfd_open(os.getpid())

    def serve(self, order: dict[str, Any]) -> None:
        """Set the namespaces up, say so, and start programs until the notebook is done."""
        sc.take_notes()
        try:
            self._set_up(order)
        except Failure as failure:
            self._refuse(failure)
            return
        self.channel.send(marshal.dumps({"pid": os.getpid(), "calls": sc.take_notes()}))
        waiting = select.poll()
        for fd in (self.channel.fileno(), self.owner, self.wake_read):
            waiting.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in waiting.poll()]
            if self.wake_read in ready:
                os.read(self.wake_read, 4096)
                while self._wait(os.WNOHANG):
                    pass
            if self.owner in ready or (self.channel.fileno() in ready and not self._obey()):
                break
        self._end_all()
        # our namespaces end with us, later than our descriptors: a pidfd tells when
        send(self.channel, {"ending": True}, [self.self_fd])

    def _refuse(self, failure: Failure) -> None:
        self.channel.send(marshal.dumps({"error": failure.facts}))

    def _set_up(self, order: dict[str, Any]) -> None:
        with Stage("open the cgroup"):  # while it can be reached: a pivot_root may hide it
            how = os.O_WRONLY | os.O_CLOEXEC
            self.groups = [os.open(path, how) for path in order["cgroups"]]
        if order["user"]:  # the namespace of an earlier sandbox, in which we are root
            with Stage("enter the user namespace"):
                fd = os.open(order["user"], os.O_RDONLY)
                sc.setns(fd, sc.CLONE_NEWUSER)
                os.close(fd)
        elif self.flags & sc.CLONE_NEWUSER:
            new_user(order["uid"])
        if self.flags & sc.CLONE_NEWNS:
            with Stage("make the mount namespace"):
                sc.unshare(sc.CLONE_NEWNS)
            with Stage("keep mounts from spreading to the host"):
                sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
        # programs, which are our children, are the first in PID and time namespaces
        others = self.flags & ~(sc.CLONE_NEWUSER | sc.CLONE_NEWNS | sc.CLONE_NEWPID)
        if self.groups and others & sc.CLONE_NEWCGROUP:
            enter_cgroup_namespace(self.groups, order["cgroups"])
            others &= ~sc.CLONE_NEWCGROUP
        if others:
            with Stage("make the namespaces"):
                sc.unshare(others)
        self._furnish(order)
        if not self.flags & sc.CLONE_NEWPID:
            # no PID namespace will end what our programs leave behind, so orphans become ours
            with Stage("become the reaper of orphans"):
                sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)

    def _furnish(self, order: dict[str, Any]) -> None:
        if order["rootfs"]:
            with Stage("enter the root file system"):
                if not self.flags & sc.CLONE_NEWNS:  # this machine's root must stay
                    raise PermissionError(EPERM, "it needs a mount namespace of its own")
                # the kernel gives a user namespace a fresh /proc only where one is to be seen
                keep = self.flags & sc.CLONE_NEWUSER or not self.flags & sc.CLONE_NEWPID
                enter_root(order["rootfs"], share_proc=bool(keep))
        if self.flags & sc.CLONE_NEWNS and self.flags & sc.CLONE_NEWPID:
            with Stage("look at /proc"):
                self.first_proc = os.stat("/proc").st_dev
        if order["hostname"]:
            with Stage("set the host name"):
                sc.sethostname(order["hostname"])

    def _obey(self) -> bool:
        """Take one request from the notebook; False after the last one."""
        data, fds = receive(self.channel)
        if not data:
            return False
        request = marshal.loads(data)  # noqa: S302
        try:
            if fds:  # a program's request comes with descriptors
                self._start(request, fds)
            else:  # it stays in our network namespace, whatever process uses it
                with Stage("make the socket"):
                    made = socket.socket(*request)
                send(self.channel, {"socket": True}, [made.fileno()])
                made.close()
        except Failure as failure:
            self._refuse(failure)
            for fd in fds[3:4]:
                os.close(fd)
        for fd in fds[:3] + fds[4:]:
            os.close(fd)
        return True

    def _start(self, request: dict[str, Any], fds: list[int]) -> None:
        sc.take_notes()
        first = bool(self.flags & sc.CLONE_NEWPID) and self.init is None
        if self.init is None:
            pid, pidfd = self._fork(request, fds, sc.CLONE_NEWPID if first else 0)
        else:
            pid, pidfd = self._join(self.init[1], request, fds)
        self.status_pipes[pid] = fds[3]
        answer = {"pid": pid, "first": first, "calls": sc.take_notes()}
        send(self.channel, answer, [pidfd])
        if first:
            self.init = pid, pidfd
        else:
            os.close(pidfd)

    def _fork(self, request: dict[str, Any], fds: list[int], flags: int) -> tuple[int, int]:
        with Stage("make the PID namespace" if flags else "fork"):
            pid, pidfd = sc.clone3(flags)
        if pid == 0:
            live(self._be_program, request, fds, bool(flags))
        return pid, pidfd

    def _join(self, init: int, request: dict[str, Any], fds: list[int]) -> tuple[int, int]:
        """Start a program in addition to the others, as nsenter(1) does.

        A process that has set the PID namespace of its children needs privileges to set it back. So
        a child does this, and forks; with CLONE_PARENT the program is ours, as if we had forked it.
        """
        told, tell_pid = os.pipe2(os.O_CLOEXEC)
        with Stage("fork"):
            _, between = sc.clone3()
        if between == -1:
            live(self._be_between, init, tell_pid, request, fds)
        os.close(between)
        os.close(tell_pid)
        with open(told, "rb") as pipe:
            facts = marshal.loads(pipe.read())  # noqa: S302
        if "error" in facts:
            raise Failure(facts["error"])
        sc.take_notes()
        for call in facts["calls"]:
            sc.note(call)
        return facts["pid"], os.pidfd_open(facts["pid"])

    def _be_between(
        self, init: int, tell_pid: int, request: dict[str, Any], fds: list[int]
    ) -> None:
        sc.take_notes()
        try:
            with Stage("enter the PID namespace"):
                sc.setns(init, sc.CLONE_NEWPID)
                pid, _ = sc.clone3(sc.CLONE_PARENT, exit_signal=0)
            if pid == 0:
                self._be_program(request, fds, first=False)
            os.write(tell_pid, marshal.dumps({"pid": pid, "calls": sc.take_notes()}))
        except Failure as failure:
            os.write(tell_pid, marshal.dumps({"error": failure.facts}))

    def _be_program(self, request: dict[str, Any], fds: list[int], first: bool) -> None:
        """In the child: prepare, tell what was done by the pipe `fds[4]`, become the program."""
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([self.self_fd], [], [], 0)[0]:  # the holder has ended already
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)  # Python changed them
        os.setsid()
        sc.take_notes()
        try:
            join_groups(self.groups, request["cgroups"])
            if first and self.flags & sc.CLONE_NEWNS:
                with Stage("mount a fresh /proc"):
                    # asked of the kernel: an earlier program may have been killed before that
                    if os.stat("/proc").st_dev != self.first_proc:
                        sc.umount2("/proc", sc.MNT_DETACH)
                    sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
            become(request, fds[:3], fds[4])
        except Failure as failure:
            os.write(fds[4], marshal.dumps({"error": failure.facts}))
            os._exit(127)

    def _end_all(self) -> None:
        """Kill every program of the sandbox and wait until the last one is gone."""
        while True:
            for pid in self._children():
                os.kill(pid, signal.SIGKILL)
            if not self._wait(0):
                return

    def _wait(self, how: int) -> bool:
        """Wait for a child, and tell the notebook how it ended; False if there was none."""
        try:
            pid, status = os.waitpid(-1, how)
        except ChildProcessError:
            return False
        if self.init and pid == self.init[0]:
            os.close(self.init[1])
            self.init = None
        if (pipe := self.status_pipes.pop(pid, None)) is not None:
            tell(pipe, os.waitstatus_to_exitcode(status))
        return pid != 0

    def _children(self) -> list[int]:
        """Our children, adopted orphans included, as the host's /proc has them."""
        path = f"self/task/{os.getpid()}/children"
        try:
            fd = os.open(path, os.O_RDONLY, dir_fd=self.proc)
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            return list(self.status_pipes)
        try:
            return [int(pid) for pid in os.read(fd, 1 << 16).split()]
        finally:
            os.close(fd)


def tell(pipe: int, returncode: int) -> None:
    """Write a program's return code to the process that waits for it, which may have gone."""
    try:  # noqa: SIM105 (contextlib would be loaded for this)
        os.write(pipe, STATUS.pack(returncode))
    except BrokenPipeError:
        pass
    os.close(pipe)


def zygote(requests: socket.socket, owner: int) -> None:
    """Fork a holder for each request, until the notebook (pidfd `owner`) is gone."""
    sc.set_name("lab-zygote")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # holders need no waiting for
    sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)  # nor does what a killed holder leaves
    gc.disable()  # the garbage collector would only unshare pages
    gc.freeze()
    waiting = select.poll()
    for fd in (requests.fileno(), owner):
        waiting.register(fd, select.POLLIN)
    while owner not in [fd for fd, _ in waiting.poll()]:
        data, fds = receive(requests)
        if not data:
            break
        channel = socket.socket(fileno=fds[0])
        _fork_holder(marshal.loads(data), channel, requests, owner)  # noqa: S302
        channel.close()
    requests.close()
    try:  # noqa: SIM105 (contextlib would be loaded for this)
        os.waitpid(-1, 0)  # with SIGCHLD ignored, it returns when the last holder has ended
    except ChildProcessError:
        pass


def _fork_holder(
    order: dict[str, Any], channel: socket.socket, requests: socket.socket, owner: int
) -> None:
    try:
        with Stage("fork the process that holds it"):
            pid, pidfd = sc.clone3()
    except Failure as failure:
        channel.send(marshal.dumps({"error": failure.facts}))
        return
    if pid == 0:
        requests.close()
        sc.set_name("lab-holder")
        live(Holder(order["flags"], channel, owner).serve, order)
    os.close(pidfd)


def main(fds: Sequence[str]) -> None:
    """Serve the notebook whose socket and pidfd were inherited."""
    requests, owner = map(int, fds)
    for fd in (requests, owner):
        os.set_inheritable(fd, False)
    zygote(socket.socket(fileno=requests), owner)
