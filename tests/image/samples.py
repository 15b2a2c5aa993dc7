"""Pictures of this room, from small images."""

import tempfile

from labsupport import Image
from labsupport.image import costs, pictures
from labsupport.image.costs import Cost
from labsupport.image.pictures import History
from tests.image_making import docker, member, pack, tar

BASE = "ADD rootfs.tar /", [member("bin/sh", bytes(2000))]
TOOLS = "/bin/sh -c make", [member("cache", bytes(6000)), member("lib", bytes(1000))]
RM = "/bin/sh -c rm /cache; touch /lib", [member("lib", bytes(1000)), member(".wh.cache")]
COPY = "/bin/sh -c #(nop) COPY file:0123456789abcdef in /app ", [member("app", bytes(10))]
CMD = '/bin/sh -c #(nop)  CMD ["sh"]', None
OURS = "/bin/sh -c #(nop)  LABEL org.labsupport.image-owner=1:2", None


def image_of(*made, name="mine"):
    """Make an image of lines of a history, each with the members of its layer if it made one."""
    history = [{"created_by": by, "empty_layer": layer is None} for by, layer in made]
    layers = [tar(layer) for _, layer in made if layer is not None]
    with tempfile.NamedTemporaryFile() as file:
        file.write(pack(docker(layers, [f"{name}:latest"], history=history)))
        file.flush()
        return Image.open(file.name)


MINE, OTHER = image_of(BASE, OURS, TOOLS, RM, CMD), image_of(BASE, TOOLS, COPY, CMD, name="other")
ONE = pictures.towers({"mine": MINE})
TWO = pictures.towers({"mine": MINE, "other": OTHER})
MY_HISTORY = History.of("mine", MINE)
TWICE = [MY_HISTORY, MY_HISTORY]
COSTS = {
    "as in the lecture": Cost(230_000_000, 143_000_000, 24.4, 9_400_000),
    "in one step": Cost(156_000_000, 143_000_000, 41.0, 4_800_000),
    "two stages": Cost(155_000_000, 143_000_000, 0.9, 1_900),
}


def layers(shown):
    return pictures.layers_page(shown), pictures.layers_words(shown), pictures.layers_table(shown)


PAGES = {
    "layers of one image": lambda: layers(ONE),
    "layers of two": lambda: layers(TWO),
    "instructions and layers": lambda: (
        pictures.made_page(MY_HISTORY),
        pictures.made_words(MY_HISTORY),
        pictures.history_table([MY_HISTORY]),
    ),
    "shares": lambda: (
        pictures.shares_page(TWICE),
        pictures.shares_words(TWICE),
        pictures.history_table(TWICE),
    ),
    "costs": lambda: (costs.page(COSTS), costs.words(COSTS), costs.table(COSTS)),
}
