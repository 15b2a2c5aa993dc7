"""Pictures of this room, from plain data."""

from labsupport.race import race
from labsupport.race.runners import BreakOut, Entrant

OPEN = BreakOut(True, True, True, True, False, False)
CLOSED = BreakOut(False, False, False, False, True, False)
MACHINE = BreakOut(False, False, False, False, True, True)
ENTRANTS = [
    Entrant("process", "", (0.03, 0.04, 0.2), (5_000_000,) * 3, 900, 46_000_000, "app", got=OPEN),
    Entrant("container", "", (0.4, 0.3, 0.5), (20_000_000,) * 3, 133_000_000, 0, "image", 4.2,
            "load the image", got=CLOSED),
    Entrant("virtual machine", "", (1.9,), (86_000_000,), 142_000_000, 0, "all", got=MACHINE),
    Entrant("another", "it is one already"),
]  # fmt: skip

PAGES = {
    "bars": lambda: (
        race.race_page(ENTRANTS), race.race_words(ENTRANTS), race.race_table(ENTRANTS)
    ),
}  # fmt: skip
