"""The classic way out of a chroot(2), tried on chroot and on pivot_root(2).

Runs as a program in a sandbox: `python -m labsupport.linux.escape HOW ROOT FILE`. It locks itself
into the folder ROOT, by HOW, then tries to break out and to read FILE, which lies outside. All of
it happens in the sandbox's own mount namespace. It prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import MountRefused
from labsupport.linux.becoming import enter_root
from labsupport.linux.sandbox import Sandbox


@dataclass(frozen=True)
class Attempt:
    """What became of an attempt to break out.

    `before` and `after` say what reading the file gave, before and after the escape: its first line
    or the kernel's refusal. `old_mounts` counts the mounts of the old root that were still there
    when it tried. `escaped` is whether it could read the file in the end.
    """

    how: str
    escaped: bool
    before: str
    after: str
    old_mounts: int

    def __repr__(self) -> str:
        word = "ESCAPED" if self.escaped else "still inside"
        return f"<{self.how}: {word}; reading the file gave: {self.after}>"


def by_chroot(root: str) -> None:
    """Make `root` the root of this process, and of nothing else; chroot(2)."""
    os.chroot(root)
    os.chdir("/")


def by_pivot_root(root: str) -> None:
    """Make `root` the root of the mount namespace, and unmount the old one; pivot_root(2)."""
    enter_root(root, share_proc=False)


def break_out() -> None:
    """Walk out of a root folder: possible if the real root is still there to walk to."""
    os.makedirs("/further_in", exist_ok=True)
    os.chroot("/further_in")  # our root moves down, our working folder stays: it is outside now
    for _ in range(64):
        os.chdir("..")  # ".." stops at our root only, and that we never meet on this way up
    os.chroot(".")  # what we have reached becomes our root


WAYS: dict[str, Callable[[str], None]] = {"chroot": by_chroot, "pivot_root": by_pivot_root}


def try_escape(box: Sandbox, how: str, root: str | os.PathLike[str], file: str) -> Attempt:
    """Have a program in the sandbox lock itself into `root` and try to break out; read `file`.

    The sandbox has no `rootfs=`, for it is the program that changes the root; `how` is "chroot" or
    "pivot_root". After the latter the whole sandbox has that root, so it must come last.

    Raises:
        MountRefused: the root could not be changed, as where there is no such folder.

    """
    package_home = str(Path(__file__).resolve().parents[2])
    line = f"import sys; sys.path.insert(0, {package_home!r}); from {__name__} import main; main()"
    done = box.run([sys.executable, "-c", line, how, os.fspath(root), os.fspath(file)])
    if done.returncode:
        raise MountRefused(f"{how} did not work in the sandbox", done.stderr.strip()[-400:])
    return Attempt(**json.loads(done.stdout))


def main() -> None:
    """Lock in, look, break out, look again."""
    how, root, file = sys.argv[-3:]
    # opened before, it goes on telling which mounts of the root that we had are still there
    with open("/proc/self/mountinfo") as table:
        WAYS[how](root)
        before = _read(file)
        old_mounts = len(table.readlines())
        break_out()
    facts = {"how": how, "escaped": os.path.exists(file), "before": before, "after": _read(file)}
    print(json.dumps({**facts, "old_mounts": old_mounts}))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().splitlines()[0]
    except OSError as error:
        return str(error.strerror)
