"""An image's pushes, side by side: which layers went over the line, and which did not.

And what a registry's log says of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labsupport.build.chart import instruction
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.figure.table import PlainTable, amount
from labsupport.registry.server import Request
from labsupport.registry.shipping import LayerTrip, Trip

INCHES = 9.6
TITLE, HEAD, ROW, FOOT = 5.0, 5.6, 5.0, 4.4  # 100 units wide
LEFT, LONGEST = 39.0, 38  # the instructions' part of it, and the characters of one
ROOM = 17.0  # what the longest words of a bar take


def went(trip: Trip) -> str:
    """Say in a few words what one trip sent."""
    layers = f"{len(trip.travelled)} of {len(trip.layers)} layers"
    return f"{layers} sent, {amount(trip.line_bytes)}"


def finding(trips: Mapping[str, Trip]) -> str:
    """Say in one line what the picture shows."""
    said = " · ".join(f"{name}: {went(trip)}" for name, trip in trips.items())
    return said[:1].upper() + said[1:]


def words(trips: Mapping[str, Trip]) -> str:
    """Say all of it: the picture's text alternative."""
    told = [f"{finding(trips)}."]
    for name, trip in trips.items():
        layers = "; ".join(f"{_short(layer)}: {_fate(layer)}" for layer in trip.layers)
        told.append(f"{name}, {trip.name}, from the lowest layer up: {layers}.")
    return " ".join(told)


def table(trips: Mapping[str, Trip]) -> list[tuple[object, ...]]:
    """The same as rows, each image from its uppermost layer down."""
    head = ("trip", "name", "layer", "instruction", "in the registry", "what became of it")
    return [
        head,
        *(
            (name, trip.name, layer.digest.removeprefix("sha256:")[:12],
             instruction(layer.made_by), f"{layer.blob_bytes:,} bytes", layer.outcome)
            for name, trip in trips.items()
            for layer in reversed(trip.layers)
        ),
    ]  # fmt: skip


def page(trips: Mapping[str, Trip]) -> Page:
    """Draw a column for each trip, its layers as bars as long as their bytes, the lowest below."""
    bottom = TITLE + HEAD + ROW * max(len(trip.layers) for trip in trips.values())
    sheet = Page(bottom + FOOT, inches=INCHES)
    sheet.title = title = finding(trips)
    size = "title" if len(title) < 70 else "large" if len(title) < 80 else "body"
    sheet.text(1.5, 3.0, title, size, bold=True)
    for number, layer in enumerate([*trips.values()][-1].layers):
        made_by = _short(layer)
        cut = made_by if len(made_by) <= LONGEST else f"{made_by[: LONGEST - 1]}…"
        sheet.text(1.5, bottom - (number + 0.5) * ROW, cut, mono=True)
    wide = (98.5 - LEFT) / len(trips)
    largest = max(layer.blob_bytes for trip in trips.values() for layer in trip.layers)
    for place, (name, trip) in enumerate(trips.items()):
        left = LEFT + place * wide
        sheet.text(left, TITLE + 2.4, name, "body", bold=True)
        for number, layer in enumerate(trip.layers):
            share = layer.blob_bytes / largest
            _draw_layer(sheet, layer, left, bottom - (number + 1) * ROW, share * (wide - 2.0))
        sheet.text(left, bottom + 2.4, f"{trip.seconds:.1f} s", colour=style.QUIET)
    return sheet


def _draw_layer(sheet: Page, layer: LayerTrip, left: float, top: float, wide: float) -> None:
    """Draw a bar of its true length, which may be no more than a line, and what became of it."""
    went = layer.travelled
    colour, fill = (style.FIRST, f"{style.FIRST}55") if went else (style.SHARED, style.PAPER)
    place = (left, top + 0.5, wide, ROW - 1.0)
    sheet.box(*place, colour, fill=fill, dashed=not went, pad=0, linewidth=1.6)
    beside = 0 if wide > ROOM else wide
    ink = style.INK if went else style.QUIET
    sheet.text(left + beside + 1.4, top + ROW / 2, _fate(layer), colour=ink, bold=went)


def _fate(layer: LayerTrip) -> str:
    size = amount(layer.blob_bytes)
    return f"→ {size} sent" if layer.travelled else f"{layer.outcome}, {size}"


def _short(layer: LayerTrip) -> str:
    return instruction(layer.made_by) or "(not told)"


def show_trips(**trips: Trip) -> None:
    """Show them: `show_trips(first=push(…), after_the_change=push(…))`."""
    named = {name.replace("_", " "): trip for name, trip in trips.items()}
    page(named).show(words(named), table(named))


# --- a registry's log as a table: who asked for what, and what they got --------------------------

HEADS = ("who asked", "what", "status", "user", "bytes")
_MEANING = {
    200: "OK", 201: "created", 202: "accepted", 401: "who are you?", 404: "not there",
}  # fmt: skip
_AGENTS = {"docker": "the engine", "labsupport": "we"}


def requests_table(requests: Sequence[Request]) -> PlainTable:
    """Return a row for each request of a log: `requests_table(registry.log())`."""
    stored = sum(each.stored_bytes for each in requests)
    sent = sum(each.sent_bytes for each in requests if each.blob and each.method == "GET")
    finding = f"{len(requests)} requests: {amount(stored)} came in, {amount(sent)} went out"
    return PlainTable(finding, HEADS, tuple(map(_request_row, requests)))


def _request_row(each: Request) -> tuple[str, ...]:
    status = f"{each.status} {_MEANING.get(each.status, '')}".strip()
    size = f"{each.stored_bytes or each.sent_bytes:,}" if each.status else ""
    return (_agent(each), f"`{each.method} {_path(each)}`", status, each.user, size)


def _agent(request: Request) -> str:
    name = request.agent.partition("/")[0]
    return _AGENTS.get(name, name)


def _path(request: Request) -> str:
    """Shorten what is long: digests, the numbers of uploads."""
    path = request.path.partition("?")[0].removeprefix("/v2/")
    parts = [
        part if len(part) < 40 or "sha256" not in part else f"{part[:15]}…"
        for part in path.split("/")
    ]
    if "uploads" in parts[:-1] and parts[-1]:
        parts[-1] = f"{parts[-1][:4]}…"
    done = f" (it was {request.blob[7:15]}…)" if request.stored_bytes else ""
    return "/v2/" + "/".join(parts) + done
