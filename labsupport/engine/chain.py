"""From a line of Python to a process: who takes part, seen in this kernel's list of processes.

A client asks an engine by HTTP; everything that `docker` and the Docker SDK do is such a request.
The engine asks containerd, which starts a shim, and the shim is the parent of the container's
process. Nothing of this is taken from a manual: after each request each of them is looked for
again, by the socket that it listens at, by its parent, by its control group.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import unquote

from labsupport.engine.client import Engine
from labsupport.errors import ProcessGone
from labsupport.kernel import procfs
from labsupport.kernel.procfs import Status, command, status
from labsupport.trace import Step, Steps

_ORIGIN = re.compile(r"^[a-z+]+://[^/]*")
_VERSION = re.compile(r"^/v\d+\.\d+")
_LONG_ID = re.compile(r"\b(?:sha256:)?([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass(frozen=True)
class ApiCall:
    """One request and its answer.

    `path` is as it was sent, `status` the HTTP status of the answer; `at_seconds` is when the
    answer came, counted from the beginning of the recording, `seconds` how long it took to come.
    `sent` is what was sent along (JSON), without empty values. `made` is the ID of what
    has been made by it, if anything.
    """

    number: int
    method: str
    path: str
    status: int
    at_seconds: float
    seconds: float
    sent: str = ""
    made: str = ""

    @property
    def short(self) -> str:
        """The request without version and query, IDs cut: `POST /containers/3fa07c…/start`."""
        return f"{self.method} {_LONG_ID.sub(lambda found: found[1][:6] + '…', self._bare_path)}"

    @property
    def what(self) -> str:
        """The request in one word or two: `create`, `start`, `inspect`, `remove`."""
        words = [word for word in self._bare_path.split("/") if word]
        verb = {"GET": "inspect", "DELETE": "remove", "HEAD": "ping"}.get(self.method, "")
        return words[-1] if words and words[-1] != "json" and not verb else verb or words[0]

    @property
    def _bare_path(self) -> str:
        return _VERSION.sub("", self.path.partition("?")[0])

    def __str__(self) -> str:
        return f"{self.number}. {self.short} → {self.status} ({1000 * self.seconds:.0f} ms)"


class ApiCalls:
    """Records a connection's requests: `with ApiCalls(engine) as calls: …`; then look at `calls`.

    Args:
        engine: whose requests; only those of this connection are seen.
        on_call: called with each request as its answer comes, before our side goes on.

    """

    def __init__(self, engine: Engine, on_call: Callable[[ApiCall], None] | None = None) -> None:
        self.engine = engine
        self.calls: list[ApiCall] = []
        self._on_call = on_call
        self._hooks: list[Any] = engine.client.api.hooks["response"]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._hooks.append(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.remove(self._note)

    def _note(self, response: Any, **options: Any) -> None:
        request = response.request
        path = _ORIGIN.sub("", unquote(request.url))
        # a streamed answer is left to its receiver
        made = "" if options.get("stream") or request.method != "POST" else _id_in(response.content)
        call = ApiCall(
            number=len(self.calls) + 1,
            method=request.method,
            path=path,
            status=response.status_code,
            at_seconds=time.monotonic() - self._began,
            seconds=response.elapsed.total_seconds(),
            sent=_sent(request.body),
            made=made,
        )
        self.calls.append(call)
        if self._on_call:
            self._on_call(call)

    def __iter__(self) -> Iterator[ApiCall]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)

    def shell(self) -> Steps:
        """Return the same requests as lines for `curl`."""
        return Steps(
            f"{len(self.calls)} requests, for curl",
            tuple(Step(str(call), self._curl(call)) for call in self.calls),
        )

    def _curl(self, call: ApiCall) -> str:
        words = ["curl"]
        where = f"http://localhost{call.path}"
        if self.engine.address.startswith("unix://"):
            words += ["--unix-socket", self.engine.address.removeprefix("unix://")]
        else:
            where = self.engine.address.replace("tcp://", "http://", 1) + call.path
        words += [] if call.method == "GET" else ["--request", call.method]
        if call.sent:
            words += ["--header", "Content-Type: application/json", "--data", call.sent]
        return shlex.join([*words, where])

    def __repr__(self) -> str:
        return "\n".join(map(str, self.calls)) or "no requests"


def _sent(body: Any) -> str:
    """Return what was sent, without empty values; only JSON is looked at."""
    if not isinstance(body, str | bytes):
        return ""
    try:
        found = json.loads(body)
    except ValueError:  # a build's context, for one
        return ""
    return json.dumps(_without_nothing(found))


def _without_nothing(found: Any) -> Any:
    if isinstance(found, dict):
        kept = {key: _without_nothing(value) for key, value in found.items()}
        return {key: value for key, value in kept.items() if value not in (None, "", {}, [], False)}
    return found


def _id_in(content: bytes) -> str:
    try:
        found = json.loads(content)
    except ValueError:
        return ""
    return str(found.get("Id", "")) if isinstance(found, dict) else ""


ROLES = ("client", "engine", "containerd", "shim", "process")
LAST_WORDS_SECONDS = 5.0
EXECVE_SECONDS = 2.0
RUNTIME_INIT = "runc:["  # what runc calls itself in the container, until it executes the program
ENGINES = ("dockerd", "podman")
NOBODY = Status("", "", 0, (), 0)


@dataclass(frozen=True)
class Member:
    """A process that takes part, at one moment.

    `pid` and `parent_pid` are numbers here, `pids` its numbers in each PID namespace that it lives
    in, outermost first. `socket` is where it is asked, if that is known.
    """

    role: str
    pid: int
    name: str
    command: str
    pids: tuple[int, ...]
    parent_pid: int
    parent_name: str
    socket: str = ""

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
    says why a running container cannot be seen here, and is empty if it can.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls = ApiCalls(engine, self._look)
        self.moments: list[Moment] = []
        self.elsewhere = ""
        self._container = self._containerd_socket = ""

    def __enter__(self) -> Self:
        self._engine_pid = _find_engine(self.engine)
        self._containerd_pid = _find_containerd(self._engine_pid)
        self.calls.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.__exit__()
        last = self.moments[-1] if self.moments else None
        if last and last.call and last.call.method == "DELETE":
            # the shim writes down how its process ended before it goes
            here = [each.pid for each in last.members if each.role in ("shim", "process")]
            procfs.wait_gone(here, LAST_WORDS_SECONDS)
            self.moments.append(Moment(None, tuple(self._members())))

    def member(self, role: str) -> Member | None:
        """Who played a role (one of `ROLES`), as last seen; None: nobody was seen."""
        everybody = (each for moment in reversed(self.moments) for each in moment.members)
        return next((each for each in everybody if each.role == role), None)

    def parent_of(self, role: str) -> str:
        """Which role the parent of a member plays; its name if it plays none."""
        child = self.member(role)
        if child is None:
            return ""
        roles = {each.pid: each.role for each in filter(None, map(self.member, ROLES))}
        return roles.get(child.parent_pid, child.parent_name)

    def roles_after(self, what: str) -> tuple[str, ...]:
        """Who was there after the first request of a name, such as `create` or `start`."""
        found = (each.roles for each in self.moments if each.call and each.call.what == what)
        return next(found, ())

    def show(self) -> None:
        """Show the sequence in the notebook, with its words and the table behind it."""
        from labsupport.engine import chain_picture as picture

        picture.page(self).show(picture.words(self), picture.table(self))

    def _look(self, call: ApiCall) -> None:
        if not self._container and call.what == "create":
            self._container = call.made
        if call.what == "start":
            self._wait_for_the_program()
        self.moments.append(Moment(call, tuple(self._members())))
        if call.what == "start" and "process" not in self.moments[-1].roles:
            self.elsewhere = self._why_unseen()

    def _wait_for_the_program(self) -> None:
        """An engine answers when the runtime may go on, which is just before its execve."""
        until = time.monotonic() + EXECVE_SECONDS
        while time.monotonic() < until:
            pid = procfs.first_of(procfs.group_members(self._container))
            if pid is None or not _status(pid).name.startswith(RUNTIME_INIT):
                return
            time.sleep(0.005)

    def _why_unseen(self) -> str:
        """Say why processes of the engine cannot be seen from here, if that is so."""
        if self.engine.kernel_release != os.uname().release:
            where = f"on another kernel ({self.engine.kernel_release})"
        elif self._engine_pid is None:
            where = "where we do not see it (in another PID namespace, or behind a network)"
        else:
            return ""
        return f"the engine at {self.engine.address} runs {where}"

    def _members(self) -> Iterator[Member]:
        yield from _member("client", os.getpid())
        yield from _member("engine", self._engine_pid, self.engine.address.partition("://")[2])
        found = list(self._of_the_container()) if self._container else []
        yield from _member("containerd", self._containerd_pid, self._containerd_socket)
        yield from found

    def _of_the_container(self) -> Iterator[Member]:
        """Find its process by the control group, which has the ID; the shim is the parent."""
        pid = procfs.first_of(procfs.group_members(self._container))
        for process in _member("process", pid):
            for shim in _member("shim", process.parent_pid):
                argv = shim.command.split()
                if "-address" in argv:  # where containerd listens, which may be another one
                    self._containerd_socket = argv[argv.index("-address") + 1]
                    listener = procfs.listener(self._containerd_socket)
                    self._containerd_pid = listener or self._containerd_pid
                yield replace(shim, socket=procfs.listens_at(shim.pid))
            yield process

    def __repr__(self) -> str:
        lines = [
            f"{each.call or 'a moment later'}: {', '.join(map(repr, each.members))}"
            for each in self.moments
        ]
        return "\n".join([*lines, self.elsewhere]).strip()


def _find_engine(engine: Engine) -> int | None:
    if not engine.address.startswith("unix://"):
        return None
    pid = procfs.listener(engine.address.removeprefix("unix://"))
    if pid is None or _status(pid).name in ENGINES:
        return pid
    # systemd may listen in its place, and has started it then; both may run, and dockerd is first
    return next((each for name in ENGINES for each in procfs.named(name)), None)


def _find_containerd(engine_pid: int | None) -> int | None:
    """Find it by its name; a shim knows better, once there is one. Podman has none."""
    if engine_pid is None or _status(engine_pid).name != "dockerd":
        return None
    found = procfs.named("containerd")
    children = [pid for pid in found if _status(pid).parent_pid == engine_pid]
    return next(iter([*children, *found]), None)


def _member(role: str, pid: int | None, socket: str = "") -> Iterator[Member]:
    if pid is None:
        return
    try:
        now, words = status(pid), command(pid)
    except ProcessGone:
        return
    parent = _status(now.parent_pid).name
    yield Member(role, pid, now.name, words, now.pids, now.parent_pid, parent, socket)


def _status(pid: int) -> Status:
    try:
        return status(pid)
    except ProcessGone:  # PID 0 is not a process: the parent is outside of what we see
        return NOBODY
