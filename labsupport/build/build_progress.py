"""A build while it goes on: its steps one after the other, what runs now, and a Stop button.

The build runs in a thread of its own, and the picture is updated from the event loop, so the other
widgets of the notebook live on. When it has ended, the saved output holds the chart of its steps.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from labsupport.build import chart
from labsupport.build.build import Build, BuildStep, Order, Running
from labsupport.build.chart import seconds
from labsupport.errors import BuildFailed
from labsupport.figure import style
from labsupport.figure.live import TOOLS, Shown

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

HERE = Path(__file__).parent
UPDATES_PER_SECOND = 5
MOST_LINES = 15


class ProgressWidget(anywidget.AnyWidget):
    """The widget: `steps` are {"name", "text", "state", "said"}, `lines` what was printed last.

    `state` is waiting, running, done, cached or failed.
    """

    _esm = TOOLS + (HERE / "build_progress.js").read_text()
    _css = HERE / "build_progress.css"
    title = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    elapsed = traitlets.Unicode("").tag(sync=True)
    lines = traitlets.Unicode("").tag(sync=True)
    steps = traitlets.List(traitlets.Dict()).tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)
    stopping = traitlets.Bool(False).tag(sync=True)


@dataclass(frozen=True)
class Progress:
    """How far a build is; `ending` is how it ended, and empty while it goes on."""

    steps: Sequence[BuildStep]
    elapsed_seconds: float = 0.0
    ending: str = ""

    @property
    def total(self) -> int:
        """How many steps there will be, as far as is known; Podman counts in each stage."""
        by_stage = {step.stage: step.total for step in self.steps}
        starts_again = [step.number for step in self.steps].count(1) > 1
        return sum(by_stage.values()) if starts_again else max(by_stage.values(), default=0)

    def tiles(self) -> list[dict[str, str]]:
        """Return what the widget shows of each step."""
        found = [_tile(step, has_ended=bool(self.ending)) for step in self.steps]
        if not self.ending:
            waiting = {"name": "", "text": "", "state": "waiting", "said": ""}
            found += [waiting] * max(0, self.total - len(found))
        return found

    def status(self) -> str:
        """Say in a line how far it is; this is what is read out."""
        if self.ending or not self.steps:
            return self.ending or "sending the context to the engine"
        return f"step {self.steps[-1].name} {self.steps[-1].instruction}"

    def last_lines(self) -> str:
        """Return what was printed last, each step's words below its name."""
        lines: list[str] = []
        for step in self.steps:
            if step.output:
                lines += [f"{step.name} {step.instruction}", *step.output.splitlines()]
        return "\n".join(lines[-MOST_LINES:])


def _tile(step: BuildStep, *, has_ended: bool) -> dict[str, str]:
    return {
        "name": f"{step.number} {step.keyword}",
        "text": f"{step.name} {step.instruction}",
        "state": _state(step, has_ended=has_ended),
        "said": "CACHED" if step.cached else seconds(step.seconds),
    }


def _state(step: BuildStep, *, has_ended: bool) -> str:
    if step.failed or step.cached:
        return "failed" if step.failed else "cached"
    if step.ended:
        return "done"
    return "waiting" if has_ended else "running"


class BuildProgress:
    """Builds an image and shows how far it is: `build = await BuildProgress(engine, …).run()`.

    `context` and `options` are those of `Build.run`. Its Stop button ends the build, as an
    interrupt of the cell does.
    """

    def __init__(self, engine: Engine, context: Any, **options: Any) -> None:
        self.engine, self.order = engine, Order(context, **options)
        self.widget = ProgressWidget(title=f"Build of {self.order.tag or 'an image'}")

    async def run(self) -> Build:
        """Build it and wait, with the picture going on; raises what `Build.run` does."""
        running = Running(self.engine, self.order)
        self.widget.stopping, self.widget.running = False, True
        self._show(Progress(()))
        shown = Shown(self.widget, self.widget.title)
        ending = _in_thread(running.wait)
        try:
            while not ending.done():
                await asyncio.wait([ending], timeout=1 / UPDATES_PER_SECOND)
                self._update(running)
        finally:  # an interrupt of the cell arrives here, too
            if not ending.done():
                running.stop()
                await asyncio.wait([ending])
            self.widget.running = False
            build = self._ended(running, ending)
            _leave(shown, build, self.widget.status)
        return ending.result()

    def _update(self, running: Running) -> None:
        if self.widget.stopping:
            running.stop()
        self._show(Progress(running.steps, running.seconds))

    def _ended(self, running: Running, ending: asyncio.Future[Build]) -> Build:
        """Show how it ended, and return the build, or what there is of it."""
        error = ending.exception()
        build = ending.result() if error is None else Build(running.steps, seconds=running.seconds)
        if isinstance(error, BuildFailed):
            said = error.what
        else:
            said = f"{type(error).__name__}: {error}" if error else chart.finding(build)
        self._show(Progress(build.steps, build.seconds, said))
        return build

    def _show(self, progress: Progress) -> None:
        with self.widget.hold_sync():
            self.widget.steps = progress.tiles()
            self.widget.status = progress.status()
            self.widget.elapsed = seconds(progress.elapsed_seconds)
            self.widget.lines = progress.last_lines()


def _leave(shown: Shown, build: Build, words: str) -> None:
    """Leave the chart of a build's steps in the saved output, next to the widget."""
    if not build.steps:
        return
    figure = chart.page(build).figure
    alt = chart.words(build)
    if not alt.startswith(words):
        alt = f"{words}. {alt}"
    shown.leave(style.png(figure), alt, chart.table(build), style.pixels(figure))


def _in_thread(work: Callable[[], Build]) -> asyncio.Future[Build]:
    """Begin it in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Build] = loop.create_future()

    def tell(what: Callable[..., None], outcome: Build | Exception) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits any longer
            loop.call_soon_threadsafe(what, outcome)

    def run() -> None:
        try:
            build = work()
        except Exception as error:  # it is raised where the future is awaited
            tell(future.set_exception, error)
        else:
            tell(future.set_result, build)

    threading.Thread(target=run, name="build", daemon=True).start()
    return future
