"""Run a program, and end it with all its descendants when it stops, or its owner does.

`python -m labsupport.linux.reaper OWNER [--cover DIR]… [--cgroup NAME] [--remove DIR] [--bridge
DATA_ROOT] -- COMMAND…`.
A container engine starts helpers that outlive it. This process is their subreaper (prctl(2)), so
every orphan among them becomes its child; and with `--cover`, what they mount lies in a mount
namespace of theirs, which goes with the last of them. The end comes when `OWNER` (a process ID) is
gone, however it went, when the standard input has a byte or is closed, at SIGTERM, or when the
command ends.

With `--bridge` the command gets a bridge of its own: `{bridge}` in its words becomes the link's
name, `{networks}` the range for more networks. Those that are in the database below DATA_ROOT are
removed with it.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from labsupport.errors import NetworkRefused
from labsupport.linux import syscalls
from labsupport.linux.net import bridges

CGROUPS = Path("/sys/fs/cgroup")


def main(argv: Sequence[str]) -> int:
    """Run the command until its end has come; return its exit status, 0 if we ended it."""
    chosen = _parser().parse_args(argv)
    owner_gone = os.pidfd_open(chosen.owner)
    if os.getppid() != chosen.owner:  # it was faster than we
        return 1
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    bell = _ring_when_a_child_ends()
    made = [folder for folder in chosen.cover if not folder.exists()]
    for folder in made:
        folder.mkdir(parents=True)
    bridge = None
    try:
        bridge = bridges.make() if chosen.bridge else None
        command = subprocess.Popen(
            _with_bridge(chosen.command, bridge),
            stdin=subprocess.DEVNULL,
            preexec_fn=partial(_cover, chosen.cover),  # noqa: PLW1509 (no threads here)
        )
        return _wait(command.pid, bell, [owner_gone, 0])
    except NetworkRefused as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        end_descendants()
        if bridge:
            for name in [*bridges.made_by_engine(chosen.bridge), bridge.name]:
                bridges.remove(name)
        for folder in made:
            folder.rmdir()
        if chosen.remove:
            shutil.rmtree(chosen.remove, ignore_errors=True)
        if chosen.cgroup:
            remove_cgroups(chosen.cgroup)


def _with_bridge(command: Sequence[str], bridge: bridges.Bridge | None) -> list[str]:
    if not bridge:
        return list(command)
    words = {"{bridge}": bridge.name, "{networks}": str(bridge.networks)}
    for word, text in words.items():
        command = [part.replace(word, text) for part in command]
    return list(command)


def end_descendants() -> None:
    """Kill children, and those whom their death makes our children, until there is none."""
    while children := _children():
        for pid in children:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still theirs
        for pid in children:
            os.waitpid(pid, 0)


def _ring_when_a_child_ends() -> socket.socket:
    """Return a socket that gets a byte at each SIGCHLD; let SIGTERM be an orderly end."""
    bell, ringer = socket.socketpair()
    for end in (bell, ringer):
        end.setblocking(False)
    signal.set_wakeup_fd(os.dup(ringer.fileno()))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    return bell


def _wait(command: int, bell: socket.socket, ends: Sequence[int]) -> int:
    """Collect ended children until the command is among them, or one of `ends` is readable."""
    while True:
        readable, _, _ = select.select([bell.fileno(), *ends], [], [])
        if bell.fileno() not in readable:
            return 0
        bell.recv(4096)
        pid = -1
        while pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == command:
                return os.waitstatus_to_exitcode(status) & 0xFF


def remove_cgroups(name: str) -> None:
    """Remove the cgroup of that name, and those below it, in every hierarchy; all are empty."""
    for tree in (CGROUPS, *CGROUPS.glob("*/")):
        for folder, _, _ in os.walk(tree / name, topdown=False):
            Path(folder).rmdir()


def _cover(folders: Sequence[Path]) -> None:
    """Enter a mount namespace, and put an empty file system over folders there; takes root."""
    if not folders:
        return
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
        for folder in folders:
            syscalls.mount("tmpfs", str(folder), "tmpfs", 0, "mode=0755")
    except OSError as error:
        os.write(2, f"no mount namespace of its own: {error} (CAP_SYS_ADMIN?)\n".encode())
        os._exit(126)


def _children() -> list[int]:
    """List the children of this process from /proc/PID/stat, field 4 of proc_pid_stat(5)."""
    me = str(os.getpid())
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if stat.rpartition(")")[2].split()[1] == me:
                found.append(int(entry.name))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reaper")
    parser.add_argument("owner", type=int)
    parser.add_argument("--cover", type=Path, action="append", default=[])
    parser.add_argument("--cgroup", default="")
    parser.add_argument("--remove", type=Path)
    parser.add_argument("--bridge", type=Path, metavar="DATA_ROOT")
    parser.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
