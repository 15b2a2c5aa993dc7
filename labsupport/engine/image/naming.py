"""Names in archives, made plain: nothing leads out, and one file has one name."""

from __future__ import annotations

import re

from labsupport.engine.image.limits import LONGEST_PATH
from labsupport.errors import BadLayer, LinkLeadsOut, PathLeadsOut

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def plain_path(name: str) -> str:
    """Return the absolute path that a member's name means in an image.

    `./etc/`, `etc` and `/etc` are the same, as for the engines. Raises `PathLeadsOut` for `..`.
    """
    if len(name) > LONGEST_PATH:
        raise BadLayer(f"a path of {len(name)} characters", f"Linux has at most {LONGEST_PATH}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PathLeadsOut(name)
    if "\0" in name:
        raise BadLayer(f"the name {name[:80]!r}", "there is a NUL in it")
    return "/" + "/".join(parts)


def hard_link_target(name: str, target: str) -> str:
    """Return the path that a hard link's target means; raises `LinkLeadsOut` for `..`."""
    try:
        return plain_path(target)
    except PathLeadsOut as no:
        raise LinkLeadsOut(name, target) from no


def symlink_target(target: str) -> str:
    """Return the target as it is, which may be any; raises `BadLayer` if it is too long."""
    if len(target) > LONGEST_PATH:
        raise BadLayer(f"a link to {len(target)} characters", f"Linux has at most {LONGEST_PATH}")
    return target


def is_digest(text: object) -> bool:
    """Tell whether it is a digest that we can verify."""
    return isinstance(text, str) and bool(_DIGEST.fullmatch(text))
