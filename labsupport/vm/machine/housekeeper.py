"""Removes a machine's folder (disk, key, console) when its owner has gone, `kill -9` included.

`lean.py labsupport.vm.machine.housekeeper FOLDER OWNER`; the end of the standard input says so too.
"""

from __future__ import annotations

import os
import select

from labsupport.linux import syscalls


def main(args: list[str]) -> int:
    """Wait for the owner's end, then remove the folder."""
    folder, owner = args[0], int(args[1])
    waiting = [0]
    try:
        waiting.append(syscalls.pidfd_open(owner))
    except ProcessLookupError:
        remove(folder)
        return 0
    select.select(waiting, [], [])
    remove(folder)
    return 0


def remove(folder: str) -> None:
    """Remove a folder of files; somebody else may be faster."""
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except FileNotFoundError:
        return
