"""Pictures of mounts: what spreads to a copy, what leads out of a root, where a name lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import amount
from labsupport.mount.escape import Attempt
from labsupport.mount.mounting import Outcome
from labsupport.mount.overlay import Entry, LayerFolder, Stack

WIDTH = 9.2  # inches; a page is 100 units wide
Table = list[tuple[object, ...]]


# ---- what spreads between two mount namespaces: a row for each setting

_DIRECTIONS = {
    (True, True): "both ways",
    (True, False): "from the original to the copy only",
    (False, True): "from the copy to the original only",
    (False, False): "not at all",
}
_SHORT = {"from the original to the copy only": "one way", "not at all": "no way"}
_LEFT, _RIGHT = 42.0, 74.0  # between which the arrows run


def _direction(outcome: Outcome) -> str:
    return _DIRECTIONS[outcome.to_copy, outcome.to_original]


def propagation_finding(outcomes: Sequence[Outcome]) -> str:
    """Say in one line what the picture shows."""
    found = ((each.setting, _direction(each)) for each in outcomes)
    return "   ".join(f"{setting}: {_SHORT.get(way, way)}" for setting, way in found)


def propagation_words(outcomes: Sequence[Outcome]) -> str:
    """Say all of it: the picture's text alternative."""
    said = (
        f"With {each.setting}, mounts made after the copy spread {_direction(each)}."
        for each in outcomes
    )
    return " ".join([f"{propagation_finding(outcomes)}.", *said])


def propagation_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the matrix, with a row of headings first."""
    yes = {True: "yes", False: "no"}
    return [
        ("setting", "mounted in the original: in the copy?", "the other way round?"),
        *((each.setting, yes[each.to_copy], yes[each.to_original]) for each in outcomes),
    ]


def propagation_page(outcomes: Sequence[Outcome]) -> Page:
    """Draw the matrix, with arrows for what happened."""
    sheet = Page(12.0 + 13.0 * len(outcomes), propagation_finding(outcomes), inches=WIDTH)
    sheet.text(1.5, 8.3, "A mount made after the copy: does it show on the other side?", "body")
    for number, outcome in enumerate(outcomes):
        top = 11.5 + number * 13.0
        sheet.text(1.5, top + 5.5, outcome.setting, "large", bold=True)
        for left, label, colour in (
            (_LEFT - 22, "the original", style.FIRST),
            (_RIGHT, "the copy", style.SECOND),
        ):
            sheet.box(left, top, 22, 11, colour, fill=f"{colour}22", pad=0.6)
            sheet.text(left + 11, top + 5.5, label, "body", centre=True)
        _spread(sheet, _LEFT + 1, _RIGHT - 1, top + 3.4, outcome.to_copy, style.FIRST)
        _spread(sheet, _RIGHT - 1, _LEFT + 1, top + 8.2, outcome.to_original, style.SECOND)
    return sheet


def _spread(
    sheet: Page, start: float, end: float, height: float, spreads: bool, colour: str
) -> None:
    """An arrow that arrives and says "shows", or one that is stopped half-way and says so."""
    middle = (start + end) / 2
    if spreads:
        sheet.arrow((start, height), (end, height), colour, linewidth=2.4, mutation_scale=20)
    else:
        sheet.line((start, height), (middle, height), colour=colour, linewidth=2.4, linestyle=":")
        look: dict[str, Any] = {"marker": "x", "markersize": 11, "markeredgewidth": 3.2}
        sheet.line((middle, height), colour=style.KERNEL, **look)
    word = "shows" if spreads else "stays where it is"
    sheet.text(middle, height - 1.7, word, centre=True)


def show_propagation(outcomes: Sequence[Outcome]) -> None:
    """Show the matrix in the notebook."""
    propagation_page(outcomes).show(propagation_words(outcomes), propagation_table(outcomes))


# ---- attempts to walk out of a root folder: the root moves down, the working folder stays

_HIGH = 44.0


def escapes_finding(attempts: Sequence[Attempt]) -> str:
    """Say in one line what the picture shows."""
    out = [each.how for each in attempts if each.escaped]
    held = [each.how for each in attempts if not each.escaped]
    return f"Out of: {', '.join(out) or 'none'}.   Held by: {', '.join(held) or 'none'}"


def escapes_words(attempts: Sequence[Attempt]) -> str:
    """Say all of it: the picture's text alternative."""
    ends = {True: "got out", False: "stayed inside"}
    said = (
        f"{each.how}: {_old_root(each)}; the program moved its root down and walked up from where "
        f"it stood; it {ends[each.escaped]}, and reading the file outside gave: {each.after}."
        for each in attempts
    )
    return " ".join([f"{escapes_finding(attempts)}.", *said])


def escapes_table(attempts: Sequence[Attempt]) -> Table:
    """Return a row for each attempt, with a row of headings first."""
    return [
        ("locked in by", "before", "after the escape", "mounts of the old root", "escaped"),
        *((a.how, a.before, a.after, a.old_mounts, "yes" if a.escaped else "no") for a in attempts),
    ]


def _old_root(attempt: Attempt) -> str:
    if attempt.old_mounts == 0:
        return "the old root is gone"
    return f"the old root is there ({attempt.old_mounts} mounts)"


def escapes_page(attempts: Sequence[Attempt]) -> Page:
    """Draw the attempts next to each other: the folder, what lies around it, the way."""
    sheet = Page(_HIGH, escapes_finding(attempts), inches=WIDTH)
    wide = (98 - 1.5 * (len(attempts) - 1)) / len(attempts)
    for number, attempt in enumerate(attempts):
        _draw_attempt(sheet, attempt, 1 + number * (wide + 1.5), wide)
    return sheet


def _draw_attempt(sheet: Page, attempt: Attempt, left: float, wide: float) -> None:
    there = attempt.old_mounts > 0
    outside = style.HOST if there else style.PALE
    sheet.box(left, 8, wide, 31.5, outside, fill=f"{outside}14", pad=0.6, dashed=not there)
    _label(sheet, left + 1.2, 8, attempt.how, outside)
    sheet.text(left + 1.6, 11.6, _old_root(attempt), colour=style.INK if there else style.QUIET)
    sheet.box(left + 1.5, 17, wide - 3, 20.5, style.FIRST, fill=f"{style.FIRST}23", pad=0.6)
    _label(sheet, left + 2.7, 17, "new root folder", style.FIRST)
    _draw_move(sheet, left + 3, wide - 6)
    _draw_way(sheet, attempt, left + wide - 5)
    sheet.text(left + 0.6, 41.8, f"read: {attempt.after}", bold=attempt.escaped)


def _draw_move(sheet: Page, left: float, wide: float) -> None:
    """The root moves into a folder further in; the working folder stays where it is."""
    sheet.box(left, 28.8, wide, 7.2, style.SECOND, fill=f"{style.SECOND}23", pad=0.5)
    sheet.text(left + 1.2, 32.4, "/further_in: root now")
    sheet.arrow((left + 4, 19.2), (left + 4, 28.6), style.SECOND, linewidth=2.4)
    sheet.text(left + 5, 21.6, "root moves")


def _draw_way(sheet: Page, attempt: Attempt, middle: float) -> None:
    """The way up from the working folder, and where it ends."""
    colour = style.KERNEL if attempt.escaped else style.INK
    top = 13.2 if attempt.escaped else 18.6
    sheet.line((middle, 25.6), (middle, 25.6), colour=colour, marker="o", markersize=8)
    sheet.text(middle - 1.6, 25.6, "cwd stays", ha="right")
    sheet.arrow((middle, 24.6), (middle, top), colour, linewidth=2.4, mutation_scale=18)
    if attempt.escaped:
        sheet.text(middle - 1.4, 14.4, "cd .. leads out", ha="right")
    else:
        sheet.line((middle - 3, 18.2), (middle + 3, 18.2), colour=style.KERNEL, linewidth=4)
        sheet.text(middle - 1.4, 14.4, "“..” ends here", ha="right")


def _label(sheet: Page, left: float, middle: float, words: str, colour: str) -> None:
    box = {"facecolor": style.PAPER, "edgecolor": colour, "pad": 2.2}
    sheet.text(left, middle, words, bold=True, bbox=box)


def show_escapes(attempts: Sequence[Attempt]) -> None:
    """Show the attempts in the notebook."""
    escapes_page(attempts).show(escapes_words(attempts), escapes_table(attempts))


# ---- layers as shelves: a column is a name, a row a layer, the uppermost first

_NAMES, _TOP, _BOTTOM, _SHELF = 19.0, 13.0, 5.0, 9.0  # left of the columns; heights
_MARKS = {"whiteout": "deleted", "opaque": "opaque"}
_KEY = (
    "filled: seen;  outlined: hidden by what lies above;  in red: a mark that hides what lies below"
)


class Shelves:
    """Which name is on which shelf; from the top row a line goes down to where the file really is.

    Grey layers are read-only (and may be shared), the orange one is writable. `names` are other
    words for layers.
    """

    def __init__(
        self, stack: Stack, paths: Sequence[str], names: Mapping[str, str] | None = None
    ) -> None:
        self.stack, self.paths, self.names = stack, list(paths), names or {}
        self.lies = {path: stack.lies_in(path) for path in paths}

    def finding(self) -> str:
        """Say in one line what the picture shows."""
        lies = list(self.lies.values())
        where = [each.name for each in self.stack.layers if each.name in lies]
        parts = [f"{lies.count(name)} in {self._name(name)}" for name in where]
        hidden = f"; {lies.count(None)} hidden" if None in lies else ""
        seen = len(lies) - lies.count(None)
        files = "1 name is" if seen == 1 else f"{seen} names are"
        return f"{files} seen: {', '.join(parts)}{hidden}" if parts else f"No name is seen{hidden}"

    def words(self) -> str:
        """Say all of it: the picture's text alternative."""
        return " ".join([f"{self.finding()}.", *map(self._sentence, self.paths)])

    def _sentence(self, path: str) -> str:
        where = self.lies[path]
        others = [
            f"{self._name(each.name)} has {_words(each.entries[path])}"
            for each in self.stack.layers
            if path in each.entries and each.name != where
        ]
        also = f" ({'; '.join(others)})" if others else ""
        return f"{path}: {f'lies in {self._name(where)}' if where else 'not to be seen'}{also}."

    def table(self) -> Table:
        """The same as rows: a name, where it lies, and what each layer has."""
        head = ("name", "lies in", *(self._name(each.name) for each in self.stack.layers))
        return [head, *map(self._row, self.paths)]

    def _row(self, path: str) -> tuple[object, ...]:
        held = (each.entries.get(path) for each in self.stack.layers)
        where = self.lies[path]
        return path, self._name(where) if where else "", *(_words(e) if e else "" for e in held)

    def _name(self, layer: str) -> str:
        return self.names.get(layer, layer)

    def page(self) -> Page:
        """Draw the shelves."""
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
        sheet.text(middle, _TOP - 2.2, name, bold=True, centre=True, va="baseline")
        if folder:
            sheet.text(middle, _TOP - 4.6, f"{folder}/", centre=True, va="baseline")
        for number, layer in enumerate(self.stack.layers, 1):
            if self.lies[path] == layer.name:
                colour = style.FIRST if layer.writable else style.SHARED
                ends = (middle, _TOP + 6.2), (middle, _TOP + number * _SHELF + 1.2)
                dots = (0, (1, 1.2))
                sheet.line(*ends, colour=colour, linewidth=2.2, linestyle=dots, zorder=2)

    def _draw_shelf(
        self, sheet: Page, layer: LayerFolder, label: tuple[str, str, str], top: float, wide: float
    ) -> None:
        name, detail, colour = label
        merged = layer is self.stack.merged
        fill = style.PAPER if merged else f"{colour}1C"
        sheet.box(0.8, top, 98.4, 7.4, colour, fill=fill, pad=0.5, linewidth=1.4, zorder=1)
        sheet.text(2.2, top + 2.4, name, "body", bold=True, zorder=4)
        sheet.text(2.2, top + 5.2, detail, zorder=4)
        for at, path in enumerate(self.paths):
            if entry := layer.entries.get(path):
                place = _NAMES + at * wide + 0.7, top + 1.2, wide - 1.4, 5.0
                self._draw_entry(sheet, layer, entry, place, colour)

    def _draw_entry(
        self,
        sheet: Page,
        layer: LayerFolder,
        entry: Entry,
        place: tuple[float, float, float, float],
        colour: str,
    ) -> None:
        merged = layer is self.stack.merged
        seen = merged or self.lies[entry.path] == layer.name
        mark = entry.kind in _MARKS and not merged
        edge = style.KERNEL if mark else colour
        fill = f"{edge}66" if seen and not merged else style.PAPER
        told = seen or mark
        sheet.box(*place, edge, fill=fill, dashed=not told, pad=0.5, linewidth=2, zorder=3)
        ink = style.KERNEL if mark and not seen else style.INK
        words = f"{'✕ ' * (entry.kind == 'whiteout')}{_words(entry)}"
        left, top, width, height = place
        middle = left + width / 2, top + height / 2
        sheet.text(*middle, words, colour=ink, bold=told, centre=True, zorder=4)


def _words(entry: Entry) -> str:
    return amount(entry.size_bytes) if entry.kind == "file" else _MARKS.get(entry.kind, entry.kind)
