"""The mount map: reads the mount tables of sandboxes and shows them side by side."""

from __future__ import annotations

from collections.abc import Mapping

from labsupport.linux.mounts import mounts
from labsupport.linux.sandbox import Sandbox
from labsupport.views import mounts as view
from labsupport.views import style

WIDTH = 9.2  # inches


class MountMap:
    """Draws the mount tables of named sandboxes: `MountMap({"sandbox A": a}).draw()`.

    A number in place of a sandbox stands for the process with that PID. The host's own table is
    the first column, unless `host=False`. `columns` is the last reading.
    """

    def __init__(self, boxes: Mapping[str, Sandbox | int], *, host: bool = True) -> None:
        self.boxes, self.host = dict(boxes), host
        self.columns = self.read()

    def read(self) -> list[view.Column]:
        """Read the tables from the kernel now."""
        own = [view.Column("the host", style.HOST, mounts())] if self.host else []
        return own + [
            view.Column(label, style.WHO[index % len(style.WHO)], mounts(of=box))
            for index, (label, box) in enumerate(self.boxes.items())
        ]

    def draw(self) -> None:
        """Show the tables as they are now."""
        self.columns = self.read()
        figure = style.new_figure(WIDTH, WIDTH * view.needed_height(self.columns) / 100)
        view.draw_mounts(figure.add_axes((0, 0, 1, 1)), self.columns)
        style.show(figure, view.words(self.columns), view.table(self.columns))
