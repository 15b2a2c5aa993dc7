"""One image and its containers: what they share lies below, what each has of its own above."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.instances import Instance
from labsupport.views import style
from labsupport.views.amounts import amount

WIDTH = 9.6  # inches
TOP, PROCESS, LAYER, IMAGE, GAP, BOTTOM = 8.2, 11.4, 13.6, 8.4, 1.6, 2.0  # 100 units wide
_MOST_FILES = 4
_PATH = 24  # characters


def finding(instances: Sequence[Instance]) -> str:
    """Say in one line what the picture shows."""
    images = len({each.image_id for each in instances})
    pids = len({each.pid for each in instances})
    different = len({each.changes for each in instances})
    one = "One image" if images == 1 else f"{images} images"
    wrote = f"{different} different writable layers" if different > 1 else "nothing different yet"
    return f"{one}, {len(instances)} containers: {pids} processes, {wrote}"


def words(instances: Sequence[Instance], image: str, layers: int) -> str:
    """Say all of it: the picture's text alternative."""
    told = [
        f"{each.name} (PID {each.pid}{_inside(each)}) wrote {', '.join(_lines(each, 99))}."
        for each in instances
    ]
    below = f"Below all of them lies the image {image}, read-only: {_many(layers)}."
    return " ".join([f"{finding(instances)}.", *told, below])


def table(instances: Sequence[Instance]) -> list[tuple[object, ...]]:
    """A row for each container."""
    head = ("container", "ID", "image", "PID", "PID inside", "writable layer", "changed in it")
    return [
        head,
        *(
            (each.name, each.short_id, each.image_id.removeprefix("sha256:")[:12], each.pid,
             each.pids[-1] if each.pids else "?", _tail(each.upper),
             ", ".join(f"{kind} {path}" for kind, path in each.changes) or "nothing")
            for each in instances
        ),
    ]  # fmt: skip


def _tail(upper: str | None) -> str:
    return "…/" + "/".join(upper.split("/")[-3:]) if upper else "cannot be read here"


def _many(layers: int) -> str:
    return "1 layer" if layers == 1 else f"{layers} layers"


def _inside(each: Instance) -> str:
    return f", {each.pids[-1]} inside" if each.pids else ""


def _lines(each: Instance, most: int = _MOST_FILES) -> list[str]:
    """What the writable layer holds: files as they lie there, or what the engine tells."""
    deleted = [f"{path} deleted" for kind, path in each.changes if kind == "deleted"]
    if each.written is not None:
        held = [f"{_short(path)}  {amount(size)}" for path, size in each.written.items()]
    else:
        held = [f"{_short(path)} {kind}" for kind, path in each.changes if kind != "deleted"]
    lines = held + deleted
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest} more"] if rest > 0 else [])] or ["nothing yet"]


def _short(path: str) -> str:
    return path if len(path) <= _PATH else "…" + path[1 - _PATH :]


def needed_height() -> float:
    """How high a page, 100 units wide, the picture is."""
    return TOP + PROCESS + LAYER + IMAGE + 2 * GAP + BOTTOM


def draw_instances(axes: Axes, instances: Sequence[Instance], image: str, layers: int) -> None:
    """Draw the containers on their image into `axes`, which fills its figure."""
    axes.set(xlim=(0, 100), ylim=(needed_height(), 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.2, finding(instances), size=style.size("title"), weight="bold", va="center")
    wide = 97.6 / len(instances)
    for number, each in enumerate(instances):
        _draw_container(axes, each, 1.2 + number * wide, wide - 1.4, style.WHO[number % 3])
    top = TOP + PROCESS + LAYER + 2 * GAP
    _box(axes, (1.2, top, 96.2, IMAGE), style.SHARED)
    identity = ", ".join(sorted({each.image_id.removeprefix("sha256:")[:12] for each in instances}))
    axes.text(49.3, top + 2.8, f"image {image}", size=style.size("body"), weight="bold",
              ha="center", va="center")  # fmt: skip
    axes.text(49.3, top + 5.6, f"{identity}: {_many(layers)}, read-only, shared by all",
              size=style.size("small"), ha="center", va="center")  # fmt: skip


def _draw_container(axes: Axes, each: Instance, left: float, wide: float, colour: str) -> None:
    middle = left + wide / 2
    _box(axes, (left + 2.4, TOP, wide - 4.8, PROCESS), colour, strong=True)
    inside = f"inside: PID {each.pids[-1]}" if each.pids else "on another kernel"
    lines = ((each.name, "bold", "body"), (f"PID {each.pid}", "normal", "small"),
             (inside, "normal", "small"))  # fmt: skip
    for at, (text, weight, size) in enumerate(lines):
        axes.text(middle, TOP + 2.6 + at * 2.9, text, size=style.size(size), weight=weight,
                  ha="center", va="center")  # fmt: skip
    top = TOP + PROCESS + GAP
    _box(axes, (left, top, wide, LAYER), colour)
    axes.text(left + 1.4, top + 2.0, "writable layer, its own", size=style.size("small"),
              weight="bold", va="center")  # fmt: skip
    for at, line in enumerate(_lines(each)):
        axes.text(left + 1.4, top + 4.6 + at * 2.2, line, size=style.size("small"), va="center",
                  family="monospace")  # fmt: skip


def _box(
    axes: Axes, box: tuple[float, float, float, float], colour: str, *, strong: bool = False
) -> None:
    left, top, wide, high = box
    axes.add_artist(
        FancyBboxPatch(
            (left + 0.4, top + 0.4), wide - 0.8, high - 0.8, boxstyle="round,pad=0.4",
            linewidth=1.8, facecolor=colour + ("55" if strong else "22"), edgecolor=colour,
        )
    )  # fmt: skip


def show_instances(instances: Sequence[Instance], image: str, layers: int) -> None:
    """Show the picture in the notebook, with its words and the table behind it."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height() / 100)
    draw_instances(figure.add_axes((0, 0, 1, 1)), instances, image, layers)
    style.show(figure, words(instances, image, layers), table(instances))
