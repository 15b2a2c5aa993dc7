"""Pictures of this room, from data: see `tests.figure.test_pictures`."""

from labsupport.registry import trips
from tests.registry.test_trips import SHOWN

PAGES = {"trips": lambda: (trips.page(SHOWN), trips.words(SHOWN), trips.table(SHOWN))}
