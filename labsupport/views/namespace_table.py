"""Read the namespaces of several processes and draw them side by side."""

from __future__ import annotations

from collections.abc import Mapping

from labsupport.linux.procfs import Box, namespaces
from labsupport.views import namespaces as picture
from labsupport.views import style

WIDTH = 9.6  # inches


class NamespaceTable:
    """The eight kinds for some processes: `NamespaceTable({"sandbox": box, "other": 4711})`.

    The first column is this notebook. The others are sandboxes or PIDs, read now, or what was read
    of a process by other ways, as {kind: inode number}. None stands for what is not here: such a
    column is left out.

    Raises:
        ProcessGone: a process has ended, or is not ours to read.

    """

    def __init__(self, others: Mapping[str, Box | int | Mapping[str, int] | None]) -> None:
        present = {name: who for name, who in others.items() if who is not None}
        read = {"this notebook": namespaces()} | {k: _read(who) for k, who in present.items()}
        self.columns = [picture.Column(label, inodes) for label, inodes in read.items()]

    def own(self, label: str) -> set[str]:
        """The kinds of which this column has a namespace that none before it has."""
        labels = [column.label for column in self.columns]
        return set(picture.own(self.columns, labels.index(label)))

    def draw(self) -> None:
        """Show the table."""
        figure = style.new_figure(WIDTH, WIDTH * picture.needed_height() / 100)
        picture.draw_namespaces(figure.add_axes((0, 0, 1, 1)), self.columns)
        style.show(figure, picture.words(self.columns), picture.table(self.columns))


def _read(who: Box | int | Mapping[str, int]) -> Mapping[str, int]:
    if isinstance(who, Mapping):
        return who
    if isinstance(who, int):
        return namespaces(who)
    return namespaces(who.holder_pid if who.anchor_pid is None else who.anchor_pid)
