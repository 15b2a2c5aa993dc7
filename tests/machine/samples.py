"""Pictures of this room, from plain data."""

from labsupport.machine import boot_console
from labsupport.machine.virtual import Stage

STAGES = [
    Stage("firmware", 0, 1.2),
    Stage("kernel", 1.2, 5),
    Stage("first file system", 5, 8),
    Stage("system", 8, 30),
]
LONG_FIRST = [Stage("firmware", 0, 40), Stage("kernel", 40, 41), Stage("system", 41, 42)]


def _stages(stages):
    return boot_console.page(stages), boot_console.words(stages), boot_console.table(stages)


PAGES = {"stages": lambda: _stages(STAGES), "stages, a long one first": lambda: _stages(LONG_FIRST)}
