"""The chain from a client to a process, as a sequence: requests downwards, processes as lifelines.

A lifeline begins where a process was first seen, and ends where it was no longer there: so one sees
which request started something. Only what was observed is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.chain import Chain, Member, Moment
from labsupport.views import style

WIDTH = 10.0  # inches
LANES = {"client": 8.2, "engine": 45.0, "containerd": 59.6, "shim": 75.0, "process": 92.8}
_WORDS = {
    "client": "client",
    "engine": "engine",
    "containerd": "engine's helper",
    "shim": "container's parent",
    "process": "the container",
}
_HALF = {"client": 6.8, "engine": 6.5, "containerd": 6.5, "shim": 7.8, "process": 6.2}
TOP, ROW, BOX, BOTTOM = 7.6, 4.0, 12.4, 5.4
_LABEL = 36  # characters of a request


def finding(chain: Chain) -> str:
    """Say in one line what the picture shows."""
    if chain.elsewhere or not chain.member("process"):
        return "The requests are seen here, the container's process is not"
    before, after = chain.roles_after("create"), chain.roles_after("start")
    if "process" in after and "process" not in before:
        return "“create” starts nothing; “start” brings a process, and its parent"
    return "One process more, and who is behind it"


def words(chain: Chain) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(chain)}."]
    seen: set[str] = set()
    for moment in chain.moments:
        new = [each for each in moment.members if each.role not in seen]
        gone = [role for role in seen if role not in moment.roles]
        seen = set(moment.roles)
        told = [f"{_words(each)} is there" for each in new] + [
            f"the {each} is gone" for each in gone
        ]
        parts.append(f"{_request(moment)}: {'; '.join(told) or 'nobody new'}.")
    return " ".join([*parts, chain.elsewhere]).strip()


def table(chain: Chain) -> list[tuple[object, ...]]:
    """A row for each request, with who was there when its answer came."""
    head = ("request", "answer", "ms", *LANES)
    return [head, *(_row(moment) for moment in chain.moments)]


def _row(moment: Moment) -> tuple[object, ...]:
    call, pids = moment.call, {each.role: f"PID {each.pid}" for each in moment.members}
    first = (call.short, call.status, round(1000 * call.seconds)) if call else ("a moment later",)
    return (*first, *([""] * (3 - len(first))), *(pids.get(role, "-") for role in LANES))


def _words(member: Member) -> str:
    inside = f", {member.pids[-1]} inside" if len(member.pids) > 1 else ""
    parent = f" ({member.parent_name})" if member.parent_name else ""
    return (
        f"{member.role} {member.name}, PID {member.pid}{inside}, child of "
        f"{member.parent_pid}{parent}"
    )


def _request(moment: Moment) -> str:
    return f"{moment.call.short} ({moment.call.status})" if moment.call else "A moment later"


def _rows(chain: Chain) -> list[tuple[Moment, list[Member], float, float]]:
    """Place the moments: each with who is new, its top and its height."""
    placed = []
    seen = set(chain.moments[0].roles) if chain.moments else set()
    top = TOP + BOX - 2.4  # those who were there from the beginning stand above all requests
    for moment in chain.moments:
        new = [each for each in moment.members if each.role not in seen]
        seen |= set(moment.roles)
        high = BOX + 1.4 if new else ROW
        placed.append((moment, new, top, high))
        top += high
    return placed


def needed_height(chain: Chain) -> float:
    """How high a page, 100 units wide, the picture needs."""
    rows = _rows(chain)
    return (rows[-1][2] + rows[-1][3] if rows else TOP) + BOTTOM


def draw_chain(axes: Axes, chain: Chain) -> None:
    """Draw requests and lifelines into `axes`, which fills its figure."""
    high = needed_height(chain)
    axes.set(xlim=(0, 100), ylim=(high, 0), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1.2, 3.2, finding(chain), size=style.size("title"), weight="bold", va="center")
    rows = _rows(chain)
    for role, x in LANES.items():
        _draw_lifeline(axes, rows, role, x)
    for member in chain.moments[0].members if chain.moments else ():
        _draw_head(axes, member, LANES[member.role], TOP)
    for moment, new, top, _ in rows:
        y = top + (ROW - 1.3 if moment.call else ROW / 2)
        if moment.call:
            _draw_request(axes, moment, y)
        else:
            _draw_later(axes, y)
        for member in new:
            _draw_head(axes, member, LANES[member.role], top)
        if new:
            axes.text(LANES["client"] + 1.2, top + BOX - 4.2, "when this answer comes, it runs",
                      size=style.size("small"), style="italic", va="center")  # fmt: skip
        here = {member.role: member for member in new}
        if "process" in here and "shim" in here and here["process"].parent_pid == here["shim"].pid:
            _draw_parent(axes, top + 8.2)
    note = (
        chain.elsewhere
        or "Numbers are this kernel's. A line: the process is there; ✕: it has gone."
    )
    axes.text(1.2, high - BOTTOM / 2, note, size=style.size("small"), va="center")


def _colour(role: str) -> str:
    return style.FIRST if role == "process" else style.HOST


def _draw_lifeline(
    axes: Axes, rows: Sequence[tuple[Moment, list[Member], float, float]], role: str, x: float
) -> None:
    here = [(top, row) for moment, _, top, row in rows if role in moment.roles]
    if not here:
        return
    begin = TOP + 5 if here[0][0] == rows[0][2] else here[0][0] + 5  # under its box
    end = here[-1][0] + here[-1][1]
    last = rows[-1]
    axes.plot([x, x], [begin, end], color=_colour(role), lw=2.6, solid_capstyle="butt", zorder=1)
    if role not in last[0].roles:
        axes.plot([x], [end + 0.5], marker="x", color=style.KERNEL, ms=10, mew=2.6, zorder=3)
        axes.text(x + 1.6, end + 0.6, "gone", size=style.size("small"), color=style.KERNEL,
                  va="center", weight="bold")  # fmt: skip


def _draw_request(axes: Axes, moment: Moment, y: float) -> None:
    call = moment.call
    if call is None:
        return
    left, right = LANES["client"], LANES["engine"]
    axes.annotate(
        "", xy=(right - 0.4, y), xytext=(left + 0.4, y),
        arrowprops={"arrowstyle": "-|>", "color": style.INK, "lw": 1.3, "mutation_scale": 13},
    )  # fmt: skip
    text = call.short if len(call.short) <= _LABEL else call.short[: _LABEL - 1] + "…"
    axes.text(left + 1.2, y - 0.5, text, size=style.size("small"), family="monospace", va="bottom")
    took = f"{call.status}, {1000 * call.seconds:.0f} ms"
    axes.text(right - 1.4, y + 0.35, took, size=9.5 * style.size("small") / 11, ha="right",
              va="top", color="#555555")  # fmt: skip


def _draw_later(axes: Axes, y: float) -> None:
    axes.text(LANES["client"] + 1.2, y, "a moment later", size=style.size("small"), style="italic",
              va="center")  # fmt: skip


def _draw_head(axes: Axes, member: Member, x: float, top: float) -> None:
    half, colour = _HALF[member.role], _colour(member.role)
    high = BOX - (0.8 if member.role == "process" else 3.0)
    axes.add_artist(
        FancyBboxPatch(
            (x - half, top), 2 * half, high, boxstyle="round,pad=0.3", linewidth=1.8,
            facecolor="#FFF4DC" if member.role == "process" else "#E3F0F8", edgecolor=colour,
            zorder=2,
        )
    )  # fmt: skip
    inside = f"inside: PID {member.pids[-1]}" if len(member.pids) > 1 else ""
    lines = (
        (member.name, "bold", "body"), (_WORDS[member.role], "normal", "small"),
        (f"PID {member.pid}", "normal", "small"),
        (f"child of {member.parent_pid}", "normal", "small"), (inside, "normal", "small"),
    )  # fmt: skip
    for number, (text, weight, size) in enumerate(lines):
        axes.text(x, top + 1.3 + number * 2.3, text, size=style.size(size), weight=weight,
                  ha="center", va="center", zorder=3)  # fmt: skip


def _draw_parent(axes: Axes, y: float) -> None:
    left, right = LANES["shim"] + _HALF["shim"], LANES["process"] - _HALF["process"]
    axes.annotate(
        "", xy=(right - 0.1, y), xytext=(left + 0.1, y), zorder=4,
        arrowprops={"arrowstyle": "-|>", "color": style.FIRST, "lw": 2.4, "mutation_scale": 15,
                    "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip


def show_chain(chain: Chain) -> None:
    """Show the sequence in the notebook, with its words and the table behind it."""
    figure = style.new_figure(WIDTH, WIDTH * needed_height(chain) / 100)
    draw_chain(figure.add_axes((0, 0, 1, 1)), chain)
    style.show(figure, words(chain), table(chain))
