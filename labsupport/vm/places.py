"""Where a notebook runs: at the `host` or in the `vm`. The facts are cheap, the choice is pure.

This is an IPython extension, too: above the output of the first cell it shows what the launcher has
to say about the place.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport.doctor.guest import check, find_kernel
from labsupport.errors import LabError, nearest
from labsupport.kernel import mounts, proc

if TYPE_CHECKING:  # the launcher loads this module, and IPython takes 40 ms
    from IPython.core.interactiveshell import InteractiveShell

NOTICE = "LAB_NOTICE"
PLACES = ("auto", "host", "vm")
_CORE_CONTROLLERS = frozenset({"cpu", "memory", "pids"})
_LEAST_MEMORY = 256 << 20  # that a notebook needs


@dataclass(frozen=True)
class Facts:
    """What the choice depends on.

    `by_hand` is the kernel that the student has chosen ("This machine", "Lab VM"), `notebook` what
    the notebook's metadata ask for, `wanted` is `LAB_PLACE`. `lacking` says what the core notebooks
    need and the host has not, `no_vm` why the Lab VM cannot be started.
    """

    by_hand: str = "auto"
    notebook: str = "auto"
    wanted: str = "auto"
    in_guest: bool = False
    lacking: str = ""
    no_vm: LabError | None = None


@dataclass(frozen=True)
class Choice:
    """The place, and what the student should know about it; `strict` is what was asked for."""

    place: str
    notice: str = ""
    strict: bool = False


def choose(facts: Facts) -> Choice:
    """Choose. The most specific wish counts; one that cannot be met is an error, later."""
    if facts.in_guest:
        return Choice("host")
    for wish in (facts.by_hand, facts.notebook, facts.wanted):
        if wish != "auto":
            return Choice(wish, strict=True)
    if not facts.lacking:
        return Choice("host")
    if facts.no_vm:
        return Choice("host", notice_of(facts.lacking, facts.no_vm))
    return Choice("vm")


def notice_of(lacking: str, no_vm: LabError) -> str:
    """Say that the notebook runs on this machine though the Lab VM would be the place for it."""
    return (
        f"This notebook runs on this machine itself, and some cells will be skipped: {lacking}.\n"
        f"The Lab VM would have it all, but cannot be started: {no_vm}"
    )


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Arrange for the notice in the environment to be shown once."""
    words = os.environ.pop(NOTICE, "")

    def show(_info: object) -> None:
        shell.events.unregister("pre_run_cell", show)
        print(words, file=sys.stderr)

    if words:
        shell.events.register("pre_run_cell", show)


def gather(by_hand: str, environment: Mapping[str, str]) -> Facts:
    """Gather the facts. Raises `LabError`."""
    wanted = environment.get("LAB_PLACE") or "auto"
    for place in (by_hand, wanted):
        if place not in PLACES:
            raise LabError(f"unknown place {place!r} in LAB_PLACE", nearest(place, PLACES))
    try:
        check(_LEAST_MEMORY)
        no_vm = None
    except LabError as error:
        no_vm = error
    return Facts(
        by_hand=by_hand, notebook=asked_by_notebook(environment.get("JPY_SESSION_NAME", "")),
        wanted=wanted, in_guest=environment.get("LAB_IN_VM") == "1", lacking=lacking_here(),
        no_vm=no_vm,
    )  # fmt: skip


def wants_kernel(environment: Mapping[str, str]) -> bool:
    """Whether notebooks would run in the Lab VM, if only a kernel were built for it."""
    wanted = environment.get("LAB_PLACE") or "auto"
    if wanted == "host" or environment.get("LAB_KERNEL") or os.uname().machine != "x86_64":
        return False
    try:
        find_kernel()
    except LabError:
        return wanted == "vm" or bool(lacking_here())
    return False


def asked_by_notebook(path: str) -> str:
    """Return the place in a notebook's metadata, `{"lab": {"place": …}}`, or "auto"."""
    # Jupyter tells the notebook's path to its kernel; consoles and unsaved notebooks have none
    try:
        place = json.loads(Path(path).read_bytes())["metadata"]["lab"]["place"]
    except (OSError, ValueError, KeyError, TypeError):
        return "auto"
    return place if place in PLACES else "auto"


def lacking_here() -> str:
    """Say what the core notebooks need and this process has not; empty if it has everything."""
    if not proc.has_capability(proc.CAP_SYS_ADMIN):
        return "you are not root here (CAP_SYS_ADMIN)"
    known = mounts.trees()
    there = {name for name, tree in known.items() if os.access(tree.mount, os.W_OK)}
    if missing := sorted(_CORE_CONTROLLERS - there):
        return f"no cgroups with {', '.join(missing)} can be made here"
    return ""
