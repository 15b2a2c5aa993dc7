"""Buttons that mount in a mount namespace or in its copy, and the two tables after that."""

from __future__ import annotations

import signal
from typing import Any

import ipywidgets

from labsupport.errors import LabError
from labsupport.linux.mounting import mount, unmount
from labsupport.linux.mounts import MountTable, mounts
from labsupport.linux.process import Process
from labsupport.linux.propagation import SETTINGS, run_in, share_and_copy
from labsupport.linux.sandbox import Sandbox
from labsupport.views import mounts as view
from labsupport.views import style
from labsupport.views.live import LivePicture, Shown

WIDTH = 9.2  # inches
BASE = "/mnt"
SIDES = {"original": f"{BASE}/by_original", "copy": f"{BASE}/by_copy"}


class MountConsole:
    """A sandbox's mount namespace, a copy of it, and buttons: `MountConsole(box).draw()`.

    At `/mnt` there is a shared tmpfs; `choose()` makes a new copy with another propagation type,
    `toggle("original")` or `toggle("copy")` mounts something below `/mnt` on that side, or unmounts
    it. The buttons call the same. The sandbox needs a root of its own (`rootfs=`).
    """

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.setting = SETTINGS[0]
        self.picture = LivePicture()
        self._settings = ipywidgets.ToggleButtons(options=SETTINGS)
        self._settings.observe(self._chosen, "value")
        self._copy: Process = share_and_copy(box, self.setting, BASE)
        self.columns: list[view.Column] = []
        self.refresh()

    def choose(self, setting: str) -> None:
        """Begin anew, with a copy whose mounts are set to shared, slave or private."""
        self._end_copy()
        self._copy, self.setting = share_and_copy(self.box, setting, BASE), setting
        self._settings.value = setting
        self.refresh()

    def toggle(self, side: str) -> None:
        """Mount a tmpfs on one side, or unmount it if there is one."""
        point = SIDES[side]
        is_there = point in self._tables()[side].visible()
        if is_there and side == "original":
            unmount(self.box, point)
        elif is_there:
            run_in(self.box, self._copy, ["umount", point])
        elif side == "original":
            mount(self.box, ["-t", "tmpfs", "later", point])
        else:
            run_in(self.box, self._copy, ["mount", "-t", "tmpfs", "later", point])
        self.refresh()

    def where(self, side: str) -> list[str]:
        """Tell which tables have what was mounted on a side: "original", "copy", both, none."""
        return [name for name, table in self._tables().items() if SIDES[side] in table.visible()]

    def refresh(self) -> None:
        """Read both tables and paint them."""
        tables = self._tables()
        self.columns = [
            view.Column(f"the {name}", colour, table)
            for (name, table), colour in zip(tables.items(), style.WHO, strict=False)
        ]
        points = (BASE, *SIDES.values())
        figure = style.new_figure(WIDTH, WIDTH * view.needed_height(self.columns, points) / 100)
        axes = figure.add_axes((0, 0, 1, 1))
        view.draw_mounts(axes, self.columns, self.finding(), points)
        self.picture.width = style.pixels(figure)
        self.picture.png = style.png(figure)
        self.picture.alt = f"{self.finding()}. {view.words(self.columns).partition('. ')[2]}"
        self.picture.status = self.finding()

    def finding(self) -> str:
        """Say in one line what the tables say."""
        parts = []
        for side, point in SIDES.items():
            names = self.where(side)
            if names:
                place = "in both" if len(names) == len(SIDES) else f"in the {names[0]} only"
                parts.append(f"{point} is {place}")
        return f"{self.setting}: " + (", ".join(parts) or "nothing was mounted after the copy")

    def draw(self) -> None:
        """Show the console."""
        shown = Shown(self._console(), self.picture.alt)
        shown.leave(
            self.picture.png, self.picture.alt, view.table(self.columns), self.picture.width
        )

    def close(self) -> None:
        """End the copy and take the shared tmpfs away."""
        self._end_copy()

    def _tables(self) -> dict[str, MountTable]:
        return {"original": mounts(of=self.box), "copy": mounts(of=self._copy.pid)}

    def _end_copy(self) -> None:
        self._copy.signal(signal.SIGKILL)
        self._copy.wait(timeout=10)
        self.box.run(["umount", "-l", BASE])

    def _console(self) -> ipywidgets.VBox:
        buttons = []
        for side in SIDES:
            button = ipywidgets.Button(
                description=f"mount or unmount in the {side}", layout={"width": "auto"}
            )
            button.on_click(lambda _, side=side: self._try(self.toggle, side))
            buttons.append(button)
        label = ipywidgets.Label("Mounts of the copy are")
        return ipywidgets.VBox(
            [ipywidgets.HBox([label, self._settings]), ipywidgets.HBox(buttons), self.picture]
        )

    def _chosen(self, change: Any) -> None:
        if change["new"] != self.setting:  # it was a button that changed it, not `choose`
            self._try(self.choose, change["new"])

    def _try(self, action: Any, argument: str) -> None:
        try:
            action(argument)
        except LabError as error:
            self.picture.status = str(error)
