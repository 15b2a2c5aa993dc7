"""From a line of Python to a process: who takes part, seen in this kernel's list of processes.

A client asks an engine (by HTTP), the engine asks containerd, that starts a shim, and the shim is
the parent of the container's process. Nothing of this is taken from a manual: each of them is found
anew after each request, by the socket that it listens at, by its parent, by its control group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from labsupport.engine.api_calls import ApiCall, ApiCalls
from labsupport.engine.client import Engine
from labsupport.errors import ProcessGone
from labsupport.linux import relatives
from labsupport.linux.procfs import command, status

ROLES = ("client", "engine", "containerd", "shim", "process")
LAST_WORDS_SECONDS = 5.0
EXECVE_SECONDS = 2.0
_RUNTIME_INIT = "runc:["  # what runc calls itself in the container, until it executes the program
_ENGINES = ("dockerd", "podman")


@dataclass(frozen=True)
class Member:
    """A process that takes part, at one moment.

    `pid` and `parent_pid` are numbers here, `pids` its numbers in each PID namespace that it lives
    in, outermost first; `found_by` says how we know that it is the one.
    """

    role: str
    pid: int
    name: str
    command: str
    pids: tuple[int, ...]
    parent_pid: int
    parent_name: str
    found_by: str

    def __repr__(self) -> str:
        return f"<{self.role}: PID {self.pid} ({self.name}), child of {self.parent_pid}>"


@dataclass(frozen=True)
class Moment:
    """Who was there when an answer came; `call` is None: a moment after the last one."""

    call: ApiCall | None
    members: tuple[Member, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that were played then."""
        return tuple(member.role for member in self.members)


class Chain:
    """Watches one container: `with Chain(engine) as chain: container = …`.

    After each request of that connection the processes are read again; the container is the first
    that is made. `calls` are the requests, `moments` who was there after each of them. `elsewhere`
    says why a container that runs is not to be seen here, and is empty if it is.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls = ApiCalls(engine, self._look)
        self.moments: list[Moment] = []
        self.elsewhere = ""
        self._container = ""

    def __enter__(self) -> Self:
        self._engine_pid, self._engine_found_by = _find_engine(self.engine)
        self._containerd_pid, self._containerd_found_by = _find_containerd(self._engine_pid)
        self.calls.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.calls.__exit__(kind, error, trace)
        last = self.moments[-1] if self.moments else None
        if last and last.call and last.call.method == "DELETE":
            # the shim writes down how its process ended before it goes
            here = [each.pid for each in last.members if each.role in ("shim", "process")]
            relatives.wait_gone(here, LAST_WORDS_SECONDS)
            self.moments.append(Moment(None, tuple(self._members())))

    def member(self, role: str) -> Member | None:
        """Who played a role (one of `ROLES`), as last seen; None: nobody that we saw."""
        found = (
            each
            for moment in reversed(self.moments)
            for each in moment.members
            if each.role == role
        )
        return next(found, None)

    def parent_of(self, role: str) -> str:
        """Which role the parent of a member plays; its name if it plays none."""
        child = self.member(role)
        if child is None:
            return ""
        members = filter(None, map(self.member, ROLES))
        return next(
            (each.role for each in members if each.pid == child.parent_pid), child.parent_name
        )

    def roles_after(self, what: str) -> tuple[str, ...]:
        """Who was there after the first request of a name, such as `create` or `start`."""
        return next(
            (each.roles for each in self.moments if each.call and each.call.what == what), ()
        )

    def _look(self, call: ApiCall) -> None:
        if not self._container and call.what == "create":
            self._container = call.made
        if call.what == "start":
            self._wait_for_the_program()
        self.moments.append(Moment(call, tuple(self._members())))
        if call.what == "start" and "process" not in self.moments[-1].roles:
            self.elsewhere = self._elsewhere()

    def _wait_for_the_program(self) -> None:
        """An engine answers when the runtime may go on, which is just before its execve."""
        until = time.monotonic() + EXECVE_SECONDS
        while time.monotonic() < until:
            pid = relatives.first_of(relatives.group_members(self._container))
            if pid is None or not _name(pid).startswith(_RUNTIME_INIT):
                return
            time.sleep(0.005)

    def _elsewhere(self) -> str:
        """Say why processes of the engine cannot be seen from here, if that is so."""
        if self.engine.kernel_release != os.uname().release:
            where = f"on another kernel ({self.engine.kernel_release})"
        elif self._engine_pid is None:
            where = "where we do not see it (in another PID namespace, or behind a network)"
        else:
            return ""
        return f"the engine at {self.engine.address} runs {where}"

    def _members(self) -> Iterator[Member]:
        yield from _member("client", os.getpid(), "it is this notebook")
        yield from _member("engine", self._engine_pid, self._engine_found_by)
        found = list(self._of_the_container()) if self._container else []
        yield from _member("containerd", self._containerd_pid, self._containerd_found_by)
        yield from found

    def _of_the_container(self) -> Iterator[Member]:
        pid = relatives.first_of(relatives.group_members(self._container))
        for process in _member("process", pid, "its control group has the container's ID"):
            for shim in _member("shim", process.parent_pid, "it is the process's parent"):
                self._correct_containerd(shim)
                yield shim
            yield process

    def _correct_containerd(self, shim: Member) -> None:
        """Ask at the socket that the shim's arguments name, once."""
        argv = shim.command.split()
        if "-address" not in argv or self._containerd_found_by.startswith("it listens"):
            return
        path = argv[argv.index("-address") + 1]
        if pid := relatives.listener(path):
            self._containerd_pid, self._containerd_found_by = pid, f"it listens at {path}"

    def __repr__(self) -> str:
        lines = [
            f"{each.call or 'a moment later'}: {', '.join(map(repr, each.members))}"
            for each in self.moments
        ]
        return "\n".join([*lines, self.elsewhere]).strip()


def _find_engine(engine: Engine) -> tuple[int | None, str]:
    if not engine.address.startswith("unix://"):
        return None, ""
    path = engine.address.removeprefix("unix://")
    pid = relatives.listener(path)
    if pid and _name(pid) in _ENGINES:
        return pid, f"it listens at {path}"
    # systemd may listen in its place, and has started it then
    found = [each for name in _ENGINES for each in relatives.named(name)] if pid else []
    if not found:
        return None, ""
    return found[0], f"it has the name, and PID {pid} listens for it at {path}"


def _find_containerd(engine_pid: int | None) -> tuple[int | None, str]:
    """Find it by its name; a shim knows better, once there is one. Podman has none."""
    if engine_pid is None or _name(engine_pid) != "dockerd":
        return None, ""
    found = relatives.named("containerd")
    children = [pid for pid in found if _parent(pid) == engine_pid]
    return next(iter([*children, *found]), None), "it has the name"


def _member(role: str, pid: int | None, found_by: str) -> Iterator[Member]:
    if pid is None:
        return
    try:
        now, words = status(pid), command(pid)
    except ProcessGone:
        return
    parent = now.parent_pid
    yield Member(role, pid, now.name, words, now.pids, parent, _name(parent), found_by)


def _name(pid: int) -> str:
    try:
        return status(pid).name
    except ProcessGone:  # PID 0 is no process: the parent is outside of what we see
        return ""


def _parent(pid: int) -> int:
    try:
        return status(pid).parent_pid
    except ProcessGone:
        return 0
