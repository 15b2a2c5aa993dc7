"""A build that is under way: what is asked of the engine, and how it is stopped.

All goes through `POST /build` of Docker's API, which every engine has. It takes the classic builder
and Podman's; with `version=2`, BuildKit, whose client would also open a session for secrets and for
logins: without one it builds all the same, but cannot pull what takes a login. So neither the
`docker` program nor its plug-in buildx is needed. (Docker 23 to 27 on containerd's image store
needs the session: https://github.com/moby/moby/issues/47717.)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import NotFound
from requests import RequestException, Response

from labsupport.engine.build import context as contexts
from labsupport.engine.build.failing import failure
from labsupport.engine.build.line_reader import LineReader
from labsupport.engine.build.marking import Marked, mark
from labsupport.engine.build.sizes import with_bytes
from labsupport.engine.build.step import BuildStep
from labsupport.engine.build.trace_reader import TraceReader
from labsupport.engine.labels import owner_labels
from labsupport.errors import BuilderMissing, BuildFailed, BuildStopped

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

BUILDERS = ("classic", "buildkit")
PATIENCE_SECONDS = 60  # for the engine to remove what a stopped step ran in


@dataclass(frozen=True)
class Order:
    """What is to be built; the words are those of `Build.run`."""

    context: str | Path | contexts.Files
    tag: str | None = None
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=dict)
    cache: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    builder: str = "classic"


@dataclass(frozen=True)
class Outcome:
    """What came of it; the words are those of `Build`."""

    steps: tuple[BuildStep, ...]
    image_id: str
    seconds: float
    context_bytes: int


class Running:
    """A build that `wait()` runs to its end, and `stop()` ends from another thread."""

    def __init__(
        self, engine: Engine, order: Order, on_step: Callable[[BuildStep], None] | None = None
    ) -> None:
        if order.builder not in BUILDERS or (
            order.builder == "buildkit" and engine.kind == "podman"
        ):
            raise BuilderMissing(order.builder, engine.kind)
        self.order = order
        self.builder = "podman" if engine.kind == "podman" else order.builder
        self._api: Any = engine.client.api
        self._labels = {**order.labels, **owner_labels()}
        text = contexts.read_dockerfile(order.context, order.dockerfile)
        self._reader: LineReader | TraceReader
        if order.builder == "buildkit":
            self._dockerfile = Marked(text)
            self._reader = TraceReader(on_step)
        else:
            self._dockerfile = mark(text, self._labels)
            stages = len(self._dockerfile.added)
            self._reader = LineReader(stages, on_step, is_marked=True)
        self._response: Response | None = None
        self._is_stopped = False
        self._began = 0.0

    @property
    def steps(self) -> tuple[BuildStep, ...]:
        """The steps so far."""
        return tuple(self._reader.steps)

    @property
    def seconds(self) -> float:
        """Wall-clock time since the engine was asked."""
        return time.monotonic() - self._began if self._began else 0.0

    def stop(self) -> None:
        """End the build from another thread: `wait` raises `BuildStopped`. May be called twice."""
        self._is_stopped = True
        if self._response is not None:
            with suppress(ValueError, OSError):  # its connection is closed already
                self._response.raw.shutdown()

    def wait(self) -> Outcome:
        """Build, and return when there is an image.

        Raises:
            BuildFailed: or one of its kinds.
            ContextTooLarge: nothing was sent.

        """
        order = self.order
        if self._is_stopped:
            raise BuildStopped(())
        packed = contexts.pack(order.context, order.dockerfile, self._dockerfile.text)
        self._began = time.monotonic()
        try:
            with packed.packed:
                self._read(self._ask(packed))
        except RequestException as error:
            if not self._is_stopped:
                self._end(failed=True)
                raise BuildFailed(f"the engine hung up: {error}", self.steps) from error
            self._settle()
        except BaseException:  # an interrupted cell, too
            self._settle()
            raise
        if self._is_stopped:
            self._end(failed=False)
            raise BuildStopped(self.steps, self.steps[-1] if self.steps else None)
        return self._outcome(packed.size)

    def _ask(self, packed: contexts.Context) -> Response:
        headers = {"Content-Type": "application/tar"}
        self._api._set_auth_headers(headers)  # the SDK's own build() does it; there is no other way
        response: Response = self._api.post(
            f"{self._api.base_url}/v{self._api.api_version}/build",
            params=self._parameters(), data=packed.packed, headers=headers, stream=True,
            timeout=None,
        )  # fmt: skip
        self._response = response
        if self._is_stopped:
            response.close()
        elif not response.ok:
            raise failure(_refusal(response), self.steps, self._dockerfile)
        return response

    def _parameters(self) -> dict[str, Any]:
        order = self.order
        proxies: Mapping[str, str] = self._api._proxy_configs.get_environment()
        parameters: dict[str, Any] = {
            "t": order.tag, "dockerfile": order.dockerfile, "nocache": not order.cache,
            "rm": True, "forcerm": True, "networkmode": order.network,
            "buildargs": json.dumps({**proxies, **order.args}),
        }  # fmt: skip
        if order.builder == "buildkit":
            parameters |= {"version": "2", "labels": json.dumps(self._labels)}
            parameters["networkmode"] = order.network or self._network_of_buildkit()
        return parameters

    def _network_of_buildkit(self) -> str | None:
        """Return "none" where there is no bridge: BuildKit, unlike the others, insists on it."""
        return None if self._api.networks(names=["bridge"]) else "none"

    def _read(self, response: Response) -> None:
        for event in _events(response):
            if "error" in event:
                self._end(failed=True)
                steps = with_bytes(self._api, self.steps, None)
                raise failure(event["error"], steps, self._dockerfile)
            self._reader.take(event, self.seconds)

    def _end(self, *, failed: bool) -> None:
        self._reader.finish(self.seconds, failed=failed)

    def _settle(self) -> None:
        """Hang up, which ends the build, and wait until its container has gone."""
        if self._response is not None:
            self._response.close()
        if container := self._reader.container:
            # what takes longer carries our label, and is removed as leftovers are
            with suppress(NotFound, RequestException):
                self._api.wait(container, timeout=PATIENCE_SECONDS, condition="removed")

    def _outcome(self, context_bytes: int) -> Outcome:
        seconds = self.seconds
        self._end(failed=False)
        image_id = self._reader.image_id
        if image_id is None:
            raise BuildFailed("the engine ended it without an image", self.steps)
        steps = with_bytes(self._api, self.steps, image_id)
        return Outcome(tuple(steps), image_id, seconds, context_bytes)


def _refusal(response: Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError):  # something between us and the engine has answered
        return f"{response.status_code} {response.reason}: {response.text[:200]}"


def _events(response: Response) -> Iterator[dict[str, Any]]:
    """Yield the engine's JSON messages, one a line, as they come."""
    for line in response.iter_lines():
        if line.strip():
            yield json.loads(line)
