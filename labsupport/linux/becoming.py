"""What a forked child does on its way to being a program, or the init of an empty sandbox."""

from __future__ import annotations

import marshal
import os
import select

from labsupport.linux import syscalls as sc
from labsupport.linux.confining import bound_capabilities, join_groups, load_filters
from labsupport.linux.light import signal
from labsupport.linux.messages import Failure, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


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
    """In the child: finish the set-up, tell what was done, and turn into the program.

    `fds`: standard input, output and error, the status pipe (the holder's), the pipe of this
    report, and the `cgroup.procs` files of the cgroup to join.
    """
    report = fds[4]
    try:
        join_groups(fds[5:], request["cgroups"])
        enter()
        for target, fd in enumerate(fds[:3]):
            os.dup2(fd, target)
        argv, kept = request["argv"], request["keep_caps"]
        if kept is not None:
            bound_capabilities(kept)
        if not argv:
            os.write(report, marshal.dumps({"calls": sc.take_notes()}))
            load_filters(request["filters"])
            if kept is not None:
                sc.capset(kept, kept, 0)
            os.closerange(3, 1 << 20)  # there is no exec to do it
            idle_init()
        with Stage("enter the working folder"):
            os.chdir(request["cwd"])
        for program in request["filters"]:
            sc.note(f"seccomp(SECCOMP_SET_MODE_FILTER, {len(program) // 8} instructions)")
        sc.note(f"execve({quoted(argv[0])}, [{', '.join(map(quoted, argv))}])")
        # told before the filter holds: it may well forbid to write
        os.write(report, marshal.dumps({"calls": sc.take_notes()}))
        load_filters(request["filters"])
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
    """Be an ordinary user, without privileges, and nobody else any more; setresuid(2)."""
    os.setgroups([])
    sc.note("setgroups(0, NULL) = 0")
    os.setresgid(uid, uid, uid)
    sc.note(f"setresgid({uid}, {uid}, {uid}) = 0")
    os.setresuid(uid, uid, uid)
    sc.note(f"setresuid({uid}, {uid}, {uid}) = 0")
    sc.prctl(sc.PR_SET_DUMPABLE, 1)  # else our own /proc/self would belong to root from here on


def set_clocks(offsets: dict[str, int]) -> None:
    """Set the clocks of the time namespace that our children will be in; time_namespaces(7)."""
    fd = os.open("/proc/self/timens_offsets", os.O_WRONLY)
    try:
        for clock, seconds in offsets.items():
            sc.note(f'write("/proc/self/timens_offsets", "{clock} {seconds} 0")')
            os.write(fd, f"{clock} {seconds} 0".encode())
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
