"""A registry of one's own: the real program, on the loopback, with a login.

It does what Docker Hub does with an image, but needs no account and no network, and lets us read
its log. An engine speaks plain HTTP to the loopback (and to nobody else), so there are no
certificates. It ends with whoever started it, `kill -9` included, and its files with it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.error import URLError
from urllib.request import Request as Question
from urllib.request import urlopen

from labsupport import ownership
from labsupport.engine import registry_log, registry_program, shipping
from labsupport.errors import AddressInUse, RegistryFailed

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

READY_SECONDS = 30.0
ANSWER_SECONDS = 10.0
USER = "student"
_LISTENING = "listening on "
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
    _process: subprocess.Popen[bytes] = field(repr=False)
    _log: _Log = field(repr=False)

    @classmethod
    def start(cls, port: int = 0, user: str = USER) -> Self:
        """Start one on a port of the loopback, by default a free one.

        Raises:
            RegistryMissing: there is no such program here.
            AddressInUse: somebody else listens at that port.
            RegistryFailed: it ended at once, or did not get ready.

        """
        program = registry_program.need()
        folder = Path(tempfile.mkdtemp(prefix=ownership.prefix("registry")))
        password = secrets.token_urlsafe(24)
        (folder / "users").write_text(f"{user}:{_hash(password)}\n")
        (folder / "config.yml").write_text(json.dumps(_settings(folder, port)))  # also YAML
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "labsupport.linux.reaper", str(os.getpid())),
                f"--remove={folder}",
                *("--", str(program), "serve", str(folder / "config.yml")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": _our_package()},
            start_new_session=True,
        )
        log = _Log(process)
        try:
            address = log.wait_for_address()
        except BaseException:
            _end(process)
            raise
        return cls(address, user, password, folder, process, log)

    def stop(self) -> None:
        """End it, and remove what it has stored; may be called twice."""
        _end(self._process)

    @property
    def is_running(self) -> bool:
        """Whether its program still runs."""
        return self._process.poll() is None

    def name(self, repository: str, tag: str = "latest") -> str:
        """Return what an image must be called to go here: `ADDRESS/USER/repository:tag`."""
        return f"{self.address}/{self.user}/{repository}:{tag}"

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
        return self._log.requests(self._stored)

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
        why = self._log.last_failure() if "HTTP status: 5" in words else ""
        return f"{words} (the registry: {why})" if why else words

    def _parts(self, name: str) -> tuple[str, str]:
        repository, _, tag = name.removeprefix(f"{self.address}/").rpartition(":")
        return repository, tag

    @property
    def stored_bytes(self) -> int:
        """What all blobs and manifests take, each once."""
        blobs = self.folder / "data/docker/registry/v2/blobs"
        return sum(file.stat().st_size for file in blobs.rglob("data"))

    def _stored(self, digest: str) -> int:
        kind, _, number = digest.partition(":")
        blobs = self.folder / "data/docker/registry/v2/blobs"
        data = blobs / kind / number[:2] / number / "data"
        return data.stat().st_size if data.exists() else 0

    @contextmanager
    def open(self, what: str, agent: str = registry_log.OWN_AGENT) -> Iterator[IO[bytes]]:
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


class _Log:
    """Reads what the registry writes, as it comes, and wakes whoever waits for something in it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._journal = registry_log.Journal()
        self._over = False
        self._news = threading.Condition()
        threading.Thread(target=self._read, name="registry's log", daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            with self._news:
                self._journal.add(line.decode(errors="replace"))
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def _wait(self, until: Callable[[], bool], seconds: float) -> None:
        self._news.wait_for(lambda: self._over or until(), seconds)

    def requests(self, stored: Callable[[str], int]) -> list[registry_log.Request]:
        """Return the requests, once all that began have ended."""
        with self._news:
            self._wait(lambda: self._journal.is_complete, ANSWER_SECONDS)
            return self._journal.requests(stored)

    def last_failure(self) -> str:
        """Return the registry's own words for its last failure, if there was one."""
        with self._news:
            self._wait(lambda: self._journal.is_complete, ANSWER_SECONDS)
            return self._journal.failure

    def wait_for_address(self) -> str:
        """Return where it listens, which it says when it does."""
        with self._news:
            self._wait(lambda: bool(self._address()), READY_SECONDS)
            if address := self._address():
                return address
            said = "\n".join(list(self._journal.words)[-3:])
        if "address already in use" in said:
            raise AddressInUse("the registry cannot listen there", said, "choose another port")
        raise RegistryFailed(
            "the registry did not start", said or "it said nothing", "./lab registry --anew"
        )

    def _address(self) -> str:
        words = self._journal.words
        return next((w.removeprefix(_LISTENING) for w in words if w.startswith(_LISTENING)), "")


def _settings(folder: Path, port: int) -> dict[str, Any]:
    return {
        "version": 0.1,
        "log": {"level": "debug", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": secrets.token_hex()},
        "auth": {"htpasswd": {"realm": "containers, live", "path": str(folder / "users")}},
    }


def _hash(password: str) -> str:
    import bcrypt

    # the cheapest: a token of 192 random bits needs no slow hash, and each request is checked
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def _our_package() -> str:
    return str(Path(registry_log.__file__).parents[2])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin and not process.stdin.closed:
        process.stdin.close()
    process.wait()
