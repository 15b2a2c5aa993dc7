"""Pictures of this room, from small images."""

import tempfile

from labsupport import Image
from labsupport.image import layer_explorer
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
ONE = layer_explorer.towers({"mine": MINE})
TWO = layer_explorer.towers({"mine": MINE, "other": OTHER})


def layers(shown):
    return layer_explorer.page(shown), layer_explorer.words(shown), layer_explorer.table(shown)


PAGES = {"layers of one image": lambda: layers(ONE), "layers of two": lambda: layers(TWO)}
