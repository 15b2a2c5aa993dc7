"""The lecture's wish list as a matrix: each field a measured figure, or what a break-out came to.

Isolation is not judged by anybody: the app tried, and the host looked afterwards. A wall that held
is a tick, one that did not a cross; the colour says it once more.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from labsupport.race.results import BreakOut, Entrant, bytes_in_words, time_in_words
from labsupport.views import style

WIDTH = 10.4  # inches
HELD, BROKEN, PLAIN = "#CDEBE0", "#F7D9C4", "#F2F2F2"
_WALL = "isolation from the host"
HEADS = (
    ("automated\nset-up", "done after"),
    (_WALL, "file\nnot read"), (_WALL, "file\nnot changed"), (_WALL, "process\nnot seen"),
    (_WALL, "process\nnot ended"), (_WALL, "own\nhost name"), (_WALL, "own\nkernel"),
    ("efficiency", "memory"), ("efficiency", "disk"), ("quick start", "first answer"),
)  # fmt: skip
LEFT, TOP, ROW, BOTTOM = 17.0, 17.0, 6.2, 7.5  # on a page 100 units wide
WALLS = 6


def walls(got: BreakOut) -> tuple[bool, ...]:
    """Return for each of the six walls whether it held, in the order of the columns."""
    return (
        not got.reads_file, not got.changes_file, not got.sees_process, not got.ends_process,
        got.own_hostname, got.own_kernel,
    )  # fmt: skip


def finding(entrants: Sequence[Entrant]) -> str:
    """Say in one line how many walls held for whom."""
    held = {each.name: sum(walls(each.got)) for each in entrants if each.got}
    told = [
        f"{name.replace('virtual environment', 'venv')} {count}"
        for name, count in held.items()
        if name in ("virtual environment", "container", "virtual machine")
    ]
    return f"Walls that held: {', '.join(told)} of {WALLS}"


def words(entrants: Sequence[Entrant]) -> str:
    """Say all of it: the picture's text alternative."""
    told = [f"{finding(entrants)}."]
    for each in entrants:
        if each.got is None:
            told.append(f"{each.name}: not here, {each.why_not}.")
            continue
        cells = zip(HEADS, _cells(each), strict=True)
        fields = ", ".join(f"{head.replace(chr(10), ' ')}: {text}" for (_, head), text in cells)
        told.append(f"{each.name}: {fields}.".replace("✓", "yes").replace("✕", "no"))
    return " ".join([*told, _note(entrants)])


def table(entrants: Sequence[Entrant]) -> list[tuple[object, ...]]:
    """Return a row for each entrant, with a row of headings first."""
    head = ("how", *(words_.replace("\n", " ") for _, words_ in HEADS))
    return [head, *((each.name, *_cells(each)) for each in entrants)]


def _cells(each: Entrant) -> tuple[str, ...]:
    if each.got is None:
        return ("–",) * len(HEADS)  # noqa: RUF001
    set_up = time_in_words(each.set_up_seconds) if each.set_up_words else "0"
    marks = tuple("✓" if held else "✕" for held in walls(each.got))
    memory = bytes_in_words(each.memory_bytes) if each.memory_bytes else "?"
    return (set_up, *marks, memory, bytes_in_words(each.disk_bytes), time_in_words(each.seconds))


def _note(entrants: Sequence[Entrant]) -> str:
    given = [e.name for e in entrants if e.got and e.got.own_kernel and e.got.reads_file]
    if not given:
        return ""
    return f"* {' and '.join(given)}: given the host's files as disk, to read only"


def needed_height(entrants: Sequence[Entrant]) -> float:
    """How high a page, 100 units wide, the picture needs."""
    return TOP + ROW * len(entrants) + BOTTOM


def draw(axes: Axes, entrants: Sequence[Entrant]) -> None:
    """Draw the matrix into `axes`, which fills its figure."""
    high = needed_height(entrants)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3, finding(entrants), size=style.size("title"), weight="bold", va="center")
    wide = (99 - LEFT) / len(HEADS)
    _draw_heads(axes, wide)
    for number, each in enumerate(entrants):
        top = TOP + number * ROW
        axes.text(1.2, top + ROW / 2, each.name.replace(" environment", "\nenvironment"),
                  size=style.size("body"), weight="bold", va="center", linespacing=1.0)  # fmt: skip
        if each.got is None:
            why = f"not here: {each.why_not or 'it has not run'}"
            axes.text(LEFT + 1, top + ROW / 2, why[:100], size=style.size("small"), va="center",
                      style="italic", color="#555555")  # fmt: skip
            continue
        for column, text in enumerate(_cells(each)):
            given = each.got.own_kernel and (text == "✕" or HEADS[column][1] == "disk")
            _draw_cell(axes, text, (LEFT + column * wide, top, wide), starred=given)
    key = "✓ the wall held   ✕ it did not   " + _note(entrants)
    axes.text(1.2, high - BOTTOM / 2, key, size=style.size("small"), va="center",
              family="DejaVu Sans")  # fmt: skip


def _draw_heads(axes: Axes, wide: float) -> None:
    groups = [group for group, _ in HEADS]
    for group in dict.fromkeys(groups):
        first, count = groups.index(group), groups.count(group)
        left, right = LEFT + first * wide, LEFT + (first + count) * wide - 0.6
        axes.plot([left, right], [TOP - 5.9, TOP - 5.9], color=style.INK, linewidth=1.2)
        axes.text((left + right) / 2, TOP - 6.6, group, size=style.size("body"), weight="bold",
                  ha="center", va="bottom", linespacing=1.25)  # fmt: skip
    for column, (_, words_) in enumerate(HEADS):
        axes.text(LEFT + (column + 0.46) * wide, TOP - 2.7, words_, size=style.size("small") * 0.9,
                  ha="center", va="center", linespacing=1.1)  # fmt: skip


def _draw_cell(axes: Axes, text: str, place: tuple[float, float, float], *, starred: bool) -> None:
    left, top, wide = place
    fill = {"✓": HELD, "✕": BROKEN}.get(text, PLAIN)
    axes.add_patch(Rectangle((left, top + 0.3), wide - 0.6, ROW - 0.6, facecolor=fill, linewidth=0))
    mark = text in "✓✕"
    axes.text(left + wide / 2 - 0.3, top + ROW / 2, text + ("*" if starred else ""),
              size=style.size("large" if mark else "body"), ha="center", va="center",
              color={"✕": style.KERNEL}.get(text, style.INK), weight="bold" if mark else "normal",
              family="DejaVu Sans")  # fmt: skip


def show(entrants: Sequence[Entrant]) -> None:
    """Show the matrix in the notebook, with its words and the table behind it."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(entrants) / 100)
    draw(figure.add_axes((0, 0, 1, 1)), entrants)
    style.show(figure, words(entrants), table(entrants))
