"""Read what BuildKit sends while it builds: its `StatusResponse`, in the wire format of protobuf.

https://github.com/moby/buildkit/blob/master/api/services/control/control.proto says what the fields
mean, https://protobuf.dev/programming-guides/encoding/ how they are written. We need eight of them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from labsupport.engine.build.step import BuildStep, longer

STEP = re.compile(r"\[(?:([^\[\]]*[^\[\] ]) +)? *(\d+)/(\d+)\] (.*)", re.DOTALL)
_TRACE = "moby.buildkit.trace"
_VERTEXES, _LOGS = 1, 3  # of StatusResponse
_DIGEST, _NAME, _CACHED, _STARTED, _COMPLETED, _ERROR = 1, 3, 4, 5, 6, 7  # of Vertex
_VERTEX, _MESSAGE = 1, 4  # of VertexLog
_CANCELED = "context canceled"


class TraceReader:
    """Makes steps of BuildKit's vertices; calls `on_step` whenever one has changed."""

    container: str | None = None  # BuildKit runs them below the engine: it does not list them

    def __init__(self, on_step: Callable[[BuildStep], None] | None = None) -> None:
        self.image_id: str | None = None
        self._on_step = on_step
        self._steps: dict[bytes, BuildStep] = {}

    @property
    def steps(self) -> list[BuildStep]:
        """The steps so far, stage after stage."""
        return in_order(self._steps.values())

    def take(self, event: Mapping[str, Any], at_seconds: float) -> None:
        """Take an event of the engine's answer to `POST /build?version=2`."""
        if event.get("id") == _TRACE:
            for number, value in fields(base64.b64decode(event["aux"])):
                if number == _VERTEXES:
                    self._vertex(dict(fields(value)))
                elif number == _LOGS:
                    self._log(dict(fields(value)))
        elif isinstance(aux := event.get("aux"), dict):
            self.image_id = aux.get("ID", self.image_id)

    def finish(self, at_seconds: float, *, failed: bool = False) -> None:
        """Take note that nothing more comes; BuildKit itself says which step has failed."""

    def _vertex(self, vertex: dict[int, Any]) -> None:
        found = STEP.match(vertex[_NAME].decode(errors="replace"))
        if not found or _STARTED not in vertex:
            return
        begin, end = _seconds(vertex[_STARTED]), _seconds(vertex.get(_COMPLETED, b""))
        error = vertex.get(_ERROR, b"").decode(errors="replace")
        step = self._steps.get(vertex[_DIGEST]) or of_match(found)
        self._change(
            vertex[_DIGEST],
            replace(
                step,
                seconds=max(0.0, end - begin) if end else None,
                cached=bool(vertex.get(_CACHED)),
                ended=bool(end),
                failed=bool(error) and not error.endswith(_CANCELED),
            ),
        )

    def _log(self, log: dict[int, Any]) -> None:
        if step := self._steps.get(log[_VERTEX]):
            text = log.get(_MESSAGE, b"").decode(errors="replace")
            self._change(log[_VERTEX], replace(step, output=longer(step.output, text)))

    def _change(self, digest: bytes, step: BuildStep) -> None:
        self._steps[digest] = step
        if self._on_step:
            self._on_step(step)


def of_match(found: re.Match[str]) -> BuildStep:
    """Return a step as it begins, from its name in BuildKit's words: `[base 2/3] RUN …`."""
    return BuildStep(int(found[2]), int(found[3]), found[4].strip(), stage=found[1] or "",
                     ended=False)  # fmt: skip


def in_order(steps: Iterable[BuildStep]) -> list[BuildStep]:
    """Sort steps as the Dockerfile has them: BuildKit works at several stages at a time.

    A stage comes after those whose last step began before its own.
    """
    found = list(steps)
    last = {step.stage: place for place, step in enumerate(found)}
    return sorted(found, key=lambda step: (last[step.stage], step.number))


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a protobuf message: its number, and an int or the bytes within."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if (kind := key & 7) == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
        elif kind == 2:
            size, place = _varint(message, place)
            yield key >> 3, message[place : place + size]
            place += size
        else:  # of fixed width: BuildKit's status has none of them
            place += {1: 8, 5: 4}[kind]


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _seconds(timestamp: bytes) -> float:
    parts = dict(fields(timestamp))
    return float(parts.get(1, 0)) + float(parts.get(2, 0)) / 1e9
