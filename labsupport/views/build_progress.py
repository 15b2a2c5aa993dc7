"""A build while it goes on: its steps one after the other, what runs now, and a Stop button.

The build runs in a thread of its own, and the picture is updated from the event loop, so the other
widgets of the notebook live on. When it has ended, the saved output holds the chart of its steps.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from labsupport.engine.builds import Build, BuildStep
from labsupport.errors import BuildFailed
from labsupport.views import build_chart, style
from labsupport.views.build_chart import seconds
from labsupport.views.live import Shown

if TYPE_CHECKING:
    from labsupport.engine.build.context import Files
    from labsupport.engine.builds import Running
    from labsupport.engine.client import Engine

HERE = Path(__file__).parent
UPDATES_PER_SECOND = 5
MOST_LINES = 15


class ProgressWidget(anywidget.AnyWidget):
    """The widget: `steps` are {"name", "text", "state", "said"}, `lines` what was printed last.

    `state` is waiting, running, done, cached or failed.
    """

    _esm = HERE / "build_progress.js"
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
    """How far a build is; `ending` is what became of it, and empty while it goes on."""

    steps: tuple[BuildStep, ...]
    elapsed_seconds: float = 0.0
    ending: str = ""

    @property
    def now(self) -> BuildStep | None:
        """The step at hand: the last that has begun."""
        return self.steps[-1] if self.steps else None

    @property
    def total(self) -> int:
        """How many steps there will be, as far as one can tell; BuildKit counts in each stage."""
        by_stage = {step.stage: step.total for step in self.steps}
        counts_through = len({step.total for step in self.steps}) < 2 and not _begins_anew(self)
        return max(by_stage.values(), default=0) if counts_through else sum(by_stage.values())


def _begins_anew(progress: Progress) -> bool:
    return [step.number for step in progress.steps].count(1) > 1


def tiles(progress: Progress) -> list[dict[str, str]]:
    """Return what the widget shows of each step."""
    found = [_tile(step, ended=bool(progress.ending)) for step in progress.steps]
    if not progress.ending:
        waiting = max(0, progress.total - len(found))
        found += [{"name": "", "text": "", "state": "waiting", "said": ""}] * waiting
    return found


def _tile(step: BuildStep, *, ended: bool) -> dict[str, str]:
    state = "running"
    if step.failed:
        state = "failed"
    elif step.cached:
        state = "cached"
    elif step.ended or ended:
        state = "done" if step.ended else "waiting"
    said = "CACHED" if step.cached else seconds(step.seconds)
    text = f"{step.name} {step.instruction}"
    return {"name": f"{step.number} {step.keyword}", "text": text, "state": state, "said": said}


def status(progress: Progress) -> str:
    """Say in a line how far it is; this is what is read out."""
    if progress.ending or not progress.now:
        return progress.ending or "sending the context to the engine"
    return f"step {progress.now.name} {progress.now.instruction}"


def last_lines(progress: Progress) -> str:
    """Return what was printed last, each step's words below its name."""
    lines: list[str] = []
    for step in progress.steps:
        if step.output:
            lines += [f"{step.name} {step.instruction}", *step.output.rstrip("\n").splitlines()]
    return "\n".join(lines[-MOST_LINES:])


class BuildProgress:
    """Builds an image and shows how far it is: `build = await BuildProgress(engine, …).run()`.

    `context` and `options` are those of `Build.run`. Its Stop button ends the build, as an
    interrupt of the cell does.
    """

    def __init__(self, engine: Engine, context: str | Path | Files, **options: Any) -> None:
        self.engine, self.context, self.options = engine, context, options
        self.widget = ProgressWidget(title=f"Build of {options.get('tag') or 'an image'}")

    async def run(self) -> Build:
        """Build it and wait, with the picture going on.

        Raises:
            BuildStopped: somebody pressed Stop.
            BuildFailed: or another one of its kinds, as for `Build.run`.

        """
        running = Build.start(self.engine, self.context, **self.options)
        self.widget.stopping, self.widget.running = False, True
        self._show(Progress(()))
        shown = Shown(self.widget, self.widget.title)
        ending = _in_thread(lambda: Build.of(running))
        try:
            while not ending.done():
                await asyncio.wait([ending], timeout=1 / UPDATES_PER_SECOND)
                self._update(running)
        finally:  # an interrupt of the cell comes here, too
            if not ending.done():
                running.stop()
                await asyncio.wait([ending])
            self.widget.running = False
            build = self._ended(running, ending)
            leave(shown, build, self.widget.status)
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
            said = f"{type(error).__name__}: {error}" if error else build_chart.finding(build)
        self._show(Progress(build.steps, build.seconds or 0.0, said))
        return build

    def _show(self, progress: Progress) -> None:
        with self.widget.hold_sync():
            self.widget.steps = tiles(progress)
            self.widget.status = status(progress)
            self.widget.elapsed = seconds(progress.elapsed_seconds)
            self.widget.lines = last_lines(progress)


def leave(shown: Shown, build: Build, words: str) -> None:
    """Leave the chart of a build's steps in the saved output, beside the widget."""
    if not build.steps:
        return
    figure = build_chart.figure_of([build])
    alt = build_chart.words(build)
    if not alt.startswith(words):
        alt = f"{words}. {alt}"
    shown.leave(style.png(figure), alt, build_chart.table(build), style.pixels(figure))


def _in_thread(work: Callable[[], Build]) -> asyncio.Future[Build]:
    """Begin it in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Build] = loop.create_future()

    def run() -> None:
        try:
            build = work()
        except Exception as error:  # it is raised where the future is awaited
            loop.call_soon_threadsafe(future.set_exception, error)
        else:
            loop.call_soon_threadsafe(future.set_result, build)

    threading.Thread(target=run, name="build", daemon=True).start()
    return future
