"""Does a mount made after the copy show on the other side? One small experiment for each setting.

A new mount namespace starts as a copy; whether the two tables keep in step afterwards is a setting
of each mount, its propagation type (mount_namespaces(7)). All of this happens inside a sandbox: the
"original" is its mount namespace, the "copy" one made in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labsupport import trace
from labsupport.completed import Completed
from labsupport.errors import MountRefused
from labsupport.linux.mounting import mount
from labsupport.linux.mounts import MountTable, mounts
from labsupport.linux.process import Process
from labsupport.linux.sandbox import Sandbox

SETTINGS = ("shared", "slave", "private")


@dataclass(frozen=True)
class Outcome:
    """What happened with one setting.

    `to_copy`: a mount made in the original showed in the copy; `to_original`: the other way round.
    `original` and `copy` are the two tables as they were at the end.
    """

    setting: str
    to_copy: bool
    to_original: bool
    original: MountTable
    copy: MountTable

    def __repr__(self) -> str:
        there, back = ("yes" if each else "no" for each in (self.to_copy, self.to_original))
        return f"<{self.setting}: original to copy {there}, copy to original {back}>"


def copied_mounts(box: Sandbox, setting: str) -> Process:
    """Start a process in the sandbox that lives in a copy of its mount namespace.

    It is unshare(1) that makes the copy, and gives all mounts in it the propagation `setting`. The
    process sleeps; `mounts(of=process.pid)` reads its table, `run_in` works in it.
    """
    _ = box.pid  # an init, lest our process become PID 1 and the sandbox end with it
    wait = ["sh", "-c", "echo ready; exec sleep 3600"]
    process = box.start(["unshare", "--mount", "--propagation", setting, *wait])
    process.expect("ready")
    return process


def run_in(box: Sandbox, process: Process, argv: Sequence[str]) -> Completed:
    """Run a program of the sandbox in the mount namespace of one of its processes; nsenter(1).

    Raises:
        MountRefused: it did not succeed.

    """
    done = box.run(["nsenter", "-t", str(process.pids[-1]), "-m", *argv])
    if done.returncode:
        raise MountRefused(f"{trace.command(argv)} failed in the copy", done.stderr.strip())
    return done


def share_and_copy(box: Sandbox, setting: str, base: str = "/mnt") -> Process:
    """Mount a shared tmpfs at `base`, then copy the mount namespace; return a process in the copy.

    `base` has two empty folders to mount at, `by_original` and `by_copy`.
    """
    mount(box, ["-t", "tmpfs", "base", base])
    mount(box, ["--make-shared", base])
    box.run(["mkdir", f"{base}/by_original", f"{base}/by_copy"])
    return copied_mounts(box, setting)


def propagation(box: Sandbox, setting: str, base: str = "/mnt") -> Outcome:
    """Try one setting: share what is at `base`, copy the namespace, mount on either side, look.

    The sandbox needs a root of its own (`rootfs=`); what was mounted at `base` is gone afterwards.
    """
    process = share_and_copy(box, setting, base)
    first, second = f"{base}/by_original", f"{base}/by_copy"
    mount(box, ["-t", "tmpfs", "later", first])
    run_in(box, process, ["mount", "-t", "tmpfs", "later", second])
    original, copy = mounts(of=box), mounts(of=process.pid)
    process.signal(9)
    process.wait()
    box.run(["umount", "-l", base])
    return Outcome(
        setting,
        to_copy=first in copy.visible(),
        to_original=second in original.visible(),
        original=original,
        copy=copy,
    )
