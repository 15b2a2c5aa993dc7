"""The words of the lecture, each beside a thing of that kind that was made just now.

`Glossary(engine)` makes one of each: a Dockerfile, an image, a container, a registry, namespaces, a
control group. What stands in its table is what the engine and the kernel say of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.closing import Closing
from labsupport.engine.builds import Build
from labsupport.engine.held import HeldContainer
from labsupport.engine.registry import Registry
from labsupport.linux.capabilities import capabilities
from labsupport.linux.procfs import namespaces, status_fields
from labsupport.machine import probe
from labsupport.views.plain_table import PlainTable

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

DOCKERFILE = 'FROM labsupport/busybox\nCOPY greeting.txt /\nCMD ["cat", "/greeting.txt"]\n'
TAG = "labsupport-glossary:latest"
SECCOMP = {"0": "none", "1": "strict", "2": "a filter"}  # proc_pid_status(5)


@dataclass(frozen=True)
class Entry:
    """A word: what it means, the thing of that kind that was made, and where the course is on it.

    `thing` is as the engine or the kernel name it; `source` says who was asked.
    """

    word: str
    meaning: str
    thing: str
    source: str
    notebook: str


class Glossary(Closing):
    """Use it in a `with`, or `close()` it: what it made goes then.

    Raises:
        EngineMissing, EngineDown: there is no engine.
        BuildFailed: the engine did not build the small image.

    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._stack = ExitStack()
        try:
            engine.base_image()
            self.build = Build.run(
                engine, {"Dockerfile": DOCKERFILE, "greeting.txt": "made for the glossary\n"},
                tag=TAG,
            )  # fmt: skip
            self._stack.callback(engine.client.images.remove, TAG, force=True)
            self.container: Any = self._stack.enter_context(HeldContainer(engine))
            self.registry = (
                self._stack.enter_context(Registry.start()) if probe().can("registry") else None
            )
            self.entries = tuple(self._entries())
        except BaseException:
            self._stack.close()
            raise

    def __getitem__(self, word: str) -> Entry:
        """Return the entry for a word. Raises `KeyError`."""
        found = next((entry for entry in self.entries if entry.word == word), None)
        if found is None:
            raise KeyError(word)
        return found

    def close(self) -> None:
        """Remove what was made; may be called twice."""
        self._stack.close()

    @property
    def table(self) -> PlainTable:
        """All entries, to be displayed."""
        return PlainTable(
            f"{len(self.entries)} words, and one of each that is yours",
            ("word", "what it is", "yours", "said by", "notebook"),
            tuple((e.word, e.meaning, e.thing, e.source, e.notebook) for e in self.entries),
        )

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _entries(self) -> Iterator[Entry]:
        engine, image = self.engine, self.engine.client.images.get(TAG)
        lines = DOCKERFILE.strip().splitlines()
        yield Entry(
            "Dockerfile",
            "the recipe for an image: an instruction a line",
            f"{len(lines)} lines: `{lines[0]}` …",
            "you",
            "09",
        )
        yield Entry(
            "image",
            "files in layers, and a JSON that says how to start them",
            f"`{image.short_id}`, named `{TAG}`",
            "the engine",
            "09",
        )
        yield Entry(
            "layer",
            "what one instruction changed, as a tar archive; shared by images",
            f"`{image.attrs['RootFS']['Layers'][-1][:19]}`",
            "the engine",
            "10",
        )
        yield Entry(
            "container",
            "a process of the host's with an image's files around it",
            f"`{self.container.container.short_id}`, PID {self.container.pid}",
            "the engine",
            "09",
        )
        yield Entry(
            "engine",
            "the server that builds, starts and keeps all these",
            f"{engine.kind} {engine.version} on Linux {engine.kernel_release}",
            "the engine",
            "09",
        )
        if self.registry:
            yield Entry(
                "registry",
                "the server that images are pushed to and pulled from",
                f"`{self.registry.address}`",
                "the registry",
                "11",
            )
        if Path(f"/proc/{self.container.pid}").exists():
            yield from self._of_the_kernel(self.container.pid)

    def _of_the_kernel(self, pid: int) -> Iterator[Entry]:
        ours, theirs = namespaces(), namespaces(pid)
        own = sorted(kind for kind in theirs if ours.get(kind) != theirs[kind])
        yield Entry(
            "namespace",
            "what a process sees of one kind of thing",
            f"{len(own)} of the container's own: {', '.join(own)}",
            f"/proc/{pid}/ns",
            "02 to 05",
        )
        group = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[0].partition("::")[2]
        group = group or Path(f"/proc/{pid}/cgroup").read_text().splitlines()[0].split(":")[2]
        yield Entry(
            "control group",
            "how much a group of processes gets, and has used",
            f"`…{group[-24:]}`",
            f"/proc/{pid}/cgroup",
            "06",
        )
        kept = len(capabilities(pid).effective)
        yield Entry(
            "capability",
            "one of the powers that root's are made of",
            f"{kept} of {len(capabilities('self').bounding)} that this notebook may have",
            f"/proc/{pid}/status",
            "07",
        )
        filtered = SECCOMP[status_fields(pid)["Seccomp"]]
        yield Entry(
            "seccomp filter",
            "a small program that judges each system call",
            filtered,
            f"/proc/{pid}/status",
            "07",
        )
