"""A registry's program while it runs: its settings, its log as it is written, and its end."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from labsupport.engine import registry_log
from labsupport.errors import AddressInUse, RegistryFailed

READY_SECONDS = 30.0
ANSWER_SECONDS = 10.0
_LISTENING = "listening on "


class Running(Protocol):
    """What runs: a program of this machine's, or a container."""

    log: Log

    @property
    def address(self) -> str:
        """Where it listens."""

    @property
    def is_running(self) -> bool:
        """Whether it still does."""

    def end(self) -> None:
        """End it, and remove what it has stored; may be called twice."""


class Program:
    """The registry's program, started here; `folder` has its users, and gets all it stores.

    It ends with us, however that comes about: the reaper watches.
    """

    def __init__(self, program: Path, folder: Path, port: int) -> None:
        config = folder / "config.yml"
        data, users = str(folder / "data"), str(folder / "users")
        config.write_text(settings(f"127.0.0.1:{port}", data, users))
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "labsupport.linux.reaper", str(os.getpid())),
                f"--remove={folder}",
                *("--", str(program), "serve", str(config)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": _our_package()},
            start_new_session=True,
        )
        self.log = Log(self._process.stderr or ())
        try:
            self.address = self.log.wait_for_address()
        except BaseException:  # an interrupted cell, too
            self.end()
            raise

    @property
    def is_running(self) -> bool:
        """Whether it still does."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it; the reaper removes the folder."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()


def settings(address: str, data: str, users: str) -> str:
    """Write a registry's settings: JSON, which is YAML, too."""
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "debug", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": data},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": address, "secret": secrets.token_hex()},
            "auth": {"htpasswd": {"realm": "containers, live", "path": users}},
        }
    )


def _our_package() -> str:
    return str(Path(registry_log.__file__).parents[2])


class Log:
    """Reads what the registry writes, as it comes, and wakes whoever waits for something in it."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self._journal = registry_log.Journal()
        self._over = False
        self._news = threading.Condition()
        threading.Thread(target=self._read, name="registry's log", daemon=True).start()

    def _read(self) -> None:
        for line in self._lines:
            with self._news:
                self._journal.add(line.decode(errors="replace"))
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def _wait(self, until: Callable[[], bool], seconds: float) -> None:
        self._news.wait_for(lambda: self._over or until(), seconds)

    def requests(self) -> list[registry_log.Request]:
        """Return the requests, once all that began have ended."""
        with self._news:
            self._wait(lambda: self._journal.is_complete, ANSWER_SECONDS)
            return self._journal.requests()

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
