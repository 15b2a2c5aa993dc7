"""Pictures of this room, from plain data."""

from labsupport.machine import boot_console
from labsupport.machine.compared import Seen
from labsupport.machine.virtual import Stage

GIB = 1 << 30
STAGES = [
    Stage("firmware", 0, 1.2),
    Stage("kernel", 1.2, 5),
    Stage("first file system", 5, 8),
    Stage("system", 8, 30),
]
LONG_FIRST = [Stage("firmware", 0, 40), Stage("kernel", 40, 41), Stage("system", 41, 42)]
HERE = Seen("this machine", "6.18", "aaaa", 9000, "systemd", 24 * GIB, 2, 250 * GIB, 210)
BOX = Seen("a sandbox", "6.18", "aaaa", 9000, "sh", 24 * GIB, 2, 250 * GIB, 3)
VM = Seen("the VM", "6.12.118+deb13-cloud-amd64", "bbbb", 60, "systemd", GIB, 1, 4 * GIB, 64)
INNER = Seen(
    "a container in it", "6.12.118+deb13-cloud-amd64", "bbbb", 60, "sh", GIB, 1, 4 * GIB, 3
)
PLACES = [HERE, BOX, VM, INNER]


def _stages(stages):
    return boot_console.page(stages), boot_console.words(stages), boot_console.table(stages)


PAGES = {"stages": lambda: _stages(STAGES), "stages, a long one first": lambda: _stages(LONG_FIRST)}
