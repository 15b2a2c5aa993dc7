"""Build a container of some steps, try to break out of it, and draw the row of lights."""

from __future__ import annotations

from collections.abc import Iterable

from labsupport.linux.workshop.breakouts import Host, Light, Lights
from labsupport.linux.workshop.building import Step
from labsupport.linux.workshop.handmade import Workshop
from labsupport.views import lights as picture
from labsupport.views import style


class ContainerLights:
    """`lights = ContainerLights(workshop)`, then `lights.of(steps)` after each step.

    Each call builds a new container and tries all ways out of it. The picture marks what has
    changed since the call before.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.host = Host(workshop)
        self.last: tuple[Light, ...] = ()

    def of(self, steps: Iterable[Step]) -> Lights:
        """Try, show the row, and return it: `.held` are the names of the lights that are on.

        Raises:
            StepFailed, SourceMissing, TimedOut: see `Host.try_all`.

        """
        found = self.host.try_all(steps)
        self.show(found.lights)
        self.last = found.lights
        return found

    def show(self, lights: tuple[Light, ...]) -> None:
        """Draw the row beside the last one."""
        height = picture.needed_height(lights, self.last)
        figure = style.new_figure(picture.WIDTH, picture.WIDTH * height / picture.UNITS)
        picture.draw_lights(figure.add_axes((0, 0, 1, 1)), lights, self.last)
        style.show(figure, picture.words(lights, self.last), picture.table(lights))
