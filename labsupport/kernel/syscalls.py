"""Every declaration and wrapper of a system call by ctypes; nothing else.

Constants have their header names. A wrapper raises `OSError(errno, text, path)`, and notes
the call as strace(1) would write it: `labsupport.trace` shows what was really done. Only the fast
modules of the standard library are imported: the helper processes of `labsupport.sandbox.holder`
load this file each time they start.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import c_char_p, c_int, c_long, c_uint32, c_uint64, c_ulong, c_ushort, c_void_p

# sched.h
CLONE_FILES = 0x00000400
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# sys/mount.h
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_GET_SECCOMP = 21
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

# linux/capability.h
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

# linux/seccomp.h
SECCOMP_MODE_FILTER = 2
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1

# linux/bpf.h
_BPF_PROG_LOAD = 5
_BPF_RAW_TRACEPOINT_OPEN = 17
_BPF_PROG_TYPE_RAW_TRACEPOINT = 17

# linux/ptrace.h
PTRACE_TRACEME = 0
PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_SECCOMP_GET_FILTER = 0x420C

# linux/nsfs.h
NS_GET_USERNS = 0xB701
NS_GET_PARENT = 0xB702
NS_GET_ID = 0x8008B70D  # since Linux 6.18

# sys/mman.h and malloc.h
PROT_READ = 1
PROT_WRITE = 2
MADV_POPULATE_WRITE = 23
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4

# sys/personality.h and sys/reboot.h
ADDR_NO_RANDOMIZE = 0x0040000
RB_POWER_OFF = 0x4321FEDC
RB_AUTOBOOT = 0x01234567

# linux/proc_ns.h: the inode numbers of the machine's own namespaces, always the same
PROC_USER_INIT_INO = 0xEFFFFFFD
PROC_PID_INIT_INO = 0xEFFFFFFC

# asm/unistd_64.h and asm-generic/unistd.h: these numbers differ between architectures
_NR_FINIT_MODULE = {"x86_64": 313, "aarch64": 273, "i686": 350}
_NR_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "i686": 217}
NR_EXECVE = {"x86_64": 59, "aarch64": 221, "i686": 11}
_NR_CLONE = {"x86_64": 56, "aarch64": 220, "i686": 120}
_NR_SECCOMP = {"x86_64": 317, "aarch64": 277, "i686": 354}
_NR_BPF = {"x86_64": 321, "aarch64": 280, "i686": 357}
# and these are the same on all
_NR_CLONE3 = 435

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_libc.umount2.argtypes = (c_char_p, c_int)
_libc.unshare.argtypes = (c_int,)
_libc.setns.argtypes = (c_int, c_int)
_libc.sethostname.argtypes = (c_char_p, c_ulong)
_libc.prctl.argtypes = (c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_libc.ptrace.argtypes = (c_long, c_long, c_void_p, c_void_p)
_libc.ptrace.restype = c_long
_libc.syscall.restype = c_long
_libc.malloc.restype = c_void_p


class CloneArgs(ctypes.Structure):
    """`struct clone_args` of clone3(2), version 2."""

    _names = (
        "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size "
        "cgroup"
    )
    _fields_ = [(name, c_uint64) for name in _names.split()]


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_noted: list[str] = []


def note(call: str) -> None:
    """Remember a system call."""
    _noted.append(call)


def take_notes() -> list[str]:
    """Return the calls made since the last `take_notes()`, and forget them."""
    taken = _noted[:]
    _noted.clear()
    return taken


# made once: each forked helper that walked through all globals would copy their pages
_CONSTANTS = {
    prefix: {value: name for name, value in list(globals().items()) if name.startswith(prefix)}
    for prefix in ("CLONE_", "CLONE_NEW", "MS_", "MNT_", "PR_", "PROT_", "PTRACE_")
}


def _names(value: int, prefix: str) -> str:
    """Write flags as a C programmer would: `CLONE_NEWNS|CLONE_NEWPID`."""
    known = _CONSTANTS[prefix]
    return "|".join(known[flag] for flag in sorted(known) if flag and value & flag == flag) or "0"


def _check(result: int, call: str, path: str | None = None) -> int:
    if result != -1:
        note(f"{call} = {result}")
        return result
    number = ctypes.get_errno()
    note(f"{call} = -1 ({os.strerror(number)})")
    raise OSError(number, f"{call.partition('(')[0]}: {os.strerror(number)}", path)


def clone3(flags: int = 0, *, exit_signal: int = 17) -> tuple[int, int]:
    """Fork with new namespaces, in a process that has one thread; clone3(2).

    Returns `(pid, pidfd)` in the parent and `(0, -1)` in the child.
    """
    pidfd = c_int(-1)
    args = CloneArgs(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd))
    args.exit_signal = exit_signal
    pid = _libc.syscall(c_long(_NR_CLONE3), ctypes.byref(args), c_ulong(ctypes.sizeof(CloneArgs)))
    if pid == 0:
        return 0, -1
    return _check(pid, f"clone3({_names(args.flags, 'CLONE_')})"), pidfd.value


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones; unshare(2)."""
    _check(_libc.unshare(flags), f"unshare({_names(flags, 'CLONE_NEW')})")


def setns(fd: int, flags: int = 0) -> None:
    """Enter the namespace (or those of the pidfd) that `fd` stands for; setns(2)."""
    _check(_libc.setns(fd, flags), f"setns({fd}, {_names(flags, 'CLONE_NEW')})")


def mount(
    source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None
) -> None:
    """Attach a file system, or change an attached one; mount(2)."""
    shown = ", ".join(f'"{text}"' if text else "NULL" for text in (source, target, fstype))
    call = f"mount({shown}, {_names(flags, 'MS_')}" + (f', "{data}")' if data else ")")
    raw = [os.fsencode(text) if text else None for text in (source, target, fstype, data)]
    _check(_libc.mount(raw[0], raw[1], raw[2], flags, raw[3]), call, target)


def umount2(target: str, flags: int = 0) -> None:
    """Detach a file system; umount2(2)."""
    _check(
        _libc.umount2(os.fsencode(target), flags),
        f'umount2("{target}", {_names(flags, "MNT_")})',
        target,
    )


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root, and hang the old one at `put_old`; pivot_root(2)."""
    number = _NR_PIVOT_ROOT[os.uname().machine]
    result = _libc.syscall(
        c_long(number), c_char_p(os.fsencode(new_root)), c_char_p(os.fsencode(put_old))
    )
    _check(result, f'pivot_root("{new_root}", "{put_old}")', new_root)


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace; sethostname(2)."""
    raw = os.fsencode(name)
    _check(_libc.sethostname(raw, len(raw)), f'sethostname("{name}")')


def prctl(option: int, argument: int = 0) -> int:
    """Operate on the calling thread; prctl(2)."""
    call = f"prctl({_CONSTANTS['PR_'][option]}, {argument})"
    return _check(_libc.prctl(option, argument, 0, 0, 0), call)


def end_with(parent: int, number: int = 9) -> None:
    """Get a signal (SIGKILL) when `parent`, who forked us, ends; end at once if it has.

    PR_SET_PDEATHSIG(2const) knows nothing of a death before the call; nor do we of a parent in
    another PID namespace, whose number is 0.
    """
    prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() not in (parent, 0):
        os._exit(1)


def set_name(name: str) -> None:
    """Name the calling thread, at most 15 bytes, as ps(1) shows it; prctl(2)."""
    raw = c_char_p(os.fsencode(name))  # not a buffer, whose type would be made just for its length
    address = ctypes.cast(raw, c_void_p).value or 0
    _check(_libc.prctl(PR_SET_NAME, address, 0, 0, 0), f'prctl(PR_SET_NAME, "{name}")')


def drop_from_bounding_set(kept: int) -> None:
    """Drop every capability whose bit is not in `kept`; PR_CAPBSET_DROP in prctl(2)."""
    dropped = 0
    number = 0
    while _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) != -1:  # -1: the kernel knows no more
        if not kept >> number & 1:
            result = _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
            if result == -1:
                _check(result, f"prctl(PR_CAPBSET_DROP, {number})")
            dropped += 1
        number += 1
    note(f"prctl(PR_CAPBSET_DROP, ...) = 0, for {dropped} of {number} capabilities")


class CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct` of linux/capability.h."""

    _fields_ = [("version", c_uint32), ("pid", c_int)]


def capget(pid: int = 0) -> tuple[int, int, int]:
    """Return the effective, permitted and inheritable sets of a thread, as bits; capget(2)."""
    header = CapabilityHeader(_LINUX_CAPABILITY_VERSION_3, pid)
    data = (c_uint32 * 6)()
    _check(_libc.capget(ctypes.byref(header), data), f"capget({pid})")
    effective, permitted, inheritable = (data[i] | data[i + 3] << 32 for i in range(3))
    return effective, permitted, inheritable


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the calling thread's capability sets, given as bits; capset(2)."""
    header = CapabilityHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    sets = (effective, permitted, inheritable)
    low, high = [bits & 0xFFFFFFFF for bits in sets], [bits >> 32 for bits in sets]
    data = (c_uint32 * 6)(*low, *high)
    shown = ", ".join(f"{bits:#x}" for bits in sets)
    _check(_libc.capset(ctypes.byref(header), data), f"capset({shown})")


class SockFprog(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h: how many instructions, and where they are."""

    _fields_ = [("len", c_ushort), ("filter", c_char_p)]


def seccomp_set_filter(program: bytes) -> None:
    """Put this thread under a seccomp filter, for good; PR_SET_SECCOMP in prctl(2).

    `program` is an array of `struct sock_filter`, 8 bytes each. It takes PR_SET_NO_NEW_PRIVS first,
    or CAP_SYS_ADMIN.
    """
    count = len(program) // 8
    argument = SockFprog(count, program)
    _check(
        _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(argument), 0, 0),
        f"prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, {{{count} instructions}})",
    )


def seccomp_new_listener(program: bytes) -> int:
    """Put this thread under a filter and return the descriptor that its notifications come to.

    SECCOMP_FILTER_FLAG_NEW_LISTENER in seccomp(2). The descriptor is closed at execve.
    """
    argument = SockFprog(len(program) // 8, program)
    number = _NR_SECCOMP[os.uname().machine]
    result = _libc.syscall(
        c_long(number), c_ulong(SECCOMP_SET_MODE_FILTER),
        c_ulong(SECCOMP_FILTER_FLAG_NEW_LISTENER), ctypes.byref(argument),
    )  # fmt: skip
    call = "seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, "
    return _check(result, f"{call}{{{len(program) // 8} instructions}})")


def bpf_raw_tracepoint(name: str, program: bytes) -> int:
    """Load a program, hang it on a raw tracepoint, and return the descriptor that holds it; bpf(2).

    `program` is an array of `struct bpf_insn`, 8 bytes each.
    """
    code, licence, place = map(ctypes.create_string_buffer, (program, b"GPL", name.encode()))
    head = _BPF_PROG_TYPE_RAW_TRACEPOINT | len(program) // 8 << 32  # two fields of 32 bits
    loaded = _bpf(_BPF_PROG_LOAD, head, ctypes.addressof(code), ctypes.addressof(licence))
    try:
        return _bpf(_BPF_RAW_TRACEPOINT_OPEN, ctypes.addressof(place), loaded)
    finally:
        os.close(loaded)


def _bpf(command: int, *fields: int) -> int:
    """Give the beginning of a `union bpf_attr`, in fields of 64 bits; the rest is zero."""
    attributes = (c_uint64 * len(fields))(*fields)
    size = c_uint32(ctypes.sizeof(attributes))
    number = c_long(_NR_BPF[os.uname().machine])
    result = _libc.syscall(number, c_int(command), ctypes.byref(attributes), size)
    return _check(result, f"bpf({command})")


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    """Observe or control another process; ptrace(2)."""
    shown = _CONSTANTS["PTRACE_"][request]
    result = _libc.ptrace(request, pid, address, data)
    return _check(result, f"ptrace({shown}, {pid}, {address}, {data})")


def seccomp_get_filter(pid: int, index: int) -> bytes:
    """Return a filter of a stopped tracee, the oldest has index 0; ptrace(2).

    It is an array of `struct sock_filter`, 8 bytes each.
    """
    count = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index)
    program = ctypes.create_string_buffer(8 * count)
    ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, ctypes.addressof(program))
    return program.raw


def fork_sharing_files() -> int:
    """Fork; parent and child share their table of descriptors until execve. clone(2).

    For a process with one thread. Not by clone3(2), which filters often refuse: they cannot look
    at its arguments.
    """
    number = _NR_CLONE[os.uname().machine]
    arguments = (c_ulong(CLONE_FILES | 17), *[c_ulong(0)] * 4)  # 17: SIGCHLD when it ends
    return _check(_libc.syscall(c_long(number), *arguments), "clone(CLONE_FILES|SIGCHLD)")


def raw_call(number: int, arguments: Iterable[int | bytes]) -> tuple[int, int]:
    """Make any system call by its number; return its result, and errno if that is -1.

    An argument is a number, or bytes whose address is handed over.
    """
    ctypes.set_errno(0)
    converted = [c_ulong(a) if isinstance(a, int) else c_char_p(a) for a in arguments]
    result = _libc.syscall(c_long(number), *converted)
    return result, ctypes.get_errno() if result == -1 else 0


def refused_call(number: int) -> int:
    """Make a system call with arguments that none accepts (all -1), and return its errno."""
    return raw_call(number, [2**64 - 1] * 6)[1]


def personality(persona: int) -> int:
    """Set the process's execution domain; personality(2). Returns the old one."""
    return _check(_libc.personality(c_ulong(persona)), f"personality({persona:#x})")


def finit_module(fd: int) -> None:
    """Load the kernel module whose file is open as `fd`; finit_module(2)."""
    number = _NR_FINIT_MODULE[os.uname().machine]
    _check(_libc.syscall(c_long(number), c_int(fd), b"", c_int(0)), f"finit_module({fd})")


def power_off() -> None:
    """Write everything out and switch this machine off; reboot(2). For a guest's first process."""
    if os.getpid() != 1:
        raise PermissionError("only the first process of a guest may power it off")
    os.sync()
    _check(_libc.reboot(c_int(RB_POWER_OFF)), "reboot(RB_POWER_OFF)")


def restart_pid_namespace() -> None:
    """Have the kernel end this PID namespace as if it were a machine that restarts; reboot(2).

    Only in a new PID namespace of a new user namespace: in the machine's own it would be the
    machine that restarts, and is not done.
    """
    for kind, initial in (("pid", PROC_PID_INIT_INO), ("user", PROC_USER_INIT_INO)):
        if os.stat(f"/proc/self/ns/{kind}").st_ino == initial:
            raise PermissionError(f"this is the machine's own {kind} namespace: no reboot here")
    _check(_libc.reboot(c_int(RB_AUTOBOOT)), "reboot(RB_AUTOBOOT)")


def mallopt(parameter: int, value: int) -> None:
    """Adjust the C library's allocator; mallopt(3)."""
    if not _libc.mallopt(c_int(parameter), c_int(value)):
        raise OSError(errno.EINVAL, f"mallopt({parameter}, {value})")


def malloc(size: int) -> int:
    """Allocate memory and return its address; malloc(3)."""
    address = _libc.malloc(c_ulong(size))
    if not address:
        raise MemoryError(size)
    return int(address)


def free(address: int) -> None:
    """Give memory back to the allocator; free(3)."""
    _libc.free(c_void_p(address))


def madvise(address: int, size: int, advice: int) -> None:
    """Give advice on the use of memory; madvise(2)."""
    result = _libc.madvise(c_void_p(address), c_ulong(size), c_int(advice))
    _check(result, f"madvise({address:#x}, {size}, {advice})")


def mprotect(address: int, size: int, protection: int) -> None:
    """Set the protection of memory; mprotect(2)."""
    result = _libc.mprotect(c_void_p(address), c_ulong(size), c_int(protection))
    _check(result, f"mprotect({address:#x}, {size}, {_names(protection, 'PROT_')})")
