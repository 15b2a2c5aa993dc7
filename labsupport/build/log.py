"""What a builder says while it builds, line by line, as steps.

BuildKit (`--progress=plain`) gives each step a number and tells of several at once:
`#6 [base 2/3] RUN echo hello`, `#6 0.052 hello`, `#6 DONE 0.1s`, `#6 CACHED`, `#6 ERROR: …`. The
classic builder writes `Step 2/4 : RUN …`, ` ---> Running in 5f…`, ` ---> Using cache`,
` ---> 9a…`; Podman's (buildah) `[1/2] STEP 2/4: RUN …`, `--> Using cache 9a…`, `--> 9a…`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from labsupport.engine.listing import IMAGE_OWNER
from labsupport.errors import BuildFailed, StoreChanged

if TYPE_CHECKING:
    from docker import APIClient

LAST_LINES = 5


@dataclass(frozen=True)
class BuildStep:
    """An instruction of the Dockerfile, and its result.

    `number` of `total` are the builder's own: BuildKit and Podman count in each stage, and BuildKit
    only what has work to do; the classic builder counts all instructions. `stage` is the name after
    `AS`, or `stage-1` for a second one without a name; it is empty where there is only one stage.

    `seconds` is wall-clock time, `bytes` is what the step added to the image by the engine's
    history, `image_id` the image that the builder made of it (BuildKit makes none); each is None
    where it is not known. `output` is what the program printed. A step that has not `ended` has
    neither time nor bytes.
    """

    number: int
    total: int
    instruction: str
    seconds: float | None = None
    bytes: int | None = None
    cached: bool = False
    image_id: str | None = None
    output: str = ""
    stage: str = ""
    ended: bool = True
    failed: bool = False

    @property
    def name(self) -> str:
        """Its place in the Dockerfile: `[2/4]`, or `[base 2/3]`."""
        return f"[{self.stage} {self.number}/{self.total}]".replace("[ ", "[")

    @property
    def keyword(self) -> str:
        """The instruction's first word, in capitals: `RUN`."""
        return self.instruction.partition(" ")[0].upper()

    def __str__(self) -> str:
        how = " CACHED" if self.cached else " FAILED" if self.failed else ""
        seconds = "" if self.seconds is None else f" {self.seconds:.1f} s"
        return f"{self.name} {self.instruction}{how}{seconds}"


# --- the names of the stages, as BuildKit gives them ----------------------------------------------

_FROM = re.compile(r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*\S+(?:[ \t]+AS[ \t]+(\S+))?", re.I | re.M)


def stages(dockerfile: str) -> list[str]:
    """Name the stages of a Dockerfile in their order; a single one without a name is ""."""
    names = [found[1] or "" for found in _FROM.finditer(dockerfile.replace("\\\n", " "))]
    if len(names) < 2:
        return names
    return [name.lower() or f"stage-{number}" for number, name in enumerate(names)]


# --- why a build failed: the builder's words for it, sorted by the remedy -------------------------

_EXIT_STATUS = re.compile(
    r"(?:returned a non-zero code: |while running runtime: exit status |exit code: )(\d+)"
)
_SYNTAX = re.compile(
    r"dockerfile parse error|unknown instruction|failed to parse|no build stage", re.IGNORECASE
)
_NO_BASE = re.compile(r"failed to do request|failed to resolve|pull access denied|load metadata")
_NOISE = re.compile(
    r" &imagebuilder\.Step\{.*|^(?:ERROR|Error): |failed to (?:solve|compute)[^:]*: ", re.DOTALL
)
_CHANGED = re.compile(r"checking if cached image exists.* not known")  # Podman's, as it compares
_NOT_THERE = re.compile(r"no such file or directory|file not found|not found|does not exist")
_WAY_TO_SEND = (
    "paths are relative to the context, nothing outside of it can be copied, and what "
    ".dockerignore names is not in it"
)
_WAY_TO_A_BASE = (
    "docker images lists what is here; without a network, build on labsupport/busybox "
    "(base_image(engine) makes it)"
)


def failure(message: str, steps: Sequence[BuildStep]) -> BuildFailed:
    """Make the error that fits what the builder said last."""
    step = next((step for step in reversed(steps) if step.failed), None)
    if (found := _EXIT_STATUS.search(message)) and step:
        return _ended(int(found[1]), step)
    said = _NOISE.sub("", message.strip())
    if _SYNTAX.search(message):
        remedy = "the instructions: https://docs.docker.com/reference/dockerfile/"
        return BuildFailed(said, what="the Dockerfile cannot be read", remedy=remedy)
    if _CHANGED.search(message):
        return StoreChanged(message, step)
    at, remedy = step.keyword if step else "", ""
    if at in {"COPY", "ADD"} and _NOT_THERE.search(message):
        remedy = _WAY_TO_SEND
    elif at == "FROM" or _NO_BASE.search(message):
        remedy = _WAY_TO_A_BASE
    return BuildFailed(said, step, remedy=remedy)


def _ended(status: int, step: BuildStep) -> BuildFailed:
    words = "\n".join(step.output.splitlines()[-LAST_LINES:])
    why = f"exit status {status}" + (f"; its last words were:\n{words}" if words else "")
    remedy = "read its last words, correct the instruction, and build again"
    return BuildFailed(why, step, remedy=remedy)


# --- what each step added to the image, by the engine's own history of it ------------------------


def with_bytes(api: APIClient, steps: Sequence[BuildStep], image_id: str | None) -> list[BuildStep]:
    """Fill in `bytes` of the last stage's steps, and of others that have an image."""
    sized: list[BuildStep] = []
    begins = [
        at for at, step in enumerate(steps)
        if at == 0 or step.keyword == "FROM" or step.stage != steps[at - 1].stage
    ]  # fmt: skip
    for begin, end in pairwise([*begins, len(steps)]):
        stage = steps[begin:end]
        known = next((step.image_id for step in reversed(stage) if step.image_id), None)
        if image := (end == len(steps) and image_id) or known:
            ask: Any = api.history  # untyped; the newest entry comes first
            told = [(keyword(each["CreatedBy"] or ""), each["Size"]) for each in ask(image)]
            stage = _sized(stage, told)
        sized += stage
    return sized


def _sized(steps: Sequence[BuildStep], history: list[tuple[str, int]]) -> list[BuildStep]:
    """Match steps and entries (keyword, size) from the end; what is left counts for FROM."""
    sized: list[BuildStep] = []
    for step in reversed(steps):
        place = next((n for n, (word, _) in enumerate(history) if word == step.keyword), None)
        if step.keyword == "FROM":
            sized.append(replace(step, bytes=sum(size for _, size in history)))
        elif place is not None and step.ended and not step.failed:
            sized.append(replace(step, bytes=history[place][1]))
            history = history[place + 1 :]
        else:
            sized.append(step)
    return sized[::-1]


# --- the builder's words, as steps ---------------------------------------------------------------

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Reader:
    """Makes steps of lines: `take` one, with the seconds since the beginning; `steps` are so far.

    `last_words` is what the builder said last outside of a step: where it fails, the reason.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = list(stages)
        self.last_words = ""

    @property
    def steps(self) -> list[BuildStep]:
        """The steps so far, in the Dockerfile's order."""
        raise NotImplementedError

    def take(self, line: str, at_seconds: float) -> None:
        """Take a line."""
        raise NotImplementedError

    def finish(self, at_seconds: float, *, failed: bool = False) -> None:
        """Note that no more lines will come."""


_VERTEX = re.compile(r"#(\d+) (.*)")
_PLACE = re.compile(r"\[(?:(\S+) )?(\d+)/(\d+)\] (.+)")
_DONE = re.compile(r"DONE ([0-9.]+)s")
_PRINTED = re.compile(r"[0-9.]+ (.*)")


class BuildKitReader(Reader):
    """Reads what BuildKit says with `--progress=plain`; its steps may run at the same time."""

    def __init__(self, stages: Sequence[str]) -> None:
        super().__init__(stages)
        self._by_vertex: dict[str, BuildStep] = {}

    @property
    def steps(self) -> list[BuildStep]:
        return sorted(self._by_vertex.values(), key=self._place)

    def _place(self, step: BuildStep) -> tuple[int, int]:
        known = step.stage in self._stages
        return self._stages.index(step.stage) if known else len(self._stages), step.number

    def take(self, line: str, at_seconds: float) -> None:
        found = _VERTEX.fullmatch(_COLOUR.sub("", line).rstrip())
        if not found:
            if line.strip() and not line.startswith(("---", " > ", "#")):
                self.last_words = line
            return
        vertex, words = found.groups()
        if place := _PLACE.fullmatch(words):
            stage, number, total, instruction = place.groups()
            new = BuildStep(int(number), int(total), instruction, stage=stage or "", ended=False)
            self._by_vertex.setdefault(vertex, new)
        elif step := self._by_vertex.get(vertex):
            self._by_vertex[vertex] = _told(step, words)
        elif words.startswith("ERROR: "):
            self.last_words = words

    def finish(self, at_seconds: float, *, failed: bool = False) -> None:
        """Note that no more lines will come: what has not ended was cut off."""
        for vertex, step in self._by_vertex.items():
            if not step.ended:
                self._by_vertex[vertex] = replace(step, ended=True, failed=failed)


def _told(step: BuildStep, words: str) -> BuildStep:
    if done := _DONE.fullmatch(words):
        return replace(step, seconds=float(done[1]), ended=True)
    if words == "CACHED":
        return replace(step, seconds=0.0, ended=True, cached=True)
    if words.startswith("ERROR: "):
        return replace(step, ended=True, failed=True)
    if said := _PRINTED.fullmatch(words):  # BuildKit's own words do not begin with a time
        return replace(step, output=f"{step.output}{said[1]}\n")
    return step


_STEP = re.compile(r"(?:\[(\d+)/\d+\] )?(?:Step|(STEP)) (\d+)/(\d+) ?: ?(.*)")
_STARTS_AGAIN = re.compile(r"(FROM|ARG)\s", re.IGNORECASE)
_IMAGE = re.compile(r"\s*--?-> (Using cache ?)?([0-9a-f]{11,64})?\s*$")
_SAID = re.compile(
    r"\s*((Removing|---> Removed) intermediate container [0-9a-f]{12}|---> Running in [0-9a-f]{12}"
    r"|Successfully (built|tagged) .*|(\[\d+/\d+\] )?COMMIT( .*)?|[0-9a-f]{64})\s*$"
)


class StepReader(Reader):
    """Reads what the classic builder says, or Podman's: one step after the other.

    Our label, which is asked for on the command line, is a step for them; it is left out here.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        super().__init__(stages)
        self._steps: list[BuildStep] = []
        self._began = 0.0
        self._last, self._stage = 0, -1
        self._is_open = False

    @property
    def steps(self) -> list[BuildStep]:
        return list(self._steps)

    def take(self, line: str, at_seconds: float) -> None:
        line = _COLOUR.sub("", line).rstrip("\r\n")
        found = _STEP.match(line)
        if found and self._is_next(found):
            self._end(at_seconds)
            self._begin(found, at_seconds)
        elif not line:
            return
        elif not self._is_open:
            self.last_words = line
        elif image := _IMAGE.match(line):
            self._made(image[2], cached=bool(image[1]))
        elif not _SAID.match(line):
            self.last_words = line
            self._change(output=f"{self._steps[-1].output}{line}\n")

    def finish(self, at_seconds: float, *, failed: bool = False) -> None:
        """Note that no more lines will come; the reason is not what the program printed."""
        if failed and self._is_open:
            output = self._steps[-1].output.removesuffix(f"{self.last_words}\n")
            self._change(output=output)
        self._end(at_seconds, failed=failed)

    def _is_next(self, found: re.Match[str]) -> bool:
        """Tell a step from a program's output, which may look like one except for its number."""
        number = int(found[3])
        is_first = bool(found[2]) and number == 1 and bool(_STARTS_AGAIN.match(found[5]))
        return number == self._last + 1 or is_first or not self._steps

    def _begin(self, found: re.Match[str], at: float) -> None:
        number, total, instruction = int(found[3]), int(found[4]), found[5].strip()
        self._last, self._began = number, at
        if instruction.startswith("LABEL ") and IMAGE_OWNER in instruction:
            self._is_open = False
            return
        # Podman numbers the stages, also those that it leaves out
        begins = instruction.upper().startswith("FROM ")
        self._stage = int(found[1]) - 1 if found[1] else self._stage + begins
        stage = self._stages[self._stage] if 0 <= self._stage < len(self._stages) else ""
        in_last = self._stage == len(self._stages) - 1
        total -= not found[2] or in_last  # our label is counted, in Podman's last stage
        self._steps.append(BuildStep(number, total, instruction, stage=stage, ended=False))
        self._is_open = True

    def _made(self, image_id: str | None, *, cached: bool) -> None:
        step = self._steps[-1]
        # Podman says all of it first, and then shortens it
        longest = max(image_id or "", step.image_id or "", key=len) or None
        self._change(image_id=longest, cached=step.cached or cached)

    def _end(self, at: float, *, failed: bool = False) -> None:
        if self._is_open:
            self._change(seconds=at - self._began, ended=True, failed=failed)
        self._is_open = False

    def _change(self, **facts: Any) -> None:
        self._steps[-1] = replace(self._steps[-1], **facts)


# --- a line of an image's history, as the instruction that it came from --------------------------
#
# Each builder writes its own: the classic one `/bin/sh -c #(nop) COPY file:5e1f… in /app `,
# BuildKit `COPY cli.py /app # buildkit`, and Podman `|1 A=1 /bin/sh -c make` where there are
# arguments.

SHELL = "/bin/sh -c "
NOTHING_RUN = "#(nop)"
LAYER_MAKERS = ("RUN", "COPY", "ADD", "WORKDIR")
OUR_LABEL = "LABEL org.labsupport"
_ARGUMENTS = re.compile(r"^\|\d+ (?:\S+=\S* )*(?=/bin/sh -c )")
_DIGEST = re.compile(r"\b((?:file|dir|multi):[0-9a-f]{6})[0-9a-f]+…?")


def instruction(created_by: str) -> str:
    """Return the line as it stands in a Dockerfile, as far as the history tells."""
    text = _ARGUMENTS.sub("", " ".join(created_by.split())).removesuffix(" # buildkit")
    if text.startswith(f"{SHELL}{NOTHING_RUN}"):
        text = text.removeprefix(f"{SHELL}{NOTHING_RUN}")
    elif text.startswith(SHELL):
        text = f"RUN {text.removeprefix(SHELL)}"
    text = text.replace(f"RUN {SHELL}", "RUN ", 1)
    return _DIGEST.sub(r"\1…", text.strip())


def keyword(created_by: str) -> str:
    """Return the instruction's first word, such as RUN."""
    return instruction(created_by).partition(" ")[0].upper()


def is_ours(created_by: str) -> bool:
    """Whether it is the label by which this course finds what it made."""
    return instruction(created_by).startswith(OUR_LABEL)
