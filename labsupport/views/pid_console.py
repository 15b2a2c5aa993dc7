"""The live PID map, and sliders that start and end real processes in the sandboxes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import ipywidgets

from labsupport.errors import LabError
from labsupport.linux.process import Process
from labsupport.linux.procfs import ProcessSnapshot, Watcher, by_number_inside, namespaces, snapshot
from labsupport.linux.sandbox import Sandbox
from labsupport.views import pidmap, style
from labsupport.views.live import LivePicture, Shown
from labsupport.views.painter import Painter

WIDTH = 9.2  # inches
SPARE = 16  # units of height kept free for processes to come, of 100 units of width
LINGER_SECONDS = 1.0  # how long an ended process is still to be seen
HELPER = ["sleep", "3600"]


class PidMap:
    """Draws the processes of named sandboxes: `PidMap({"web server": web, "database": db})`.

    `draw()` shows a still picture; `await run(seconds=…)` a live one, with a slider for each
    sandbox that starts and ends processes in it, and which goes on working afterwards. What is
    drawn is what /proc says at that moment. `data` is the last reading.
    """

    def __init__(self, boxes: Mapping[str, Sandbox]) -> None:
        self.boxes = dict(boxes)
        self._watcher = Watcher(self.boxes.values())
        self._notebook = snapshot(os.getpid())
        self._inodes: dict[str, int] = {}
        self._last: dict[int, ProcessSnapshot] = {}
        self._ended: dict[int, tuple[float, ProcessSnapshot]] = {}
        self._painter: Painter | None = None
        self.picture = LivePicture()
        self.helpers: dict[str, list[Process]] = {name: [] for name in self.boxes}
        self.data = self.read()

    def read(self) -> pidmap.PidMapData:
        """Read the map from the kernel now; those that have just ended linger a moment."""
        found = {process.pid: process for process in self._watcher.read()}
        now = time.monotonic()
        for pid in self._last.keys() - found.keys():
            self._ended[pid] = (now + LINGER_SECONDS, self._last[pid])
        self._ended = {pid: facts for pid, facts in self._ended.items() if facts[0] > now}
        self._last = dict(found)
        shown = {**{pid: process for pid, (_, process) in self._ended.items()}, **found}
        groups = tuple(self._group(label, shown) for label in self.boxes)
        return pidmap.PidMapData(
            self._notebook, groups, frozenset(self._ended.keys() - found.keys())
        )

    def draw(self) -> None:
        """Show the map as it is now."""
        self.read()
        self._ended.clear()  # a still picture shows only who is there
        self.data = self.read()
        figure = style.new_figure(WIDTH, WIDTH * pidmap.needed_height(self.data) / 100)
        axes = figure.add_axes((0, 0, 1, 1))
        pidmap.draw_pids(axes, self.data)
        style.show(figure, pidmap.words(self.data), pidmap.table(self.data))

    async def run(self, seconds: float = 8, frames_per_second: float = 10) -> pidmap.PidMapData:
        """Show the map live for some seconds (or until Stop), then return the last reading."""
        self.refresh()
        shown = Shown(self._console(), pidmap.words(self.data))
        await self.picture.keep_going(self.refresh, seconds, frames_per_second)
        self.refresh()
        shown.leave(
            self.picture.png, pidmap.words(self.data), pidmap.table(self.data), self.picture.width
        )
        return self.data

    def refresh(self) -> None:
        """Read once and repaint what has changed."""
        before, self.data = self.data, self.read()
        if before == self.data and self.picture.png:
            return
        needed = pidmap.needed_height(self.data)
        if self._painter is None or needed > pidmap.height_of(self._painter.axes):
            figure = style.new_figure(WIDTH, WIDTH * (needed + SPARE) / 100)
            self._painter = Painter(figure, pidmap.draw_frames, pidmap.draw_tile)
        high = pidmap.height_of(self._painter.axes)
        self.picture.width = style.pixels(self._painter.figure)
        self.picture.png = self._painter.paint(pidmap.scene(self.data, high))
        self.picture.alt = pidmap.words(self.data)
        self.picture.status = pidmap.finding(self.data)

    def set_helpers(self, name: str, count: int) -> None:
        """Start or end `sleep` processes in a sandbox until there are `count` of them."""
        helpers = [each for each in self.helpers[name] if each.returncode is None]
        while len(helpers) < count:
            helpers.append(self.boxes[name].start(HELPER))
        for extra in helpers[count:]:
            extra.signal(signal.SIGKILL)
            extra.wait()
        self.helpers[name] = helpers[:count]
        self.refresh()

    def _console(self) -> ipywidgets.VBox:
        return ipywidgets.VBox([*(self._slider(name) for name in self.boxes), self.picture])

    def _slider(self, name: str) -> ipywidgets.IntSlider:
        slider = ipywidgets.IntSlider(
            description=f"more processes in: {name}", min=0, max=4, value=len(self.helpers[name]),
            style={"description_width": "initial"}, layout={"width": "30em"},
        )  # fmt: skip

        def moved(change: Any) -> None:
            try:
                self.set_helpers(name, change["new"])
            except LabError as error:
                self.picture.status = str(error)

        slider.observe(moved, "value")
        return slider

    def _group(self, label: str, shown: Mapping[int, ProcessSnapshot]) -> pidmap.Group:
        pid = self.boxes[label].anchor_pid
        if pid is not None:
            self._inodes[label] = namespaces(pid)["pid"]
        inode = self._inodes.get(label, 0)
        inside = by_number_inside(p for p in shown.values() if inode in p.pid_namespaces)
        return pidmap.group(label, inode, inside, depth=len(self._notebook.pids))
