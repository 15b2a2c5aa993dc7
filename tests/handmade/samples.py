"""Pictures of this room, from plain data."""

from labsupport.handmade.breakouts import Light, Lights, Poster

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
PAGES = {
    "lights": lambda: (LIGHTS.page(), LIGHTS.words(), LIGHTS.table()),
    "poster": lambda: (POSTER.page(), POSTER.words(), POSTER.table()),
}
