"""Why the kernel said no, and what helps: from an errno and the machine's rules to two sentences.

`gather()` reads the rules; `explain()` is a pure function of them, so that every refusal can be
tested on a machine that refuses nothing.
"""

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from errno import EACCES, EINVAL, ENODEV, ENOENT, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EROFS
from pathlib import Path

from labsupport.kernel import proc
from labsupport.kernel.proc import CAP_SYS_ADMIN

_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")

# steps whose refusal has reasons of its own
MOUNT_PROC = "mounting a fresh /proc"
MOUNT_OVERLAY = "mounting an overlay"
READ_FILTER = "reading the filter of a live process"
TRACE_A_CHILD = "tracing a child with ptrace"
TRACE_CALLS = "hanging a program on every system call (bpf)"
WATCH_A_PROCESS = "watching a process (pidfd_open, clone3)"

Answer = tuple[str, str]
"""The reason and the remedy."""


@dataclass(frozen=True)
class Facts:
    """Read once per probing; see proc(5), sysctl user.* in namespaces(7), apparmor_parser(8)."""

    euid: int = 0
    capabilities: int = 0
    """The effective set, as the bits of `CapEff`."""
    seccomp: int = 0
    """0 none, 1 strict, 2 a filter."""
    in_container: bool = False
    in_vm: bool = False
    proc_masked: bool = False
    """Something is mounted over parts of /proc, as container engines do."""
    apparmor_restricts_userns: bool = False
    bpf_disabled: str | None = None
    """kernel.unprivileged_bpf_disabled: 0 no, 1 for good, 2 until root allows it."""
    userns_clone: bool = True
    """Debian's own switch, kernel.unprivileged_userns_clone."""
    namespace_limits: dict[str, int] = field(default_factory=dict)
    """`user.max_KIND_namespaces` by kind: user, mnt, pid, …"""
    has_apt: bool = False
    has_sudo: bool = False
    has_systemd: bool = False
    has_systemd_run: bool = False

    @property
    def privileged(self) -> bool:
        """Whether namespaces can be made without a user namespace around them."""
        return bool(self.capabilities >> CAP_SYS_ADMIN & 1)

    def as_root(self, command: str) -> str:
        """Write a command so that this user can type it."""
        if self.euid == 0:
            return command
        return f"sudo {command}" if self.has_sudo else f"{command} (as root)"

    def install(self, package: str, program: str = "") -> str:
        """Say how a missing package is installed here; `package` is Debian's name."""
        if self.has_apt and self.in_vm:
            return f"outside of the Lab VM, as root: apt-get install {package}; then start it again"
        if self.has_apt:
            return self.as_root(f"apt-get install {package}")
        what = f"the program {program}" if program else f"what Debian calls {package}"
        return f"install {what} with this system's package manager"

    def start(self, service: str) -> str:
        """Say how a system service is started here."""
        command = f"systemctl start {service}" if self.has_systemd else f"service {service} start"
        return self.as_root(command)


def gather() -> Facts:
    """Read the facts of this process and machine."""
    status = proc.status()
    return Facts(
        euid=os.geteuid(),
        capabilities=int(status.get("CapEff", "0"), 16),
        seccomp=int(status.get("Seccomp", "0")),
        in_container=any(Path(mark).exists() for mark in _CONTAINER_MARKS),
        in_vm=os.environ.get("LAB_IN_VM") == "1",
        proc_masked=any(
            point.startswith("/proc/") and point != "/proc/sys/fs/binfmt_misc"
            for point in (fields[4] for fields, *_ in proc.mount_table())
        ),
        apparmor_restricts_userns=_sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1",
        bpf_disabled=_sysctl("kernel/unprivileged_bpf_disabled"),
        userns_clone=_sysctl("kernel/unprivileged_userns_clone") != "0",
        namespace_limits={
            kind: int(value)
            for kind in ("user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time")
            if (value := _sysctl(f"user/max_{kind}_namespaces")) is not None
        },
        has_apt=shutil.which("apt-get") is not None,
        has_sudo=shutil.which("sudo") is not None,
        has_systemd=Path("/run/systemd/system").exists(),
        has_systemd_run=shutil.which("systemd-run") is not None
        and Path(f"/run/user/{os.getuid()}/systemd").exists(),
    )


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:  # this kernel does not have it
        return None


def explain(
    step: str, errno: int, known: Facts, kinds: Collection[str] = (), option: str = ""
) -> Answer:
    """Return why `step` failed with `errno`, and a remedy.

    `kinds` are the namespaces that were to be made (mnt, pid, …), and `option` is what a kernel
    must be configured with for it, without CONFIG_.
    """
    failed = f"{step} failed: {os.strerror(errno)}"
    if step == WATCH_A_PROCESS:
        takes = "it takes Linux 5.3 or newer, and a container's seccomp filter that knows of it"
        return f"{failed}: {takes}", _unconfined(known) if known.seccomp else "a newer kernel"
    if errno == ENOSPC and kinds:
        return _limit_reached(step, kinds, known)
    if errno in (EPERM, EACCES):
        return _forbidden(step, kinds, known)
    if errno in (EINVAL, ENOENT, ENOSYS, ENODEV, EOPNOTSUPP) and option:
        load = "sudo modprobe overlay, or " if step == MOUNT_OVERLAY else ""
        return f"this kernel cannot do it: {failed}", f"{load}a kernel with CONFIG_{option}"
    return failed, "mount it writable" if errno == EROFS else ""


def _limit_reached(step: str, kinds: Collection[str], known: Facts) -> Answer:
    """unshare(2): ENOSPC means a limit of `user.max_*_namespaces`."""
    zero = [kind for kind, limit in known.namespace_limits.items() if limit == 0]
    wanted = ["user"] if "user namespace" in step else list(kinds)
    # several kinds may have been asked for in one call
    kind = next((kind for kind in (*wanted, *zero) if kind in zero), wanted[0])
    limit = known.namespace_limits.get(kind, 0)
    name = f"user.max_{kind}_namespaces"
    why = "nobody may make one" if limit == 0 else f"all {limit} are in use, or 32 are nested"
    return f"{step} failed: {name} is {limit}, {why}", known.as_root(f"sysctl -w {name}=10000")


def _forbidden(step: str, kinds: Collection[str], known: Facts) -> Answer:
    if step in (READ_FILTER, TRACE_CALLS):
        return _only_root_of_all(step, known)
    if step == TRACE_A_CHILD:
        return (
            "ptrace is forbidden here (Yama's kernel.yama.ptrace_scope, or a seccomp filter)",
            known.as_root("sysctl -w kernel.yama.ptrace_scope=1"),
        )
    if step == MOUNT_PROC and known.proc_masked:
        return (
            "parts of this container's /proc are covered, so the kernel refuses a fresh one",
            "start the container with --security-opt systempaths=unconfined",
        )
    if kinds and not known.privileged and (answer := _no_user_namespace(known)):
        return answer
    if known.seccomp == 2:
        return _filtered(step, known)
    who = " to this user" if kinds and not known.privileged else ""
    return (
        f"{step} is forbidden{who}, and no rule that this course knows explains it",
        "look for what denied it: sudo dmesg | tail (AppArmor, SELinux), man 7 user_namespaces",
    )


def _no_user_namespace(known: Facts) -> Answer | None:
    """Explain why ordinary users have no rights even in a user namespace of their own."""
    if not known.userns_clone:
        return (
            "kernel.unprivileged_userns_clone is 0: only root may make user namespaces",
            known.as_root("sysctl -w kernel.unprivileged_userns_clone=1"),
        )
    if known.apparmor_restricts_userns:
        return (
            "AppArmor denies ordinary users all rights in a user namespace "
            "(kernel.apparmor_restrict_unprivileged_userns is 1, as on Ubuntu since 24.04)",
            known.as_root("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        )
    return None


def _filtered(step: str, known: Facts) -> Answer:
    where = "this container's" if known.in_container else "a"
    return (
        f"{step} is forbidden, most likely by {where} seccomp filter (Seccomp: 2 in "
        "/proc/self/status)",
        _unconfined(known),
    )


def _only_root_of_all(step: str, known: Facts) -> Answer:
    if known.seccomp and step == READ_FILTER:
        return (
            "reading filters is refused to a process that runs under one itself "
            "(Seccomp: 2 in /proc/self/status)",
            _unconfined(known),
        )
    if known.seccomp:
        return _filtered(step, known)
    why = (
        "only root of the machine itself may watch everybody's system calls "
        f"(kernel.unprivileged_bpf_disabled is {known.bpf_disabled})"
    )
    if step == READ_FILTER:
        why = "only root (CAP_SYS_ADMIN outside of any user namespace) may read a live filter"
    return why, "run ./lab as root"


def _unconfined(known: Facts) -> str:
    if not known.in_container:
        return ""
    return "start the container with --security-opt seccomp=unconfined"
