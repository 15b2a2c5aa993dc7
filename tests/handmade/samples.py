"""Pictures of this room, from plain data."""

from labsupport.handmade.breakouts import Light, Lights, Poster
from labsupport.handmade.side_by_side import Start, Starts

NAMES = ("mounts", "files", "host name")


def row(*held):
    return tuple(
        Light(name, name, on, f"try {name}", f"evidence of {name}")
        for name, on in zip(NAMES, held, strict=True)
    )


LIGHTS = Lights(row(True, False, True), row(False, False, True))
POSTER = Poster(
    (
        Lights(row(False, False, False)),
        Lights(row(True, False, True), steps=("own_mounts",)),
        Lights(row(True, True, True), steps=("own_mounts", "own_root")),
    )
)
STARTS = Starts(
    [
        Start("by hand", (("Python starts", 0.02), ("the steps", 0.02), ("the program", 0.01))),
        Start("docker run, no network", (("create", 0.1), ("start", 0.2))),
        Start("docker run", (("create", 0.1), ("start", 0.3), ("wait", 0.1))),
    ],
    "vm",
)

PAGES = {
    "lights": lambda: (LIGHTS.page(), LIGHTS.words(), LIGHTS.table()),
    "poster": lambda: (POSTER.page(), POSTER.words(), POSTER.table()),
    "starts": lambda: (STARTS.page(), STARTS.words(), STARTS.table()),
}
