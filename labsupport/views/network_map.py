"""The network map of live sandboxes: reads the kernel, draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labsupport.linux.net.netmap import Snapshot, network
from labsupport.linux.sandbox import Sandbox
from labsupport.views import network as picture
from labsupport.views import style

WIDTH = 9.2  # inches


class NetworkMap:
    """Draws the networks of named sandboxes: `NetworkMap({"server": box, …}).draw()`.

    `shared` names those that are no containers but stand between them, such as a switch or whoever
    asks: they are grey. `data` is the last reading.
    """

    def __init__(self, boxes: Mapping[str, Sandbox], shared: Iterable[str] = ()) -> None:
        self.boxes, self.shared = dict(boxes), frozenset(shared)
        self.data: Snapshot | None = None

    def draw(self) -> None:
        """Show the map as it is now."""
        self.data = network(self.boxes)
        figure = style.new_figure(WIDTH, WIDTH * picture.needed_height(self.data) / 100)
        picture.draw_network(figure.add_axes((0, 0, 1, 1)), self.data, self.shared)
        style.show(figure, picture.words(self.data), picture.table(self.data))
