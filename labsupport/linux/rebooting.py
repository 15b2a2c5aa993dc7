"""`reboot` inside a PID namespace: the kernel ends that namespace's PID 1, and nothing else.

This is the one dangerous call of the course that is made for good. It happens only in a sandbox
with new PID *and* user namespaces. Which they are is compared from outside and, right before the
call, from inside; and the kernel itself asks for CAP_SYS_BOOT in the user namespace that owns the
PID namespace: who has it in a new one only has no power over the machine. See reboot(2).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from labsupport.completed import Completed
from labsupport.errors import NotInANewNamespace
from labsupport.linux import syscalls as sc
from labsupport.linux.sandbox import Sandbox

PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from labsupport.linux import rebooting; rebooting.main()"
)
KINDS = ("pid", "user")


def reboot_inside(box: Sandbox) -> Completed:
    """Have a program in a sandbox call `reboot`; return how that program ended.

    Afterwards the sandbox's PID 1 has ended by SIGHUP, which stands for "restart", and with it all
    others.

    Raises:
        NotInANewNamespace: the sandbox has no PID and user namespaces of its own; nothing was done.

    """
    wanted = _require_new(box)
    home = str(Path(__file__).parents[2])
    return box.run([sys.executable, "-I", "-S", "-c", PROGRAM, home, *map(str, wanted)])


def _require_new(box: Sandbox) -> list[int]:
    theirs, ours = ([_inode(pid, kind) for kind in KINDS] for pid in (box.pid, "self"))
    for kind, their, our in zip(KINDS, theirs, ours, strict=True):
        if their == our:
            raise NotInANewNamespace("reboot", kind)
    return theirs


def _inode(pid: int | str, kind: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def main() -> None:
    """In the sandbox: look once more whether these are the namespaces that are meant, and call."""
    if [_inode("self", kind) for kind in KINDS] != list(map(int, sys.argv[1:])):
        sys.exit("these are not the namespaces that were meant: reboot is not called")
    sc.restart_pid_namespace()
