"""What a registry says of each request, in its log: who asked for what, and what they got.

docker-registry writes one JSON object a line, several for each request; `http.request.id` joins
them. At its level "debug" the log also says when a request begins, so that we know when all
requests that we hear of have ended.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

OWN_AGENT = "labsupport"
"""The `User-Agent` of our own questions, which are no part of the story."""
_BLOB = re.compile(r"/blobs/(sha256:[0-9a-f]{64})|digest=(sha256(?::|%3A)[0-9a-f]{64})")


@dataclass(frozen=True)
class Request:
    """One request, as the registry saw it.

    `user` is whom the registry let in, empty if nobody: for a `status` of 401 nobody was.
    `sent_bytes` went to whoever asked, `stored_bytes` is the size of the layer or configuration
    (a *blob*) that this request completed. `status` is 0 while it is being answered.
    """

    method: str
    path: str
    status: int = 0
    user: str = ""
    sent_bytes: int = 0
    stored_bytes: int = 0
    agent: str = ""

    @property
    def blob(self) -> str:
        """The digest of the blob that it is about, empty for others."""
        found = _BLOB.search(self.path)
        return (found[1] or found[2]).replace("%3A", ":") if found else ""

    @property
    def stores(self) -> bool:
        """Whether it is the last request of a blob's upload, after which the registry has it."""
        return self.method == "PUT" and self.status == 201 and bool(self.blob)

    @property
    def repository(self) -> str:
        """The repository's name, as `student/app`; empty for others."""
        found = re.match(r"/v2/(.+?)/(?:blobs|manifests|tags)/", self.path)
        return found[1] if found else ""


class Journal:
    """The requests in a log, line by line, in the order in which they began.

    `words` are its last lines that are about no request: how it started, or why it did not.
    `failure` is what it said of the last failure of its own (HTTP status 500 and above).
    """

    def __init__(self) -> None:
        self.words: deque[str] = deque(maxlen=20)
        self.failure = ""
        self._found: dict[str, Request] = {}
        self._open: set[str] = set()

    def add(self, line: str) -> None:
        """Take in one line; one that is no JSON is a word, too."""
        entry = _parse(line)
        if not (key := entry.get("http.request.id")):
            self.words.append(str(entry.get("msg", "")))
            return
        self._found[key] = request = _merge(self._found.get(key), entry)
        if entry.get("level") == "error" and request.status >= 500:
            self.failure = str(entry.get("err.detail") or entry.get("err.message", ""))
        (self._open.discard if request.status else self._open.add)(key)

    @property
    def is_complete(self) -> bool:
        """Whether every request that has begun has also ended."""
        return not self._open

    def requests(self) -> list[Request]:
        """Return them, but for our own."""
        return [request for request in self._found.values() if request.agent != OWN_AGENT]


def _parse(line: str) -> Mapping[str, Any]:
    try:
        entry: Any = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) else {"msg": line.strip()}


def _merge(request: Request | None, entry: Mapping[str, Any]) -> Request:
    if request is None:
        request = Request(
            entry["http.request.method"],
            entry["http.request.uri"],
            agent=entry.get("http.request.useragent", ""),
        )
    if "auth.user.name" in entry:
        request = replace(request, user=entry["auth.user.name"])
    if "http.response.status" in entry:
        return replace(
            request,
            status=int(entry["http.response.status"]),
            sent_bytes=int(entry.get("http.response.written", 0)),
        )
    if entry["msg"].startswith("error authorizing context"):
        return replace(request, status=401)
    return request
