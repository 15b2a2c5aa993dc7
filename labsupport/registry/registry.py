"""A registry of your own: the real program, on the loopback, with a login.

It does what Docker Hub does with an image, but needs no account and no network, and lets us read
its log. An engine speaks plain HTTP to the loopback (and to nobody else), so there are no
certificates. It ends with the process that started it, `kill -9` included, and its files with it.
"""

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
from typing import Any, Self
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener
from urllib.request import Request as Question

from labsupport.doctor import addresses
from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing
from labsupport.registry import server
from labsupport.registry.server import ANSWER_SECONDS, Running

USER = "student"
BLOBS = "data/docker/registry/v2/blobs/sha256"  # below its folder
MANIFEST = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.manifest.v1+json"
)
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_DIRECTLY = build_opener(ProxyHandler({}))  # a proxy in the environment has another loopback


@dataclass(frozen=True)
class Registry(Closing):
    """A running registry; use it in a `with`, or call `stop()`.

    `address` is what an image's name begins with, `user` and `password` (an access token) are for
    the login, `folder` holds what is stored, as files.
    """

    address: str
    user: str
    password: str = field(repr=False)
    folder: Path = field(repr=False)
    _running: Running = field(repr=False)

    @classmethod
    def start(cls) -> Self:
        """Start one on a free port of the loopback. Raises `LabError`."""
        folder = Path(tempfile.mkdtemp(prefix=marks.prefix("registry")))
        password = secrets.token_urlsafe(24)
        (folder / "users").write_text(f"{USER}:{_hash(password)}\n")
        try:
            running = Running(addresses.need(), folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(running.address, USER, password, folder, running)

    def stop(self) -> None:
        """End it, and remove what it has stored; may be called twice."""
        self._running.end()

    close = stop

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

    @property
    def is_running(self) -> bool:
        """Whether its program still runs."""
        return self._running.is_running

    def log(self) -> list[server.Request]:
        """Return the requests so far, as its log has them, once all that began have ended."""
        mark = secrets.token_hex(8) if self.is_running else ""
        if mark:  # a request of our own, to which the log must be read: it is written later
            with self.open(f"?mark={mark}"):
                pass
        return [
            replace(each, stored_bytes=self._size(each.blob))
            if each.stores and self.is_running
            else each
            for each in self._running.log.requests(mark)
        ]

    def catalogue(self) -> dict[str, list[str]]:
        """Ask which repositories there are, and their tags."""
        names: list[str] = self._ask("_catalog")["repositories"]
        return {name: sorted(self._ask(f"{name}/tags/list")["tags"] or ()) for name in names}

    def contents(self, name: str) -> list[tuple[str, str, int]]:
        """Ask for an image's layers, the lowest first: digest, made by, bytes as stored."""
        repository, _, tag = name.removeprefix(f"{self.address}/").rpartition(":")
        manifest = self._ask(f"{repository}/manifests/{tag}")
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

    def _size(self, digest: str) -> int:
        """Look how large a blob is that is stored."""
        name = digest.removeprefix("sha256:")
        return (self.folder / BLOBS / name[:2] / name / "data").stat().st_size

    @contextmanager
    def open(self, what: str) -> Iterator[HTTPResponse]:
        """Open `/v2/` + `what` to be read, as somebody who has logged in. Raises `LabError`."""
        words = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Accept": MANIFEST, "Authorization": f"Basic {words}"}
        headers["User-Agent"] = server.OWN_AGENT
        question = Question(f"http://{self.address}/v2/{what}", headers=headers)
        try:
            with _DIRECTLY.open(question, timeout=ANSWER_SECONDS) as answer:
                yield answer
        except URLError as error:
            raise LabError(f"{question.full_url} cannot be fetched", str(error.reason)) from error

    def _ask(self, what: str) -> Any:
        with self.open(what) as answer:
            return json.load(answer)


def _hash(password: str) -> str:
    import bcrypt

    # the cheapest: a token of 192 random bits needs no slow hash, and each request is checked
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
