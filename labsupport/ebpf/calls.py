"""Who executed what, as bpftrace saw it: the picture of notebook 14.

A line of the trace reads `12 ms, HOST: CALLER calls PROGRAM WORD …`. HOST is the caller's host
name, which in a container is its ID; the container's ID has been replaced by `ID` everywhere.
"""

import re
from dataclasses import dataclass

from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.page import Page

ID = "ID"
COMM = 15  # bytes of a program's name that the kernel keeps; PR_SET_NAME in prctl(2)
_LINE = re.compile(r"^(\d+) ms, (\S+): (\S+) calls (.+)$", re.MULTILINE)
_OPTION = re.compile(r"(?:^| )--?[\w-]+(?:=\S+| (?!-)\S+)?")
TOP, ROW, BOTTOM = 13.0, 4.4, 7.0
FIRST_LANE, LAST_LANE = 16.0, 92.0
HALF, HIGH = 6.0, 4.6  # of a lane's head


@dataclass(frozen=True)
class Call:
    """A program that was executed: when, in whose place, by whom, with which words."""

    at_ms: int
    host: str
    caller: str
    command: str

    @property
    def callee(self) -> str:
        """The program's name, as short as the kernel keeps it."""
        return self.command.split()[0][:COMM]

    @property
    def verb(self) -> str:
        """Its first word that is no option, no option's value and no ID: `create`; "" if none."""
        left = _OPTION.sub("", self.command.partition(" ")[2]).split()
        return next((word for word in left if word.isalpha() and word != ID), "")

    @property
    def is_inside(self) -> bool:
        """Whether it was executed in the container."""
        return self.host == ID


class Calls:
    """The programs that were executed for one container, in the order of time.

    Raises `LabError`: no line of the trace tells of one.
    """

    def __init__(self, trace: str) -> None:
        self.calls = [
            Call(int(at), host, caller.partition(":")[0], command)
            for at, host, caller, command in _LINE.findall(trace)
        ]
        if not self.calls:
            raise LabError("nothing was executed for this container", trace.strip(), "run it again")
        names = [name for call in self.calls for name in (call.caller, call.callee)]
        self.lanes = list(dict.fromkeys(names))
        self._whole = {call.callee: call.command.split()[0] for call in self.calls}

    def count(self, program: str) -> int:
        """Return how often a program was executed."""
        return sum(call.callee == program for call in self.calls)

    def finding(self) -> str:
        """Say in one line how many programs were executed, and how many of them inside."""
        inside = sum(call.is_inside for call in self.calls)
        some = "one" if inside == 1 else inside
        return f"{len(self.calls)} programs are executed for a container, {some} of them in it"

    def words(self) -> str:
        """Say all of it: the picture's text alternative."""
        told = (
            f"After {call.at_ms} ms {call.caller} calls {call.callee}"
            f"{call.verb and f' {call.verb}'}{', in the container' if call.is_inside else ''}."
            for call in self.calls
        )
        return " ".join([f"{self.finding()}.", *told])

    def table(self) -> list[tuple[object, ...]]:
        """A row for each call, with all of its words."""
        head = ("ms", "where", "who", "calls")
        where = {True: "in the container", False: "on this machine"}
        return [head, *((c.at_ms, where[c.is_inside], c.caller, c.command) for c in self.calls)]

    def page(self) -> Page:
        """Draw a lane for each program, and an arrow for each call; time runs downwards."""
        sheet = Page(TOP + ROW * len(self.calls) + BOTTOM, self.finding())
        inside = {call.callee for call in self.calls if call.is_inside}
        for name in self.lanes:
            self._lane(sheet, name, style.FIRST if name in inside else style.HOST)
        for number, call in enumerate(self.calls):
            self._arrow(sheet, TOP + ROW * (number + 0.9), call)
        what = "Each arrow is a call of execve(2): blue on this machine, orange in the container."
        sheet.text(1.2, sheet.height - 2.2, what)
        return sheet

    def show(self) -> None:
        """Show it in the notebook, with its words and the table behind it."""
        self.page().show(self.words(), self.table())

    def _at(self, name: str) -> float:
        apart = (LAST_LANE - FIRST_LANE) / max(len(self.lanes) - 1, 1)
        return FIRST_LANE + apart * self.lanes.index(name)

    def _lane(self, sheet: Page, name: str, colour: str) -> None:
        x = self._at(name)
        sheet.line((x, TOP), (x, sheet.height - BOTTOM), colour=style.PALE, line=1)
        sheet.box(x - HALF, TOP - HIGH - 1, 2 * HALF, HIGH, colour, fill=style.PAPER)
        words = self._whole.get(name, name).replace("-", "-\n", 1)
        sheet.text(x, TOP - HIGH / 2 - 1, words, centre=True)

    def _arrow(self, sheet: Page, y: float, call: Call) -> None:
        colour = style.FIRST if call.is_inside else style.HOST
        start, end = self._at(call.caller), self._at(call.callee)
        sheet.text(7.5, y, f"{call.at_ms} ms", right=True)
        if start == end:
            # a program that executes itself once more
            way = (start, y - 1), (start - 2.2, y - 1), (start - 2.2, y + 1), (start - 1, y + 1)
            sheet.line(*way, colour=colour)
            sheet.arrow((start - 1.4, y + 1), (start, y + 1), colour)
        else:
            sheet.arrow((start, y), (end, y), colour, line=2)
        sheet.text(max(start, end) + 1.2, y, call.verb)
        if call.is_inside:
            sheet.text((start + end) / 2, y - 1.5, "in the container", centre=True)
