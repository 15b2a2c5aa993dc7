"""What of the course will run here: a row for each topic, a mark for each thing it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from labsupport.views import style

if TYPE_CHECKING:
    from labsupport.machine import Machine

TOPICS = {
    "Process IDs": ("ns.pid", "ns.mount"),
    "File systems": ("ns.mount", "overlay"),
    "Networks": ("ns.net", "net.admin", "nftables"),
    "Names, users, clocks": ("ns.uts", "ns.ipc", "ns.user", "ns.cgroup", "ns.time"),
    "Control groups": ("cgroup.memory", "cgroup.cpu", "cgroup.pids", "cgroup.io"),
    "System calls": ("seccomp", "seccomp.read"),
    "Images and engines": ("engine", "registry"),
}


@dataclass(frozen=True)
class Topic:
    """A topic and what it needs: (capability, whether it is here)."""

    name: str
    needs: tuple[tuple[str, bool], ...]

    @property
    def complete(self) -> bool:
        """Whether all of it can run here."""
        return all(here for _, here in self.needs)


def topics(machine: Machine) -> list[Topic]:
    """Sort a machine's capabilities by the topics that need them."""
    return [
        Topic(name, tuple((need, machine.can(need)) for need in needs))
        for name, needs in TOPICS.items()
    ]


def finding(found: Sequence[Topic]) -> str:
    """Say in one line what the picture shows."""
    complete = sum(topic.complete for topic in found)
    if complete == len(found):
        return "Every topic of the course runs here in full"
    lacking = len(found) - complete
    return (
        f"{complete} of {len(found)} topics run here in full; "
        f"{lacking} {'lacks' if lacking == 1 else 'lack'} something"
    )


def words(found: Sequence[Topic]) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [finding(found) + "."]
    for topic in found:
        missing = [need for need, here in topic.needs if not here]
        parts.append(f"{topic.name}: {'lacks ' + ', '.join(missing) if missing else 'complete'}.")
    return " ".join(parts)


def draw_topics(axes: Axes, found: Sequence[Topic]) -> None:
    """Draw the rows; a mark carries its word, a tick or a cross, and only then its colour."""
    axes.set(xlim=(0, 100), ylim=(len(found) + 0.9, -1.2), position=(0, 0, 1, 1))
    axes.axis("off")
    axes.text(1, -0.55, finding(found), size=style.size("title"), weight="bold", va="center")
    for row, topic in enumerate(found):
        axes.text(1, row + 0.5, topic.name, size=style.size("body"), va="center", weight="bold")
        left = 27.0
        for need, here in topic.needs:
            colour = style.SECOND if here else style.KERNEL
            axes.text(
                left, row + 0.5, f"{'✓' if here else '✗'} {need}",
                size=style.size("small"), va="center",
                bbox={"boxstyle": "round,pad=0.35", "facecolor": colour + ("33" if here else "22"),
                      "edgecolor": colour, "linestyle": "-" if here else "--"},
            )  # fmt: skip
            left += 5.2 + 1.12 * len(need)


def show_topics(machine: Machine) -> None:
    """Show in the notebook what of the course will run on this machine."""
    found = topics(machine)
    figure = style.new_figure(9.2, 3.4)
    draw_topics(figure.add_axes((0, 0, 1, 1)), found)
    rows = [
        (topic.name, need, "yes" if here else "no") for topic in found for need, here in topic.needs
    ]
    style.show(figure, words(found), [("topic", "needs", "is here"), *rows])
