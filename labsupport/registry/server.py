"""A registry's program while it runs: its settings, its log as it is written, and its end."""

import json
import os
import re
import secrets
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from labsupport.engine.daemon import PATIENCE
from labsupport.errors import LabError
from labsupport.figure.table import PlainTable, amount
from labsupport.ownership import marks

# --- its log: who asked for what, and what they got ----------------------------------------------
#
# docker-registry writes one JSON object a line, several for each request; `http.request.id` joins
# them. At its level "debug" the log also says when a request begins, so that we know when all
# requests that we hear of have ended.

OWN_AGENT = "labsupport"
"""The `User-Agent` of our own questions, which do not belong to the story."""
READY_SECONDS = 30.0 * PATIENCE
ANSWER_SECONDS = 10.0 * PATIENCE
_LISTENING = "listening on "
_BLOB = re.compile(r"/blobs/(sha256:[0-9a-f]{64})|digest=(sha256(?::|%3A)[0-9a-f]{64})")


@dataclass(frozen=True)
class Request:
    """One request, as the registry saw it.

    `user` is who was let in; empty for nobody, as with a `status` of 401.
    `sent_bytes` went to the one who asked, `stored_bytes` is the size of the layer or configuration
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


HEADS = ("who asked", "what", "status", "user", "bytes")
_MEANING = {
    200: "OK", 201: "created", 202: "accepted", 401: "who are you?", 404: "not there",
}  # fmt: skip
_AGENTS = {"docker": "the engine", "labsupport": "we"}


def requests_table(requests: Sequence[Request]) -> PlainTable:
    """Return a row for each request of a log: `requests_table(registry.log())`."""
    stored = sum(each.stored_bytes for each in requests)
    sent = sum(each.sent_bytes for each in requests if each.blob and each.method == "GET")
    bytes_ = f"of images, {amount(stored)} came in and {amount(sent)} went out"
    finding = f"{len(requests)} requests: {bytes_}"
    return PlainTable(finding, HEADS, tuple(map(_request_row, requests)))


def _request_row(each: Request) -> tuple[str, ...]:
    agent = each.agent.partition("/")[0]
    status = f"{each.status} {_MEANING.get(each.status, '')}".strip()
    size = f"{each.stored_bytes or each.sent_bytes:,}" if each.status else ""
    what = f"`{each.method} {_path(each)}`"
    return (_AGENTS.get(agent, agent), what, status, each.user, size)


def _path(request: Request) -> str:
    """Shorten what is long: digests, the numbers of uploads."""
    path = request.path.partition("?")[0].removeprefix("/v2/")
    parts = [
        part if len(part) < 40 or "sha256" not in part else f"{part[:15]}…"
        for part in path.split("/")
    ]
    if "uploads" in parts[:-1] and parts[-1]:
        parts[-1] = f"{parts[-1][:4]}…"
    done = f" (it was {request.blob[7:15]}…)" if request.stored_bytes else ""
    return "/v2/" + "/".join(parts) + done


class Log:
    """Reads what the registry writes, as it comes, and wakes those who wait for something in it."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._words: deque[str] = deque(maxlen=20)  # of no request: how it started, or why not
        self._found: dict[str, Request] = {}
        self._open: set[str] = set()
        self._is_over = False
        self._news = threading.Condition()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def requests(self, mark: str = "") -> list[Request]:
        """Return the requests except our own, as they began, once all of them have ended.

        `mark` is part of a path that was asked for: the log is read to there at least.
        """

        def has_ended() -> bool:  # the log tells of a request's end later than of its beginning
            read = not mark or any(mark in request.path for request in self._found.values())
            return read and not self._open

        with self._news:
            self._wait(has_ended, ANSWER_SECONDS)
            return [request for request in self._found.values() if request.agent != OWN_AGENT]

    def wait_for_address(self) -> str:
        """Return where it listens; it says so as soon as it does."""
        with self._news:
            self._wait(lambda: bool(self._address()), READY_SECONDS)
            if address := self._address():
                return address
            said = "\n".join(list(self._words)[-3:])
        said = said or "it said nothing"
        raise LabError("the registry did not start", said, "./lab registry --again")

    def _address(self) -> str:
        words = self._words
        return next((w.removeprefix(_LISTENING) for w in words if w.startswith(_LISTENING)), "")

    def _wait(self, until: Callable[[], bool], seconds: float) -> None:
        self._news.wait_for(lambda: self._is_over or until(), seconds)

    def _read(self, lines: IO[bytes]) -> None:
        with closing(lines):
            for line in lines:
                with self._news:
                    self._add(_parse(line.decode(errors="replace")))
                    self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def _add(self, entry: Mapping[str, Any]) -> None:
        if not (key := entry.get("http.request.id")):
            self._words.append(str(entry.get("msg", "")))
            return
        self._found[key] = request = _merge(self._found.get(key), entry)
        (self._open.discard if request.status else self._open.add)(key)


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


# --- the program ---------------------------------------------------------------------------------


class Running:
    """The registry's program, started here; `folder` has its users, and gets all it stores.

    It ends with us, however we end: the reaper watches.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        config = folder / "config.yml"
        config.write_text(json.dumps(_settings(folder)))
        self._process = subprocess.Popen(
            [*marks.reaping(f"--remove={folder}"), "--", str(program), "serve", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        assert self._process.stderr  # noqa: S101 (a pipe)
        self.log = Log(self._process.stderr)
        try:
            self.address = self.log.wait_for_address()
        except BaseException:  # an interrupted cell, too
            self.end()
            raise

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """End it; the reaper removes the folder."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()


def _settings(folder: Path) -> dict[str, Any]:
    """The registry's settings: in JSON, which is YAML as well."""
    return {
        "version": 0.1,
        "log": {"level": "debug", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": "127.0.0.1:0", "secret": secrets.token_hex()},
        "auth": {"htpasswd": {"realm": "containers, live", "path": str(folder / "users")}},
    }
