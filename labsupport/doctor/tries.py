"""What a machine may be able to do: for each capability its words, and how it is tried for real.

A process without CAP_SYS_ADMIN first gets it in a user namespace of its own, as by `unshare -Ur`.
See namespaces(7) and user_namespaces(7).
"""

import contextlib
import fcntl
import gc
import json
import os
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EPERM
from functools import cache, partial
from pathlib import Path

from labsupport.doctor import addresses, guest, runner
from labsupport.doctor.runner import Batch, Failed, Refused, inside, run, step
from labsupport.kernel import proc, refusals
from labsupport.kernel import syscalls as sc
from labsupport.kernel.mounts import CONTROL, V1_NAME, Hierarchy, cgroup_mounts, find, words


@contextlib.contextmanager
def _child(run_there: Callable[[], object]) -> Iterator[int]:
    """Fork a child that runs a function and ends; it is killed at the end of the block."""
    us, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            sc.end_with(us)
            run_there()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# Each kind of namespace, made and used; and one file system laid over another.

SCRATCH = "/tmp"  # noqa: S108 (only covered by a tmpfs of our own, in our own mount namespace)

# linux/if.h, bits/ioctls.h
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


_half_way: list[Failed] = []
"""Why this process could not become root in a user namespace, though it is in one by now."""


@cache
def _clone() -> None:
    """Fork as a sandbox's helper processes do, once in each child of ours."""
    with step(refusals.WATCH_A_PROCESS):
        pid, pidfd = sc.clone3()
        if pid == 0:
            os._exit(0)
        os.close(pidfd)
        os.waitpid(pid, 0)


def enter(flags: int, words: str) -> None:
    """Move this child into new namespaces, by way of a user namespace if it has to be."""
    _clone()
    if _half_way or not proc.has_capability(proc.CAP_SYS_ADMIN):
        enter_user_namespace()
    with step(words):
        sc.unshare(flags)


def enter_user_namespace() -> None:
    """Become root in a user namespace in which only our own number is mapped.

    Where that fails half way, this process ends up with capabilities that mean nothing, and says
    the same again when it is asked again.
    """
    if _half_way:
        raise _half_way[0]
    uid, gid = os.geteuid(), os.getegid()
    try:
        with step("making a user namespace"):
            sc.unshare(sc.CLONE_NEWUSER)
        with step("becoming root in a user namespace"):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except Failed as no:
        _half_way.append(no)
        raise


def make_mounts_private() -> None:
    """Keep what we mount from spreading; also the first thing AppArmor refuses."""
    with step("making mounts private"):
        sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)


def user() -> str:
    """A user namespace, and rights that count in it."""
    _clone()
    enter_user_namespace()
    with step("using a capability in a user namespace"):
        sc.unshare(sc.CLONE_NEWUTS)
        sc.sethostname("probe")
    return "root in a user namespace of our own"


def pid() -> str:
    """A PID namespace whose first process sees itself as 1 in a /proc of its own."""
    enter(sc.CLONE_NEWPID | sc.CLONE_NEWNS, "making a PID and a mount namespace")
    return inside(_first_process)


def _first_process() -> str:
    make_mounts_private()
    with step(refusals.MOUNT_PROC):
        sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    seen = (os.getpid(), os.readlink("/proc/self"))
    if seen != (1, "1"):
        raise Refused(f"the first process of a PID namespace saw itself as {seen}, not as 1")
    return "PID 1, with its own /proc"


def mount() -> str:
    """A mount namespace in which a tmpfs can be mounted."""
    enter(sc.CLONE_NEWNS, "making a mount namespace")
    make_mounts_private()
    with step("mounting a tmpfs"):
        sc.mount("tmpfs", SCRATCH, "tmpfs")
    if os.listdir(SCRATCH):
        raise Refused("a tmpfs was mounted, but the old files were still seen")
    return "a tmpfs of our own"


def net() -> str:
    """A network namespace in which loopback can be brought up."""
    enter(sc.CLONE_NEWNET, "making a network namespace")
    with step("bringing up loopback"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        fcntl.ioctl(any_, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
        answer = fcntl.ioctl(any_, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
    if not struct.unpack("16sh22x", answer)[1] & IFF_UP:
        raise Refused("loopback stayed down in a new network namespace")
    return "own loopback"


def uts() -> str:
    """A UTS namespace with a host name of its own."""
    enter(sc.CLONE_NEWUTS, "making a UTS namespace")
    with step("setting a host name"):
        sc.sethostname("probe")
    if os.uname().nodename != "probe":
        raise Refused("the host name did not change in a new UTS namespace")
    return "own host name"


def ipc() -> str:
    """An IPC namespace: another inode than ours."""
    before = os.readlink("/proc/self/ns/ipc")
    enter(sc.CLONE_NEWIPC, "making an IPC namespace")
    if os.readlink("/proc/self/ns/ipc") == before:
        raise Refused("unshare succeeded, but the IPC namespace stayed the same")
    return "own message queues"


def cgroup_namespace() -> str:
    """A cgroup namespace: our own group looks like the root of the tree."""
    enter(sc.CLONE_NEWCGROUP, "making a cgroup namespace")
    paths = {line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    if paths - {"/"}:
        raise Refused(f"in a new cgroup namespace our group is {sorted(paths)}, not /")
    return "own root of the cgroup tree"


def clock() -> str:
    """A time namespace whose monotonic clock is a day ahead; time_namespaces(7)."""
    enter(sc.CLONE_NEWTIME, "making a time namespace")
    with step("setting the clock of a time namespace"):
        Path("/proc/self/timens_offsets").write_text("monotonic 86400 0")
    before = time.monotonic()

    def one_day_ahead() -> str:
        ahead = time.monotonic() - before
        if not 86400 <= ahead < 2 * 86400:
            raise Refused(f"the clock in a new time namespace is {ahead:.0f} s ahead, not a day")
        return "own monotonic clock"

    return inside(one_day_ahead)


def overlay() -> str:
    """An overlay mount: a change goes to the upper layer, the lower one stays as it was."""
    enter(sc.CLONE_NEWNS, "making a mount namespace")
    make_mounts_private()
    with step("mounting a tmpfs"):
        sc.mount("tmpfs", SCRATCH, "tmpfs")
    lower, upper, work, merged = (Path(SCRATCH, n) for n in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        folder.mkdir()
    (lower / "file").write_text("lower")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if os.stat("/proc/self/ns/user").st_ino != sc.PROC_USER_INIT_INO:
        options += ",userxattr"
    with step(refusals.MOUNT_OVERLAY):
        sc.mount("overlay", str(merged), "overlay", 0, options)
    with step("copying a file up in an overlay"):
        (merged / "file").write_text("upper")
    if ((lower / "file").read_text(), (upper / "file").read_text()) != ("lower", "upper"):
        raise Refused("an overlay did not copy a changed file up")
    return "copy-up works"


# Can links be made and packets be filtered? Tried in a network namespace that ends with the child.


def links() -> str:
    """A pair of veth links in a network namespace of our own."""
    pair = ["link", "add", "probe-a", "type", "veth", "peer", "name", "probe-b"]
    said = _in_a_network("ip", "iproute2", *pair)
    if not {"probe-a", "probe-b"} <= {name for _, name in socket.if_nameindex()}:
        remedy = "sudo modprobe veth, or a kernel with CONFIG_VETH"
        raise Refused(
            f"ip cannot make a veth pair: {said or 'nothing, and it is not there'}", remedy
        )
    return "veth pair made"


def nftables() -> str:
    """A table added by nft(8) in a network namespace of our own."""
    said = _in_a_network("nft", "nftables", "add table inet probe; list tables")
    if "table inet probe" not in said:
        reason = f"nft cannot add a table: {said or 'nothing, and the table is not there'}"
        raise Refused(reason, "a kernel with CONFIG_NF_TABLES and _NF_TABLES_INET")
    return "table added by nft"


def _in_a_network(program: str, package: str, *arguments: str) -> str:
    """Run a program in a new network namespace; return what it says, or how it complains."""
    import subprocess

    found = shutil.which(program)
    if found is None:
        install = refusals.gather().install(package, program)
        raise Refused(f"the program {program} is not installed", install)
    enter(sc.CLONE_NEWNET, "making a network namespace")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    return (done.stderr if done.returncode else done.stdout).partition("\n")[0]


# Can a system call be filtered, and can a live process's filter be read? seccomp(2), ptrace(2).

# linux/bpf_common.h and linux/seccomp.h
_LD_W_ABS, _JEQ, _RET = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

# getpgid(2): it never fails by itself when asked about the caller
_NR_GETPGID = {"x86_64": 121, "aarch64": 155, "i686": 132}


def _deny_getpgid() -> None:
    number = _NR_GETPGID.get(os.uname().machine)
    if number is None:
        raise Refused(f"the probe has no system call numbers for {os.uname().machine}")
    program = [(_LD_W_ABS, 0, 0, 0), (_JEQ, 0, 1, number), (_RET, 0, 0, _ERRNO | EPERM)]
    program.append((_RET, 0, 0, _ALLOW))
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    with step("loading a seccomp filter"):
        sc.seccomp_set_filter(b"".join(struct.pack("HBBI", *line) for line in program))


def seccomp() -> str:
    """A filter that denies one call, and the call then really fails."""
    _deny_getpgid()
    try:
        os.getpgid(0)
    except PermissionError:
        return "a filter denied a call"
    raise Refused("a seccomp filter was loaded, but the call it denies succeeded")


def read_filter() -> str:
    """The instructions of a filter that another process runs under."""
    ready, tell = os.pipe()

    def wait_under_a_filter() -> None:
        _deny_getpgid()
        os.write(tell, b"1")
        signal.pause()

    with _child(wait_under_a_filter) as pid:
        os.close(tell)
        if not os.read(ready, 1):
            raise Refused("a child could not load a seccomp filter, so there is none to read")
        with step("attaching to a child with ptrace"):
            sc.ptrace(sc.PTRACE_SEIZE, pid)
            sc.ptrace(sc.PTRACE_INTERRUPT, pid)
        os.waitpid(pid, 0)
        with step(refusals.READ_FILTER):
            count = sc.ptrace(sc.PTRACE_SECCOMP_GET_FILTER, pid)
    return f"read back {count} instructions"


# Can a program of ours in the kernel see every system call? bpf(2), bpftrace(8).

_TRACING = Path("/sys/kernel/tracing")
_RETURN_ZERO = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)  # linux/bpf.h


def trace_calls() -> str:
    """A program at every system call, and what bpftrace needs to write a better one."""
    if lacking := [program for program in ("bpftrace", "bpftool") if not shutil.which(program)]:
        known = refusals.gather()
        remedy = known.install(" ".join(lacking), lacking[0])
        then = "; then run ./lab as root" if known.euid else ""
        raise Refused(f"not installed: {', '.join(lacking)}", f"{remedy}{then}")
    with step(refusals.TRACE_CALLS):
        os.close(sc.bpf_raw_tracepoint("sys_enter", _RETURN_ZERO))
    if not Path("/sys/kernel/btf/vmlinux").exists():
        remedy = "a kernel with CONFIG_DEBUG_INFO_BTF"
        raise Refused("this kernel does not describe its own structures (BTF)", remedy)
    enter(sc.CLONE_NEWNS, "making a mount namespace")
    make_mounts_private()
    if not (_TRACING / "events").exists():
        with step("mounting tracefs"):
            sc.mount("tracefs", str(_TRACING), "tracefs")
    return "seen by a program of ours"


# Can we limit memory, CPU, processes and disk traffic, in cgroup v1 or v2? cgroups(7). A group is
# made below a writable parent, its limit is set and read back, a child is put into it, and the
# group is removed. Our own process never moves.


_CONFIG = {"memory": "MEMCG", "cpu": "CFS_BANDWIDTH", "pids": "CGROUP_PIDS", "io": "BLK_CGROUP"}
_LIMIT = {  # (version, controller): file, what is written; it must be read back the same
    (1, "memory"): ("memory.limit_in_bytes", "16777216"),
    (2, "memory"): ("memory.max", "16777216"),
    (1, "cpu"): ("cpu.cfs_quota_us", "20000"),
    (2, "cpu"): ("cpu.max", "20000 100000"),
    (1, "pids"): ("pids.max", "8"),
    (2, "pids"): ("pids.max", "8"),
    (1, "io"): ("blkio.throttle.read_bps_device", "{disk} 1048576"),
    (2, "io"): ("io.max", "{disk} rbps=1048576 wbps=max riops=max wiops=max"),
}


def parent_for(controller: str, place: Hierarchy) -> Path:
    """Return the nearest group above us below which this controller's limits can be set."""
    writable = [folder for folder in place.parents() if os.access(folder, os.W_OK)]
    for folder in writable:
        if place.version == 1 or controller in words(folder / "cgroup.subtree_control"):
            return folder
    raise why_no_parent(controller, place, writable, refusals.gather())


def why_no_parent(
    controller: str, place: Hierarchy, writable: list[Path], known: refusals.Facts
) -> Refused:
    """Explain why no group with this controller can be made."""
    if place.read_only:
        reason = f"cgroups are mounted read-only at {place.mount}, as in an ordinary container"
        remedy = "start the container with --privileged" if known.in_container else ""
        return Refused(reason, remedy)
    if not writable:
        remedy = (
            "systemd-run --user --scope -p Delegate=yes ./lab"
            if known.has_systemd_run and place.version == 2
            else "run ./lab as root"
        )
        return Refused(f"this user may not make groups below {place.own}", remedy)
    parent = writable[0]
    if words(parent / "cgroup.procs") and (parent / "cgroup.type").exists():
        return Refused(
            f"controller {controller} cannot be handed down below {parent}: the group has "
            "processes itself",
            f"move them to a group of their own below it, then: echo +{controller} > "
            f"{parent}/cgroup.subtree_control",
        )
    on = ", ".join(words(parent / "cgroup.subtree_control")) or "none"
    reason = f"controller {controller} is off below {parent} (on: {on})"
    return Refused(reason, f"as root: echo +{controller} > {parent}/cgroup.subtree_control")


@contextlib.contextmanager
def _new_group(parent: Path) -> Iterator[Path]:
    from labsupport.ownership import marks  # should we be killed, it is swept

    group = parent / f"{marks.prefix('probe')}group"
    with step(f"making a cgroup in {parent}"):
        group.mkdir()
    try:
        yield group
    finally:
        group.rmdir()


def limit(controller: str) -> str:
    """A limit of a controller, which is read back, and a child that may be put below it."""
    place = find(controller)
    if place is None:
        raise _why_no_hierarchy(controller)
    file, value = _LIMIT[place.version, controller]
    value = value.format(disk=_disk()) if "{disk}" in value else value
    with _new_group(parent_for(controller, place)) as group:
        there = group / file
        if not there.exists():
            option = f"a kernel with CONFIG_{_CONFIG[controller]}"
            raise Refused(f"this kernel's groups have no {file}", option)
        with step(f"setting {file}"):
            there.write_text(value)
        if (got := there.read_text().strip()) != value:
            raise Refused(f"{file} was set to {value}, but reads {got}")
        with _child(signal.pause) as pid:
            with step("putting a child into a new cgroup"):
                (group / "cgroup.procs").write_text(str(pid))
            if str(pid) not in words(group / "cgroup.procs"):
                raise Refused(f"a child was put into {group}, but is not listed there")
    return f"v{place.version}, {file}"


def _why_no_hierarchy(controller: str) -> Refused:
    lines = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    enabled = {name: flag == "1" for name, _, _, flag in lines}
    name = V1_NAME.get(controller, controller)
    if name not in enabled:
        reason = f"this kernel has no controller {controller}"
        return Refused(reason, f"a kernel with CONFIG_{_CONFIG[controller]}")
    if not enabled[name]:
        reason = f"the controller {controller} is switched off in the kernel's command line"
        return Refused(reason, f"remove cgroup_disable={name} there")
    for kind, _, point, _ in cgroup_mounts():
        if kind == "cgroup2":
            on = ", ".join(words(point / "cgroup.controllers")) or "none"
            reason = f"the controller {controller} is not handed down to {point} (there: {on})"
            remedy = f"outside, above that group: echo +{controller} > cgroup.subtree_control"
            return Refused(reason, remedy)
    remedy = refusals.gather().as_root("mount -t cgroup2 none /sys/fs/cgroup")
    return Refused(f"the controller {controller} is not mounted here", remedy)


def _disk() -> str:
    """Return a disk's number; the experiments make disks of their own, out of files."""
    if not os.access(CONTROL, os.R_OK | os.W_OK):
        reason = f"no disk can be made whose traffic could be limited: no {CONTROL}, or not ours"
        raise Refused(reason, no_loop_device(refusals.gather(), is_there=os.path.exists(CONTROL)))
    for device in sorted(Path("/sys/block").iterdir()):
        return (device / "dev").read_text().strip()
    raise Refused("there is no disk whose traffic could be limited")


def no_loop_device(known: refusals.Facts, *, is_there: bool) -> str:
    """Say how the experiments get at loop devices."""
    if known.in_container:
        return "start the container with --privileged"
    return "run ./lab as root" if is_there else known.as_root("modprobe loop")


def psi() -> str:
    """Pressure stall information for CPU, memory and disks can be read."""
    folder = Path("/proc/pressure")
    if not folder.exists():
        reason = "this kernel gives no pressure information (/proc/pressure is missing)"
        raise Refused(reason, "a kernel with CONFIG_PSI, started with psi=1")
    try:
        lines = [(folder / name).read_text() for name in ("cpu", "memory", "io")]
    except OSError as error:
        raise Refused(
            f"{error.filename} cannot be read: {error.strerror}", "start the kernel with psi=1"
        ) from error
    if not all(line.startswith("some avg10=") for line in lines):
        raise Refused(f"/proc/pressure holds something unknown: {lines[0]!r}")
    return "cpu, memory, io"


def browser() -> str:
    """A Chromium or Chrome that can be executed; it is started only by the browser tests."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    raise Refused(
        "neither chromium nor google-chrome is on the PATH", refusals.gather().install("chromium")
    )


@dataclass(frozen=True)
class Capability:
    """What it is in plain words, how it is tried, and what a refusal may be about.

    `kinds` are the namespaces that are made for it (mnt, pid, …), `option` is what a kernel must
    be configured with. Without `attempt` it is looked for where the Machine is made.
    """

    words: str
    attempt: Callable[[], str] | None
    kinds: tuple[str, ...] = ()
    option: str = ""


CAPABILITIES = {
    "ns.pid": Capability("PID namespaces: processes numbered from 1", pid, ("pid",), "PID_NS"),
    "ns.mount": Capability("mount namespaces: a separate tree of file systems", mount, ("mnt",)),
    "ns.net": Capability("network namespaces: separate links and ports", net, ("net",), "NET_NS"),
    "ns.uts": Capability("UTS namespaces: a separate host name", uts, ("uts",), "UTS_NS"),
    "ns.ipc": Capability("IPC namespaces: separate message queues", ipc, ("ipc",), "IPC_NS"),
    "ns.user": Capability("user namespaces: root inside, not outside", user, ("user",), "USER_NS"),
    "ns.cgroup": Capability(
        "cgroup namespaces: a separate root of the tree", cgroup_namespace, ("cgroup",), "CGROUPS"
    ),
    "ns.time": Capability("time namespaces: separate clocks", clock, ("time",), "TIME_NS"),
    "cgroup.memory": Capability("limits on memory", partial(limit, "memory")),
    "cgroup.cpu": Capability("limits on CPU time", partial(limit, "cpu")),
    "cgroup.pids": Capability("limits on the number of processes", partial(limit, "pids")),
    "cgroup.io": Capability("limits on disk traffic", partial(limit, "io")),
    "psi": Capability("pressure: how long work waits for CPU, memory, disks", psi),
    "net.admin": Capability("making links between networks (veth)", links, ("net",), "VETH"),
    "nftables": Capability("packet filters (nft)", nftables, ("net",), "NF_TABLES"),
    "overlay": Capability("layered file systems (overlayfs)", overlay, ("mnt",), "OVERLAY_FS"),
    "seccomp": Capability("filtering system calls (seccomp)", seccomp, option="SECCOMP_FILTER"),
    "seccomp.read": Capability(
        "reading the filter of a live process", read_filter, option="CHECKPOINT_RESTORE"
    ),
    "bpf.trace": Capability(
        "watching system calls in the kernel (eBPF)", trace_calls, option="FTRACE_SYSCALLS"
    ),
    "engine": Capability("a container engine (Docker or Podman)", addresses.engine),
    "engine.cli": Capability("the command docker, as typed in a terminal", addresses.command_line),
    "engine.compose": Capability("docker compose: several containers at once", addresses.compose),
    "engine.builds": Capability("builds on a whole Debian, with BuildKit", addresses.builds),
    "registry": Capability("a private image registry", addresses.registry),
    "vm": Capability("the Lab VM (User-Mode Linux)", None),
    "kvm": Capability("hardware virtualisation (KVM)", guest.kvm),
    "qemu": Capability("a virtual machine with a disk of its own (QEMU)", None),
    "browser": Capability("a browser for the tests (Chromium)", browser),
}
"""Every name after `# needs:`."""

# A fork costs 1 ms here and 45 ms in the Lab VM, so probes share a child unless one changes what
# the next would see: a seccomp filter stays, and so does a PID namespace for a process's children.
TOGETHER = (
    ("ns.mount", "overlay", "ns.uts", "ns.ipc", "ns.cgroup", "ns.net", "ns.time", "net.admin",
     "nftables", "bpf.trace"),
    *(("kvm",), ("ns.pid",), ("ns.user",), ("seccomp",), ("seccomp.read",)),
    ("cgroup.memory", "cgroup.cpu", "cgroup.pids", "cgroup.io"),
    ("psi", "browser", "engine", "engine.cli", "engine.compose",
     "engine.builds", "registry"),
)  # fmt: skip


ALONE = {"psi", "kvm", "engine.cli", "browser"}
"""What is used without a helper process of ours."""


def _watched(attempt: Callable[[], str]) -> str:
    """Try first what each helper process does: watch its owner."""
    with step(refusals.WATCH_A_PROCESS):
        os.close(os.pidfd_open(os.getpid()))
    return attempt()


def batches(kernel: str, limit: float) -> list[Batch]:
    """Return all probes, sorted into children; what waits longest for others goes first."""
    # a child has `limit` seconds, of which an engine gets half
    attempts = {name: each.attempt for name, each in CAPABILITIES.items() if each.attempt}
    attempts["engine"] = partial(addresses.engine, limit / 2)
    for name in attempts.keys() - ALONE:
        attempts[name] = partial(_watched, attempts[name])
    together = [{name: attempts[name] for name in names} for names in TOGETHER]
    vm = partial(_watched, partial(guest.vm, kernel))
    return [{"vm": vm}, *together] if kernel else together


def main(given: list[str]) -> None:
    """Take the kernel's path (or "") and the time of our start; write JSON."""
    kernel, began = given
    limit = runner.patience(time.monotonic() - float(began))
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o077)
    gc.freeze()  # a collection in a child would copy every page that it shares with us
    gc.disable()
    sys.stdout.write(json.dumps(run(batches(kernel, limit), limit)))
