"""The classic way out of a chroot(2), tried on chroot and on pivot_root(2).

`try_escape` runs this module as a program in a sandbox. It locks itself into a folder, then tries
to break out and to read a file that is outside. All of it happens in the sandbox's own mount
namespace. It prints what happened as JSON.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import LabError
from labsupport.kernel import syscalls as sc
from labsupport.sandbox.sandbox import Sandbox

PRISONS = ("chroot", "pivot_root", "pivot_root + umount")


@dataclass(frozen=True)
class Attempt:
    """What became of an attempt to break out.

    `before` and `after` say what reading the file gave, before and after the escape: its first line
    or the kernel's refusal. `old_mounts` counts the mounts of the old root that were still there
    when it tried. `escaped` is whether it could read the file at the end.
    """

    how: str
    escaped: bool
    before: str
    after: str
    old_mounts: int

    def __repr__(self) -> str:
        word = "ESCAPED" if self.escaped else "still inside"
        return f"{self.how}: {word}; reading the file gave: {self.after}"


def lock_in(how: str, root: str) -> None:
    """Make `root` the root of this process, by one of the `PRISONS`."""
    if how == "chroot":
        os.chroot(root)
    else:
        sc.mount(root, root, None, sc.MS_BIND | sc.MS_REC)  # it takes a mount, not a folder
        os.chdir(root)
        sc.pivot_root(".", ".")  # the old root lies over the new one now, at the same place
        if how == PRISONS[2]:
            sc.umount2(".", sc.MNT_DETACH)
    os.chdir("/")


def break_out() -> None:
    """Walk out of a root folder: possible if the real root is still there to walk to."""
    os.makedirs("/further_in", exist_ok=True)
    os.chroot("/further_in")  # our root moves down, our working folder stays: it is outside now
    for _ in range(64):
        os.chdir("..")  # ".." stops only at our root, which is not on this way up
    os.chroot(".")  # what we have reached becomes our root


def try_escape(how: str, root: str | os.PathLike[str], file: str | os.PathLike[str]) -> Attempt:
    """Have a program lock itself into `root`, by one of the `PRISONS`, break out, and read `file`.

    Raises `LabError`: the root could not be changed, as where there is no such folder.
    """
    package_home = str(Path(__file__).resolve().parents[2])
    line = f"import sys; sys.path.insert(0, {package_home!r}); from {__name__} import main; main()"
    with Sandbox(new={"pid", "mount"}) as box:
        done = box.run([sys.executable, "-c", line, how, root, file])
    if done.returncode:
        raise LabError(f"{how} did not work in the sandbox", done.stderr.strip()[-400:])
    return Attempt(**json.loads(done.stdout))


def main() -> None:
    """Lock in, look, break out, look again."""
    how, root, file = sys.argv[-3:]
    # opened before, it goes on telling which mounts of the root that we had are still there
    with open("/proc/self/mountinfo") as table:
        lock_in(how, root)
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
