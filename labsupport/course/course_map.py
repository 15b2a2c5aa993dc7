"""The map of the course: a tile for each notebook, with what the student has done in it."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from urllib.parse import quote

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.course.scoreboard import Score, scores
from labsupport.views import style

COLUMNS = 5
WIDE, HIGH, GAP = 18.6, 14.0, 1.5  # of the page, which is 100 units wide
TOP = 8.0
PASSED, MISSED, OPEN = style.SECOND, style.KERNEL, "#DDDDDD"
MOST_DOTS = 14  # in a row


def finding(done: Sequence[Score]) -> str:
    """Say in one line what the picture shows."""
    guessed, met = sum(s.guessed for s in done), sum(s.met for s in done)
    passed, there = sum(s.passed for s in done), sum(s.exercises for s in done)
    if not any(score.begun for score in done):
        return f"{len(done)} notebooks, {there} exercises: nothing done yet"
    return f"{passed} of {there} exercises solved; {met} of {guessed} guesses were right"


def words(done: Sequence[Score]) -> str:
    """Say all of it: the picture's text alternative."""
    return f"Map of the course. {finding(done)}. " + " ".join(_sentence(s) for s in done)


def table(done: Sequence[Score]) -> list[tuple[object, ...]]:
    """Return a row for each notebook, with a row of headings first."""
    head = ("notebook", "guesses right", "guessed", "left away", "questions", "solved", "exercises")
    return [
        head,
        *((f"{s.number} {s.title}", s.met, s.guessed, s.skipped, s.questions, s.passed,
           s.exercises) for s in done),
    ]  # fmt: skip


class CourseMap:
    """What has been done of the course: a picture, and a list of links to the notebooks.

    It is read from the student's own file each time that it is shown (see `course.progress`).

    Raises:
        ProgressUnreadable: that file holds something else.

    """

    def __init__(self, done: Sequence[Score] | None = None) -> None:
        self.scores = scores() if done is None else list(done)

    @property
    def begun(self) -> list[str]:
        """The numbers of the notebooks in which something was done."""
        return [score.number for score in self.scores if score.begun]

    def __repr__(self) -> str:
        return words(self.scores)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        rows = -(-len(self.scores) // COLUMNS)
        tall = TOP + rows * (HIGH + GAP) + 3.5
        figure = style.new_figure(9.2, 9.2 * tall / 100)
        draw_course_map(figure.add_axes((0, 0, 1, 1)), self.scores, tall)
        shown = style.bundle(
            style.png(figure), words(self.scores), table(self.scores), style.pixels(figure)
        )
        return {**shown, "text/html": f"{shown['text/html']}{_links(self.scores)}"}


def draw_course_map(axes: Axes, done: Sequence[Score], tall: float) -> None:
    """Draw the tiles row by row into `axes`, which fills its figure and is `tall` units high."""
    axes.set(xlim=(0, 100), ylim=(tall, 0))
    axes.axis("off")
    axes.text(GAP, 3.6, finding(done), size=style.size("title"), weight="bold", va="center")
    for place, score in enumerate(done):
        row, column = divmod(place, COLUMNS)
        left, top = GAP / 2 + column * (WIDE + GAP - 0.3), TOP + row * (HIGH + GAP)
        _draw_tile(axes, score, left, top)
    axes.text(
        GAP, tall - 1.8, "dots: guesses (● right, ○ not, - left away)     "
        "squares: exercises (■ solved, ☒ tried)", size=style.size("small"), color="#555555",
        va="center",
    )  # fmt: skip


def _draw_tile(axes: Axes, score: Score, left: float, top: float) -> None:
    complete = score.exercises and score.passed == score.exercises
    edge = PASSED if complete else style.HOST if score.begun else "#BBBBBB"
    axes.add_patch(
        FancyBboxPatch(
            (left + 0.5, top + 0.5), WIDE - 1, HIGH - 1, boxstyle="round,pad=0.4,rounding_size=0.9",
            facecolor="#FFFFFF" if score.begun else "#F7F7F7", edgecolor=edge,
            linewidth=2.2 if score.begun else 1.0,
        )
    )  # fmt: skip
    axes.text(left + 1.1, top + 2.2, score.number, size=style.size("large"), weight="bold",
              va="center", color=edge if score.begun else "#777777")  # fmt: skip
    axes.text(left + 4.9, top + 1.2, "\n".join(textwrap.wrap(_short(score.title), 14)[:2]),
              size=style.size("small"), va="top", linespacing=1.05)  # fmt: skip
    if complete:
        axes.text(left + WIDE - 1.2, top + HIGH - 1.9, "done ✓", size=style.size("small"),
                  weight="bold", color=PASSED, ha="right", va="center")  # fmt: skip
    _draw_guesses(axes, score, left + 1.6, top + 7.6)
    _draw_exercises(axes, score, left + 1.6, top + 11.2)


def _short(title: str) -> str:
    """Leave away what a long title explains: “Tutorial T3: build, run” is “Tutorial T3”."""
    return title if len(title) < 26 else title.partition(":")[0]


def _draw_guesses(axes: Axes, score: Score, left: float, middle: float) -> None:
    marks = (
        [("o", PASSED, True)] * score.met
        + [("o", MISSED, False)] * (score.guessed - score.met)
        + [("_", style.SHARED, True)] * score.skipped
    )
    marks += [("o", OPEN, True)] * (score.questions - len(marks))
    for place, (shape, colour, filled) in enumerate(marks[:MOST_DOTS]):
        axes.plot(
            left + place * (WIDE - 3.4) / MOST_DOTS, middle, marker=shape, markersize=5,
            markerfacecolor=colour if filled else "none", markeredgecolor=colour,
            markeredgewidth=1.6,
        )  # fmt: skip


def _draw_exercises(axes: Axes, score: Score, left: float, middle: float) -> None:
    failed = score.tried - score.passed
    untried = score.exercises - score.tried
    marks = [(PASSED, "")] * score.passed + [(MISSED, "x")] * failed + [(OPEN, "")] * untried
    for place, (colour, sign) in enumerate(marks):
        axes.plot(
            left + 0.3 + place * 2.6, middle, marker="s", markersize=11, color=colour,
            markerfacecolor="none" if sign else colour, markeredgewidth=1.6,
        )  # fmt: skip
        if sign:
            axes.plot(left + 0.3 + place * 2.6, middle, marker="x", markersize=7, color=colour,
                      markeredgewidth=1.8)  # fmt: skip


def _sentence(score: Score) -> str:
    if not score.begun:
        return f"{score.number} {score.title}: not begun."
    return (
        f"{score.number} {score.title}: {score.met} of {score.guessed} guesses right, "
        f"{score.passed} of {score.exercises} exercises solved."
    )


def _links(done: Sequence[Score]) -> str:
    links = " · ".join(
        f"<a href='{quote(score.file)}'>{score.number}&nbsp;{html.escape(score.title)}</a>"
        for score in done
    )
    return f"<p style='margin:.3em 0'>{links}</p>"
