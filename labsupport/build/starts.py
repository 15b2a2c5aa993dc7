"""What finally runs: every form of ENTRYPOINT with every form of CMD, built and run.

Each instruction can be written as a list (the exec form) or as a line (the shell form, which
becomes the list `/bin/sh -c LINE`). What an engine starts is ENTRYPOINT's list with CMD's behind
it, and arguments take CMD's place.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets

from labsupport.build.container import Ran
from labsupport.build.workbench import Workbench
from labsupport.errors import TimedOut
from labsupport.figure import style
from labsupport.figure.live import LivePicture, Shown
from labsupport.figure.page import Page

# says what it was given, which process it is, and who PID 1 is
GREET = """#!/bin/sh
echo "$*"
echo "PID $$, and PID 1 is $(cat /proc/1/comm)" >&2
"""
BASE = "greet"
ENTRYPOINTS = ("", 'ENTRYPOINT ["greet", "Hello"]', "ENTRYPOINT greet Hello")
CMDS = ('CMD ["world"]', "CMD world")
ARGUMENT = "Pavlos"
SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True)
class Start:
    """One way to write it, and its outcome.

    `entrypoint` and `cmd` are lines of the Dockerfile, `arguments` came after the image's name.
    `config` is what the image says of both, as lists. `pid` is the number of our program in the
    container, `first` the name of PID 1 there; 0 and empty if the program never ran.
    """

    entrypoint: str
    cmd: str
    arguments: tuple[str, ...]
    config: tuple[tuple[str, ...], tuple[str, ...]]
    ran: Ran
    pid: int
    first: str

    @property
    def said(self) -> str:
        """What was printed; or, if our program did not run, why."""
        if self.pid:
            return self.ran.output.strip()
        last = (self.ran.said.splitlines() or ["nothing"])[-1]
        return last.rpartition("exec: ")[2].removesuffix(": unknown")

    @property
    def who(self) -> str:
        """Which process our program is, or how it failed."""
        if not self.pid:
            return f"exit status {self.ran.status}"
        return f"PID {self.pid}" + ("" if self.pid == 1 else f", PID 1 is {self.first}")

    def origins(self) -> list[tuple[str, str]]:
        """Return each word of the list that was started, with where it came from.

        A word is of ENTRYPOINT as far as that list goes, and then of the arguments if there were
        any, else of CMD.
        """
        own, rest = len(self.config[0]), "arguments" if self.arguments else "cmd"
        return [(word, "entrypoint" if at < own else rest) for at, word in enumerate(self.ran.argv)]

    def finding(self) -> str:
        """Say in one line what its picture shows."""
        entrypoint, _ = self.config
        if self.ran.status:
            return f"It fails: exit status {self.ran.status}"
        if entrypoint[:2] == SHELL and len(self.ran.argv) > len(entrypoint):
            return "The shell runs the word after -c, and nothing of the rest"
        if self.arguments:
            return "Arguments take CMD's place"
        return "CMD stands behind ENTRYPOINT" if entrypoint else "CMD alone is the program"

    def words(self) -> str:
        """Say all of it: the picture's text alternative."""
        entrypoint, cmd = map(list, self.config)
        return (
            f"{self.finding()}. The image's Entrypoint is {entrypoint}, its Cmd {cmd}, the "
            f"arguments are {list(self.arguments)}. Started in container {self.ran.short_id}: "
            f"{list(self.ran.argv)}. It says “{self.ran.said}”, exit status {self.ran.status}."
        )

    def table(self) -> list[tuple[object, ...]]:
        """The same as rows."""
        return [
            ("what", "list"),
            ("the image's Entrypoint", list(self.config[0])),
            ("the image's Cmd", list(self.config[1])),
            ("arguments", list(self.arguments)),
            ("is started", list(self.ran.argv)),
            ("says", self.ran.said),
            ("exit status", self.ran.status),
        ]

    def __repr__(self) -> str:
        lines = ", ".join(part for part in (self.entrypoint, self.cmd, *self.arguments) if part)
        return f"<{lines}: {self.said!r}, status {self.ran.status}>"


def form(line: str) -> str:
    """Which form an instruction has: `exec`, `shell` or, without one, `none`."""
    words = line.partition(" ")[2]
    return "exec" if words.startswith("[") else "shell" if words else "none"


def try_starts(bench: Workbench, entrypoint: str) -> list[Start]:
    """Build an image with each CMD and run it; and the first of them with an argument, too."""
    # without a network of its own it starts in two thirds of the time, and greet needs none
    return [
        try_start(bench, entrypoint, cmd, *arguments, network="host")
        for cmd, arguments in (*((cmd, ()) for cmd in CMDS), (CMDS[0], (ARGUMENT,)))
    ]


def try_start(
    bench: Workbench,
    entrypoint: str,
    cmd: str,
    *arguments: str,
    patience: float = 60,
    network: str = "none",
) -> Start:
    """Build an image of two lines at most, unless it is there already, and run it.

    Raises `TimedOut`: the program did not end within `patience` seconds.
    """
    if BASE not in bench.images:
        bench.write("greet", GREET, executable=True)
        bench.build("FROM labsupport/busybox\nCOPY greet /usr/local/bin/\n", BASE)
    name = "-".join(["greet", form(entrypoint), form(cmd)])
    if name not in bench.images:
        bench.build("\n".join([f"FROM labsupport/{BASE}", entrypoint, cmd, ""]), name)
    config = bench.image(name).attrs["Config"]
    lists = tuple(tuple(config.get(key) or ()) for key in ("Entrypoint", "Cmd"))
    ran = bench.run(name, *arguments, patience=patience, network_mode=network)
    pid, first = _who(ran.errors)
    return Start(entrypoint, cmd, arguments, (lists[0], lists[1]), ran, pid, first)


def _who(errors: str) -> tuple[int, str]:
    for line in errors.splitlines():
        if line.startswith("PID ") and " is " in line:
            return int(line.split()[1].rstrip(",")), line.rpartition(" is ")[2].strip()
    return 0, ""


# --- one start: how its list is put together, of the image's two lists and the arguments ---------

INCHES = 9.2
TOP, ROW, SAID, BOTTOM = 8.4, 5.2, 8.6, 3.0  # on a page 100 units wide
LEFT, CHARACTER = 25.0, 1.06
_COLOURS = {"entrypoint": style.FIRST, "cmd": style.SECOND, "arguments": style.THIRD}
_LONGEST = 24  # characters of a word


def assembly(start: Start) -> Page:
    """Draw the lists of one start, the list that they become, and the outcome."""
    lists = [
        ("the image's Entrypoint", [(word, "entrypoint") for word in start.config[0]]),
        ("the image's Cmd", [(word, "cmd") for word in start.config[1]]),
        ("your arguments", [(word, "arguments") for word in start.arguments]),
        ("is started", start.origins()),
    ]
    sheet = Page(TOP + 4 * ROW + SAID + BOTTOM, start.finding(), inches=INCHES)
    for number, (label, parts) in enumerate(lists):
        y = TOP + number * ROW + ROW / 2
        unused = number == 1 and bool(start.arguments)
        sheet.text(1.2, y, label, "body", bold=number == 3)
        _draw_list(sheet, parts, y, unused=unused)
    _draw_outcome(sheet, start, TOP + len(lists) * ROW + 0.6)
    return sheet


def _draw_list(sheet: Page, parts: Sequence[tuple[str, str]], y: float, *, unused: bool) -> None:
    if not parts:
        sheet.text(LEFT, y, "none", "body", style.QUIET)
    x = LEFT
    for word, origin in parts:
        text = word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
        wide = len(text) * CHARACTER + 2
        colour = _COLOURS[origin]
        fill = style.PAPER if unused else f"{colour}40"
        sheet.box(x - 0.3, y - 1.8, wide, 3.6, colour, fill=fill, dashed=unused)
        sheet.text(x + wide / 2 - 0.3, y, text, "body", mono=True, centre=True)
        x += wide + 1.4
    if unused:
        sheet.text(x, y, "not used", "body", style="italic")


def _draw_outcome(sheet: Page, start: Start, y: float) -> None:
    ran = start.ran
    colour = style.KERNEL if ran.status else style.INK
    said = " / ".join((start.said or ran.said or "nothing").splitlines()[:2])
    sheet.text(1.2, y + 2, "and it says", "body", bold=True)
    said = said if ran.status else f"“{said}”"
    lines = textwrap.wrap(said, 62, max_lines=2, placeholder=" …")
    size = "body" if ran.status or len(lines) > 1 else "large"
    for at, line in enumerate(lines):
        sheet.text(LEFT, y + 2 + at * 2.6, line, size, colour, bold=True)
    ending = f"✕ exit status {ran.status}" if ran.status else "exit status 0"
    note = f"{ending};  container {ran.short_id or '(none was made)'}, {ran.seconds:.2f} s"
    sheet.text(LEFT, y + 6.4, note, colour=colour)


# --- all of them: ENTRYPOINT downwards, CMD and arguments across ---------------------------------

GRID_INCHES = 10.0
HEAD, CELL, GAP, FOOT = 15.4, 14.2, 1.2, 4.6
CELLS = 21.0  # where they begin
_ARGV, _SAID, _LARGE = 26, 27, 18  # characters in a line


def finding(starts: Sequence[Start]) -> str:
    """Say in one line what the grid shows."""
    shell, exec_ = (
        [each.said for each in starts if form(each.entrypoint) == word and each.pid]
        for word in ("shell", "exec")
    )
    if len(shell) > 1 and len(set(shell)) == 1 and len(set(exec_)) > 1:
        return f"ENTRYPOINT in shell form swallows all the rest: “{shell[0]}”, {len(shell)} times"
    failed = sum(each.ran.status != 0 for each in starts)
    return f"{len(starts)} ways to start a program; {failed} fail"


def words(starts: Sequence[Start]) -> str:
    """Say all of it: the grid's text alternative."""
    return " ".join([f"{finding(starts)}.", *map(_sentence, starts)])


def _sentence(each: Start) -> str:
    with_ = f", argument {' '.join(each.arguments)}" if each.arguments else ""
    who = f"our program is {each.who}" if each.pid else each.who
    started = f"{shlex.join(each.ran.argv)} is started, “{each.said}”, {who}."
    return f"{each.entrypoint or 'No ENTRYPOINT'}, {each.cmd}{with_}: {started}"


def table(starts: Sequence[Start]) -> list[tuple[object, ...]]:
    """A row for each start."""
    head = ("ENTRYPOINT", "CMD", "arguments", "is started", "says", "exit status", "who is PID 1")
    return [
        head,
        *(
            (each.entrypoint.partition(" ")[2], each.cmd.partition(" ")[2],
             " ".join(each.arguments), shlex.join(each.ran.argv), each.said, each.ran.status,
             each.first or "nobody")
            for each in starts
        ),
    ]  # fmt: skip


def page(starts: Sequence[Start]) -> Page:
    """Draw the grid: a row for those with the same ENTRYPOINT."""
    rows: dict[str, list[Start]] = {}
    for each in starts:
        rows.setdefault(each.entrypoint, []).append(each)
    sheet = Page(HEAD + len(rows) * (CELL + GAP) + FOOT, finding(starts), inches=GRID_INCHES)
    wide = (99 - CELLS) / max(map(len, rows.values()))
    for column, each in enumerate(next(iter(rows.values()))):
        _draw_column_head(sheet, each, CELLS + column * wide + 0.8)
    for number, row in enumerate(rows.values()):
        top = HEAD + number * (CELL + GAP)
        _draw_row_head(sheet, row[0], top)
        for column, each in enumerate(row):
            _draw_cell(sheet, each, CELLS + column * wide, top, wide - 1.2)
    key = "mono: the list that is started;  red: no program of ours ran"
    sheet.text(1.2, sheet.height - FOOT / 2 + 0.2, key)
    return sheet


def _draw_column_head(sheet: Page, each: Start, x: float) -> None:
    head, line = f"{form(each.cmd)} form of CMD", each.cmd.partition(" ")[2]
    if each.arguments:
        head, line = "run with an argument", " ".join(each.arguments)
    sheet.text(x, HEAD - 6.0, head, "body", bold=True)
    sheet.text(x, HEAD - 3.4, line, mono=True)


def _draw_row_head(sheet: Page, each: Start, top: float) -> None:
    word = form(each.entrypoint)
    head = "no ENTRYPOINT" if word == "none" else f"{word} form"
    sheet.text(1.2, top + 3.2, head, "body", bold=True)
    lines = [] if word == "none" else ["ENTRYPOINT", *textwrap.wrap(each.entrypoint[11:], 20)]
    for at, line in enumerate(lines):
        sheet.text(1.2, top + 6.2 + at * 2.5, line, mono=True)


def _draw_cell(sheet: Page, each: Start, left: float, top: float, wide: float) -> None:
    fails = not each.pid
    colour = style.KERNEL if fails else style.FIRST if each.pid == 1 else style.HOST
    sheet.box(left, top, wide, CELL, colour, fill=f"{colour}14", dashed=fails, pad=0.4)
    argv = textwrap.wrap(shlex.join(each.ran.argv), _ARGV, max_lines=2, break_on_hyphens=False)
    for at, line in enumerate(argv):
        sheet.text(left + 1.2, top + 2.4 + at * 2.3, line, mono=True)
    said = each.said if fails else f"“{each.said}”"
    size = "small" if fails else "large" if len(said) < _LARGE else "body"
    for at, line in enumerate(textwrap.wrap(said, _SAID, max_lines=2, placeholder=" …")):
        sheet.text(left + 1.2, top + 7.4 + at * 2.2, line, size, bold=not fails)
    ending, ink = (f"✕ {each.who}", style.KERNEL) if fails else (f"greet is {each.who}", style.INK)
    sheet.text(left + 1.2, top + CELL - 2.2, ending, colour=ink, bold=fails or each.pid != 1)


def show_starts(starts: Sequence[Start]) -> None:
    """Show the grid in the notebook, with its words and the table behind it."""
    page(starts).show(words(starts), table(starts))


# --- choose any of them, run it, see --------------------------------------------------------------

PATIENCE_SECONDS = 10.0  # seconds that the notebook waits at most


class StartConsole:
    """`StartConsole(bench).show()`: two choices, a line of text, a button, and what came of it.

    `last` is the outcome of the last run.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.last: Start | None = None
        self.entrypoint = _choice("ENTRYPOINT", ENTRYPOINTS, 1)
        self.cmd = _choice("CMD", CMDS, 0)
        self.typed = ipywidgets.Text(ARGUMENT, description="arguments")
        self.button = ipywidgets.Button(description="▶ docker run")
        self.button.on_click(self._pressed)
        self.picture = LivePicture()

    def run(self, entrypoint: str, cmd: str, typed: str = "") -> Start:
        """Build an image of these two lines, and run it with the arguments in `typed`.

        Raises `TimedOut`: the program did not end within ten seconds; `ValueError`: a quotation
        mark is left open.
        """
        self.last = try_start(
            self.bench, entrypoint, cmd, *shlex.split(typed), patience=PATIENCE_SECONDS
        )
        return self.last

    def show(self) -> None:
        """Run the lecture's example with an argument, and show it with the controls."""
        start = self._run_chosen()
        controls = ipywidgets.HBox([self.entrypoint, self.cmd, self.typed, self.button])
        shown = Shown(ipywidgets.VBox([controls, self.picture]), self.picture.alt)
        shown.leave(self.picture.png, self.picture.alt, start.table(), self.picture.width)

    def _run_chosen(self) -> Start:
        start = self.run(self.entrypoint.value, self.cmd.value, self.typed.value)
        figure = assembly(start).figure
        self.picture.width, self.picture.alt = style.pixels(figure), start.words()
        self.picture.png = style.png(figure)
        return start

    def _pressed(self, _button: object) -> None:
        self.button.disabled, self.picture.status = True, "running …"
        try:
            self.picture.status = self._run_chosen().finding()
        except (TimedOut, ValueError) as error:
            self.picture.status = str(error)
        finally:
            self.button.disabled = False


def _choice(name: str, lines: Sequence[str], chosen: int) -> ipywidgets.Dropdown:
    options = [(line.partition(" ")[2] or "none", line) for line in lines]
    return ipywidgets.Dropdown(options=options, value=lines[chosen], description=name)
