"""A container that lives as long as we do, `kill -9` included; and the outcome of one that ran.

The first one depends on our connection: its PID 1 is `cat`, and the engine closes its input as soon
as this process has ended, however it ended. Then it ends, and the engine removes it.
"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from docker.errors import APIError
from docker.models.containers import Container as SdkContainer
from requests.exceptions import RequestException

from labsupport import trace
from labsupport.build.bases import base_image
from labsupport.engine.client import Engine
from labsupport.engine.listing import owner_labels, remove
from labsupport.errors import LabError, TimedOut
from labsupport.kernel.procfs import KINDS
from labsupport.ownership.marks import Closing


@dataclass(frozen=True)
class Ran:
    """A run: the `command` that does the same, and its outcome.

    `argv` is what the engine made of the image's ENTRYPOINT and CMD and of the arguments; it is
    empty if no container could be made. `output` and `errors` are text, `status` is the exit status
    (125: no container; 126: its program cannot be executed; 127: there is no such program),
    `seconds` wall-clock time.
    """

    command: str
    argv: tuple[str, ...]
    output: str
    errors: str
    status: int
    seconds: float

    @property
    def said(self) -> str:
        """What it wrote; if it was not even started, the end of the error."""
        return (self.output + self.errors).strip()

    def __str__(self) -> str:
        ending = f"(exit status {self.status})" if self.status else ""
        return "\n".join(part for part in (f"$ {self.command}", self.said, ending) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre style='margin:0;white-space:pre-wrap'>{html.escape(str(self))}</pre>"


PROGRAM = ["cat"]
READ_LINKS = "for link in /proc/self/ns/*; do readlink $link; done"


class Container(Closing):
    """A running container of the course's base image, without a network; use it in a `with`.

    `engine` is by default the one of this place, with a connection of its own. Options are those of
    `docker run` in the Docker SDK's spelling: `cap_add=["SYS_ADMIN"]`. `pid` is its PID 1 on the
    engine's machine.

    Raises `LabError`, `EngineDown`: see `Engine.connect`; `docker.errors.APIError`: the engine
    rejects an option, and says which.
    """

    def __init__(self, engine: Engine | None = None, **options: Any) -> None:
        self._owns_engine = engine is None
        self.engine, self.options = engine or Engine.connect(), options
        self.container: SdkContainer = self.engine.client.containers.create(
            base_image(self.engine), PROGRAM, stdin_open=True, auto_remove=True,
            **{"labels": owner_labels(), "network_mode": "none", **options},
        )  # fmt: skip
        try:
            self._input: Any = self.container.attach_socket(params={"stdin": 1, "stream": 1})
            self.container.start()
            self.container.reload()
            self.pid = int(self.container.attrs["State"]["Pid"])
        except BaseException:
            remove(self.container, force=True)
            raise

    @property
    def namespaces(self) -> dict[str, int]:
        """{kind: inode number}, as a process inside reads them, wherever that is."""
        links = self.exec(["sh", "-c", READ_LINKS])  # such as uts:[4026531838]
        found = {file: int(number) for file, number in re.findall(r"(\w+):\[(\d+)\]", links)}
        return {name: found[kind.file] for name, kind in KINDS.items() if kind.file in found}

    @property
    def is_here(self) -> bool:
        """Whether it runs on this kernel; its number means something here only then."""
        file = Path(f"/proc/{self.pid}/cgroup")
        return file.exists() and str(self.container.id) in file.read_text()

    def require_here(self) -> Self:
        """Return it if it runs on this kernel; else it is closed, and a `LabError` says so."""
        if not self.is_here:
            self.close()
            where = f"the engine at {self.engine.address} runs its containers on another kernel"
            remedy = "choose the kernel “Lab VM” for this notebook"
            what = "the container cannot be looked at from here"
            raise LabError(what, f"{where} (in a virtual machine)", remedy)
        return self

    def exec(self, argv: Sequence[str]) -> str:
        """Run a program in the container, as `docker exec` does; return its standard output.

        Raises `LabError` with its own words if it ends with an error.
        """
        said: Any = self.container.exec_run(list(argv), demux=True)
        output, errors = ((stream or b"").decode(errors="replace") for stream in said.output)
        if said.exit_code:
            why = f"exit status {said.exit_code}: {(errors or output).strip()}"
            raise LabError(f"{trace.command(argv)} failed in the container", why)
        return output

    def close(self) -> None:
        """End it, and wait until it has gone; may be called twice."""
        if self._input is None:
            return
        connection, self._input = self._input, None
        remove(self.container, force=True)
        connection._response.close()  # closed without it, Python 3.13 complains of the response
        if self._owns_engine:
            self.engine.close()

    def __repr__(self) -> str:
        line = command_line("labsupport/busybox", PROGRAM, self.options)  # that does the same
        return f"<{line}: PID {self.pid}>"


def stranger(engine: Engine) -> Container:
    """Start a container that carries no label of ours, as if it were somebody else's."""
    return Container(engine, labels={})


def start_and_end(container: SdkContainer, command: str, began: float, patience: float) -> Ran:
    """Start a container that has been created, and wait for its end; `began` is monotonic time.

    A container that cannot be started is an outcome, too. Raises `TimedOut`.
    """
    argv = (container.attrs["Path"], *container.attrs["Args"])
    try:
        container.start()
    except APIError as error:
        container.reload()
        why = str(error.explanation)
        # `docker run` and `podman run` derive it from the words; Docker's API tells it, too
        known = {"not found": 127, "no such file": 127, "permission denied": 126}
        derived = next((status for words, status in known.items() if words in why), 125)
        status = int(container.attrs["State"]["ExitCode"]) or derived
        return Ran(command, argv, "", why, status, time.monotonic() - began)
    try:
        status = int(container.wait(timeout=patience)["StatusCode"])
    except RequestException as error:
        raise TimedOut(f"`{command}` does not end", f"waited for {patience:g} s") from error
    seconds = time.monotonic() - began
    output, errors = (
        container.logs(stdout=out, stderr=not out).decode(errors="replace") for out in (True, False)
    )
    return Ran(command, argv, output, errors, status, seconds)


_FLAGS = {"network_mode": "network", "mem_limit": "memory"}
"""Options that `docker run` calls by another name than the SDK."""


def command_line(image: str, arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """Write the command line that does the same; shell words, as they would be typed."""
    given = dict(options)
    start = given.pop("entrypoint", "")
    first, *rest = [start] if isinstance(start, str) else start or [""]
    flags = [
        f"--{_FLAGS.get(key, key.replace('_', '-'))}={each}"
        for key, value in given.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    flags += [f"--entrypoint={first}"] if first else []
    return trace.command(["docker", "run", "--rm", *flags, image, *rest, *arguments])
