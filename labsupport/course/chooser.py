"""The decision helper: a box to tick for each question, and a recommendation with its reason."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets

from labsupport.course.choosing import QUESTIONS, Choice, choose


class Chooser:
    """`Chooser()` as the last line of a cell; `choice` is what is recommended now."""

    def __init__(self) -> None:
        self._boxes = {
            name: ipywidgets.Checkbox(description=question, indent=False, layout={"width": "auto"})
            for name, question in QUESTIONS.items()
        }
        self._answer = ipywidgets.HTML()
        for box in self._boxes.values():
            box.observe(lambda _change: self._tell(), "value")
        self.widget = ipywidgets.VBox([*self._boxes.values(), self._answer])
        self._tell()

    @property
    def choice(self) -> Choice:
        """What is recommended for the boxes that are ticked."""
        return choose(**{name: bool(box.value) for name, box in self._boxes.items()})

    def tick(self, name: str, value: bool = True) -> None:
        """Tick a box, as a click does."""
        self._boxes[name].value = value

    def _tell(self) -> None:
        told = self.choice
        self._answer.value = (
            "<p role='status' style='border-left:5px solid #0072B2;padding:.3em .8em;"
            "color:var(--jp-ui-font-color1,inherit)'>"
            f"<b>Take {html.escape(told.pick)}</b>: {html.escape(told.because)} "
            f"(notebook {told.notebook}).</p>"
        )

    def __repr__(self) -> str:
        return f"{self.choice!r}"

    def _repr_mimebundle_(self, **_: object) -> Any:
        bundle = self.widget._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        rows = "".join(
            f"<tr><td>{html.escape(question)}</td>"
            f"<td>{html.escape(repr(choose(**{name: True})))}</td></tr>"
            for name, question in QUESTIONS.items()
        )
        still = f"<table><tr><th>if only this is so</th><th>take</th></tr>{rows}</table>"
        return {**data, "text/plain": repr(self), "text/html": still}
