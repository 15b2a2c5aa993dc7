"""The console of a control group: its limits as sliders, programs that test them, live curves.

The sliders are bound to the kernel's limit files, and what they show is read back from there: a
slider shows what the kernel accepted. The curves are the kernel's counters, the marks the events
that it reported.
"""

import asyncio
import html
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import ipywidgets

from labsupport.cgroup import curves, dangers
from labsupport.cgroup.curves import MIB, Curves, End, GroupRecord, Sample, Strike
from labsupport.cgroup.dangers import Danger
from labsupport.cgroup.files import device_of
from labsupport.cgroup.group import Cgroup, Events
from labsupport.errors import CgroupClosed, LabError, nearest
from labsupport.figure.live import LivePicture, Shown

# --- its controls: what they are called, and what they show -------------------------------------

CPUS = len(os.sched_getaffinity(0))
RANGES: Mapping[str, tuple[str, int, float, float, float]] = {
    "memory": ("memory limit, MiB", MIB, 16, 256, 8),
    "cpu": ("CPU limit, CPUs", 1, 0.1, CPUS, 0.1),
    "pids": ("task limit, tasks", 1, 4, 64, 2),
    "io": ("write limit, MiB/s", MIB, 0.5, 8, 0.5),
}
"""For each slider its plain name and unit, the unit in numbers, its range and step."""
PROGRAMS = {
    "hog": ("memory hog", "takes more and more memory", "memory"),
    "burner": ("CPU burner", "computes without end", "cpu"),
    "bomb": ("fork bomb", "forks, as does each of its children", "pids"),
    "writer": ("disk writer", "writes without end, past the page cache", "io"),
}
"""For each button its words, what the program does, and the limit that it needs."""
ALWAYS = {"stop": "■ stop all programs", "watch": "▶ start watching"}
LOG = (
    "<div role='log' tabindex='0' aria-label='what happened' style='height:5.6em;overflow-y:auto;"
    "line-height:1.4;padding:.2em .8em;border:1px solid var(--jp-border-color2,#ccc)'>"
)


def limits_of(group: Cgroup, disk: str) -> dict[str, tuple[str, float | None]]:
    """Return {slider: (its file, its limit)} as the kernel reads them back."""
    limits, files = group.limits, names_of_limits(group)
    values = {"memory": limits.memory_bytes, "cpu": limits.cpu, "pids": limits.pids}
    values |= {"io": limits.io.get(disk)} if disk else {}
    return {name: (files[name], value) for name, value in values.items() if name in files}


def _slider(name: str) -> Any:
    _, _, least, most, step = RANGES[name]
    look = {"style": {"description_width": "initial"}, "layout": {"width": "46em"}}
    written = ".0f" if step >= 1 else ".1f"
    return ipywidgets.FloatSlider(
        min=least, max=most, step=step, readout_format=written, continuous_update=False, **look
    )


def names_of_limits(group: Cgroup) -> dict[str, str]:
    """Return {limit: the name of its file}, which differs in v1 and v2; "io" is that of writes."""
    names = {limit: path.name for limit, (path, _) in group.files().items()}
    return {"io": names["io write"], **names} if "io write" in names else names


# --- the console --------------------------------------------------------------------------------

READINGS_PER_SECOND = 10 if os.environ.get("LAB_IN_VM") == "1" else 20
READINGS_PER_FRAME = 4
DANGER_SECONDS = 5.0
HOG_SECONDS = 60.0  # a slow computer takes its time to fill the memory
AGAIN_SECONDS = 10.0  # how long it watches when a button is pressed after its cell has ended


class CgroupConsole:
    """Watches a group and acts on it: `await console.run(seconds=8)`.

    Its sliders write the group's limits. Its buttons start a memory hog, a CPU burner, a fork bomb
    or, given `disk=` (a loop device), a disk writer in the group, each for five seconds; a hog that
    nobody kills ends after a minute. From Python the same is `console.set("memory", "64M")` and
    `console.start("hog")`.

    `samples`, `strikes`, `ends` and `count()` tell what `run()` has recorded. Shown by itself, it
    is still until one of its controls is used; then, as after `run()`, it watches for a while,
    which changes its picture and not the recording.
    """

    def __init__(self, group: Cgroup, *, disk: str | None = None) -> None:
        self.group, self.disk = group, disk
        self._device = device_of(disk) if disk else ""
        self.dangers: list[Danger] = []
        self.lines: list[str] = []
        self.picture = LivePicture(stop="stop watching")
        self.sliders = {name: _slider(name) for name in limits_of(group, self._device)}
        labels = {name: words[0] for name, words in PROGRAMS.items()} | ALWAYS
        self.buttons = {
            name: ipywidgets.Button(description=words, layout={"width": "auto"})
            for name, words in labels.items()
        }
        self.log = ipywidgets.HTML()
        self._showing = False
        self._record = self._shown = GroupRecord(group, self._device)
        self._seconds = AGAIN_SECONDS
        self._task: asyncio.Task[None] | None = None
        self._readings = self._strikes_said = 0
        self._files = names_of_limits(group)
        self._show_controls()
        for name, slider in self.sliders.items():
            slider.observe(partial(self._heard, name), "value")
        for name, button in self.buttons.items():
            button.on_click(partial(self._pressed, name))

    @property
    def samples(self) -> list[Sample]:
        """The readings of the last run: about 20 a second at `host`, 10 in the Lab VM."""
        return self._record.samples

    @property
    def strikes(self) -> list[Strike]:
        """What the kernel did in the last run: OOM kills, throttled stretches, refused forks."""
        return self._record.strikes

    @property
    def ends(self) -> list[End]:
        """Which programs ended in the last run, when, and how."""
        return self._record.ends

    def count(self, kind: str) -> int:
        """How often the kernel struck: "oom_kill", "throttled" (periods) or "fork_refused"."""
        return curves.count(self._record.curves(self._seconds, self._files), kind)

    @property
    def data(self) -> Curves:
        """What the picture shows now."""
        return self._shown.curves(self._seconds, self._files)

    # --- acting on the group -------------------------------------------------------------------

    def start(self, what: str) -> Danger:
        """Start "hog", "burner", "bomb" or "writer" in the group. Raises `LabError`."""
        if what not in PROGRAMS:
            raise LabError(f"unknown program {what!r}", nearest(what, PROGRAMS))
        if what == "writer" and self.disk is None:
            raise LabError("the disk writer was not started", "the console has no disk",
                           'give it one: CgroupConsole(group, disk="/dev/loop0")')  # fmt: skip
        starts: dict[str, Callable[..., Danger]] = {
            # by small steps: a curve of many points
            "hog": partial(dangers.hog, step="1M", pause_seconds=0.01),
            "burner": partial(dangers.burner, threads=CPUS),
            "bomb": dangers.bomb,
            "writer": partial(dangers.writer, device=self.disk or ""),
        }
        danger = starts[what](self.group, seconds=HOG_SECONDS if what == "hog" else DANGER_SECONDS)
        self.dangers.append(danger)
        self._say(f"{PROGRAMS[what][0]} started, PID {danger.pid}")
        self._notice_end(danger)
        return danger

    def stop_all(self) -> None:
        """End every program in the group."""
        for danger in self.dangers:
            danger.stop()
        self.group.kill()
        self._say("all programs in the group were ended")

    def set(self, limit: str, amount: Any) -> None:
        """Set "memory", "cpu", "pids" or "io" (writes), and show what the kernel made of it.

        Raises `LabError`, `CgroupRefused`, `LimitBelowUsage`: as for `Cgroup.set`.
        """
        known = limits_of(self.group, self._device)
        if limit not in known:
            raise LabError(f"the console has no slider {limit!r}", nearest(limit, known))
        self.group.set(**{limit: {self._device: amount} if limit == "io" else amount})
        files = self.group.files()
        file, text = files.get(f"{limit} write") or files[limit]
        self._say(f"{file.name} now says {text}")
        self._show_controls()

    # --- watching it ---------------------------------------------------------------------------

    async def run(self, seconds: float = 8, programs: Iterable[str] = ()) -> Curves:
        """Watch the group for some seconds, or until Stop, and return what was recorded.

        `programs`, such as `["hog", "bomb"]`, are started one after another, each when the one
        before has ended; it goes on until they all have.
        """
        await self._end_task()
        self._start_again(seconds)
        self._record = self._shown
        shown = self._shown_in_cell()
        await self._watch(seconds, programs)
        self._leave_still(shown)
        return self.data

    def _ipython_display_(self) -> None:
        self._try(self.refresh)  # its group may be closed
        self._leave_still(self._shown_in_cell())

    def _shown_in_cell(self) -> Shown:
        buttons = ipywidgets.Box([*self.buttons.values()], layout={"flex_flow": "row wrap"})
        rows = [*self.sliders.values(), buttons, self.log, self.picture]
        return Shown(ipywidgets.VBox(rows), self.picture.alt)

    def _leave_still(self, shown: Shown) -> None:
        page = curves.page(self.data)  # also of a group that was closed before it was ever painted
        shown.leave(page.svg(), self.picture.alt, curves.table(self.data), page.pixels)

    def _start_again(self, seconds: float) -> None:
        self._shown, self._seconds = GroupRecord(self.group, self._device), seconds
        self._readings = self._strikes_said = 0
        self.lines = []
        self._show_lines()
        self._show_controls()
        self.refresh()

    async def _watch(self, seconds: float, programs: Iterable[str]) -> None:
        loop, turns = asyncio.get_running_loop(), self._turns(programs)
        with self.group.events() as events:
            loop.add_reader(events.fileno(), self._struck, events)
            read = partial(self._read, events)
            try:
                await self.picture.keep_going(
                    read, seconds, READINGS_PER_SECOND, lambda: next(turns, False)
                )
            finally:
                loop.remove_reader(events.fileno())
                self._struck(events)  # a program's end may be seen before what ended it
        self._seconds = max(self._seconds, self._shown.sample().at_seconds)
        self._paint()
        self.picture.alt = curves.words(self.data)

    def _turns(self, programs: Iterable[str]) -> Iterator[bool]:
        """Start each program when the one before has ended; say so while one runs."""
        for name in programs:
            danger = self.start(name)
            while danger.returncode is None:
                yield True

    def _read(self, events: Events) -> None:
        self._readings += 1
        if self._shown.sample().at_seconds > self._seconds:
            self._seconds *= 1.25  # the axis grows
        if self._readings % READINGS_PER_FRAME == 0:
            self._paint()
        self._struck(events)  # v1 does not announce them

    def refresh(self) -> None:
        """Read the group, and paint what fits the axis."""
        self._shown.sample()
        self._paint()

    def _paint(self) -> None:
        page = curves.page(self.data)
        self.picture.width, self.picture.image = page.pixels, page.svg()
        self.picture.alt = page.title

    def _struck(self, events: Events) -> None:
        with suppress(CgroupClosed):  # the next reading says so
            for event in events.read():
                self._shown.struck(event)
        strikes = self._shown.strikes
        for strike in strikes[self._strikes_said :]:
            self._say(f"the kernel struck: {strike.words}")
        self._strikes_said = len(strikes)

    # --- its widgets ---------------------------------------------------------------------------

    def _show_controls(self) -> None:
        """Show what the kernel says; a program whose limit is not set cannot be started."""
        limits, self._showing = limits_of(self.group, self._device), True
        for name, (file, value) in limits.items():
            slider, (plain, size, *_) = self.sliders[name], RANGES[name]
            at = slider.max if value is None else value / size
            slider.min, slider.max = min(slider.min, at), max(slider.max, at)
            slider.value = at
            slider.description = f"{file}: {plain}{' (no limit)' if value is None else ''}"
        for name, (_, does, needs) in PROGRAMS.items():
            file, value = limits.get(needs, (f"{needs}, which is not here,", None))
            button = self.buttons[name]
            button.disabled = value is None
            button.tooltip = f"starts only with a limit: {file} has none" if not value else does
        self._showing = False

    def _heard(self, name: str, change: Any) -> None:
        if not self._showing:
            value = change["new"]
            whole = round(value * MIB) if name in ("memory", "io") else value
            for action in (self._wake, partial(self.set, name, whole), self._show_controls):
                self._try(action)

    def _pressed(self, name: str, _button: object) -> None:
        self._try(self._wake)
        if name != "watch":
            self._try(self.stop_all if name == "stop" else partial(self.start, name))

    def _wake(self) -> None:
        """Watch again, if the cell has ended."""
        if not self.picture.running:
            self._start_again(AGAIN_SECONDS)
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
            await self._watch(AGAIN_SECONDS, ())
        except CgroupClosed as closed:  # by a later cell
            self._say(closed.what)

    def _try(self, action: Callable[[], Any]) -> None:
        """Do it, or say in the log why it cannot be done."""
        try:
            action()
        except LabError as error:
            self._say(str(error))

    def _say(self, line: str) -> None:
        at = self._shown.now if self.picture.running else None
        self.lines.append(line if at is None else f"{at:.1f} s: {line}")
        self._show_lines()

    def _show_lines(self) -> None:
        lines = map(html.escape, self.lines[:-50:-1])  # the last one first
        self.log.value = f"{LOG}{'<br>'.join(lines)}</div>"
        self.picture.status = self.lines[-1] if self.lines else ""

    def _notice_end(self, danger: Danger) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # started outside of a notebook: nobody waits for events
            return
        fd, record = os.dup(danger.process.fileno()), self._shown

        def ended() -> None:
            loop.remove_reader(fd)
            os.close(fd)
            record.ends.append(End(danger.kind, record.now, danger.process.ending))
            self._say(f"{PROGRAMS[danger.kind][0]} {danger.process.ending}")

        loop.add_reader(fd, ended)
