"""User-Mode Linux, the Lab VM's kernel: its command line, and what its death means."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from labsupport.doctor.guest import REMEDY, find_kernel, number_after, ptrace_forbidden
from labsupport.errors import LabError
from labsupport.ownership.marks import LEAN

# A guest that is not ready is waited for while it has its share of a CPU; a slow machine needs it.
BOOT_SECONDS, LEAST_SHARE, MOST_BOOT_SECONDS = 30.0, 0.01, 900.0
DISK = "/dev/ubda"

# Where a container finds how often its memory limit has killed. At the root of a machine there is
# no such file in version 2; in version 1 there is, and it counts nothing.
_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
# These start-up functions of the kernel are left out (a distribution's kernel has them all):
# measuring five ways to compute RAID 6 takes 0.85 s, and the control socket of mconsole wants
# a folder below HOME that a killed guest would leave behind.
_LEFT_OUT = ("make_umid_init", "mconsole_init", "raid6_select_algo")
QUICKLY = ("pty.legacy_count=0", "lpj=10000000", f"initcall_blacklist={','.join(_LEFT_OUT)}")
"""What makes it boot fast."""


def command(
    memory_bytes: int, line: int, share: Sequence[str], disk: int | None = None
) -> list[str]:
    """Return the command that boots a guest with its line and its disk on these descriptors."""
    # quotes are the kernel's own: it takes its command line apart at blanks
    return [
        str(find_kernel()),
        f"mem={memory_bytes // 1024}K",
        *("rootfstype=hostfs", "rootflags=/", "ro", "quiet"),
        *("con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{line}"),
        *([] if disk is None else [f"ubda=/proc/self/fd/{disk}"]),
        *QUICKLY,
        f'init="{Path(sys.executable).resolve()}"',
        "LAB_LINE=/dev/ttyS0",
        *("--", "-I", "-S", f'"{LEAN}"', "labsupport.vm.inside.init"),
    ]


# What a guest in a jail sees of this machine, besides the course, its Python and its kernel.
_SEEN = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_EMPTY = ("/home", "/root", "/run", "/sys", "/mnt", "/var/tmp")  # noqa: S108
COURSE = Path(__file__).parents[2]


def jail(bases: str) -> list[str]:
    """Return what, in front of that command, keeps a guest from the files of its user; bwrap(1).

    It sees the system's files, the course and the folder `bases`, and can write to none of them; no
    network, and no process but its own. Raises `LabError`.
    """
    if not (bwrap := shutil.which("bwrap")):
        why = "what keeps it from your own files is not installed (bubblewrap)"
        remedy = "sudo apt-get install bubblewrap"
        raise LabError("a stranger's code cannot be run here", why, remedy)
    places = {sys.prefix, sys.base_prefix, str(COURSE), str(find_kernel().parent), bases}
    seen = [each for each in [*_SEEN, *sorted(places)] if os.path.exists(each)]
    return [
        *(bwrap, "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"),
        *(word for folder in _EMPTY for word in ("--dir", folder)),
        *("--tmpfs", "/tmp", "--setenv", "TMPDIR", "/tmp"),  # noqa: S108
        *(word for folder in seen for word in ("--ro-bind", folder, folder)),
    ]


def explain(console: str, was_up: bool) -> LabError:
    """Say what ended a guest, from the last lines of its console, and whether it ever was up."""
    if "No space left on device" in console or "Bus error" in console:
        why = f"it is in a file in {os.environ.get('TMPDIR', 'the temporary folder')}"
        remedy = "free some space, or set TMPDIR to a folder that has more"
        return LabError("the Lab VM ran out of space for its memory", why, remedy)
    if "ptrace" in console and ("not permitted" in console or "child exited" in console):
        return ptrace_forbidden("the kernel refused it")
    if not was_up and "Kernel panic" not in console:
        return LabError(f"{find_kernel()} did not start", console or "it printed nothing", REMEDY)
    # how often the memory limit of this process's container has killed; 0 outside of one
    counts = [number_after("oom_kill", file.read_text()) for file in _EVENTS if file.exists()]
    if "Kernel panic" not in console and (kills := sum(counts)):
        return LabError(
            "the Lab VM has died, most likely killed because this machine ran out of memory",
            f"processes that were killed for it in this container: {kills}",
            "shut down other notebooks (Running Terminals and Kernels), or give guests less memory "
            "(LAB_MEMORY=256M)",
        )
    return died("the Lab VM has died", console)


def died(what: str, console: str) -> LabError:
    """Say that a guest ended without being asked to, with the last lines of its console."""
    said = f"the last lines of its console were\n{console}" if console else "it said nothing"
    return LabError(what, said)
