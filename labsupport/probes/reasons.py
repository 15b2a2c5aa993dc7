"""Why the kernel said no, and what helps: from an errno and the machine's rules to two sentences.

Pure functions of `Facts`, so that every refusal can be tested on a machine that refuses nothing.
"""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ENODEV, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EROFS

from labsupport.probes.facts import Facts
from labsupport.probes.namespaces import MOUNT_OVERLAY, MOUNT_PROC
from labsupport.probes.network import MAKE_VETH
from labsupport.probes.seccomp import READ_FILTER
from labsupport.probes.vm import TRACE_A_CHILD

Answer = tuple[str, str]
"""The reason and the remedy."""

_KERNEL_OPTION = {
    "ns.pid": "PID_NS",
    "ns.net": "NET_NS",
    "ns.uts": "UTS_NS",
    "ns.ipc": "IPC_NS",
    "ns.user": "USER_NS",
    "ns.cgroup": "CGROUPS",
    "ns.time": "TIME_NS",
    "net.admin": "VETH",
    "nftables": "NF_TABLES",
    "overlay": "OVERLAY_FS",
    "seccomp": "SECCOMP_FILTER",
    "seccomp.read": "CHECKPOINT_RESTORE",
}
_LIMITED_KIND = {
    "ns.pid": "pid",
    "ns.mount": "mnt",
    "ns.net": "net",
    "ns.uts": "uts",
    "ns.ipc": "ipc",
    "ns.user": "user",
    "ns.cgroup": "cgroup",
    "ns.time": "time",
    "net.admin": "net",
    "nftables": "net",
    "overlay": "mnt",
}


def explain(capability: str, step: str, errno: int, known: Facts) -> Answer:
    """Return why `step` failed with `errno` while `capability` was tried, and a remedy."""
    if errno == ENOSPC and capability in _LIMITED_KIND:
        return _limit_reached(capability, step, known)
    if errno in (EPERM, EACCES):
        return _forbidden(capability, step, known)
    if errno in (EINVAL, ENOSYS, ENODEV, EOPNOTSUPP) and capability in _KERNEL_OPTION:
        return _not_in_this_kernel(capability, step, errno)
    return _said(step, errno), "mount it writable" if errno == EROFS else ""


def _said(step: str, errno: int) -> str:
    return f"{step} failed: {os.strerror(errno)}"


def _limit_reached(capability: str, step: str, known: Facts) -> Answer:
    """unshare(2): ENOSPC means a limit of `user.max_*_namespaces`."""
    kind = "user" if "user namespace" in step else _LIMITED_KIND[capability]
    zero = [name for name, value in known.namespace_limits.items() if value == 0]
    if zero and kind not in zero:
        kind = zero[0]  # several kinds were asked for in one call
    limit = known.namespace_limits.get(kind, 0)
    name = f"user.max_{kind}_namespaces"
    why = "nobody may make one" if limit == 0 else f"all {limit} are in use, or 32 are nested"
    return f"{step} failed: {name} is {limit}, {why}", known.as_root(f"sysctl -w {name}=10000")


def _forbidden(capability: str, step: str, known: Facts) -> Answer:
    if step == READ_FILTER:
        return _filter_not_for_us(known)
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
    if not known.privileged and capability in _LIMITED_KIND:
        return _no_user_namespace(step, known)
    if known.seccomp == 2:
        return _filtered(step, known)
    return f"{step} is forbidden, and no rule that this course knows explains it", _other_rules()


def _no_user_namespace(step: str, known: Facts) -> Answer:
    """Explain why an ordinary user has no rights even in a user namespace of its own."""
    if not known.userns_clone:
        return (
            "kernel.unprivileged_userns_clone is 0: only root may make user namespaces",
            known.as_root("sysctl -w kernel.unprivileged_userns_clone=1"),
        )
    if known.apparmor_restricts_userns:
        return (
            "AppArmor denies ordinary users all rights in a user namespace "
            "(kernel.apparmor_restrict_unprivileged_userns is 1, as on Ubuntu since 23.10)",
            known.as_root("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        )
    if known.seccomp == 2:
        return _filtered(step, known)
    return (
        f"{step} is forbidden to this user, and no rule that this course knows explains it",
        _other_rules(),
    )


def _filtered(step: str, known: Facts) -> Answer:
    where = "this container's" if known.in_container else "a"
    return (
        f"{step} is forbidden, most likely by {where} seccomp filter (Seccomp: 2 in "
        "/proc/self/status)",
        "start the container with --security-opt seccomp=unconfined" if known.in_container else "",
    )


def _filter_not_for_us(known: Facts) -> Answer:
    if known.seccomp:
        return (
            "reading filters is refused to a process that runs under one itself "
            "(Seccomp: 2 in /proc/self/status)",
            "start the container with --security-opt seccomp=unconfined"
            if known.in_container
            else "",
        )
    return (
        "only root (CAP_SYS_ADMIN outside of any user namespace) may read a live filter",
        "run ./lab as root",
    )


def _other_rules() -> str:
    return "look for what denied it: sudo dmesg | tail (AppArmor, SELinux), man 7 user_namespaces"


def _not_in_this_kernel(capability: str, step: str, errno: int) -> Answer:
    option = f"a kernel with CONFIG_{_KERNEL_OPTION[capability]}"
    if step in (MOUNT_OVERLAY, MAKE_VETH):
        module = "overlay" if step == MOUNT_OVERLAY else "veth"
        option = f"sudo modprobe {module}, or {option}"
    return f"this kernel cannot do it: {_said(step, errno)}", option
