"""The system calls of this kernel: numbers, names, and what they are about.

Names and numbers come from the kernel's own sources, by way of the package `system-calls`, which
follows each release. How far this kernel's table reaches is asked of the kernel.
"""

import errno
import functools
import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from labsupport.errors import LabError
from labsupport.kernel import syscalls as sc

GROUPS = {
    "mounts, namespaces": """
        mount umount2 pivot_root chroot unshare setns open_tree open_tree_attr move_mount fsopen
        fsconfig fsmount fspick mount_setattr statmount listmount listns sethostname
        setdomainname swapon swapoff""",
    "processes": """
        clone clone3 fork vfork execve execveat exit exit_group wait4 waitid getpid getppid gettid
        getpgrp getpgid setpgid getsid setsid kill tkill tgkill pidfd_open pidfd_send_signal
        pidfd_getfd ptrace process_vm_readv process_vm_writev process_madvise process_mrelease
        kcmp prctl arch_prctl personality set_tid_address get_robust_list set_robust_list futex
        futex_waitv futex_wake futex_wait futex_requeue rseq rseq_slice_yield membarrier
        rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo
        rt_sigsuspend rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause alarm restart_syscall
        modify_ldt set_thread_area get_thread_area map_shadow_stack uprobe uretprobe""",
    "scheduling and limits": """
        sched_yield sched_setparam sched_getparam sched_setscheduler sched_getscheduler
        sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setaffinity
        sched_getaffinity sched_setattr sched_getattr getpriority setpriority ioprio_set ioprio_get
        getrlimit setrlimit prlimit64 getrusage getcpu times""",
    "memory": """
        mmap mprotect munmap brk mremap msync mincore madvise mlock munlock mlockall munlockall
        mlock2 remap_file_pages mbind set_mempolicy get_mempolicy migrate_pages move_pages
        set_mempolicy_home_node memfd_create memfd_secret userfaultfd pkey_mprotect pkey_alloc
        pkey_free mseal""",
    "network": """
        socket connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown
        bind listen getsockname getpeername socketpair setsockopt getsockopt""",
    "messages (IPC)": """
        shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
        mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr""",
    "time": """
        nanosleep clock_nanosleep gettimeofday settimeofday time clock_gettime clock_settime
        clock_getres clock_adjtime adjtimex getitimer setitimer timer_create timer_settime
        timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime
        timerfd_gettime""",
    "users and privileges": """
        getuid getgid geteuid getegid setuid setgid setreuid setregid setresuid getresuid setresgid
        getresgid setfsuid setfsgid getgroups setgroups capget capset seccomp
        landlock_create_ruleset landlock_add_rule landlock_restrict_self
        lsm_get_self_attr lsm_set_self_attr lsm_list_modules add_key request_key keyctl""",
    "the machine": """
        reboot kexec_load kexec_file_load init_module finit_module delete_module bpf perf_event_open
        syslog acct iopl ioperm sysinfo uname sysfs getrandom vhangup""",
}  # fmt: skip
"""What calls are about: our own sorting. All others are about files, or too new to be here."""
FILES = "files, and others"

# linux/audit.h, by the name in uname(2); and what `system_calls` calls the architecture
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i686": 0x40000003}
_TABLES = {"x86_64": "x86_64", "aarch64": "arm64", "i686": "i386"}
BYPASS_SECCOMP = frozenset({"uprobe", "uretprobe"})
"""Not for programs: the kernel writes them into processes it probes, and lets no filter see them.

Whoever makes them without being probed is ended by a signal.
"""


def audit_arch() -> int:
    """Return the number by which filters know this architecture."""
    machine = os.uname().machine
    if machine not in AUDIT_ARCH:
        why = f"covered are {', '.join(sorted(AUDIT_ARCH))}"
        remedy = "use a machine with one of these processors"
        raise LabError(f"the system calls of {machine} are not covered", why, remedy)
    return AUDIT_ARCH[machine]


@functools.cache
def numbers() -> Mapping[str, int]:
    """Return {name: number} of this kernel's system calls, in the order of their numbers.

    The highest is found by calling downwards from the newest, with arguments such that every call
    refuses them at once. If we ourselves are under a filter, it may answer ENOSYS in the kernel's
    place: then the table ends where the filter's does.
    """
    found = dict(_published())
    while found:
        name, number = found.popitem()
        if name in BYPASS_SECCOMP or sc.refused_call(number) != errno.ENOSYS:
            found[name] = number
            break
    return found


@functools.cache
def names() -> Mapping[int, str]:
    """Return {number: name}."""
    return {number: name for name, number in numbers().items()}


def number_of(name: str) -> int:
    """Return the number of a system call.

    A call that is younger than this kernel has one, too: a filter may name it. Raises `LabError`.
    """
    published = _published()
    if name not in published:
        raise unknown("system call", name, published, "see syscalls(2) for the list: man syscalls")
    return published[name]


def unknown(what: str, name: str, known: Iterable[str], remedy: str) -> LabError:
    """Say that a thing has no such name, and which names come nearest."""
    close = get_close_matches(name, sorted(known), n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
    return LabError(f"there is no {what} {name!r}", hint, remedy)


@functools.cache
def group_of(name: str) -> str:
    """Return what a system call is about, such as "network"."""
    return next((group for group, members in GROUPS.items() if name in members.split()), FILES)


@functools.cache
def _published() -> dict[str, int]:
    """Every system call of the newest kernel that `system-calls` knows, by number."""
    import system_calls

    audit_arch()
    table = system_calls.syscalls().load_arch_table(_TABLES[os.uname().machine])
    return dict(sorted(table.items(), key=lambda item: item[1]))
