"""The console of a control group: its limits as sliders, programs that test them, live curves.

The sliders are bound to the kernel's limit files, and what they show is read back from there: a
slider shows what the kernel accepted. The curves are the kernel's counters, the marks the events
that it reported.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anywidget
import ipywidgets
import traitlets

from labsupport.cgroup import curves, dangers
from labsupport.cgroup.curves import (
    MIB,
    Curves,
    End,
    GroupRecord,
    Plot,
    Sample,
    Strike,
    bytes_in_words,
    cpus_in_words,
    rate_in_words,
    tasks_in_words,
)
from labsupport.cgroup.dangers import Danger
from labsupport.cgroup.files import device_of
from labsupport.cgroup.group import Cgroup
from labsupport.errors import CgroupClosed, LabError, nearest
from labsupport.figure import style
from labsupport.figure.live import LivePicture, Shown

# --- the widget: sliders and buttons with real labels, and a log that is read out ---------------

_ESM = """
const make = (kind, owner, more = {}) => {
  const element = Object.assign(document.createElement(kind), more);
  owner.append(element);
  return element;
};
export default {
  render({ model, el }) {
    el.replaceChildren();
    const root = make('div', el, { className: 'labsupport-controls' });
    root.dataset.lmSuppressShortcuts = 'true';  // JupyterLab would take the arrow keys
    root.addEventListener('keydown', (event) => event.stopPropagation());
    const sliders = make('div', root, { className: 'sliders' });
    const buttons = make('div', root, { className: 'buttons', role: 'group' });
    buttons.setAttribute('aria-label', 'programs');
    const log = make('div', root, { className: 'log', tabIndex: 0, role: 'log' });
    log.setAttribute('aria-label', 'what happened');
    const known = {}, id = 'lab' + Math.random().toString(36).slice(2);
    const add = (spec) => {
      const row = make('div', sliders, { className: 'slider' });
      const label = make('label', row, { htmlFor: id + spec.name });
      make('code', label, { textContent: spec.kernel });
      label.append(': ' + spec.plain);
      const input = make('input', row, { type: 'range', id: id + spec.name });
      const output = make('output', row);
      // while it is dragged: what it would be; the kernel is told when it is let go
      input.addEventListener('input', () => {
        output.textContent = '→ ' + Number(input.value) + ' ' + spec.unit;
      });
      input.addEventListener('change', () =>
        model.send({ set: spec.name, value: Number(input.value) }));
      return { input, output };
    };
    const show = () => {
      for (const spec of model.get('sliders')) {
        const { input, output } = known[spec.name] ??= add(spec);
        Object.assign(input, { min: spec.least, max: spec.most, step: spec.step });
        input.value = spec.value;
        input.setAttribute('aria-valuetext', spec.shown);
        output.textContent = spec.shown;
      }
    };
    const push = () => {
      buttons.replaceChildren();
      for (const spec of model.get('buttons')) {
        const button = make('button', buttons, { type: 'button', className: 'jupyter-button',
          textContent: spec.label, disabled: !!spec.missing, title: spec.missing || spec.title });
        button.addEventListener('click', () => model.send({ press: spec.name }));
      }
    };
    const tell = () => {
      const lines = model.get('lines');
      while (log.children.length > lines.length) log.lastChild.remove();
      lines.forEach((line, number) => {
        const item = log.children[number] ?? make('div', log);
        if (item.textContent !== line) item.textContent = line;
      });
      log.scrollTop = log.scrollHeight;
    };
    model.on('change:sliders', show);
    model.on('change:buttons', push);
    model.on('change:lines', tell);
    show(); push(); tell();
  }
};
"""

_CSS = """
.labsupport-controls { color: var(--jp-ui-font-color1, inherit);
  font-size: var(--jp-ui-font-size1, 13px); max-width: 920px; }
.labsupport-controls .sliders { display: grid; gap: .2em 1.6em;
  grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); margin-bottom: .5em; }
.labsupport-controls .slider { display: grid; grid-template-columns: 1fr 6.4em; gap: 0 .8em;
  align-items: center; }
.labsupport-controls label { grid-column: 1 / -1; white-space: nowrap; }
.labsupport-controls output { font-weight: 600; font-variant-numeric: tabular-nums; }
.labsupport-controls input { width: 100%; margin: .2em 0; accent-color: #E69F00; }
.labsupport-controls .buttons { display: flex; flex-wrap: wrap; gap: .5em; margin-bottom: .4em; }
.labsupport-controls button { width: auto; }
.labsupport-controls button:disabled { opacity: .5; }
.labsupport-controls :is(button, input, .log):focus-visible { outline: 2px solid #0072B2;
  outline-offset: 2px; }
.labsupport-controls .log { height: 5.6em; overflow-y: auto; margin: .2em 0; padding: .2em .8em;
  line-height: 1.4; border: 1px solid var(--jp-border-color2, #ccc); border-radius: 6px; }
"""


class Controls(anywidget.AnyWidget):
    """Sliders, buttons, a log; `on_set(name, value)` and `on_press(name)` are called when used.

    A slider is `{name, kernel, plain, least, most, step, value, unit, shown}`: the kernel's word
    and a plain one, its range, its value and how that is written. A button is `{name, label, title,
    missing}`; `missing` says why it cannot be pressed. New lines of the log are read out.
    """

    _esm = _ESM
    _css = _CSS
    sliders = traitlets.List(traitlets.Dict()).tag(sync=True)
    buttons = traitlets.List(traitlets.Dict()).tag(sync=True)
    lines = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self, on_set: Callable[[str, float], None], on_press: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._on_set, self._on_press = on_set, on_press
        self.on_msg(self._told)

    def show(self, sliders: list[dict[str, Any]], buttons: list[dict[str, Any]]) -> None:
        """Show these values; also after a refusal, so that the sliders go back."""
        if sliders == self.sliders:
            self.send_state("sliders")
        self.sliders, self.buttons = sliders, buttons

    def _told(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if "set" in content:
            self._on_set(content["set"], content["value"])
        elif "press" in content:
            self._on_press(content["press"])


CPUS = len(os.sched_getaffinity(0))
RANGES: Mapping[str, tuple[str, str, int, float, float, float, Callable[[float], str]]] = {
    "memory": ("memory limit", "MiB", MIB, 16, 256, 8, bytes_in_words),
    "cpu": ("CPU limit", "CPUs", 1, 0.1, CPUS, 0.1, cpus_in_words),
    "pids": ("task limit", "tasks", 1, 4, 64, 2, tasks_in_words),
    "io": ("write limit", "MiB/s", MIB, 0.5, 8, 0.5, rate_in_words),
}
"""For each slider its plain name, its unit in words and in numbers, its range and step."""
PROGRAMS = {
    "hog": ("memory hog", "takes more and more memory", "memory"),
    "burner": ("CPU burner", "computes without end", "cpu"),
    "bomb": ("fork bomb", "forks, as does each of its children", "pids"),
    "writer": ("disk writer", "writes without end, past the page cache", "io"),
}
"""For each button its words, what the program does, and the limit that it needs."""
ALWAYS = (
    {"name": "stop", "label": "■ stop all programs", "title": "", "missing": ""},
    {"name": "watch", "label": "▶ start watching", "title": "for ten seconds", "missing": ""},
)


def limits_of(group: Cgroup, disk: str) -> dict[str, tuple[str, float | None]]:
    """Return {slider: (its file, its limit)} as the kernel reads them back."""
    limits, files = group.limits, names_of_limits(group)
    values = {"memory": limits.memory_bytes, "cpu": limits.cpu, "pids": limits.pids}
    values |= {"io": limits.io.get(disk)} if disk else {}
    return {name: (files[name], value) for name, value in values.items() if name in files}


def controls(group: Cgroup, disk: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the sliders and the buttons; one whose limit is not set cannot be pressed."""
    limits = limits_of(group, disk)
    sliders = [_slider(name, file, value) for name, (file, value) in limits.items()]
    buttons = []
    for name, (label, does, needs) in PROGRAMS.items():
        file, value = limits.get(needs, (f"{needs}, which is not here,", None))
        missing = f"starts only with a limit: {file} has none" if value is None else ""
        buttons.append({"name": name, "label": label, "title": does, "missing": missing})
    return sliders, [*buttons, *ALWAYS]


def _slider(name: str, file: str, value: float | None) -> dict[str, Any]:
    plain, unit, size, least, most, step, written = RANGES[name]
    most = max(most, (value or 0) / size)
    at = most if value is None else value / size
    return {
        "name": name, "kernel": file, "plain": plain, "least": min(least, at), "most": most,
        "step": step, "value": at, "unit": unit,
        "shown": "no limit" if value is None else written(value),
    }  # fmt: skip


def names_of_limits(group: Cgroup) -> dict[str, str]:
    """Return {limit: the name of its file}, which differs in v1 and v2; "io" is that of writes."""
    names = {limit: path.name for limit, (path, _) in group.files().items()}
    return {"io": names["io write"], **names} if "io write" in names else names


# --- the console --------------------------------------------------------------------------------

READINGS_PER_SECOND = 10 if os.environ.get("LAB_IN_VM") == "1" else 20
READINGS_PER_FRAME = 4
DANGER_SECONDS = 5.0
AGAIN_SECONDS = 10.0  # how long it watches when a button is pressed after its cell has ended


class CgroupConsole:
    """Watches a group and acts on it: `await console.run(seconds=8)`.

    Its sliders write the group's limits. Its buttons start a memory hog, a CPU burner, a fork bomb
    or, given `disk=` (a loop device), a disk writer in the group, each for five seconds. From
    Python the same is `console.set("memory", "64M")` and `console.start("hog")`.

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
        self.controls = Controls(self._moved, self._pressed)
        self._record = self._shown = GroupRecord(group, self._device)
        self._seconds = AGAIN_SECONDS
        self._task: asyncio.Task[None] | None = None
        self._readings = self._strikes_said = 0
        self._files = names_of_limits(group)
        self._plot = Plot()
        self._show_controls()

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
        """Start "hog", "burner", "bomb" or "writer" in the group.

        Raises `LabError`: there is no program of that name, or the group lacks the limit that it
        needs.
        """
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
        danger = starts[what](self.group, seconds=DANGER_SECONDS)
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

    async def run(self, seconds: float = 8, actions: Mapping[float, str] | None = None) -> Curves:
        """Watch the group for some seconds, or until Stop, and return what was recorded.

        `actions` are done meanwhile: `{1.0: "hog", 3.0: "stop"}`.
        """
        await self._end_task()
        self._start_again(seconds)
        self._record = self._shown
        shown = Shown(ipywidgets.VBox([self.controls, self.picture]), self.picture.alt)
        await self._watch(seconds, actions or {})
        self._leave_still(shown)
        return self.data

    def _ipython_display_(self) -> None:
        self._try(self.refresh)  # its group may be closed
        self._leave_still(Shown(ipywidgets.VBox([self.controls, self.picture]), self.picture.alt))

    def _leave_still(self, shown: Shown) -> None:
        still = style.png(self._plot.figure)
        shown.leave(still, self.picture.alt, curves.table(self.data), self.picture.width)

    def _start_again(self, seconds: float) -> None:
        self._shown, self._seconds = GroupRecord(self.group, self._device), seconds
        self._readings = self._strikes_said = 0
        self.lines = []
        self._show_controls()
        self.refresh()

    async def _watch(self, seconds: float, actions: Mapping[float, str]) -> None:
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(when, self._do, what) for when, what in actions.items()]
        with self.group.events() as events:
            loop.add_reader(events.fileno(), self._struck, events)
            try:
                await self.picture.keep_going(self._read, seconds, READINGS_PER_SECOND)
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
        """Read the group, and paint."""
        self._shown.sample()
        data = self.data
        self.picture.width = style.pixels(self._plot.figure)
        self.picture.png = self._plot.paint(data)
        self.picture.alt = curves.finding(data)

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

    def _show_controls(self) -> None:
        self.controls.show(*controls(self.group, self._device))

    def _moved(self, name: str, value: float) -> None:
        whole = round(value * MIB) if name in ("memory", "io") else value
        self._try(self._wake)
        self._try(partial(self.set, name, whole))
        self._try(self._show_controls)

    def _pressed(self, name: str) -> None:
        self._try(self._wake)
        if name != "watch":
            self._do(name)

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
            await self._watch(AGAIN_SECONDS, {})
        except CgroupClosed as closed:  # by a later cell
            self._say(closed.what)

    def _do(self, what: str) -> None:
        self._try(self.stop_all if what == "stop" else partial(self.start, what))

    def _try(self, action: Callable[[], Any]) -> None:
        """Do it, or say in the log why it cannot be done."""
        try:
            action()
        except LabError as error:
            self._say(str(error))

    def _say(self, line: str) -> None:
        at = self._shown.now if self.picture.running else None
        self.lines.append(line if at is None else f"{at:.1f} s: {line}")
        self.controls.lines = self.lines[-50:]

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
