"""The lecture's words, each with a thing of that kind: one made just now, and the student's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.build.bases import base_image
from labsupport.build.build import Build
from labsupport.build.container import Container
from labsupport.course import course_map, progress
from labsupport.doctor.machine import probe
from labsupport.figure.table import PlainTable
from labsupport.kernel.capabilities import capabilities
from labsupport.kernel.procfs import namespaces, status_fields
from labsupport.ownership.marks import Closing
from labsupport.registry.registry import Registry

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

DOCKERFILE = 'FROM labsupport/busybox\nCOPY greeting.txt /\nCMD ["cat", "/greeting.txt"]\n'
TAG = "labsupport-glossary:latest"
SECCOMP = {"0": "none", "1": "strict", "2": "a filter"}  # proc_pid_status(5)


@dataclass(frozen=True)
class Word:
    """What a word means, who is asked about the thing that was made, and who makes one.

    `exercises` are those in which a student makes such a thing; there is none for the engine.
    """

    meaning: str
    source: str
    notebook: str
    exercises: tuple[str, ...]


WORDS = {
    "Dockerfile": Word("the recipe for an image: one instruction on each line", "this notebook",
                       "09", ("09.1", "09.3", "10.1", "10.2")),
    "image": Word("files in layers, and JSON that says how to start them", "the engine",
                  "09", ("09.1", "09.3", "10.1")),
    "layer": Word("what one instruction changed, as a tar archive; images share it", "the engine",
                  "10", ("10.1", "10.3")),
    "container": Word("a process of the host with an image's files around it", "the engine",
                      "09", ("09.1", "13.1")),
    "engine": Word("the server that builds, starts and keeps all these", "the engine", "09", ()),
    "registry": Word("the server that images are pushed to and pulled from", "the registry",
                     "11", ("11.1",)),
    "namespace": Word("what a process sees of one kind of thing", "the kernel",
                      "02 to 05", ("02.2", "05.1", "05.3")),
    "control group": Word("how much a group of processes may use, and has used", "the kernel",
                          "06", ("06.1", "06.2")),
    "capability": Word("one of the powers that root's power is made of", "the kernel",
                       "07", ("07.2",)),
    "seccomp filter": Word("a small program that judges each system call", "the kernel",
                           "07", ("07.1", "08.3")),
}  # fmt: skip


class Glossary(Closing):
    """Makes one of each: a Dockerfile, an image, a container, a registry, namespaces, a cgroup.

    Use it in a `with`, or `close()` it: what it made goes then. `things` are these by their words,
    as the engine or the kernel name them; `yours` tells of the student's own, which are gone: the
    exercise that each was made in, and what the check saw. Raises `LabError`: there is no engine,
    or it did not build the small image.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._stack = ExitStack()
        try:
            self._make()
            self.things = dict(self._things())
        except BaseException:
            self._stack.close()
            raise
        self.yours = dict(_made_by_the_student())

    def _make(self) -> None:
        engine, enter = self.engine, self._stack.enter_context
        base_image(engine)
        files = {"Dockerfile": DOCKERFILE, "greeting.txt": "made for the glossary\n"}
        self.build = Build.run(engine, files, tag=TAG)
        self._stack.callback(engine.client.images.remove, TAG, force=True)
        self.container: Any = enter(Container(engine))
        self.registry = enter(Registry.start()) if probe().can("registry") else None

    def close(self) -> None:
        """Remove what was made; may be called twice."""
        self._stack.close()

    @property
    def table(self) -> PlainTable:
        """All words, to be displayed."""
        rows = [(word, WORDS[word], thing) for word, thing in self.things.items()]
        return PlainTable(
            f"{len(rows)} words, and a thing for each; you have made {len(self.yours)} of them",
            ("word", "what it is", "made just now", "says", "made by you", "notebook"),
            tuple(
                (w, e.meaning, thing, e.source, self._own(w), e.notebook) for w, e, thing in rows
            ),
        )

    def _own(self, word: str) -> str:
        if not WORDS[word].exercises:
            return "-"
        return self.yours.get(word, f"not yet: exercise {WORDS[word].exercises[0]}")

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _things(self) -> Iterator[tuple[str, str]]:
        engine, image = self.engine, self.engine.client.images.get(TAG)
        lines = DOCKERFILE.strip().splitlines()
        yield "Dockerfile", f"{len(lines)} lines: `{lines[0]}` …"
        yield "image", f"`{image.short_id}`, named `{TAG}`"
        yield "layer", f"`{image.attrs['RootFS']['Layers'][-1][:19]}`"
        yield "container", f"`{self.container.container.short_id}`, PID {self.container.pid}"
        yield "engine", f"{engine.kind} {engine.version} on Linux {engine.kernel_release}"
        if self.registry:
            yield "registry", f"`{self.registry.address}`"
        if Path(f"/proc/{self.container.pid}").exists():
            yield from _of_the_kernel(self.container.pid)


def _of_the_kernel(pid: int) -> Iterator[tuple[str, str]]:
    ours, theirs = namespaces(), namespaces(pid)
    own = sorted(kind for kind in theirs if ours.get(kind) != theirs[kind])
    yield "namespace", f"{len(own)} of the container's own: {', '.join(own)}"
    # 0::PATH is of cgroup v2; where there is v1 as well, the first line is N:CONTROLLERS:PATH
    first, *_ = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    group = first.split(":", 2)[2]
    yield "control group", f"`…{group[-24:]}`"
    kept, most = len(capabilities(pid).effective), len(capabilities("self").bounding)
    yield "capability", f"the container has {kept} of {most}"
    yield "seccomp filter", SECCOMP[status_fields(pid)["Seccomp"]]


def _made_by_the_student() -> Iterator[tuple[str, str]]:
    solved = {n: facts for n, facts in course_map.exercises(progress.events()).items()
              if facts["passed"]}  # fmt: skip
    for word, entry in WORDS.items():
        for name in entry.exercises:
            if name in solved:
                yield word, f"{solved[name]['at'][:10]}, exercise {name}: {solved[name]['saw']}"
                break
