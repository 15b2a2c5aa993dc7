"""The exercises of notebook 10, layers: each is judged by the image that the engine built."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from labsupport.build import bases
from labsupport.build.bases import APP_BASE_TAG, APP_WHEELS, app_base
from labsupport.build.build import Build
from labsupport.build.container import Ran, start_and_end
from labsupport.build.workbench import PATIENCE_SECONDS
from labsupport.course.exercises import Exercise, Verdict
from labsupport.engine.client import Engine
from labsupport.engine.listing import owner_labels, remove_image
from labsupport.errors import BuildFailed
from labsupport.image.image import Image
from labsupport.ownership import marks

# The lecture's example (Debian, Python, Pipenv), as it is built here without a network.

BEGINNING = f"""FROM {APP_BASE_TAG}
ENV PIPENV_VENV_IN_PROJECT=1 PIP_NO_INDEX=1 PIP_FIND_LINKS=/usr/share/python-wheels
RUN pip install pipenv
"""
"""What Dockerfiles of the notebook and of its exercises begin with: a builder caches it once."""
TIDY = "pip freeze | xargs pip uninstall --yes && rm -r /root/.cache"
_INDEX = {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": True}


def pipfiles(*names: str) -> dict[str, str]:
    """Return what Pipenv reads: `Pipfile`, and `Pipfile.lock`, which holds the versions.

    `names` are of libraries whose wheels lie in the course's base.
    """
    wanted = "".join(f'{name} = "*"\n' for name in names)
    lock = {
        "_meta": {"hash": {"sha256": ""}, "pipfile-spec": 6, "requires": {}, "sources": [_INDEX]},
        "default": {name: {"version": f"=={APP_WHEELS[name]}"} for name in names},
        "develop": {},
    }
    return {"Pipfile": f"[packages]\n{wanted}", "Pipfile.lock": json.dumps(lock, indent=4)}


IGNORED = ".dockerignore\nDockerfile\n"  # or each change of the Dockerfile would be one of `.`
USES = {
    "tabulate": ("tabulate import tabulate as f", "[[word]], tablefmt='html'", "<td>{}</td>"),
    "packaging": ("packaging.utils import canonicalize_name as f", "f'A_{word}.B'", "a-{}-b"),
    "distlib": ("distlib.util import path_to_cache_dir as f", "f'/a/{word}'", "--a--{}.cache"),
    "platformdirs": ("platformdirs import user_log_dir as f", "word", "/{}/log"),
}
"""What the app may need: what it imports and calls, and what that makes of a word."""
PYTHON = "/.venv/bin/python"


class _OfABuild(Exercise):
    """What the exercises share: an engine, `exercise.dockerfile`, `exercise.files`."""

    dockerfile: str
    files: dict[str, str]

    def begin(self) -> None:
        self.engine = self.ends.enter_context(Engine.connect())
        self._base_bytes = int(app_base(self.engine).attrs["Size"])
        self.libraries = self.random.sample(list(USES), self.random.choice([1, 2, 3]))
        self.code = self.random.choice(["cli.py", "main.py", "serve.py", "app.py", "translate.py"])
        self.files = {self.code: f"print('variant {self.seed}')\n", **pipfiles(*self.libraries)}

    def build(self, changed: Mapping[str, str] | None = None) -> Build:
        """Build `exercise.dockerfile` with `exercise.files`, some of which may be `changed`."""
        context = {".dockerignore": IGNORED, **self.files, **(changed or {})}
        done = Build.run(self.engine, {**context, "Dockerfile": self.dockerfile}, network="none")
        self.ends.callback(remove_image, self.engine.client, str(done.image_id))
        return done

    def image(self, build: Build) -> Image:
        return Image.of(self.engine, str(build.image_id))

    def own_bytes(self, build: Build) -> int:
        """Ask the engine how much an image adds to its base."""
        size = int(self.engine.client.images.get(str(build.image_id)).attrs["Size"])
        return size - self._base_bytes

    def missing(self, build: Build, code: str, libraries: Sequence[str] = ()) -> str:
        """Say what the app lacks in an image, if it lacks something: each library is used there."""
        word = f"w{self.random.randrange(10**6)}"
        for name in libraries or self.libraries:
            what, arguments, made = USES[name]
            program = f"word = {word!r}; from {what}; print(f({arguments}))"
            ran = self._run(build, [PYTHON, "-c", program])
            if ran.status or made.format(word) not in ran.output:
                said = (ran.said.splitlines() or [f"exit status {ran.status}"])[-1]
                return f"`{PYTHON}` in the image cannot use {name}, which the app needs ({said})"
        read = self._run(build, ["cat", f"/{self.code}"])
        if read.status:
            return f"the app itself, `/{self.code}`, is not in the image"
        return "" if read.output == code else f"`/{self.code}` in the image is an old one"

    def _run(self, build: Build, argv: Sequence[str]) -> Ran:
        """Run a program in a container of an image; one that does not start is an outcome, too."""
        container = self.engine.client.containers.create(
            str(build.image_id), list(argv[1:]), entrypoint=argv[0], network_mode="none",
            labels=owner_labels(),
        )  # fmt: skip
        try:
            return start_and_end(container, argv[0], time.monotonic(), PATIENCE_SECONDS)
        finally:
            container.remove(force=True)


class Halve(_OfABuild):
    """Make an image that adds half as much to its base, with all that the app needs in it."""

    name = "10.1"
    hints = (
        "Which layer is the largest, and what in it does the app need when it runs? "
        "LayerExplorer(exercise.image(exercise.build())).show() tells which, and .layers of the "
        "image what is in it. What a later step removes stays in the layer of the earlier one.",
        "Two ways. One single RUN that installs, syncs, and takes away what it needed only for "
        "that (pip uninstall …). Or two stages: FROM … AS tools, and finally the same base again "
        "with COPY --from=tools /.venv /.venv.",
    )

    def begin(self) -> None:
        super().begin()
        self.dockerfile = f"{BEGINNING}ADD Pipfile* /\nRUN pipenv sync\nADD {self.code} /\n"
        self.first_bytes = self.own_bytes(self.build())

    def task(self) -> str:
        return (
            f"`exercise.dockerfile` makes an image that adds {self.first_bytes:,} bytes to its "
            f"base. Change it so that it adds at most half of that. The app needs `/{self.code}`, "
            f"and a `{PYTHON}` that can use {', '.join(self.libraries)}; it does not need Pipenv "
            "when it runs."
        )

    def look(self) -> Verdict:
        try:
            build = self.build()
        except BuildFailed as failure:
            return Verdict(False, f"there is no image. {failure}")
        if lack := self.missing(build, self.files[self.code]):
            return Verdict(False, f"{lack}.")
        added = self.own_bytes(build)
        saw = f"it adds {added:,} bytes, {100 * added / self.first_bytes:.0f} % of what it did"
        if 2 * added > self.first_bytes:
            with self.image(build) as image:
                lost = sum(file.size_bytes for file in image.lost_files())
            also = f" {lost:,} were deleted by a later layer, and are still there." if lost else ""
            return Verdict(False, f"{saw}.{also}")
        return Verdict(True, f"{saw}, and all that the app needs is in it.")

    def answer(self) -> str:
        tools = BEGINNING.replace(APP_BASE_TAG, f"{APP_BASE_TAG} AS tools")
        return (
            'exercise.dockerfile = """\n'
            f"{tools}ADD Pipfile* /\nRUN pipenv sync\n\n"
            f"FROM {APP_BASE_TAG}\nCOPY --from=tools /.venv /.venv\n"
            f'ADD {self.code} /\n"""'
        )


class Rebuild(_OfABuild):
    """Make a build after a change of the code run no RUN at all."""

    name = "10.2"
    hints = (
        "A step is cached if its instruction, the files that it copies, and all steps before it "
        "are the same. After a change of the code, which is the first step that is not?",
        "ADD . / brings the code in, and pipenv sync needs the two Pipfiles only: ADD Pipfile* /, "
        "then RUN pipenv sync, and ADD . / at the end.",
    )

    def begin(self) -> None:
        super().begin()
        self.dockerfile = f"{BEGINNING}ADD . /\nRUN pipenv sync\n"
        self.new_code = f"print('variant {self.seed}, changed')\n"

    def task(self) -> str:
        return (
            "Each time that a line of the code changes, `exercise.dockerfile` has `pipenv sync` "
            f"run again. Change it so that after a change of `{self.code}` no RUN is run again. A "
            "change of `Pipfile.lock` must still be noticed."
        )

    def look(self) -> Verdict:
        try:
            self.build()
            again = self.build({self.code: self.new_code})
        except BuildFailed as failure:
            return Verdict(False, f"there is no image. {failure}")
        runs = (step for step in again.steps if step.instruction.upper().startswith("RUN "))
        if step := next((step for step in runs if not step.cached), None):
            saw = f"after a change of `{self.code}`, `{step.instruction}` was run again"
            return Verdict(False, f"{saw}, and took {step.seconds or 0:.1f} s.")
        if lack := self.missing(again, self.new_code):
            return Verdict(False, f"nothing was run again, but {lack}.")
        if why := self._forgets_the_pipfile(again):
            return Verdict(False, why)
        cached = f"{len(again.cached_steps)} of {len(again.steps)} steps were cached"
        took = f"the build took {again.seconds or 0:.1f} s"
        return Verdict(True, f"{cached}, every RUN among them; {took}.")

    def _forgets_the_pipfile(self, built: Build) -> str:
        """Say what is wrong if a change of what the app needs is not noticed."""
        others = [name for name in USES if name not in self.libraries]
        new = [name for name in others if self.missing(built, self.new_code, [name])][:1]
        if not new:  # some come along with Pipenv
            return f"`Pipfile.lock` decides nothing: {PYTHON} can use {', '.join(others)}, too."
        build = self.build(pipfiles(*self.libraries, *new))
        lacks = self.missing(build, self.files[self.code], new)
        return f"after {new[0]} was added to `Pipfile.lock`, {lacks}." if lacks else ""

    def answer(self) -> str:
        lines = f"{BEGINNING}ADD Pipfile* /\nRUN pipenv sync\nADD . /\n"
        return f'exercise.dockerfile = """\n{lines}"""'


class Secret(Exercise):
    """Find the layer that gives a secret away, and the secret."""

    name = "10.3"
    hints = (
        "What a later layer deleted is in exercise.built.lost_files(): each tells its path, "
        "added_in and removed_in.",
        "One of the lost files holds a line with “token”: lost.read() gives its bytes, and "
        "lost.added_in.number is the layer that still has it.",
    )
    PLACES: ClassVar = ("etc/app/settings.ini", "etc/netrc", "srv/deploy.env", "var/notes.txt")

    def begin(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix=marks.prefix("image"))
        self.archive = Path(self.ends.enter_context(folder), "image.tar")
        self.word = f"token-{self.random.randrange(16**8):08x}"
        self._path, *others = self.random.sample(self.PLACES, self.random.choice([3, 4]))
        texts = {path: f"# nothing to see here: {path}\n" for path in others}
        texts[self._path] = f"# for the build only\npassword = {self.word}\n"
        steps = [bases.copy(path, text) for path, text in texts.items()]
        self.random.shuffle(steps)
        steps.append(bases.remove(self._path, others[0]))
        late = self.random.randrange(len(steps) + 1)
        steps.insert(late, bases.copy("app.sh", "date\n"))
        self.archive.write_bytes(bases.archive_of_steps("labsupport/leaky:latest", steps))
        self.built = Image.open(self.archive)
        self.ends.callback(self.built.close)
        self.layer: int | None = None
        self.token: str | None = None

    def task(self) -> str:
        return (
            "`exercise.built` is an image as a registry would give it to you, without its "
            "Dockerfile. There was a token in it for a while; a later step has removed it. Set "
            "`exercise.token` to the token, and `exercise.layer` to the number of the layer that "
            "still gives it away."
        )

    def look(self) -> Verdict:
        if self.layer is None or self.token is None:
            return Verdict(False, "exercise.layer or exercise.token has not been set.")
        lost = {file.path: file for file in self.built.lost_files()}[f"/{self._path}"]
        if self.layer == lost.removed_in.number:
            saw = f"layer {self.layer} only says that `/{self._path}` is deleted."
            return Verdict(False, f"{saw} Its bytes lie in the layer that added it.")
        if self.layer != lost.added_in.number:
            numbers = [layer.number for layer in self.built.layers]
            why = "has no such file" if self.layer in numbers else "is not one of the image's"
            return Verdict(False, f"layer {self.layer} {why}.")
        if self.token != self.word or self.word.encode() not in lost.read():
            return Verdict(False, f"it is layer {self.layer}, but {self.token!r} is not the token.")
        where = f"in layer {self.layer}, deleted by layer {lost.removed_in.number}"
        says = f"says `{self.word}` to whoever has the image"
        return Verdict(True, f"`/{self._path}` is {where}, and {says}.")

    def answer(self) -> str:
        return (
            "import re\n\n"
            "for lost in exercise.built.lost_files():\n"
            '    if found := re.search(rb"token-[0-9a-f]+", lost.read()):\n'
            "        exercise.layer = lost.added_in.number\n"
            "        exercise.token = found.group().decode()"
        )
