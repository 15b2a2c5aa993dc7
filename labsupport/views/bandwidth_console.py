"""A download against its limit, live, with a slider that sets the token bucket's rate."""

from __future__ import annotations

from typing import Any

import ipywidgets

from labsupport import trace
from labsupport.errors import LabError
from labsupport.linux.net.transfer import Download, Recording
from labsupport.linux.sandbox import Sandbox
from labsupport.views import bandwidth, style
from labsupport.views.live import LivePicture, Shown
from labsupport.views.painter import Painter

SLOWEST, FASTEST, START = 0.5, 8.0, 2.0  # MB/s


class Bandwidth:
    """Shows a download in `receiver` while a slider sets the limit of `sender`'s link.

    `await run(seconds=…)` shows it; the recording is returned, and kept as `recording`.
    """

    def __init__(self, receiver: Sandbox, url: str, sender: Sandbox, link: str = "eth0") -> None:
        self.receiver, self.sender, self.url, self.link = receiver, sender, url, link
        self.picture = LivePicture()
        self.slider = self._make_slider()
        self.recording = Recording(())
        self._painter: Painter | None = None

    async def run(self, seconds: float = 8, frames_per_second: float = 6) -> Recording:
        """Download and paint for some seconds, or until Stop."""
        self.slider.value = START
        self._set(START)
        with Download(self.receiver, self.url, self.sender, self.link) as running:
            running.read()

            def step() -> None:
                running.read()
                self.recording = running.recording
                self._paint(seconds)

            step()
            shown = Shown(ipywidgets.VBox([self.slider, self.picture]), self._words())
            self.slider.layout.visibility = "visible"
            try:
                await self.picture.keep_going(step, seconds, frames_per_second)
            finally:  # with no download there is nothing to be limited
                self.slider.layout.visibility = "hidden"
        self.picture.alt = self._words()
        shown.leave(self.picture.png, self._words(), self._table(), self.picture.width)
        return self.recording

    def steps(self) -> trace.Steps:
        """Show the lines for a terminal that set the limits."""
        shaped = tuple(step for step in self.sender.shell() if "tc qdisc" in step.shell)
        return trace.Steps("The limits that were set, as lines for a terminal", shaped)

    def _set(self, megabytes_per_second: float) -> None:
        self.sender.net.shape(self.link, megabytes_per_second * bandwidth.MEGABYTE)

    def _make_slider(self) -> ipywidgets.FloatSlider:
        slider = ipywidgets.FloatSlider(
            description="tbf rate: MB/s", min=SLOWEST, max=FASTEST, step=0.5, value=START,
            style={"description_width": "initial"},
            layout={"width": "30em", "visibility": "hidden"},
        )  # fmt: skip

        def moved(change: Any) -> None:
            if not self.picture.running:
                return
            try:
                self._set(change["new"])
            except LabError as error:
                self.picture.status = str(error)

        slider.observe(moved, "value")
        return slider

    def _paint(self, seconds: float) -> None:
        if self._painter is None:
            figure = style.new_figure(9.2, 3.8)
            draw = bandwidth.draw_live_background, bandwidth.draw_live_tile
            self._painter = Painter(figure, *draw)
            self.picture.width = style.pixels(figure)
        self.picture.png = self._painter.paint(bandwidth.live_scene(self.recording, seconds))
        self.picture.status = bandwidth.now(self.recording)

    def _words(self) -> str:
        return f"A download against its limit. {bandwidth.now(self.recording)}"

    def _table(self) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = [("seconds", "limit, MB/s", "received, MB")]
        rows += [
            (f"{r.at_seconds:.1f}", f"{(r.limit_bytes_per_second or 0) / 1e6:g}",
             f"{r.received_bytes / 1e6:.2f}")
            for r in self.recording.readings[::6]
        ]  # fmt: skip
        return rows
