"""Pictures of this room, from plain data."""

from labsupport.race import race
from labsupport.race.runners import Entrant

OPEN = (False,) * 6
CLOSED = (*(True,) * 5, False)
MACHINE = (True,) * 6
ENTRANTS = [
    Entrant("process", "", (0.03, 0.04, 0.2), (5_000_000,) * 3, 900, 46_000_000, "app", held=OPEN),
    Entrant("container", "", (0.4, 0.3, 0.5), (20_000_000,) * 3, 133_000_000, 0, "image", 4.2,
            "load the image", held=CLOSED),
    Entrant("virtual machine", "", (1.9,), (86_000_000,), 142_000_000, 0, "all", held=MACHINE),
    Entrant("another", "it is one already"),
]  # fmt: skip

PAGES = {
    "bars": lambda: (
        race.race_page(ENTRANTS), race.race_words(ENTRANTS), race.race_table(ENTRANTS)
    ),
}  # fmt: skip
