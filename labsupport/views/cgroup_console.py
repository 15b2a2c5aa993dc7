"""The console of a control group: its limits as sliders, programs that test them, live curves.

The sliders are bound to the kernel's limit files, and what they show is read back from there. The
curves are the kernel's counters, the marks what it told us that it did.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from labsupport.errors import CgroupClosed, LabError, NoLimit, UnknownDanger
from labsupport.linux import dangers
from labsupport.linux.cgroups import Cgroup
from labsupport.linux.dangers import Danger
from labsupport.views import curves, curves_drawing, style
from labsupport.views.console_controls import PROGRAMS, buttons, cpus, names_of_limits, sliders
from labsupport.views.controls import Controls, Log
from labsupport.views.curves import MIB, Curve, Sample, Strike
from labsupport.views.group_record import GroupRecord
from labsupport.views.live import LivePicture, Shown
from labsupport.views.painter import Box, Painter, Scene

WIDTH, HEIGHT = 9.2, 4.9  # inches
IN_VM = os.environ.get("LAB_IN_VM") == "1"
FRAMES_PER_SECOND = 5 if IN_VM else 10
READINGS_PER_FRAME = 2
FRAMES_FOR_WORDS = 4
DANGER_SECONDS = 5.0
AGAIN_SECONDS = 10.0  # how long it watches when a button is pressed after its cell has ended

Action = str | Callable[[], Any]


class CgroupConsole:
    """Watches a group and acts on it: `await console.run(seconds=8)`.

    Its sliders write the group's limits. Its buttons start a memory hog, a CPU burner, a fork bomb
    or, given `disk=` (a loop device), a disk writer in the group, each for five seconds. From
    Python the same is `console.set("memory", "64M")` and `console.start("hog")`.

    `samples`, `strikes` and `count()` tell what `run()` has recorded. A control that is used after
    that makes it watch on for a while, which changes its picture and not the recording.
    """

    def __init__(self, group: Cgroup, *, disk: str | None = None) -> None:
        self.group, self.disk = group, disk
        self.dangers: list[Danger] = []
        self.lines: list[str] = []
        self.picture = LivePicture()
        self.controls = Controls(self._moved, self._pressed)
        self.log = Log()
        self._record = self._shown = GroupRecord(group)
        self._seconds = AGAIN_SECONDS
        self._task: asyncio.Task[None] | None = None
        self._readings = self._strikes_said = 0
        self._files = names_of_limits(group)
        figure = style.new_figure(WIDTH, HEIGHT)
        self._painter = Painter(
            figure, curves_drawing.draw_backdrop, curves_drawing.draw_tile,
            palette=curves_drawing.palette(),
        )  # fmt: skip
        self._words: tuple[dict[Box, Any], Any, int] = ({}, None, 0)
        self._show_controls()

    @property
    def samples(self) -> list[Sample]:
        """The readings of the last run: about 20 a second at `host`, 10 in the Lab VM."""
        return self._record.samples

    @property
    def strikes(self) -> list[Strike]:
        """What the kernel did in the last run: OOM kills, throttled stretches, refused forks."""
        return self._record.strikes

    def count(self, kind: str) -> int:
        """How often the kernel struck: "oom_kill", "throttled" (periods) or "fork_refused"."""
        return curves.count(self._record.curves(self._seconds, self._files), kind)

    @property
    def data(self) -> curves.Curves:
        """What the picture shows now."""
        return self._shown.curves(self._seconds, self._files)

    # --- acting on the group -------------------------------------------------------------------

    def start(self, what: str) -> Danger:
        """Start "hog", "burner", "bomb" or "writer" in the group.

        Raises:
            UnknownDanger: there is no program of that name.
            NoLimit: the group does not have the limit that it needs.

        """
        if what not in PROGRAMS:
            raise UnknownDanger(what, PROGRAMS)
        if what == "writer":
            if self.disk is None:
                raise NoLimit("the disk writer was not started", "the console has no disk",
                              'give it one: CgroupConsole(group, disk="/dev/loop0")')  # fmt: skip
            danger = dangers.writer(self.group, self.disk, seconds=DANGER_SECONDS)
        elif what == "hog":  # by small steps: a curve of many points
            danger = dangers.hog(self.group, "1M", pause_seconds=0.01, seconds=DANGER_SECONDS)
        elif what == "burner":
            danger = dangers.burner(self.group, cpus(), seconds=DANGER_SECONDS)
        else:
            danger = dangers.bomb(self.group, seconds=DANGER_SECONDS)
        self.dangers.append(danger)
        self._say(f"{PROGRAMS[what].name} started, PID {danger.pid}")
        self._notice_end(danger)
        return danger

    def stop_all(self) -> None:
        """End every program in the group."""
        for danger in self.dangers:
            danger.stop()
        self.group.kill()
        self._say("all programs in the group were ended")

    def set(self, limit: str, amount: Any) -> None:
        """Set "memory", "cpu" or "pids", as `group.set` does, and show what the kernel made of it.

        Raises:
            BadAmount, CgroupRefused, LimitBelowUsage: as for `Cgroup.set`.

        """
        self.group.set(**{limit: amount})
        file, text = self.group.files()[limit]
        self._say(f"{file.name} now says {text}")
        self._show_controls()

    # --- watching it ---------------------------------------------------------------------------

    async def run(
        self, seconds: float = 8, actions: Mapping[float, Action] | None = None
    ) -> curves.Curves:
        """Watch the group for some seconds, or until Stop, and return what was recorded.

        `actions` are done meanwhile: `{1.0: "hog", 3.0: "stop", 4.0: do_something}`.
        """
        await self._end_task()
        self._start_anew(seconds)
        self._record = self._shown
        shown = Shown(self._widgets(), self.picture.alt)
        await self._watch(seconds, dict(actions or {}))
        shown.leave(self.picture.png, self.picture.alt, curves.table(self.data), self.picture.width)
        return self.data

    def _start_anew(self, seconds: float) -> None:
        self._shown, self._seconds = GroupRecord(self.group), seconds
        self._readings = self._strikes_said = 0
        self.lines = []
        self._show_controls()
        self.refresh()

    async def _watch(self, seconds: float, actions: Mapping[float, Action]) -> None:
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(when, self._try, self._action(what)) for when, what in actions.items()
        ]
        with self.group.events() as events:
            loop.add_reader(events.fileno(), self._struck, events)
            try:
                rate = FRAMES_PER_SECOND * READINGS_PER_FRAME
                await self.picture.keep_going(self._read, seconds, rate)
            finally:
                loop.remove_reader(events.fileno())
                for timer in timers:
                    timer.cancel()
        self.refresh()
        self.picture.alt = curves.words(self.data)

    def _read(self) -> None:
        self._readings += 1
        if self._readings % READINGS_PER_FRAME:
            self._shown.sample()
        else:
            self.refresh()
        self._say_strikes()

    def refresh(self) -> None:
        """Read the group and repaint what has changed."""
        self._shown.sample()
        data = self.data
        high = 100 * HEIGHT / WIDTH
        self.picture.width = style.pixels(self._painter.figure)
        self.picture.png = self._painter.paint(self._with_steady_words(curves.scene(data, high)))
        said = curves.finding(data)
        if self.picture.alt != said:
            self.picture.alt = said

    def _with_steady_words(self, scene: Scene) -> Scene:
        """Let words stand for some frames: nobody reads faster, and they cost half of all."""
        still, background, frames = self._words
        if background != scene.background or frames <= 0 or not self.picture.running:
            words = {b: tile for b, tile in scene.tiles.items() if not isinstance(tile, Curve)}
            self._words = (words, scene.background, FRAMES_FOR_WORDS)
            return scene
        self._words = (still, background, frames - 1)
        return Scene(background, {**scene.tiles, **still})

    def _struck(self, events: Any) -> None:
        for event in events.read():
            self._shown.struck(event)
        self._say_strikes()

    def _say_strikes(self) -> None:
        strikes = self._shown.strikes
        for strike in strikes[self._strikes_said :]:
            self._say(f"the kernel struck: {strike.words}")
        self._strikes_said = len(strikes)

    # --- its widgets ---------------------------------------------------------------------------

    def _widgets(self) -> ipywidgets.VBox:
        return ipywidgets.VBox([self.controls, self.picture, self.log])

    def _show_controls(self) -> None:
        self.controls.show(sliders(self.group), buttons(self.group, self.disk))

    def _moved(self, name: str, value: float) -> None:
        whole = round(value * MIB) if name == "memory" else value
        self._try(self._wake)
        self._try(lambda: self.set(name, whole))
        self._try(self._show_controls)

    def _pressed(self, name: str) -> None:
        self._try(self._wake)
        if name != "watch":
            self._try(self._action(name))

    def _wake(self) -> None:
        """Watch again, if the cell has ended."""
        if not self.picture.running:
            self._start_anew(AGAIN_SECONDS)
            self.picture.running = True  # it is soon, and must not begin twice
            self._task = asyncio.get_running_loop().create_task(self._watch_on())

    async def _end_task(self) -> None:
        """End what a button began, if this goes on."""
        if self._task and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
            self.picture.running = False

    async def _watch_on(self) -> None:
        try:
            await self._watch(AGAIN_SECONDS, {})
        except CgroupClosed as closed:  # by a later cell
            self._say(closed.what)

    def _action(self, what: Action) -> Callable[[], Any]:
        if not isinstance(what, str):
            return what
        return self.stop_all if what == "stop" else lambda: self.start(what)

    def _try(self, action: Callable[[], Any]) -> None:
        """Do it, and say in the log why it cannot be done."""
        try:
            action()
        except LabError as error:
            self._say(str(error))

    def _say(self, line: str) -> None:
        at = self._shown.now if self.picture.running else None
        self.lines.append(line if at is None else f"{at:.1f} s: {line}")
        self.log.lines = self.lines[-50:]

    def _notice_end(self, danger: Danger) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # started outside of a notebook: nobody waits for events
            return
        fd = os.dup(danger.fileno())

        def ended() -> None:
            loop.remove_reader(fd)
            os.close(fd)
            self._say(f"{PROGRAMS[danger.kind].name} {danger.ending}")

        loop.add_reader(fd, ended)
