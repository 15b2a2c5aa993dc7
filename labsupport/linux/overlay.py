"""Layered mounts by hand: read-only folders, a writable one over them, and the tree that is seen.

It all lies in a tmpfs in a mount namespace of its own: the host's mount table stays as it is, and
with the sandbox everything is gone. See the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from labsupport import ownership, trace
from labsupport.completed import Completed
from labsupport.errors import NotMounted
from labsupport.linux import mounting
from labsupport.linux.layer_folders import LayerFolder, Stack, read_layer
from labsupport.linux.mounts import Mount, mounts
from labsupport.linux.sandbox import Sandbox

FOLDER = "/mnt"  # in the sandbox only
MERGED, WORK = "merged", "work"


class Overlay:
    """Layers that are seen as one: `with Overlay({"base": {"etc/motd": "Hello"}}) as overlay:`.

    `layers` are the read-only ones, the lowest first, each {path: text}. `upper` names the writable
    one, which is empty; without one (`upper=None`) nothing can be written.

    `run()` runs a program in the merged tree, `look()` tells what the layers hold and where each
    visible file really lies, `folder("base")` is where Python finds a layer's files, `mounted` what
    the kernel says of it.

    Raises (when opened):
        MountRefused, UnknownFileSystem: this kernel mounts no overlay for us.

    """

    def __init__(
        self, layers: Mapping[str, Mapping[str, str]], upper: str | None = "upper"
    ) -> None:
        self.lowers = tuple(layers)
        self.upper = upper
        self._contents = layers
        self.box = Sandbox(new={"mount"})
        self._on_disk: tempfile.TemporaryDirectory[str] | None = None

    def open(self) -> Self:
        """Make the layers and mount them; a `with` statement does so, and `close()` at its end."""
        self.box.open()
        try:
            self._make_room()
            for name in self._names():
                self.folder(name).mkdir()
            for name, files in self._contents.items():
                _fill(self.folder(name), files)
            self.mount()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Let go of all of it; may be called twice."""
        self.box.close()
        if self._on_disk:
            self._on_disk.cleanup()

    def folder(self, name: str) -> Path:
        """Return the path, on this side, of a layer's own folder, or of "merged"."""
        return Path(f"/proc/{self.box.holder_pid}/root{FOLDER}") / name

    def run(self, argv: Sequence[str], input: str = "") -> Completed:  # noqa: A002 (as Sandbox.run)
        """Run a program whose working folder is the merged tree."""
        return self.box.run(argv, input=input, cwd=f"{FOLDER}/{MERGED}")

    def mount(self) -> None:
        """Mount the layers, as it was at the beginning."""
        lowers = ":".join(f"{FOLDER}/{name}" for name in reversed(self.lowers))
        options = f"lowerdir={lowers}"
        if self.upper:
            options += f",upperdir={FOLDER}/{self.upper},workdir={FOLDER}/{WORK}"
        if "user" in self.box.new:
            options += ",userxattr"
        mounting.mount(self.box, ["-t", "overlay", "overlay", "-o", options, f"{FOLDER}/{MERGED}"])
        if self._on_disk and self.upper:  # the kernel's own folder in it is closed even to us
            (self.folder(WORK) / WORK).chmod(0o700)

    def unmount(self) -> None:
        """Take the merged tree away; the layers' folders stay."""
        mounting.unmount(self.box, f"{FOLDER}/{MERGED}")

    @property
    def mounted(self) -> Mount:
        """The line of the sandbox's mount table.

        Raises:
            NotMounted: it is not there, since `unmount()`.

        """
        return mounts(of=self.box).at(f"{FOLDER}/{MERGED}")

    def look(self) -> Stack:
        """Read every layer's folder, and the merged tree.

        Raises:
            NotMounted: there is no merged tree, since `unmount()`.

        """
        _ = self.mounted
        uppers = [self._read(self.upper, writable=True)] if self.upper else []
        lowers = [self._read(name) for name in reversed(self.lowers)]
        return Stack((*uppers, *lowers), self._read(MERGED, writable=bool(self.upper)))

    def shell(self) -> trace.Steps:
        """Show the commands and system calls that were made."""
        return self.box.shell()

    def _read(self, name: str, *, writable: bool = False) -> LayerFolder:
        return read_layer(name, self.folder(name), writable=writable)

    def _names(self) -> list[str]:
        return [*self.lowers, *([self.upper, WORK] if self.upper else []), MERGED]

    def _make_room(self) -> None:
        """Mount a tmpfs for the layers, or show a folder there where a tmpfs will not do.

        For somebody who is root only in a user namespace, overlayfs keeps its marks in attributes
        "user.…", and those a tmpfs has since Linux 6.6.
        """
        mounting.mount(self.box, ["-t", "tmpfs", "layers", FOLDER])
        if "user" not in self.box.new or _takes_user_attributes(self.folder("")):
            return
        mounting.unmount(self.box, FOLDER)
        self._on_disk = tempfile.TemporaryDirectory(prefix=ownership.prefix("overlay"))
        mounting.mount(self.box, ["--bind", self._on_disk.name, FOLDER])

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            return repr(self.mounted)
        except NotMounted:
            return f"<layers {', '.join(self._names())}, not mounted>"


def _fill(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _takes_user_attributes(folder: Path) -> bool:
    try:
        os.setxattr(folder, "user.labsupport", b"y")
    except OSError:
        return False
    os.removexattr(folder, "user.labsupport")
    return True
