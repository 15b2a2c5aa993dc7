"""Layers as shelves: a column is a name, a row a layer, the uppermost first."""

from collections.abc import Mapping, Sequence

from labsupport.figure import style
from labsupport.figure.page import DOTS, Page
from labsupport.figure.table import amount
from labsupport.mount.overlay import Entry, LayerFolder, Stack

WIDTH = 9.2  # inches; a page is 100 units wide
Table = list[tuple[object, ...]]
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

    def table(self) -> Table:
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
