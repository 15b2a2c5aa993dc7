"""Pictures of this room, from plain data."""

from labsupport.kernel.procfs import KINDS
from labsupport.users import namespace_table, owners
from labsupport.users.namespace_table import Column
from labsupport.users.owners import IdMap, Owned

HOST = Column("this notebook", {kind: 10 + number for number, kind in enumerate(KINDS)})
BOX = Column("sandbox", {**HOST.inodes, "uts": 50, "ipc": 51})
SAME_UTS = Column("other", {**HOST.inodes, "uts": 50, "net": 60})
OLD = [Column(c.label, {k: n for k, n in c.inodes.items() if k != "time"}) for c in (HOST, BOX)]
LONG = {kind: 4026531830 + at for at, kind in enumerate(KINDS)}
TWICE = {"uts": 4026532201, "user": 4026532202}
FOUR = [
    Column(name, LONG | more)
    for name, more in (
        ("this notebook", {}),
        ("sandbox", TWICE),
        ("Docker", {"uts": 4026532203}),
        ("rootless", TWICE),
    )
]
MAP = IdMap.parse("0 60000 1")
MADE = Owned("made-inside", "60000:60000", "0:0", True, True)
THEIRS = Owned("only the user mapped", "60000:0", "0:65534", True, False)


def of_table(columns):
    picture = namespace_table
    return picture.page(columns), picture.words(columns), picture.table(columns)


PAGES = {
    "table": lambda: of_table([HOST, BOX, SAME_UTS]),
    "table-old": lambda: of_table(OLD),
    "table-one": lambda: of_table([HOST]),
    "table-four": lambda: of_table(FOUR),
    "owners": lambda: (
        owners.page([THEIRS, MADE], MAP),
        owners.words([THEIRS, MADE]),
        owners.table([THEIRS, MADE]),
    ),
}
