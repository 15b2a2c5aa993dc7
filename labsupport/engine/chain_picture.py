"""The chain from a client to a process, as a sequence: requests downwards, processes as lifelines.

A lifeline begins where a process was first seen, and ends where it was no longer there: this shows
which request started something. Only what was observed is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from labsupport.engine.chain import ApiCall, Chain, Member, Moment
from labsupport.figure import style
from labsupport.figure.page import Page

INCHES = 10.0
LANES = {"client": 7.8, "engine": 43.6, "containerd": 60.4, "shim": 77.2, "process": 94.0}
HALF = {"client": 6.8, "engine": 6.6, "containerd": 6.6, "shim": 7.8, "process": 5.6}
PLAIN = {
    "client": "client",
    "engine": "engine",
    "containerd": "engine's helper",
    "shim": "container's parent",
    "process": "the container",
}
TOP, ROW, BOX, BOTTOM = 7.6, 4.4, 14.6, 7.8
LABEL, LONGEST_SOCKET = 35, 20  # characters of a request, of a socket's name
KEY = (
    "Thin arrow: asks, at the socket in italics. Thick arrow: is the parent of.",
    "Numbers are this kernel's. A line: the process is there; ✕: it has gone.",
)


class Row(NamedTuple):
    """A moment at its place: who is new then, its top and its height."""

    moment: Moment
    new: list[Member]
    top: float
    high: float


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
        told = [f"{_words(each)} is there" for each in moment.members if each.role not in seen]
        told += [f"the {role} is gone" for role in seen if role not in moment.roles]
        seen = set(moment.roles)
        parts.append(f"{_request(moment)}: {'; '.join(told) or 'nobody new'}.")
    return " ".join([*parts, chain.elsewhere]).strip()


def _words(member: Member) -> str:
    inside = f", {member.pids[-1]} inside" if len(member.pids) > 1 else ""
    parent = f" ({member.parent_name})" if member.parent_name else ""
    child = f"child of {member.parent_pid}{parent}"
    asked = f", asked at {member.socket}" if member.socket else ""
    return f"{member.role} {member.name}, PID {member.pid}{inside}, {child}{asked}"


def _request(moment: Moment) -> str:
    return f"{moment.call.short} ({moment.call.status})" if moment.call else "A moment later"


def table(chain: Chain) -> list[tuple[object, ...]]:
    """Return a row for each request, with who was there when its answer came."""
    return [("request", "answer", "ms", *LANES), *map(_cells, chain.moments)]


def _cells(moment: Moment) -> tuple[object, ...]:
    call, pids = moment.call, {each.role: f"PID {each.pid}" for each in moment.members}
    told = (call.short, call.status, _ms(call)) if call else ("a moment later", "", "")
    return (*told, *(pids.get(role, "-") for role in LANES))


def _ms(call: ApiCall) -> int:
    return round(1000 * call.seconds)


def _rows(chain: Chain) -> list[Row]:
    placed = []
    seen = set(chain.moments[0].roles) if chain.moments else set()
    top = TOP + BOX - 2.4  # those who were there from the beginning are above all requests
    for moment in chain.moments:
        new = [each for each in moment.members if each.role not in seen]
        seen |= set(moment.roles)
        placed.append(Row(moment, new, top, BOX + 1.4 if new else ROW))
        top += placed[-1].high
    return placed


def page(chain: Chain) -> Page:
    """Draw requests and lifelines, and who asks whom."""
    rows = _rows(chain)
    high = (rows[-1].top + rows[-1].high if rows else TOP) + BOTTOM
    sheet = Page(high, finding(chain), inches=INCHES)
    for role in LANES:
        _draw_lifeline(sheet, rows, role)
    first = chain.moments[0].members if chain.moments else ()
    for member in first:
        _draw_head(sheet, chain.member(member.role) or member, TOP)
    _draw_arrows(sheet, [member.role for member in first], TOP)
    for row in rows:
        _draw_row(sheet, row)
    for number, line in enumerate((chain.elsewhere,) if chain.elsewhere else KEY):
        sheet.text(1.2, high - BOTTOM + 2.6 + 2.6 * number, line)
    return sheet


def _draw_arrows(sheet: Page, roles: Sequence[str], top: float) -> None:
    """Draw who asks whom, from box to box: each the next one in the chain."""
    for asker, asked in itertools.pairwise(LANES):
        if asked in roles and asked != "process":
            start = LANES[asker] + (HALF[asker] if asker in roles else 0) + 0.4
            end = LANES[asked] - HALF[asked] - 0.4
            sheet.arrow((start, top + 3.6), (end, top + 3.6), linewidth=1.3)


def _draw_lifeline(sheet: Page, rows: Sequence[Row], role: str) -> None:
    here = [row for row in rows if role in row.moment.roles]
    if not here:
        return
    x = LANES[role]
    begin = (TOP if here[0] is rows[0] else here[0].top) + 5  # under its box
    end = here[-1].top + here[-1].high
    sheet.line((x, begin), (x, end), colour=_colour(role), linewidth=2.6, zorder=1)
    if here[-1] is not rows[-1]:
        cross = sheet.line((x, end + 0.5), colour=style.KERNEL, marker="x", zorder=3)
        cross.set(markersize=10, markeredgewidth=2.6)
        sheet.text(x + 1.6, end + 0.6, "gone", colour=style.KERNEL, bold=True)


def _draw_row(sheet: Page, row: Row) -> None:
    left, call = LANES["client"] + 1.2, row.moment.call
    if call:
        _draw_request(sheet, call, row.top + ROW - 1.6)
    else:
        sheet.text(left, row.top + ROW / 2, "a moment later", style="italic")
    for member in row.new:
        _draw_head(sheet, member, row.top)
    new = {member.role: member for member in row.new}
    _draw_arrows(sheet, list(new), row.top)
    if row.new:
        told = "when this answer comes, it runs"
        sheet.text(left, row.top + BOX - 5.6, told, style="italic")
    if {"shim", "process"} <= new.keys() and new["process"].parent_pid == new["shim"].pid:
        start, end = LANES["shim"] + HALF["shim"] + 0.3, LANES["process"] - HALF["process"]
        sheet.arrow((start, row.top + 8.2), (end, row.top + 8.2), style.FIRST, linewidth=2.8)
        parent = f"PID {new['shim'].parent_pid} is the shim's parent"
        sheet.text(left, row.top + BOX - 3.0, parent, style="italic")


def _draw_request(sheet: Page, call: ApiCall, y: float) -> None:
    left, right = LANES["client"], LANES["engine"]
    sheet.arrow((left + 0.4, y), (right - 0.4, y), linewidth=1.3)
    text = call.short if len(call.short) <= LABEL else call.short[: LABEL - 1] + "…"
    sheet.text(left + 1.2, y - 0.5, text, mono=True, va="bottom")
    took = f"{call.status}, {_ms(call)} ms"
    sheet.text(right - 1.4, y + 0.3, took, colour=style.QUIET, ha="right", va="top")


def _draw_head(sheet: Page, member: Member, top: float) -> None:
    half, colour, x = HALF[member.role], _colour(member.role), LANES[member.role]
    high = BOX - 2.4
    box = (x - half - 0.3, top - 0.3, 2 * half + 0.6, high)
    sheet.box(*box, style.PAPER, fill=style.PAPER, zorder=2)  # no lifeline shines through
    sheet.box(*box, colour, fill=f"{colour}22", zorder=2)
    lines = [PLAIN[member.role], f"PID {member.pid}", f"child of {member.parent_pid}"]
    lines += [f"inside: PID {member.pids[-1]}"] if len(member.pids) > 1 else []
    sheet.text(x, top + 1.3, member.name, "body", bold=True, centre=True, zorder=3)
    for number, line in enumerate(lines, 1):
        sheet.text(x, top + 1.3 + number * 2.3, line, centre=True, zorder=3)
    if member.socket:
        where = _short(member.socket)
        sheet.text(x, top + 10.5, where, centre=True, style="italic", zorder=3)


def _short(socket: str) -> str:
    """A socket's last name; a shim's is a digest, of which the first characters will do."""
    name = socket.rpartition("/")[2]
    return name if len(name) <= LONGEST_SOCKET else f"{name[:8]}…"


def _colour(role: str) -> str:
    return style.FIRST if role == "process" else style.HOST
