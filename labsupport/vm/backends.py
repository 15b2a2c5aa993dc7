"""What a kind of virtual machine must offer to be a Lab VM. There are two: `uml` and `qemu`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from labsupport.errors import LabError, UnknownBackend

NAMES = ("uml", "qemu")


class Backend(Protocol):
    """A module `labsupport.vm.NAME` with these functions.

    The guest's first process is `lean.py labsupport.vm.inside.init`, with the host's root,
    read-only, as its own root, and in its environment `LAB_LINE`, the device that is the other end
    of the descriptor `line`: a tty, or a virtio port. The file on the descriptor `disk` is its
    block device `disk`, if it is given one. A backend that is `pinned` runs best on one
    CPU of the host's; where it `keeps_files_open`, each file that the guest has read is an open
    file of the host's, until the guest forgets it.
    """

    name: str
    boot_seconds: float
    pinned: bool
    keeps_files_open: bool
    disk: str

    def check(self, memory_bytes: int) -> None:
        """Raise a `LabError` if the host lacks what a guest needs."""

    def command(
        self, memory_bytes: int, line: int, share: Sequence[str], disk: int | None = None
    ) -> list[str]:
        """Return the command that boots a guest; its standard output is the guest's console."""

    def environment(self, memory_bytes: int) -> dict[str, str]:
        """Return the environment of that command."""

    def mounts(self, share: Sequence[str]) -> list[tuple[str, str, str, str]]:
        """Return what the guest must mount: target, source, type, options."""

    def explain(self, console: str, was_up: bool) -> LabError:
        """Say what ended a guest, from the last lines of its console, and whether it was up."""


def find_backend(name: str) -> Backend:
    """Return the backend of this name. Raises `UnknownBackend`."""
    if name not in NAMES:
        raise UnknownBackend(name, NAMES)
    return cast("Backend", importlib.import_module(f"labsupport.vm.{name}"))
