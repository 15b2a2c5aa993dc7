"""A container that is built by hand beside those of runc and of an engine, of the same files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Self

from labsupport.engine.client import Engine
from labsupport.engine.compared import ComparedContainer
from labsupport.engine.oci_runtime import Bundle, bundle
from labsupport.errors import ContainerEnded, ProcessGone, TimedOut
from labsupport.linux.cgroup.leftovers import new_name
from labsupport.linux.procfs import status_fields
from labsupport.linux.workshop.built import child_of
from labsupport.linux.workshop.handmade import Workshop
from labsupport.linux.workshop.portrait import Portrait, differences, portrait
from labsupport.views.differences import Comparison

_PATIENCE_SECONDS = 30.0
_SLEEP = ("busybox", "sleep", "3600")


def bundle_for(workshop: Workshop, argv: Sequence[str]) -> Bundle:
    """Make a bundle of the workshop's root file system, for `workshop.stage` to run.

    Raises:
        RuntimeMissing: neither runc nor crun is installed.

    """
    folder = workshop.new_folder()
    rootless = "user" in workshop.stage.new
    group = "" if rootless else f"/{new_name('runtime')}"
    return bundle(folder, workshop.root, argv, cgroup=group, rootless=rootless)


class RuntimeContainer:
    """A container of runc (or crun) on the workshop's stage, running `sleep`; use it in a `with`.

    `name` is the runtime's, `pid` the first process's number on this side.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.bundle = bundle_for(workshop, _SLEEP)
        self.name = self.bundle.runtime
        self.pid = 0

    def __enter__(self) -> Self:
        self._process = self.workshop.stage.start(self.bundle.run("beside"), cwd="/")
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self.pid:
            child = child_of(self._process.pid)
            if child and _name(child) == _SLEEP[0]:
                self.pid = child
            elif self._process.returncode is not None:
                said = (self._process.output + self._process.errors).strip()
                raise ContainerEnded(f"{self.name} {self._process.ending}", said)
            elif time.monotonic() > until:
                raise TimedOut(f"{self.name} did not start a container")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.workshop.stage.run(self.bundle.kill("beside"), cwd="/")
        self._process.wait(_PATIENCE_SECONDS)  # then the runtime takes away what it has made


def _name(pid: int) -> str:
    try:
        return status_fields(pid)["Name"]
    except ProcessGone:  # a runtime forks twice on the way
        return ""


class EngineContainer(ComparedContainer):
    """A container of the engine that is here, with its own connection; use it in a `with`."""

    def __init__(self) -> None:
        super().__init__(Engine.connect())
        self.name = self.engine.kind

    def close(self) -> None:
        """End it, and the connection."""
        super().close()
        self.engine.close()


def portrait_by_hand(workshop: Workshop, steps: Sequence[object]) -> Portrait:
    """Build a container of the steps, and read its portrait."""
    made = workshop.start(steps, _SLEEP)  # type: ignore[arg-type]
    try:
        return portrait(made.pid)
    finally:
        made.close()


def compare(portraits: Mapping[str, Portrait]) -> Comparison:
    """Set portraits side by side."""
    return Comparison(list(portraits), differences(portraits))
