"""The command `docker`, as a student types it, with its output: for this engine, and no traces.

It has a folder of its own for its settings (`DOCKER_CONFIG`): the real one writes what `docker
login` is given to `~/.docker/config.json`, where it stays.
"""

from __future__ import annotations

import base64
import html
import json
import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport import ownership, trace
from labsupport.closing import Closing
from labsupport.errors import CommandMissing

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

LONGEST_SECONDS = 300


@dataclass(frozen=True)
class Typed:
    """A command that was run: `line` as typed, what it printed on both streams, its exit status."""

    line: str
    said: str
    status: int

    def __str__(self) -> str:
        ending = f"(exit status {self.status})" if self.status else ""
        return "\n".join(part for part in (f"$ {self.line}", self.said.rstrip(), ending) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        first, _, rest = str(self).partition("\n")
        return (
            f"<pre style='margin:0;white-space:pre-wrap'><b>{html.escape(first)}</b>\n"
            f"{html.escape(rest)}</pre>"
        )


class CommandLine(Closing):
    """`docker = CommandLine(engine)`; then `docker("image ls")`; `close()` forgets its settings.

    Raises:
        CommandMissing: there is no program `docker`.

    """

    def __init__(self, engine: Engine) -> None:
        program = shutil.which("docker")
        if not program:
            raise CommandMissing(
                "there is no command `docker` here",
                "the notebook itself speaks to the engine by its API, and needs none",
                "sudo apt-get install docker-cli (Debian 12, Ubuntu: docker.io brings it)",
            )
        self._program = program
        self.folder = Path(tempfile.mkdtemp(prefix=ownership.prefix("cli")))
        self._env = {
            **os.environ,
            "DOCKER_HOST": engine.address,
            "DOCKER_CONFIG": str(self.folder),
            "DOCKER_CLI_HINTS": "false",
        }
        for variable in ("DOCKER_CONTEXT", "DOCKER_AUTH_CONFIG"):
            self._env.pop(variable, None)

    def __call__(self, words: str, *more: str, typed: str = "") -> Typed:
        """Run `docker WORDS MORE…`: words are split at spaces, `more` are arguments as they are.

        `typed` is its standard input, as after `echo … |`; without it, it has none.
        """
        argv = [*words.split(), *more]
        done = subprocess.run(
            [self._program, *argv],
            input=typed,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        return Typed(trace.command(["docker", *argv]), done.stdout, done.returncode)

    def seen_in_proc(self, words: str, *more: str) -> tuple[str, str]:
        """Start it and end it again; return what `/proc/PID/cmdline` said, and who may read that.

        The latter is the file's mode, as `ls -l` shows it.
        """
        with subprocess.Popen(
            [self._program, *words.split(), *more],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            arguments, file = b"", Path(f"/proc/{process.pid}/cmdline")
            while not arguments and process.poll() is None:  # for an instant, exec has none to show
                arguments = file.read_bytes()
            mode = stat.filemode(file.stat().st_mode)
            process.kill()
        return arguments.replace(b"\0", b" ").decode().strip(), mode

    def keeps_in_clear(self, token: str) -> bool:
        """Tell whether a token can be read out of the settings that `docker login` has written."""
        file = self.folder / "config.json"
        found = json.loads(file.read_text()).get("auths", {}) if file.exists() else {}
        return any(token in base64.b64decode(it.get("auth", "")).decode() for it in found.values())

    def close(self) -> None:
        """Remove its settings; may be called twice."""
        shutil.rmtree(self.folder, ignore_errors=True)
