"""Pictures of this room, from plain data."""

from labsupport.figure import style
from labsupport.kernel.mounts import MountTable, parse
from labsupport.mount import mount_map
from labsupport.mount.overlay import Entry, LayerFolder, Shelves, Stack


def line(number, device, point, what="ext4 /dev/vda", root="/"):
    return parse(f"{number} {0 if point == '/' else 1} {device} {root} {point} rw - {what} rw")


def column(label, colour, *lines):
    return mount_map.Column(label, colour, MountTable(len(label), lines))


def in_a_sandbox(label, colour, number):
    drive = line(2, f"7:{number}", "/data", f"ext4 /dev/D_{label}")
    return column(label, colour, line(1, "8:1", "/", root="/r"), drive)


HOST_LINES = [
    line(1, "8:1", "/"),
    *(line(n, f"0:{n}", f"/sys/{n}", "sysfs s") for n in range(2, 9)),
]
HOST = column("the host", style.HOST, *HOST_LINES)
A, B = in_a_sandbox("A", style.FIRST, 0), in_a_sandbox("B", style.SECOND, 1)
MAP = [HOST, A, B]


def layer(name, *entries, writable=False):
    return LayerFolder(name, {entry.path: entry for entry in entries}, writable)


STACK = Stack(
    layers=(
        layer("upper", Entry("a", "whiteout"), Entry("d", "opaque"), writable=True),
        layer("base", Entry("a", "file", 5, "x"), Entry("b", "file", 1500, "y"),
              Entry("d", "folder"), Entry("d/e", "file", 3, "z")),
    ),
    merged=layer("merged", Entry("b", "file", 1500, "y"), Entry("d", "folder")),
)  # fmt: skip
SHELVES = Shelves(STACK, ["a", "b", "d", "d/e"], {"upper": "the container's"})

PAGES = {
    "map": lambda: (mount_map.page(MAP), mount_map.words(MAP), mount_map.table(MAP)),
    "shelves": lambda: (SHELVES.page(), SHELVES.words(), SHELVES.table()),
}
