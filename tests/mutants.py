"""Ways to break labsupport on purpose: each must turn its notebook red, or that only prints.

A mutant is Python that runs in the notebook's kernel before its first cell (as an IPython startup
file of a private profile). Write it against the public names of the module that it breaks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.toys import run_nbval, verdicts


class Mutant(NamedTuple):
    """What is broken, in words, and the code that breaks it."""

    broken: str
    code: str


def _forgets(flag: str) -> str:
    return f"""
from labsupport.linux import syscalls, zygote_client
real = zygote_client.order_holder
zygote_client.order_holder = lambda order: real(
    {{**order, "flags": order["flags"] & ~syscalls.{flag}}}
)
"""


ONE_NUMBER_ONLY = """
from dataclasses import replace
from labsupport.linux import procfs
real = procfs.status
procfs.status = lambda pid="self": replace(real(pid), pids=real(pid).pids[:1])
"""
SEES_ALL = """
from labsupport.linux import procfs
procfs.members = lambda box: procfs.all_pids()
"""
STARTS_NOBODY = """
from labsupport import PidMap
PidMap.set_helpers = lambda self, name, count: None
"""
KILLS_NOBODY = """
from labsupport.linux.process import Process
Process.signal = lambda self, number: None
Process.wait = lambda self, timeout=None: 0
"""

ONE_DRIVE_FOR_ALL = """
from labsupport import Drive
real, made = Drive.mount, []
def mount(self, box, point):
    made.append(self)
    real(made[0], box, point)
Drive.mount = mount
"""
MOUNTS_NOTHING = """
from labsupport import Drive
Drive.mount = lambda self, box, point: None
"""
ALWAYS_SHARED = """
from labsupport.linux import propagation
real = propagation.copied_mounts
propagation.copied_mounts = lambda box, setting: real(box, "shared")
"""
OUR_OWN_TABLE = """
from labsupport.linux import mounts
real = mounts.mounts
mounts.mounts = lambda of=None: real()
"""
CHROOT_FOR_PIVOT_ROOT = """
from dataclasses import replace
from labsupport.linux import escape
real = escape.try_escape
escape.try_escape = lambda box, how, *rest: replace(real(box, "chroot", *rest), how=how)
"""
NEVER_READ_ONLY = """
from labsupport import Sandbox
real = Sandbox.run
Sandbox.run = lambda self, argv, **more: real(
    self, [str(word).replace("bind,ro", "bind,rw") for word in argv], **more
)
"""

WITHOUT_UTS = """
from labsupport.linux import syscalls, zygote_client
real = zygote_client.order_holder
def forgetful(order):  # and no host name, which would be this machine's
    return real({**order, "flags": order["flags"] & ~syscalls.CLONE_NEWUTS, "hostname": None})
zygote_client.order_holder = forgetful
"""
READS_ITSELF = """
from labsupport.linux import procfs
from labsupport.views import namespace_table
namespace_table.namespaces = lambda pid="self": procfs.namespaces()
"""
NO_MAP = """
from labsupport.linux.ids import IdMap
IdMap.inside = lambda self, outside: outside
"""
SEES_NO_DESCRIPTORS = """
from labsupport.linux import namespaces
namespaces._descriptors = lambda link: iter(())
"""
SEGMENTS_OF_ALL = """
from labsupport.linux import sysvipc
real = sysvipc.segments
sysvipc.segments = lambda of=None: real()
"""

MUTANTS: Mapping[str, Sequence[Mutant]] = {
    "00_start_here.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID")),
        Mutant("processes(of=box) tells of everybody", SEES_ALL),
    ],
    "02_pid_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID")),
        Mutant("Sandbox forgets CLONE_NEWNS", _forgets("CLONE_NEWNS")),
        Mutant("a process has one number only", ONE_NUMBER_ONLY),
        Mutant("the sliders start nobody", STARTS_NOBODY),
        Mutant("killing PID 1 kills nobody", KILLS_NOBODY),
    ],
    "03_mount_namespaces.ipynb": [
        Mutant("every sandbox gets the same drive", ONE_DRIVE_FOR_ALL),
        Mutant("drives are mounted nowhere", MOUNTS_NOTHING),
        Mutant("every copy shares its mounts", ALWAYS_SHARED),
        Mutant("mounts(of=box) tells of our own", OUR_OWN_TABLE),
        Mutant("pivot_root is only a chroot", CHROOT_FOR_PIVOT_ROOT),
        Mutant("nothing is made read-only", NEVER_READ_ONLY),
    ],
    "05_more_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWUTS", WITHOUT_UTS),
        Mutant("Sandbox forgets CLONE_NEWIPC", _forgets("CLONE_NEWIPC")),
        Mutant("the table reads the wrong process", READS_ITSELF),
        Mutant("the user map is ignored", NO_MAP),
        Mutant("an open descriptor is not seen to keep a namespace", SEES_NO_DESCRIPTORS),
        Mutant("segments are those of this notebook", SEGMENTS_OF_ALL),
    ],
}


class MutantNotApplied(AssertionError):
    """The code that should break a helper failed itself, so it proves nothing."""


def is_caught(notebook: Path, code: str, scratch: Path) -> bool:
    """Run a notebook with a helper broken by `code`: tell whether one of its cells fails.

    The run stops at the first failure, and a cell that hangs for half a minute is one.
    """
    startup = scratch / "profile_default" / "startup"
    startup.mkdir(parents=True)
    applied, report = scratch / "applied", scratch / "report.xml"
    (startup / "00-mutant.py").write_text(f"{code}\nopen({str(applied)!r}, 'w').close()\n")
    run = run_nbval(
        notebook,
        report=report,
        arguments=["--exitfirst", "--nbval-cell-timeout=30"],
        env={"IPYTHONDIR": str(scratch)},
    )
    if not applied.exists():
        raise MutantNotApplied(f"this did not run to its end:\n{code}\n{run.stdout}")
    return any(test.outcome == "failed" for test in verdicts(report)[notebook.stem])
