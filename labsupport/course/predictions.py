"""Commit to an answer before you run; then see it beside what the kernel said."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace

from labsupport.course import progress
from labsupport.errors import ProgressNotKept


@dataclass(frozen=True)
class Prediction:
    """A question and the student's guess; None stands for "I would rather not say"."""

    question: str
    guess: object = None

    def beside(self, measured: object, what: str = "the kernel says") -> Outcome:
        """Set the guess beside what was measured; both are kept among the student's progress."""
        outcome = Outcome(self.question, self.guess, measured, what)
        try:
            progress.note(
                progress.PREDICTION, question=self.question, guess=self.guess, measured=measured,
                met=outcome.met,
            )  # fmt: skip
        except ProgressNotKept as error:
            return replace(outcome, lost=str(error))
        return outcome

    def __repr__(self) -> str:
        guess = "no guess" if self.guess is None else repr(self.guess)
        return f"Noted: {guess}. Now run the next cell."


@dataclass(frozen=True)
class Outcome:
    """A guess and the measured answer; `met` is None if there was no guess."""

    question: str
    guess: object
    measured: object
    what: str
    lost: str = ""
    """Why it could not be kept among the student's progress, if so."""

    @property
    def met(self) -> bool | None:
        """Whether the guess was right; numbers may be guessed as text."""
        if self.guess is None:
            return None
        return str(self.guess).strip().lower() == str(self.measured).strip().lower()

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        return {None: "you made no guess", True: "as you said ✓", False: "not as you said"}[
            self.met
        ]

    def __repr__(self) -> str:
        guess = "-" if self.guess is None else self.guess
        lost = f"\n  ({self.lost})" if self.lost else ""
        outcome = f"you: {guess}   {self.what}: {self.measured}   ({self.verdict})"
        return f"{self.question}\n  {outcome}{lost}"

    def _repr_html_(self) -> str:
        guess = "-" if self.guess is None else html.escape(str(self.guess))
        return (
            "<table style='font-size:1em'>"
            "<caption style='text-align:left;color:inherit;white-space:nowrap'>"
            f"{html.escape(self.question)}</caption>"
            "<tr><th scope='col'>you</th>"
            f"<th scope='col'>{html.escape(self.what)}</th><th scope='col'></th></tr>"
            f"<tr><td>{guess}</td><td><b>{html.escape(str(self.measured))}</b></td>"
            f"<td>{self.verdict}</td></tr></table>"
            + (f"<p>({html.escape(self.lost)})</p>" if self.lost else "")
        )


def predict(question: str, guess: object = None) -> Prediction:
    """Note a guess: `guess = predict("Which number will it print?", 345)`.

    Leave the guess away to skip it; that is allowed, and told as such.
    """
    return Prediction(question, guess)
