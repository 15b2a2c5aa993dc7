"""A group that exists: its folder on each tree, and the controllers that work there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from labsupport.linux.cgroup import delegation, ending, places, v1, v2
from labsupport.linux.cgroup.controllers import Controller
from labsupport.linux.cgroup.figures import Limits, Rates, Usage
from labsupport.linux.cgroup.folder import Folder, Log, refusal
from labsupport.linux.cgroup.hierarchies import V1_NAME
from labsupport.linux.cgroup.places import Place
from labsupport.linux.cgroup.wanted import controllers_for

_KINDS: dict[tuple[str, int], Any] = {
    (kind.__name__.lower(), number): kind
    for number, module in ((1, v1), (2, v2))
    for kind in (module.Memory, module.Cpu, module.Pids, module.Io)
}


class Body:
    """The folders of one group, made when this is; `end()` removes them."""

    def __init__(self, where: Mapping[str, Place], name: str, log: Log) -> None:
        self.places, self._log = dict(where), log
        self._by_parent: dict[Path, Folder] = {}
        try:
            for place in self.places.values():
                self._make(place, name)
            self.controllers = list(self._controllers())
        except BaseException:
            ending.remove(self.folders)
            raise

    def _make(self, place: Place, name: str) -> None:
        path = place.parent / name
        if place.parent in self._by_parent:
            return
        try:
            path.mkdir()
        except OSError as error:
            raise refusal(error, path, "make") from error
        self._log("Make the group", f"mkdir {path}")
        self._by_parent[place.parent] = Folder(path, place.tree.version, self._log)

    def _controllers(self) -> Iterator[Controller]:
        """Make the controllers, each in the version that its tree has."""
        for name in ("memory", "pids", "cpu", "io"):
            if folder := self.folder_of(name):
                kind = _KINDS[name, folder.version]
                more = (self.folder_of("cpuacct"),) if kind is v1.Cpu else ()
                controller: Controller = kind(folder, *more)
                yield controller
        v2_folder = next((f for f in self.folders if f.version == 2), None)
        if v2_folder and "cpu" not in self.places:
            yield v2.Clock(v2_folder)

    @property
    def folders(self) -> list[Folder]:
        """One folder for each tree."""
        return list(self._by_parent.values())

    def folder_of(self, controller: str) -> Folder | None:
        """Return the folder on a controller's tree, or None."""
        place = self.places.get(controller)
        return self._by_parent[place.parent] if place else None

    def limit(self, limits: Mapping[str, Any]) -> None:
        """Set limits that `wanted.understood` has checked."""
        for name in sorted(controllers_for(limits) - self.places.keys()):
            raise places.no_controller(name)
        for controller in self.controllers:
            controller.limit(limits)

    def limits(self) -> Limits:
        """Read all limits back."""
        return Limits(**_joined(controller.limits() for controller in self.controllers))

    def usage(self) -> Usage:
        """Read all counters."""
        return Usage(**_joined(controller.usage() for controller in self.controllers))

    def limit_files(self) -> dict[str, tuple[Path, str]]:
        """Return {limit: (its file, what the file says)}."""
        return _read((c.folder, c.limit_files) for c in self.controllers)

    def usage_files(self) -> dict[str, tuple[Path, str]]:
        """Return {counter: (its file, what the file says)}."""
        found = _read((c.folder, c.usage_files) for c in self.controllers)
        clock = self.folder_of("cpuacct")
        return found | (_read([(clock, v1.CLOCK_FILES)]) if clock else {})

    def membership(self, controller: str) -> tuple[str, str]:
        """Return what /proc/PID/cgroup says of a member: (v1's controller or "" for v2, path)."""
        folder = self.folder_of(controller)
        if folder is None:
            raise places.no_controller(controller)
        name = V1_NAME.get(controller, controller) if folder.version == 1 else ""
        return name, self.places[controller].tree.name_of(folder.path)

    def hand_down(self, required: AbstractSet[str]) -> dict[str, Place]:
        """Return the places of a group below, which gets all controllers that this group has."""
        for name in sorted(required - self.places.keys()):
            raise places.no_controller(name)
        found = {}
        on_v2: dict[Path, list[str]] = {}
        for name, place in self.places.items():
            folder = self._by_parent[place.parent]
            found[name] = Place(place.tree, folder.path)
            if folder.version == 2 and name:
                on_v2.setdefault(folder.path, []).append(name)
        # in one write: with processes inside, cpu alone would be taken, and make memory impossible
        for path, names in on_v2.items():
            delegation.hand_down(path, names)
        return found

    def end(self) -> None:
        """End everything inside; our own process is sent to where it came from."""
        pids = ending.members(self.folders)
        if os.getpid() in pids:
            for tree in {place.tree for place in self.places.values()}:
                home = Folder(tree.own, tree.version, self._log)
                home.write("cgroup.procs", str(os.getpid()), "Go home")
        if pids:
            self._stop_throttling()
            ending.kill(self.folders)

    def _stop_throttling(self) -> None:
        """Let what waits for a throttled disk get through: nothing can be killed while it does."""
        for controller in self.controllers:
            for device in controller.limits().get("io", {}):
                controller.limit({"io": {device: Rates()}})


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def _read(parts: Iterable[tuple[Folder, Mapping[str, str]]]) -> dict[str, tuple[Path, str]]:
    return {
        what: (folder.path / file, folder.read(file))
        for folder, files in parts
        for what, file in files.items()
        if folder.has(file)
    }
