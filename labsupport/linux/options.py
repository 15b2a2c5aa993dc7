"""Which options of a sandbox go together; refused before anything is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from labsupport.errors import BadRootfs, NamespaceRefused


def check_options(
    new: set[str],
    *,
    rootfs: str | os.PathLike[str] | None,
    hostname: str | None,
    uid: int | None,
    clock_offsets: Mapping[str, int] | None,
) -> None:
    """Refuse an option whose namespace is not among the new ones, and others that cannot be.

    Raises:
        NamespaceRefused: the option would change this machine, or needs root.
        BadRootfs: `rootfs` is no folder.

    """
    for option, value, kind in (
        ("rootfs", rootfs, "mount"),
        ("hostname", hostname, "uts"),
        ("uid", uid, "user"),
        ("clock_offsets", clock_offsets, "time"),
    ):
        if value is not None and kind not in new:
            raise NamespaceRefused(
                f"{option}= needs a new {kind} namespace",
                "without one it would change this machine, not a sandbox",
                f'add "{kind}" to new=',
            )
    if uid not in (None, os.geteuid()) and os.geteuid() != 0:
        raise NamespaceRefused(
            f"uid={uid} is somebody else",
            f"you are {os.geteuid()}, and only root can become another user",
            "leave uid= out: then you yourself are root inside",
        )
    if rootfs is not None and not Path(rootfs).is_dir():
        raise BadRootfs(f"{os.fspath(rootfs)} is no folder")
