"""Layers of files that lie over each other: made by hand, or read from an engine's container.

A layer says of a name: here it is; or, with a *whiteout* (a character device 0:0), it is deleted;
or, with an *opaque* folder (an extended attribute), nothing below counts in here. See the kernel's
Documentation/filesystems/overlayfs.rst.
"""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labsupport import trace
from labsupport.errors import LabError, NotMounted
from labsupport.figure import style
from labsupport.figure.page import DOTS, Page
from labsupport.figure.table import amount
from labsupport.kernel.mounts import Mount, mounts
from labsupport.mount import mounting
from labsupport.ownership import marks
from labsupport.ownership.marks import Opening
from labsupport.sandbox.sandbox import Sandbox
from labsupport.trace import Completed

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
"""The marks of an opaque folder: root's, and that of root in a user namespace only."""


@dataclass(frozen=True)
class Entry:
    """What a layer holds under a name.

    `kind` is "file", "folder", "opaque" (a folder), "whiteout", "link" or "other"; `size_bytes` is
    that of a file. `digest` tells contents apart: it is of a file's bytes or of a link's target.
    """

    path: str
    kind: str
    size_bytes: int = 0
    digest: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether names can lie below it."""
        return self.kind in ("folder", "opaque")


@dataclass(frozen=True)
class LayerFolder:
    """A layer's folder as it was read: {path relative to it: entry}; one of a stack is writable."""

    name: str
    entries: Mapping[str, Entry]
    writable: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries.values())

    def names(self) -> list[str]:
        """Return its names except those of plain folders, in order."""
        return sorted(path for path, entry in self.entries.items() if entry.kind != "folder")

    def __repr__(self) -> str:
        mode = "writable" if self.writable else "read-only"
        return f"<layer {self.name}, {mode}: {len(self.entries)} names, {self.size_bytes} bytes>"


@dataclass(frozen=True)
class Stack:
    """Layers, the uppermost first, and the one tree that they show together: `merged`."""

    layers: tuple[LayerFolder, ...]
    merged: LayerFolder

    def layer(self, name: str) -> LayerFolder:
        """Return the layer of that name; `KeyError` if there is none."""
        return {layer.name: layer for layer in self.layers}[name]

    def lies_in(self, path: str) -> str | None:
        """Name the layer that a visible file lies in, by what is in it; None if none is visible.

        Raises `LookupError`: it can be seen, and no layer holds a file like it.
        """
        seen = self.merged.entries.get(path)
        if seen is None:
            return None
        for layer in self.layers:
            entry = layer.entries.get(path)
            if entry and entry.is_folder == seen.is_folder and entry.digest == seen.digest:
                return layer.name
        raise LookupError(f"{path} can be seen, but lies in no layer")

    def paths(self) -> list[str]:
        """Return every name except those of plain folders, from all layers, in order."""
        return sorted({path for layer in self.layers for path in layer.names()})

    def show(
        self, paths: Sequence[str] | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        """Show where each name lies, by default all of `paths()`; `names` are words for layers."""
        shelves = Shelves(self, self.paths() if paths is None else paths, names)
        shelves.page().show(shelves.words(), shelves.table())

    def __repr__(self) -> str:
        where = [f"  {path}: {self.lies_in(path) or 'hidden'}" for path in self.paths()]
        return "\n".join(["where each name really lies", *where])


def read_layer(
    name: str, folder: Path, writable: bool = False, only: Sequence[str] | None = None
) -> LayerFolder:
    """Read a layer's folder; with `only`, just these names of it (and not what is below them)."""
    paths = _below(folder) if only is None else (folder / path for path in only)
    entries = {}
    for path in paths:
        try:
            entry = _read_entry(path, str(path.relative_to(folder)))
        except (FileNotFoundError, NotADirectoryError):  # `only` names what other layers have
            continue
        entries[entry.path] = entry
    return LayerFolder(name, entries, writable)


def _read_entry(path: Path, name: str) -> Entry:
    """Look at one name of a layer, without following links."""
    found = path.lstat()
    if stat.S_ISREG(found.st_mode):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Entry(name, "file", found.st_size, digest)
    if stat.S_ISLNK(found.st_mode):
        return Entry(name, "link", 0, os.readlink(path))
    if stat.S_ISDIR(found.st_mode):
        return Entry(name, "opaque" if is_opaque(path) else "folder")
    is_whiteout = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
    return Entry(name, "whiteout" if is_whiteout else "other")


def is_opaque(folder: Path) -> bool:
    """Whether a folder hides all that lies below it in lower layers."""
    marks = set(os.listxattr(folder, follow_symlinks=False)) & set(OPAQUE)
    return any(os.getxattr(folder, mark) == b"y" for mark in marks)


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


# ---- which folders an overlay is made of, as the mount table of a process in it tells

_COLON = re.compile(r"(?<!\\):")


@dataclass(frozen=True)
class OverlayMount:
    """An overlay's folders: `lowers` are read-only, the uppermost first; `upper` is written to.

    `merged` is the tree that is seen, as a path on this side. `covered` are the names in it over
    which something else is mounted (an engine does that with `/etc/hosts`).
    """

    lowers: tuple[Path, ...]
    upper: Path | None
    merged: Path
    covered: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Call the folders by what they are, the uppermost first."""
        number = len(self.lowers)
        return ["upper"] * bool(self.upper) + [f"lower {number - at}" for at in range(number)]

    def look(self, paths: Sequence[str] | None = None) -> Stack:
        """Read what each folder has under these names, by default those that were written.

        Raises `PermissionError`: the folders belong to somebody who does not let us look.
        """
        folders = [self.upper, *self.lowers] if self.upper else list(self.lowers)
        chosen = self.written() if paths is None else [path.strip("/") for path in paths]
        layers = tuple(
            read_layer(name, folder, only=chosen, writable=folder == self.upper)
            for name, folder in zip(self.names(), folders, strict=True)
        )
        return Stack(layers, read_layer("merged", self.merged, only=chosen))

    def written(self) -> list[str]:
        """Return the names in the writable folder, except plain folders and what is covered."""
        if self.upper is None:
            return []
        names = read_layer("upper", self.upper).names()
        below = tuple(f"{point}/" for point in self.covered)
        return [path for path in names if not f"{path}/".startswith(below)]


def overlay_of(pid: int, point: str = "/") -> OverlayMount:
    """Read the folders of the overlay that a process sees at a mount point.

    Raises `LabError`: there is another file system, or one whose folders the kernel does not tell;
    `NotMounted`: nothing is mounted there; `ProcessGone`: there is no such process, or it belongs
    to somebody else.
    """
    table = mounts(of=pid)
    mount = table.at(point)
    options = [option.partition("=")[::2] for option in mount.super_options]
    lowers = [path for key, text in options if key == "lowerdir" for path in _COLON.split(text)]
    lowers += [text for key, text in options if key == "lowerdir+"]
    uppers = [text for key, text in options if key == "upperdir"]
    if mount.fstype != "overlay" or not lowers:
        why = f"the kernel says that {mount.fstype} is mounted there"
        raise LabError(f"process {pid} has no overlay at {point}", why)
    upper = Path(_plain(uppers[0])) if uppers else None
    # Docker writes short links, relative to where all its layers lie, if the line would be too long
    start = upper.parent.parent if upper else Path("/")
    found = tuple((start / _plain(lower)).resolve() for lower in lowers if lower)
    inside = point.rstrip("/") + "/"
    others = (other for other in table.visible() if other.startswith(inside) and other != point)
    covered = frozenset(other.removeprefix(inside) for other in others)
    return OverlayMount(found, upper, Path(f"/proc/{pid}/root") / point.strip("/"), covered)


def _plain(text: str) -> str:
    return text.replace("\\:", ":").replace("\\,", ",")


# ---- layers by hand, in a tmpfs in a mount namespace of its own

FOLDER = "/mnt"  # in the sandbox only
MERGED, WORK = "merged", "work"


class Overlay(Opening):
    """Layers that are seen as one: `with Overlay({"base": {"etc/motd": "Hello"}}) as overlay:`.

    `layers` are the read-only ones, the lowest first, each {path: text}. `upper` names the writable
    one, which is empty; without one (`upper=None`) nothing can be written.

    `run()` runs a program in the merged tree, `look()` tells what the layers hold and where each
    visible file really lies, `folder("base")` is where Python finds a layer's files, `mounted` what
    the kernel says of it.

    Raises (when opened):
        LabError: this kernel does not mount an overlay for us.

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
                for path, text in files.items():
                    file = self.folder(name) / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text)
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
        """The line of the sandbox's mount table. Raises `NotMounted`."""
        return mounts(of=self.box).at(f"{FOLDER}/{MERGED}")

    def look(self) -> Stack:
        """Read every layer's folder, and the merged tree. Raises `NotMounted`."""
        _ = self.mounted
        names = [*([self.upper] if self.upper else []), *reversed(self.lowers)]
        layers = (read_layer(name, self.folder(name), name == self.upper) for name in names)
        return Stack(tuple(layers), read_layer(MERGED, self.folder(MERGED), bool(self.upper)))

    def shell(self) -> trace.Steps:
        """Show the commands and system calls that were made."""
        return self.box.shell()

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
        self._on_disk = tempfile.TemporaryDirectory(prefix=marks.prefix("overlay"))
        mounting.mount(self.box, ["--bind", self._on_disk.name, FOLDER])

    def __repr__(self) -> str:
        try:
            return repr(self.mounted)
        except NotMounted:
            return f"<layers {', '.join(self._names())}, not mounted>"


def _takes_user_attributes(folder: Path) -> bool:
    try:
        os.setxattr(folder, "user.labsupport", b"y")
    except OSError:
        return False
    os.removexattr(folder, "user.labsupport")
    return True


# ---- the picture: which name is on which shelf

WIDTH = 9.2  # inches; a page is 100 units wide
_NAMES, _TOP, _BOTTOM, _SHELF = 19.0, 13.0, 5.0, 9.0  # left of the columns; heights
_MARKS = {"whiteout": "deleted", "opaque": "opaque"}
_KEY = (
    "filled: seen;  outlined: hidden by what lies above;  in red: a mark that hides what lies below"
)


class Shelves:
    """Layers as shelves: from the top row a line goes down to where a file really is.

    A column is a name, a row a layer, the uppermost first.

    Grey layers are read-only (and may be shared), the orange one is writable. `names` are other
    words for layers.
    """

    def __init__(
        self, stack: Stack, paths: Sequence[str], names: Mapping[str, str] | None = None
    ) -> None:
        self.stack, self.paths, self.names = stack, list(paths), names or {}
        self.lies = {path: stack.lies_in(path) for path in paths}

    def finding(self) -> str:
        lies = list(self.lies.values())
        where = [each.name for each in self.stack.layers if each.name in lies]
        parts = [f"{lies.count(name)} in {self._name(name)}" for name in where]
        hidden = f"; {lies.count(None)} hidden" if None in lies else ""
        seen = len(lies) - lies.count(None)
        files = "1 name is" if seen == 1 else f"{seen} names are"
        return f"{files} seen: {', '.join(parts)}{hidden}" if parts else f"No name is seen{hidden}"

    def words(self) -> str:
        return " ".join([f"{self.finding()}.", *map(self._sentence, self.paths)])

    def _sentence(self, path: str) -> str:
        where = self.lies[path]
        others = [
            f"{self._name(each.name)} has {_words(each.entries[path])}"
            for each in self.stack.layers
            if path in each.entries and each.name != where
        ]
        also = f" ({'; '.join(others)})" if others else ""
        return f"{path}: {f'lies in {self._name(where)}' if where else 'is not visible'}{also}."

    def table(self) -> list[tuple[object, ...]]:
        head = ("name", "lies in", *(self._name(each.name) for each in self.stack.layers))
        return [head, *map(self._row, self.paths)]

    def _row(self, path: str) -> tuple[object, ...]:
        held = (each.entries.get(path) for each in self.stack.layers)
        where = self.lies[path]
        return path, self._name(where) if where else "", *(_words(e) if e else "" for e in held)

    def _name(self, layer: str) -> str:
        return self.names.get(layer, layer)

    def page(self) -> Page:
        high = _TOP + (1 + len(self.stack.layers)) * _SHELF + _BOTTOM
        sheet = Page(high, self.finding(), inches=WIDTH)
        wide = (99 - _NAMES) / len(self.paths)
        for at, path in enumerate(self.paths):
            self._draw_column(sheet, path, _NAMES + (at + 0.5) * wide)
        seen = self.stack.merged
        self._draw_shelf(sheet, seen, (seen.name, "what is seen", style.INK), _TOP, wide)
        for number, layer in enumerate(self.stack.layers, 1):
            mode = "writable" if layer.writable else "read-only"
            colour = style.FIRST if layer.writable else style.SHARED
            label = self._name(layer.name), f"{mode}, {amount(layer.size_bytes)}", colour
            self._draw_shelf(sheet, layer, label, _TOP + number * _SHELF, wide)
        sheet.text(_NAMES, high - _BOTTOM / 2 + 0.6, _KEY)
        return sheet

    def _draw_column(self, sheet: Page, path: str, middle: float) -> None:
        """A name, and the line of sight from the top row down to the layer that the file is in."""
        folder, _, name = path.rpartition("/")
        sheet.text(middle, _TOP - 2.2, name, bold=True, centre=True, at="baseline")
        if folder:
            sheet.text(middle, _TOP - 4.6, f"{folder}/", centre=True, at="baseline")
        for number, layer in enumerate(self.stack.layers, 1):
            if self.lies[path] == layer.name:
                colour = style.FIRST if layer.writable else style.SHARED
                ends = (middle, _TOP + 6.2), (middle, _TOP + number * _SHELF + 1.2)
                sheet.line(*ends, colour=colour, line=2.2, dashes=DOTS)

    def _draw_shelf(
        self, sheet: Page, layer: LayerFolder, label: tuple[str, str, str], top: float, wide: float
    ) -> None:
        name, detail, colour = label
        merged = layer is self.stack.merged
        fill = style.PAPER if merged else f"{colour}1C"
        sheet.box(0.8, top, 98.4, 7.4, colour, fill=fill, pad=0.5, line=1.4, above=1)
        sheet.text(2.2, top + 2.4, name, "body", bold=True, above=4)
        sheet.text(2.2, top + 5.2, detail, above=4)
        for at, path in enumerate(self.paths):
            if entry := layer.entries.get(path):
                place = _NAMES + at * wide + 0.7, top + 1.2, wide - 1.4, 5.0
                self._draw_entry(sheet, layer, entry, place, colour)

    def _draw_entry(
        self, sheet: Page, layer: LayerFolder, entry: Entry,
        place: tuple[float, float, float, float], colour: str,
    ) -> None:  # fmt: skip
        merged = layer is self.stack.merged
        seen = merged or self.lies[entry.path] == layer.name
        mark = entry.kind in _MARKS and not merged
        edge = style.KERNEL if mark else colour
        fill = f"{edge}66" if seen and not merged else style.PAPER
        told = seen or mark
        sheet.box(*place, edge, fill=fill, dashed=not told, pad=0.5, line=2, above=3)
        ink = style.KERNEL if mark and not seen else style.INK
        words = f"{'✕ ' * (entry.kind == 'whiteout')}{_words(entry)}"
        left, top, width, height = place
        middle = left + width / 2, top + height / 2
        sheet.text(*middle, words, colour=ink, bold=told, centre=True, above=4)


def _words(entry: Entry) -> str:
    return amount(entry.size_bytes) if entry.kind == "file" else _MARKS.get(entry.kind, entry.kind)
