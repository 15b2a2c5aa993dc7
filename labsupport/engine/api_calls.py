"""What a client really says to an engine: its HTTP requests, recorded where they leave.

Everything that `docker` and the Docker SDK do is such a request. The recording shows each with the
line for `curl` that does the same.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from labsupport.trace import Step, Steps

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

_ORIGIN = re.compile(r"^[a-z+]+://[^/]*")
_VERSION = re.compile(r"^/v\d+\.\d+")
_LONG_ID = re.compile(r"\b(?:sha256:)?([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass(frozen=True)
class ApiCall:
    """One request and its answer.

    `path` is as it was sent, `status` the HTTP status of the answer; `at_seconds` is when the
    answer came, counted from the beginning of the recording, `seconds` how long it took to come.
    `sent` is what was sent along (JSON), without what was left at nothing. `made` is the ID of what
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
        path = _VERSION.sub("", self.path.partition("?")[0])
        return f"{self.method} {_LONG_ID.sub(lambda found: found[1][:6] + '…', path)}"

    @property
    def what(self) -> str:
        """The request in one word or two: `create`, `start`, `inspect`, `remove`."""
        words = [word for word in _VERSION.sub("", self.path.partition("?")[0]).split("/") if word]
        verb = {"GET": "inspect", "DELETE": "remove", "HEAD": "ping"}.get(self.method, "")
        return words[-1] if words and words[-1] != "json" and not verb else verb or words[0]

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

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._hooks().append(self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks().remove(self._note)

    def _hooks(self) -> list[Any]:
        hooks: list[Any] = self.engine.client.api.hooks["response"]
        return hooks

    def _note(self, response: Any, **options: Any) -> None:
        request = response.request
        path = _ORIGIN.sub("", unquote(request.url))
        # an answer that streams is left to whom it is for
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
    """Return what was sent, without what says nothing; only JSON is looked at."""
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
