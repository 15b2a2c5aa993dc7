"""Mounting in a sandbox, as mount(8) does: drives, who is in the way, and a way out of chroot."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import LabError, MissingCapability, ProcessGone, mistaken
from labsupport.kernel import procfs
from labsupport.kernel import syscalls as sc
from labsupport.kernel.mounts import Mount, attach_loop, mounts
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing
from labsupport.sandbox.launch import may_make_namespaces
from labsupport.sandbox.sandbox import Sandbox
from labsupport.trace import Completed


def mount(box: Sandbox, arguments: Sequence[str]) -> Completed:
    """Run `mount` with these arguments in a sandbox: `mount(box, ["--bind", "/data", "/mnt"])`.

    Raises `LabError`: the kernel said no; the message has the words of mount(8).
    """
    done = box.run(["mount", *arguments])
    if done.returncode:
        raise _refused(box, f"{' '.join(arguments[-2:])}: not mounted", done)
    return done


def unmount(box: Sandbox, point: str) -> Completed:
    """Run `umount` in a sandbox.

    Raises `NotMounted`: nothing is mounted there; `LabError`: the kernel said no; if somebody uses
    it, the message says who.
    """
    there = mounts(of=box).at(point)
    done = box.run(["umount", point])
    if done.returncode == 0:
        return done
    if "busy" in done.stderr:
        raise LabError(
            f"{point} cannot be unmounted",
            "; ".join(_users(box, there)) or "a process that cannot be seen from here uses it",
            f"end that program or unmount what lies below; `umount -l {point}` takes it out of "
            "the tree now, and gives it back when its last user is gone",
        )
    raise _refused(box, f"{point} cannot be unmounted", done)


def _refused(box: Sandbox, what: str, done: Completed) -> LabError:
    remedy = "see mount(2), ERRORS"
    if "user" in box.new:
        remedy = (
            "root of a user namespace may mount tmpfs, proc, binds and overlays, but no disk, and "
            "may not undo what came with its copy of the table: be root (the Lab VM makes you that)"
        )
    return LabError(what, done.stderr.strip(), remedy)


def _users(box: Sandbox, mount: Mount) -> Iterator[str]:
    """Say who keeps a mount of the sandbox busy: programs in it, and mounts on it."""
    major, minor = map(int, mount.device.split(":"))
    for pid in procfs.members(box):
        try:
            process = procfs.snapshot(pid)
        except ProcessGone:
            continue
        if uses := list(_uses(pid, os.makedev(major, minor))):
            yield f"{process.label} (PID {process.pids[-1]} inside) has {' and '.join(uses)} there"
    for other in mounts(of=box):
        if other.parent_id == mount.id:
            yield f"{other.fstype} {other.source} is mounted at {other.point}, which lies on it"


def _uses(pid: int, device: int) -> Iterator[str]:
    words = {"cwd": "its working folder", "root": "its root", "exe": "its program"}
    folder = Path(f"/proc/{pid}")
    for name, meaning in words.items():
        if _device(folder / name) == device:
            yield meaning
    with contextlib.suppress(OSError):  # it has ended, or is not ours to ask
        if any(_device(file) == device for file in (folder / "fd").iterdir()):
            yield "an open file"


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:  # as above
        return None


# ---- drives: file systems of their own, each with a file that names its drive

SIZE_BYTES = 4 << 20
LABEL = "label.txt"


class Drive(Closing):
    """A file system of its own: `Drive("Drive_A")`, then `.mount(box, "/data")`, then `.close()`.

    `kind` is "ext4" or "tmpfs"; if it is not ext4, `why` says why. A new drive holds one file,
    `label.txt`. `device` is the block device, such as /dev/loop0, `number` its major:minor, which
    is also what mountinfo calls the file system (both None for a tmpfs, which has no device).

    Where the kernel lets us, a drive is what a USB stick is: an ext4 file system on a block device
    (here a loop device, whose disk is a file). An ordinary user may not mount a disk, and gets a
    tmpfs. An ext4 lives as long as its drive, mounted or not, and the kernel takes it apart with
    the notebook's process; several sandboxes may mount it. A tmpfs is born with each mount and ends
    with it.
    """

    device: str | None = None
    _descriptor: int | None = None
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _closed = False

    def __init__(self, name: str = "Drive") -> None:
        if not re.fullmatch(r"[\w.-]{1,16}", str(name)) or not isinstance(name, str):
            raise mistaken(name, "a drive's name, up to 16 letters", 'Drive("Drive_A")')
        self.name, self.kind, self.why = name, "tmpfs", ""
        try:
            self._make_disk()
        except LabError as refusal:
            self.why = f"{refusal.what}: {refusal.why}"

    @property
    def number(self) -> str | None:
        """The block device's number, `major:minor`."""
        if self._descriptor is None:
            return None
        device = os.fstat(self._descriptor).st_rdev
        return f"{os.major(device)}:{os.minor(device)}"

    def mount(self, box: Sandbox, point: str) -> None:
        """Mount it in a sandbox; `box.shell()` then shows the commands. Raises `LabError`."""
        procfs.as_box(box)
        if self._closed:
            what = f"{self.name} cannot be mounted"
            raise LabError(what, "the drive is closed", "make a new Drive")
        if self.device is None:
            mount(box, ["-t", "tmpfs", self.name, point])
            box.run(["tee", f"{point}/{LABEL}"], input=f"This file is on {self.name}.\n")
        else:
            mount(box, ["-t", "ext4", self._node(box), point])

    def close(self) -> None:
        """Give it back; what is still mounted lives until it is unmounted. May be called twice."""
        self._closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return f"<{self.name}: closed>"
        if self.device is None:
            return f"<{self.name}: tmpfs, in memory (no disk here: {self.why})>"
        return f"<{self.name}: {self.kind} on {self.device}, number {self.number}>"

    def _make_disk(self) -> None:
        """Make a file, a file system in it, and a block device of it."""
        if not may_make_namespaces():
            raise MissingCapability("a disk", "only root may mount one", "run it in the Lab VM")
        if shutil.which("mkfs.ext4") is None:
            why = "the program is not installed"
            raise MissingCapability("mkfs.ext4", why, "sudo apt install e2fsprogs")
        if "\text4\n" not in Path("/proc/filesystems").read_text():
            remedy = "as root: modprobe ext4"
            raise MissingCapability("ext4", "this kernel has not loaded it", remedy)
        self._folder = tempfile.TemporaryDirectory(prefix=marks.prefix("drive"))
        content = Path(self._folder.name) / "content"
        content.mkdir()
        (content / LABEL).write_text(f"This file is on {self.name}.\n")
        image = Path(self._folder.name) / f"{self.name}.img"
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        argv = ["mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", "-L", self.name]  # it is small
        argv += ["-d", str(content), str(image)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingCapability("a file system", f"mkfs.ext4: {done.stderr.strip()}")
        self._descriptor, self.device = attach_loop(str(image))
        self.kind = "ext4"

    def _node(self, box: Sandbox) -> str:
        """The device's name in the sandbox; with a root of its own it has its own /dev."""
        if self.device is None or box.rootfs is None:
            return self.device or ""
        name = f"/dev/{self.name}"
        major, minor = (self.number or "").split(":")
        box.run(["mknod", name, "b", major, minor])
        return name


# ---- the classic way out of a chroot(2), tried on chroot and on pivot_root(2), in a sandbox


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
    home = str(Path(__file__).resolve().parents[2])
    line = f"import sys; sys.path.insert(0, {home!r}); from {__name__} import _escape; _escape()"
    with Sandbox(new={"pid", "mount"}) as box:
        done = box.run([sys.executable, "-c", line, how, root, file])
    if done.returncode:
        raise LabError(f"{how} did not work in the sandbox", done.stderr.strip()[-400:])
    return Attempt(**json.loads(done.stdout))


def _escape() -> None:
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
