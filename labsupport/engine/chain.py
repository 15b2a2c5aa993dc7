"""From a line of Python to a process: who takes part, seen in this kernel's list of processes.

A client asks an engine by HTTP; everything that `docker` and the Docker SDK do is such a request.
The engine asks containerd, which starts a shim, and the shim is the parent of the container's
process. Nothing of this is taken from a manual: after each request each of them is looked for
again, by the socket that it listens at, by its parent, by its control group.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from labsupport.engine.client import Engine
from labsupport.engine.daemon import PATIENCE
from labsupport.errors import ProcessGone
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.kernel import procfs
from labsupport.kernel.procfs import Status, command, status

_ORIGIN = re.compile(r"^[a-z+]+://[^/]*")
_VERSION = re.compile(r"^/v\d+\.\d+")
_LONG_ID = re.compile(r"\b(?:sha256:)?([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass(frozen=True)
class ApiCall:
    """One request and its answer.

    `path` is as it was sent, `status` the HTTP status of the answer, `seconds` how long it took to
    come. `made` is the ID of what has been made by it, if anything.
    """

    number: int
    method: str
    path: str
    status: int
    seconds: float
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
            number=len(self.calls) + 1, method=request.method, path=path,
            status=response.status_code, seconds=response.elapsed.total_seconds(), made=made,
        )  # fmt: skip
        self.calls.append(call)
        if self._on_call:
            self._on_call(call)

    def __iter__(self) -> Iterator[ApiCall]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)

    def __repr__(self) -> str:
        return "\n".join(map(str, self.calls)) or "no requests"


def _id_in(content: bytes) -> str:
    try:
        found = json.loads(content)
    except ValueError:
        return ""
    return str(found.get("Id", "")) if isinstance(found, dict) else ""


ROLES = ("client", "engine", "containerd", "shim", "process")
LAST_WORDS_SECONDS = 5.0 * PATIENCE
EXECVE_SECONDS = 2.0 * PATIENCE
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
        page(self).show(words(self), table(self))

    def _look(self, call: ApiCall) -> None:
        if not self._container and call.what == "create":
            self._container = call.made
        if call.what == "start":
            # an engine answers when the runtime may go on, which is just before its execve
            for _ in procfs.tries(EXECVE_SECONDS, 0.005):
                pid = procfs.first_of(procfs.group_members(self._container))
                if pid is None or not _status(pid).name.startswith(RUNTIME_INIT):
                    break
        self.moments.append(Moment(call, tuple(self._members())))
        if call.what == "start" and "process" not in self.moments[-1].roles:
            self.elsewhere = self._why_unseen()

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


# --- as a sequence: requests downwards, processes as lifelines ------------------------------------
#
# A lifeline begins where a process was first seen, and ends where it was no longer there: this
# shows which request started something. Only what was observed is drawn.

INCHES = 10.0
LANES = {"client": 7.8, "engine": 43.6, "containerd": 60.4, "shim": 77.2, "process": 94.0}
HALF = {"client": 6.8, "engine": 6.6, "containerd": 6.6, "shim": 7.8, "process": 5.6}
PLAIN = {
    "client": "client", "engine": "engine", "containerd": "engine's helper",
    "shim": "container's parent", "process": "the container",
}  # fmt: skip
TOP, ROW, BOX, BOTTOM = 7.6, 4.4, 14.6, 7.8
LABEL, LONGEST_SOCKET = 35, 20  # characters of a request, of a socket's name
KEY = (
    "Thin arrow: asks, at the socket in italics. Thick arrow: is the parent of.",
    "Numbers are this kernel's. A line: the process is there; ✕: it has gone.",
)


class Row(NamedTuple):
    """A moment at its place: who is new then, its top and its height."""

    moment: Moment
    new: list[Member]
    top: float
    high: float


def finding(chain: Chain) -> str:
    """Say in one line what the picture shows."""
    if chain.elsewhere or not chain.member("process"):
        return "The requests are seen here, the container's process is not"
    before, after = chain.roles_after("create"), chain.roles_after("start")
    if "process" in after and "process" not in before:
        return "“create” starts nothing; “start” brings a process, and its parent"
    return "One process more, and who is behind it"


def words(chain: Chain) -> str:
    """Say all of it: the picture's text alternative."""
    parts = [f"{finding(chain)}."]
    seen: tuple[str, ...] = ()
    for moment in chain.moments:
        told = [f"{_words(each)} is there" for each in moment.members if each.role not in seen]
        told += [f"the {role} is gone" for role in seen if role not in moment.roles]
        seen, call = moment.roles, moment.call
        when = f"{call.short} ({call.status})" if call else "A moment later"
        parts.append(f"{when}: {'; '.join(told) or 'nobody new'}.")
    return " ".join([*parts, chain.elsewhere]).strip()


def _words(member: Member) -> str:
    inside = f", {member.pids[-1]} inside" if len(member.pids) > 1 else ""
    parent = f" ({member.parent_name})" if member.parent_name else ""
    child = f"child of {member.parent_pid}{parent}"
    asked = f", asked at {member.socket}" if member.socket else ""
    return f"{member.role} {member.name}, PID {member.pid}{inside}, {child}{asked}"


def table(chain: Chain) -> list[tuple[object, ...]]:
    """Return a row for each request, with who was there when its answer came."""
    return [("request", "answer", "ms", *LANES), *map(_cells, chain.moments)]


def _cells(moment: Moment) -> tuple[object, ...]:
    call, pids = moment.call, {each.role: f"PID {each.pid}" for each in moment.members}
    told = (call.short, call.status, _ms(call)) if call else ("a moment later", "", "")
    return (*told, *(pids.get(role, "-") for role in LANES))


def _ms(call: ApiCall) -> int:
    return round(1000 * call.seconds)


def _rows(chain: Chain) -> list[Row]:
    placed = []
    seen = set(chain.moments[0].roles) if chain.moments else set()
    top = TOP + BOX - 2.4  # those who were there from the beginning are above all requests
    for moment in chain.moments:
        new = [each for each in moment.members if each.role not in seen]
        seen |= set(moment.roles)
        placed.append(Row(moment, new, top, BOX + 1.4 if new else ROW))
        top += placed[-1].high
    return placed


def page(chain: Chain) -> Page:
    """Draw requests and lifelines, and who asks whom."""
    rows = _rows(chain)
    high = (rows[-1].top + rows[-1].high if rows else TOP) + BOTTOM
    sheet = Page(high, finding(chain), inches=INCHES)
    for role in LANES:
        _draw_lifeline(sheet, rows, role)
    first = chain.moments[0].members if chain.moments else ()
    for member in first:
        _draw_head(sheet, chain.member(member.role) or member, TOP)
    _draw_arrows(sheet, [member.role for member in first], TOP)
    for row in rows:
        _draw_row(sheet, row)
    for number, line in enumerate((chain.elsewhere,) if chain.elsewhere else KEY):
        sheet.text(1.2, high - BOTTOM + 2.6 + 2.6 * number, line)
    return sheet


def _draw_arrows(sheet: Page, roles: Sequence[str], top: float) -> None:
    """Draw who asks whom, from box to box: each the next one in the chain."""
    for asker, asked in itertools.pairwise(LANES):
        if asked in roles and asked != "process":
            start = LANES[asker] + (HALF[asker] if asker in roles else 0) + 0.4
            end = LANES[asked] - HALF[asked] - 0.4
            sheet.arrow((start, top + 3.6), (end, top + 3.6), line=1.3)


def _draw_lifeline(sheet: Page, rows: Sequence[Row], role: str) -> None:
    here = [row for row in rows if role in row.moment.roles]
    if not here:
        return
    x = LANES[role]
    begin = (TOP if here[0] is rows[0] else here[0].top) + 5  # under its box
    end = here[-1].top + here[-1].high
    sheet.line((x, begin), (x, end), colour=_colour(role), line=2.6, above=1)
    if here[-1] is not rows[-1]:
        sheet.cross(x, end + 0.5, 1.4, style.KERNEL, line=2.6)
        sheet.text(x + 1.6, end + 0.6, "gone", colour=style.KERNEL, bold=True)


def _draw_row(sheet: Page, row: Row) -> None:
    left, call = LANES["client"] + 1.2, row.moment.call
    if call:
        _draw_request(sheet, call, row.top + ROW - 1.6)
    else:
        sheet.text(left, row.top + ROW / 2, "a moment later", italic=True)
    for member in row.new:
        _draw_head(sheet, member, row.top)
    new = {member.role: member for member in row.new}
    _draw_arrows(sheet, list(new), row.top)
    if row.new:
        told = "when this answer comes, it runs"
        sheet.text(left, row.top + BOX - 5.6, told, italic=True)
    if {"shim", "process"} <= new.keys() and new["process"].parent_pid == new["shim"].pid:
        start, end = LANES["shim"] + HALF["shim"] + 0.3, LANES["process"] - HALF["process"]
        sheet.arrow((start, row.top + 8.2), (end, row.top + 8.2), style.FIRST, line=2.8)
        parent = f"PID {new['shim'].parent_pid} is the shim's parent"
        sheet.text(left, row.top + BOX - 3.0, parent, italic=True)


def _draw_request(sheet: Page, call: ApiCall, y: float) -> None:
    left, right = LANES["client"], LANES["engine"]
    sheet.arrow((left + 0.4, y), (right - 0.4, y), line=1.3)
    text = call.short if len(call.short) <= LABEL else call.short[: LABEL - 1] + "…"
    sheet.text(left + 1.2, y - 0.5, text, mono=True, at="bottom")
    took = f"{call.status}, {_ms(call)} ms"
    sheet.text(right - 1.4, y + 0.3, took, colour=style.QUIET, right=True, at="top")


def _draw_head(sheet: Page, member: Member, top: float) -> None:
    half, colour, x = HALF[member.role], _colour(member.role), LANES[member.role]
    box = (x - half - 0.3, top - 0.3, 2 * half + 0.6, BOX - 2.4)
    sheet.box(*box, style.PAPER, fill=style.PAPER, above=2)  # no lifeline shines through
    sheet.box(*box, colour, fill=f"{colour}22", above=2)
    lines = [PLAIN[member.role], f"PID {member.pid}", f"child of {member.parent_pid}"]
    lines += [f"inside: PID {member.pids[-1]}"] if len(member.pids) > 1 else []
    sheet.text(x, top + 1.3, member.name, "body", bold=True, centre=True, above=3)
    for number, line in enumerate(lines, 1):
        sheet.text(x, top + 1.3 + number * 2.3, line, centre=True, above=3)
    if member.socket:
        name = member.socket.rpartition("/")[2]
        where = name if len(name) <= LONGEST_SOCKET else f"{name[:8]}…"  # a shim's is a digest
        sheet.text(x, top + 10.5, where, centre=True, italic=True, above=3)


def _colour(role: str) -> str:
    return style.FIRST if role == "process" else style.HOST
