"""A registry of one's own: the real program, on the loopback, with a login.

It does what Docker Hub does with an image, but needs no account and no network, and lets us read
its log. An engine speaks plain HTTP to the loopback (and to nobody else), so there are no
certificates. It ends with whoever started it, `kill -9` included, and its files with it.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.error import URLError
from urllib.request import Request as Question
from urllib.request import urlopen

from labsupport import ownership
from labsupport.engine import registry_container, registry_log, registry_program, shipping
from labsupport.engine.registry_running import ANSWER_SECONDS, Program, Running
from labsupport.errors import RegistryFailed

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

USER = "student"
_MANIFEST = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.manifest.v1+json"
)


@dataclass(frozen=True)
class Registry:
    """A running registry; use it in a `with`, or call `stop()`.

    `address` is what an image's name begins with, `user` and `password` (an access token) are for
    the login; `folder` holds what is stored, as files.
    """

    address: str
    user: str
    password: str = field(repr=False)
    folder: Path = field(repr=False)
    _running: Running = field(repr=False)
    _sizes: dict[str, int] = field(repr=False, default_factory=dict)

    @classmethod
    def start(cls, port: int = 0, user: str = USER) -> Self:
        """Start one on a port of the loopback, by default a free one.

        Raises:
            RegistryMissing: there is no such program here.
            AddressInUse: somebody else listens at that port.
            RegistryFailed: it ended at once, or did not get ready.

        """
        folder = Path(tempfile.mkdtemp(prefix=ownership.prefix("registry")))
        password = secrets.token_urlsafe(24)
        (folder / "users").write_text(f"{user}:{_hash(password)}\n")
        try:
            running = _run(folder, port)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(running.address, user, password, folder, running)

    def stop(self) -> None:
        """End it, and remove what it has stored; may be called twice."""
        self._running.end()

    @property
    def is_running(self) -> bool:
        """Whether its program still runs."""
        return self._running.is_running

    def name(self, repository: str, tag: str = "latest") -> str:
        """Return what an image must be called to go here: `ADDRESS/USER/repository:tag`."""
        return f"{self.repository(repository)}:{tag}"

    def repository(self, name: str) -> str:
        """Return the same without a tag, as the Docker SDK wants it: `ADDRESS/USER/name`."""
        return f"{self.address}/{self.user}/{name}"

    @property
    def auth(self) -> dict[str, str]:
        """User and token, as the Docker SDK's `auth_config` takes them."""
        return {"username": self.user, "password": self.password}

    def login(self, engine: Engine, token: str | None = None) -> str:
        """Have the engine try user and token, as `docker login` does; return what it says.

        Nothing is written anywhere: the Docker SDK keeps them in this connection's memory.

        Raises:
            LoginRefused: that is not the token.

        """
        return shipping.login(engine, self.address, self.user, token or self.password)

    def log(self) -> list[registry_log.Request]:
        """Return the requests so far, as its log has them, when all that began have ended."""
        found = self._running.log.requests()
        return [
            replace(each, stored_bytes=self._size(each.repository, each.blob))
            if each.stores and self.is_running
            else each
            for each in found
        ]

    def catalogue(self) -> dict[str, list[str]]:
        """Ask which repositories there are, and their tags."""
        names: list[str] = self._ask("_catalog")["repositories"]
        return {name: sorted(self._ask(f"{name}/tags/list")["tags"] or ()) for name in names}

    def manifest(self, name: str) -> dict[str, Any]:
        """Ask for an image's manifest: its configuration and layers, by digest and size."""
        repository, tag = self._parts(name)
        manifest: dict[str, Any] = self._ask(f"{repository}/manifests/{tag}")
        return manifest

    def contents(self, name: str) -> list[tuple[str, str, int]]:
        """Ask for an image's layers, the lowest first: digest, made by, bytes as stored."""
        manifest = self.manifest(name)
        repository, _ = self._parts(name)
        config = self._ask(f"{repository}/blobs/{manifest['config']['digest']}")
        history = config.get("history", ())
        made_by = [step.get("created_by", "") for step in history if not step.get("empty_layer")]
        layers = manifest["layers"]
        if len(made_by) != len(layers):  # a history is not obligatory
            made_by = [""] * len(layers)
        return [
            (layer["digest"], words, int(layer["size"]))
            for layer, words in zip(layers, made_by, strict=True)
        ]

    def explain(self, words: str) -> str:
        """Add to the engine's words what the registry itself says of its last failure."""
        why = self._running.log.last_failure() if "HTTP status: 5" in words else ""
        return f"{words} (the registry: {why})" if why else words

    def _parts(self, name: str) -> tuple[str, str]:
        repository, _, tag = name.removeprefix(f"{self.address}/").rpartition(":")
        return repository, tag

    def _size(self, repository: str, digest: str) -> int:
        """Ask how large a blob is that is stored."""
        if digest not in self._sizes:
            with self.open(f"{repository}/blobs/{digest}", method="HEAD") as answer:
                self._sizes[digest] = int(answer.headers["Content-Length"])
        return self._sizes[digest]

    @contextmanager
    def open(
        self, what: str, agent: str = registry_log.OWN_AGENT, method: str = "GET"
    ) -> Iterator[HTTPResponse]:
        """Open `/v2/` + `what` to be read, as somebody who has logged in; the log names `agent`.

        Raises:
            RegistryFailed: it does not answer, or has no such thing.

        """
        words = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        question = Question(
            f"http://{self.address}/v2/{what}",
            headers={
                "Accept": _MANIFEST,
                "Authorization": f"Basic {words}",
                "User-Agent": agent,
            },
            method=method,
        )
        try:
            with urlopen(question, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 (http, loopback)
                yield answer
        except URLError as error:
            raise RegistryFailed(f"{question.full_url} cannot be had", str(error.reason)) from error

    def _ask(self, what: str) -> Any:
        with self.open(what) as answer:
            return json.load(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _run(folder: Path, port: int) -> Running:
    """Run the program if it is here, else the engine's image of it, if that is."""
    if not registry_program.find() and (image := registry_container.find()):
        return registry_container.InContainer(image, folder, port)
    return Program(registry_program.need(), folder, port)


def _hash(password: str) -> str:
    import bcrypt

    # the cheapest: a token of 192 random bits needs no slow hash, and each request is checked
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
