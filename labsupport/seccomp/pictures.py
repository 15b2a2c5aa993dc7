"""What is refused, who has which privilege, and who said no: the pictures of notebook 07."""

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import fill, wrap
from typing import Any

from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.page import DASHES, Page, Point
from labsupport.figure.table import PlainTable
from labsupport.kernel.capabilities import CapabilitySets
from labsupport.seccomp.guards import CALL, CAPABILITY, NAMESPACE, NEEDS, SECCOMP, WhoSaidNo
from labsupport.seccomp.syscall_table import FILES, GROUPS
from labsupport.seccomp.verdicts import Verdict

KINDS = {"allowed": "allowed", "depends": "depend on arguments", "denied": "refused"}
LIGHT = style.PALE + "90"
ACROSS, CELL, SIDE = 24, 1.5, 1.17  # squares in a line; one with the gap to the next; its side
SQUARES_AT, NAMES_AT = 21.5, 59.0
GRID_TOP, NAME_LINE, GAP = 7.0, 2.14, 1.3
LETTERS, MOST_NAMES = 36, 20  # in a line; of a group

HAS, COULD, NO = "✓ has it", "could gain it", "no"
HEADS = {
    SECCOMP: "seccomp\nfilter",
    CAPABILITY: "capability",
    NAMESPACE: "initial user\nnamespace",
    CALL: "the call\nitself",
}
COLUMNS = dict(zip(HEADS, (30.0, 45.5, 61.0, 91.5), strict=True))
MODULE_AT = 76.5
UNLABELLED = "This kernel keeps no labels of AppArmor or SELinux."
LEFT, TOP, ROW, BOTTOM = 1.5, 14.5, 5.4, 5.5
WIDE, HIGH = 11.5, 3.3
ENDED = {"colour": style.KERNEL, "fill": style.KERNEL}
ALSO = {"colour": style.KERNEL, "fill": style.PAPER}
THE_CALL = {"colour": style.SHARED, "fill": style.PAPER, "dashed": True}
KEY = (
    (3.0, "ended here", ENDED),
    (27.0, "would have ended here, too", ALSO),
    (60.5, "the call itself (harmless arguments)", THE_CALL),
)


class Grid:
    """A square for each system call, by what it is about, with the names of those refused.

    A call has the same place in every grid. What a filter lets pass is pale; what it refuses is
    vermilion and crossed out; half of each if it depends on arguments.
    """

    def __init__(self, verdicts: Sequence[Verdict], who: str) -> None:
        self.verdicts, self.who = verdicts, who
        self.groups = {n: [v for v in verdicts if v.group == n] for n in (*GROUPS, FILES)}

    def finding(self) -> str:
        counts = _count(self.verdicts)
        some = f", {counts['depends']} in part" if counts["depends"] else ""
        total = len(self.verdicts)
        return f"{self.who}: {counts['denied'] or 'none'} of {total} calls refused{some}"

    def words(self) -> str:
        told = (f"{name}: {_told(members)}." for name, members in self.groups.items())
        return " ".join([f"{self.finding()}.", *told])

    def table(self) -> list[tuple[object, ...]]:
        told = [each for each in self.verdicts if each.kind != "allowed"]
        rows = [(each.number, each.name, each.group, each.reason) for each in told]
        others = ("", f"{len(self.verdicts) - len(told)} others", "", "allowed")
        return [("number", "system call", "about", "verdict"), *rows, others]

    def page(self) -> Page:
        bands = [(name, each, wrap(_told(each), LETTERS)) for name, each in self.groups.items()]
        highs = [max(-(-len(m) // ACROSS) * CELL, len(t) * NAME_LINE) + GAP for _, m, t in bands]
        sheet = Page(GRID_TOP + sum(highs) + 4, self.finding())
        top = GRID_TOP
        for (name, members, told), high in zip(bands, highs, strict=True):
            sheet.text(SQUARES_AT - 1.5, top, name, right=True)
            for kind in {each.kind for each in members}:
                places = [at for at, each in enumerate(members) if each.kind == kind]
                spots = [(SQUARES_AT + n % ACROSS * CELL, top + n // ACROSS * CELL) for n in places]
                _squares(sheet, spots, kind)
            sheet.text(NAMES_AT, top - 1, "\n".join(told), at="top")
            top += high
        left, middle = SQUARES_AT, sheet.height - 2
        for kind, word in KINDS.items():
            _squares(sheet, [(left, middle)], kind)
            text = f"{_count(self.verdicts)[kind]} {word}"
            sheet.text(left + 2, middle, text)
            left += 5 + 1.3 * len(text)
        return sheet

    def show(self) -> None:
        self.page().show(self.words(), self.table())


def _count(verdicts: Sequence[Verdict]) -> Counter[str]:
    return Counter(verdict.kind for verdict in verdicts)


def _told(members: Sequence[Verdict]) -> str:
    """How many of a group are refused, and which."""
    denied = [each.name for each in members if each.kind == "denied"]
    part = [f"{each.name} (in part)" for each in members if each.kind == "depends"]
    names = [*denied[:MOST_NAMES], *part]
    more = f" and {len(denied) - MOST_NAMES} more" if len(denied) > MOST_NAMES else ""
    which = f": {', '.join(names)}{more}" if names else ""
    return f"{len(denied) or 'none'} of {len(members)}{which}"


def _squares(sheet: Page, at: Sequence[Point], kind: str) -> None:
    fill = style.KERNEL if kind == "denied" else LIGHT
    sheet.squares(at, SIDE, style.PALE if kind == "allowed" else style.KERNEL, fill=fill)
    for x, y in at:
        if kind == "denied":
            sheet.cross(x, y, SIDE / 2, style.PAPER)
        elif kind == "depends":
            sheet.box(x - SIDE / 2, y - SIDE / 2, SIDE / 2, SIDE, fill=style.KERNEL, pad=0, line=0)


def capability_table(who: Mapping[str, CapabilitySets]) -> PlainTable:
    """Who has which privilege: `capability_table({"here": capabilities()})`.

    A column for each process. Capabilities that all processes stand to in the same way share a row.
    """
    if not who:
        example = 'capability_table({"here": capabilities()})'
        raise LabError("there is nobody to show", "the dictionary is empty", example)
    known = next(iter(who.values())).known
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(known):
        alike.setdefault(tuple(standing(each, name) for each in who.values()), []).append(name)
    rows = [
        (", ".join(f"`{name.removeprefix('CAP_')}`" for name in names), *pattern)
        for pattern, names in sorted(alike.items(), key=lambda row: -row[0].count(HAS))
    ]
    numbers = ("how many", *(f"{len(each.effective)} of {len(known)}" for each in who.values()))
    users = ("user, from here", *(str(each.uid) for each in who.values()))
    filters = ("seccomp", *(each.seccomp for each in who.values()))
    have = ", ".join(f"{label} has {len(each.effective)}" for label, each in who.items())
    finding = f"Of {len(known)} capabilities, {have}"
    return PlainTable(finding, ("", *who), (numbers, users, filters, *rows))


def standing(sets: CapabilitySets, name: str) -> str:
    """Whether a process has a capability, could gain it by execve, or can never have it."""
    if name in sets.effective:
        return HAS
    within = sets.permitted if sets.no_new_privs else sets.permitted | sets.bounding
    return COULD if name in within else NO


class Gates:
    """Who said no, as a chain of gates: each row a system call on its way into the kernel.

    Where a guard that was asked first is closed, the call ended; those that would have refused it,
    too, are outlined. A capability and the namespace in which it counts are one question.
    """

    def __init__(self, found: Sequence[WhoSaidNo], who: str = "", label: str = "") -> None:
        self.found, self.who, self.label = found, who, label

    def finding(self) -> str:
        there = [each for each in self.found if not each.missing]
        refused = [each for each in there if each.closed]
        twice = sum(SECCOMP in each.closed and len(each.closed) > 1 for each in refused)
        whose = f"{self.who}: " if self.who else ""
        text = f"{whose}{len(refused) or 'none'} of {len(there)} calls refused"
        return f"{text}, {twice} twice" if twice else text

    def words(self) -> str:
        label = f"Its label is {self.label}, which was not tried." if self.label else UNLABELLED
        return " ".join([f"{self.finding()}.", *map(_sentence, self.found), label])

    def table(self) -> list[tuple[object, ...]]:
        rows = [
            (each.call, each.errno or "success", *(_said(each, gate) or "open" for gate in HEADS))
            for each in self.found
        ]
        return [("system call", "seen", *HEADS), *rows]

    def page(self) -> Page:
        end = TOP + ROW * len(self.found)
        sheet = Page(end + BOTTOM, self.finding())
        for guard, middle in COLUMNS.items():
            sheet.text(middle, 9.5, HEADS[guard], bold=True, centre=True)
        for row, each in enumerate(self.found):
            _draw_row(sheet, TOP + ROW * (row + 0.5), each)
        sheet.text(MODULE_AT, 9.5, "AppArmor,\nSELinux", bold=True, centre=True,
                   colour=style.QUIET)  # fmt: skip
        box = (MODULE_AT - 6.75, TOP + 1, 13.5, end - TOP - 2)
        over = 2 if self.label else 0  # what was not tried hides the way
        sheet.box(*box, style.SHARED, fill=style.FAINT, dashed=True, above=over, line=1.2)
        said = f"label {self.label}, not tried" if self.label else "no labels here"
        sheet.text(MODULE_AT, (TOP + end) / 2, fill(said, 12), centre=True, colour=style.QUIET,
                   above=3)  # fmt: skip
        sheet.key(end + BOTTOM / 2 + 0.4, KEY)
        return sheet

    def show(self) -> None:
        self.page().show(self.words(), self.table())


def _said(each: WhoSaidNo, gate: str) -> str:
    """What a gate says to a call; "" if it is open."""
    if gate == CALL:
        return each.errnos["nothing"]
    return each.errnos[gate] if gate in each.closed else ""


def _stops(each: WhoSaidNo) -> tuple[str, ...]:
    """The gates at which a call ended: the filter, or those that are asked together after it."""
    first = each.closed[:1]
    return first if first == (SECCOMP,) else tuple(g for g in each.closed if g != SECCOMP)


def _sentence(each: WhoSaidNo) -> str:
    if each.missing:
        return f"{each.call} is not in this kernel."
    if not each.closed:
        end = _said(each, CALL)
        return f"{each.call} passes all guards{f' and ends with {end}' if end else ''}."
    stops = _stops(each)
    others = [guard for guard in each.closed if guard not in stops]
    also = f"; {' and '.join(others)} would refuse it, too" if others else ""
    return f"{each.call} is refused by {' and '.join(stops)} with {each.errno}{also}."


def _draw_row(sheet: Page, middle: float, each: WhoSaidNo) -> None:
    sheet.text(LEFT, middle - 1, each.call, "body", bold=True, mono=True)
    need = NEEDS[each.call].removeprefix("CAP_")
    words = f"needs {need}" if need else "needs no capability"
    words = "not in this kernel" if each.missing else words
    sheet.text(LEFT, middle + 1.2, words, colour=style.QUIET)
    if each.missing:
        return
    stops = _stops(each) or (CALL,)
    end = COLUMNS[stops[0]]
    sheet.line((22.5, middle), (end - WIDE / 2, middle), colour=style.HOST, line=2.4, above=1)
    if stops != (CALL,):
        rest = ((end, middle), (COLUMNS[CALL], middle))
        sheet.line(*rest, colour=style.PALE, dashes=DASHES, line=1.6, above=0)
    for gate, at in COLUMNS.items():
        said = _said(each, gate)
        if gate == CALL:
            _box(sheet, at, middle, said or "done", THE_CALL)
        elif said and gate in stops:
            _box(sheet, at, middle, f"✕ {said}", ENDED, style.PAPER)
        elif said:
            _box(sheet, at, middle, said, ALSO)
        else:  # two rails along the way: nothing lies across it
            for side in (middle - HIGH / 2, middle + HIGH / 2):
                rail = ((at - WIDE / 2, side), (at + WIDE / 2, side))
                sheet.line(*rail, colour=style.SHARED, line=1.6)


def _box(
    sheet: Page, at: float, middle: float, text: str, look: dict[str, Any], ink: str = style.INK
) -> None:
    sheet.box(at - WIDE / 2, middle - HIGH / 2, WIDE, HIGH, above=2, **look)
    sheet.text(at, middle, text, "body", ink, bold=True, centre=True, above=3)
