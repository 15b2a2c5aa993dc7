"""Pictures of this room, from plain data."""

from labsupport.recap import landscape
from labsupport.recap.landscape import ALL, Found

FOUND = [
    Found(each, f"/usr/bin/{each.program}" if number % 2 else "", f"{each.program} 1.{number}", ())
    for number, each in enumerate(ALL)
]

PAGES = {
    "landscape": lambda: (
        landscape.page(FOUND, "6.12.117-lab"), landscape.words(FOUND), landscape.table(FOUND)
    )
}  # fmt: skip
