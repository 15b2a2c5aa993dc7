"""Commit to an answer before you run; then compare it with what was measured.

`guess = predict("How many?", within=0)` is a question with a control below it: buttons to choose
from, or a field for a number. `guess.beside(count, says="the kernel")` puts the answer beside it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labsupport.course import progress
from labsupport.errors import LabError, ProgressNotKept
from labsupport.figure.table import Markup, html_table

if TYPE_CHECKING:
    from labsupport.course.guess_widget import GuessWidget

YES_NO = ("yes", "no")


class Prediction:
    """A question and the student's `guess`; None stands for "I would rather not say".

    As the last line of a cell it is shown with its control, which is closed once the answer is
    known.
    """

    def __init__(
        self, question: str, choices: Sequence[str] = (), within: float = 0.0,
        factor: float | None = None, unit: str = "",
    ) -> None:  # fmt: skip
        self.question, self.choices = question, tuple(map(str, choices))
        self.within, self.factor, self.unit = within, factor, unit
        self._guess: str | float | None = None
        self._handle: Any = None
        self._outcome: Outcome | None = None

    @property
    def guess(self) -> str | float | None:
        """One of the choices, or a number; None where nothing was said."""
        return self._guess

    @guess.setter
    def guess(self, value: object) -> None:
        self._guess = None if value in (None, "") else self._read(value, "your guess")

    def beside(self, measured: object, says: str = "the kernel") -> Outcome:
        """Compare the guess with what was measured; both are kept among the student's progress.

        `says` names the witness. Raises `LabError` for a value that could not have been guessed.
        """
        answer = self._read(measured, "the answer")
        met = None if self._guess is None else self._is_met(answer)
        outcome = Outcome(self.question, self._guess, answer, says, met, self.unit)
        try:
            progress.note(
                progress.PREDICTION, question=self.question, guess=self._guess, measured=answer,
                met=met,
            )  # fmt: skip
        except ProgressNotKept as error:
            outcome = replace(outcome, lost=str(error))
        self._outcome = outcome
        if self._handle is not None:
            self._widget.answer = outcome.words
            self._handle.update(self._bundle(), raw=True)
        return outcome

    def _read(self, value: object, whose: str) -> str | float:
        if self.choices == YES_NO and isinstance(value, bool):
            value = "yes" if value else "no"
        if self.choices:
            if str(value) not in self.choices:
                what = f"{whose} {value!r} is not among the choices"
                raise LabError(what, f"they are: {', '.join(self.choices)}")
            return str(value)
        try:
            number = float(str(value).replace(",", "").removesuffix(self.unit))
        except ValueError:
            raise LabError(f"{whose} {value!r} is not a number") from None
        return int(number) if number.is_integer() else number

    def _is_met(self, answer: str | float) -> bool:
        if isinstance(answer, str) or isinstance(self._guess, str) or self._guess is None:
            return self._guess == answer
        if self.factor is not None:
            low, high = sorted((abs(answer), abs(self._guess)))
            return self._guess * answer >= 0 and high <= low * self.factor
        return abs(self._guess - answer) <= self.within * abs(answer)

    @property
    def bounds(self) -> str:
        """How near a number must be, in words."""
        if self.choices:
            return ""
        if self.factor is not None:
            return f"right within a factor of {self.factor:g}"
        return f"right within {self.within:.0%}" if self.within else "the exact number"

    @cached_property
    def _widget(self) -> GuessWidget:
        from labsupport.course.guess_widget import GuessWidget

        return GuessWidget(self)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        shown: Any = display  # which has no types
        self._handle = shown(self._bundle(), raw=True, display_id=True)

    def _bundle(self) -> dict[str, Any]:
        """The control, and what a reader without a kernel sees: the question, in words."""
        bundle: Any = self._widget._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        lines = map(html.escape, repr(self).splitlines())
        return {**data, "text/html": f"<p>{'<br>'.join(lines)}</p>", "text/plain": repr(self)}

    def __repr__(self) -> str:
        ways = " / ".join(self.choices) or f"a number{self.unit and f' ({self.unit})'}"
        bounds = self.bounds and f", {self.bounds}"
        noted = self._outcome.words if self._outcome else f"Your guess: {ways}{bounds}"
        return f"{self.question}\n{noted}"


@dataclass(frozen=True)
class Outcome:
    """A guess and the measured answer; `met` is None if there was no guess."""

    question: str
    guess: str | float | None
    measured: str | float
    says: str
    met: bool | None
    unit: str = ""
    lost: str = ""
    """Why it could not be kept among the student's progress, if so."""

    @property
    def verdict(self) -> str:
        return {None: "you made no guess", True: "as you said ✓", False: "not as you said"}[
            self.met
        ]

    @property
    def words(self) -> str:
        said = f"{self.says}: {self._with_unit(self.measured)} · {self.verdict}"
        return f"you: {self._with_unit(self.guess)} · {said}"

    def _with_unit(self, value: str | float | None) -> str:
        if value is None:
            return "-"
        exact = "," if isinstance(value, int) else ",.6g"
        text = value if isinstance(value, str) else format(value, exact)
        return f"{text} {self.unit}".rstrip()

    def __repr__(self) -> str:
        lost = f"\n  ({self.lost})" if self.lost else ""
        return f"{self.question}\n  {self.words}{lost}"

    def _repr_html_(self) -> str:
        measured = Markup(f"<b>{html.escape(self._with_unit(self.measured))}</b>")
        row = (self._with_unit(self.guess), measured, self.verdict)
        lost = f"<p>({html.escape(self.lost)})</p>" if self.lost else ""
        return html_table(("you", self.says, ""), [row], self.question, named=False) + lost


def predict(
    question: str, *, choices: Sequence[str] = (), kind: str = "", within: float | None = None,
    factor: float | None = None, unit: str = "",
) -> Prediction:  # fmt: skip
    """Ask before something is run; give exactly one of the ways to answer.

    Args:
        question: what will it be?
        choices: the answers to choose from.
        kind: "yes/no" for these two.
        within: a number is wanted, and right if it is as near as this part of the answer: 0.1 is
            10 %, 0 wants the exact number.
        factor: a number is wanted, and right if it is this many times too small or too large.
        unit: what the number counts, such as "ms".

    Raises `LabError`: it does not say how to answer, or says so twice.

    """
    ways = [bool(choices), kind != "", within is not None, factor is not None]
    if sum(ways) != 1 or kind not in ("", "yes/no") or isinstance(choices, str):
        why = f"choices={choices!r}, kind={kind!r}, within={within!r}, factor={factor!r}"
        remedy = 'give one of choices=["…", "…"], kind="yes/no", within=0.1 and factor=2'
        raise LabError("predict() does not know how this question is answered", why, remedy)
    return Prediction(question, YES_NO if kind else choices, within or 0.0, factor, unit)
