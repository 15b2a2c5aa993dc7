"""The exercises of notebook 10, layers: each is judged by the image that the engine built."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from labsupport import ownership
from labsupport.course.exercises import Exercise, Verdict
from labsupport.engine import built, step_archive
from labsupport.engine.builds import Build
from labsupport.engine.client import Engine
from labsupport.engine.images import Image
from labsupport.engine.toys import LIBRARY_BYTES, toy_base
from labsupport.errors import BuildFailed

# the notebook's Dockerfiles begin so, too: the engine has these steps in its cache
TOOLS = """FROM labsupport/toys
ENV PYENV_SHELL=/bin/sh
CMD ["sh"]
RUN apt-get update && apt-get install -y build-essential git pipenv
"""
NOTEBOOKS = ("requests", "flask", "click")  # what its app needs: in the cache, too
LIBRARIES = ("requests", "flask", "numpy", "click", "rich", "httpx", "tqdm", "arrow", "attrs")
IGNORED = ".dockerignore\nDockerfile\n"  # or each change of the Dockerfile would be one of `.`


class _OfABuild(Exercise):
    """What the exercises share: an engine, `exercise.dockerfile`, `exercise.files`."""

    dockerfile: str
    files: dict[str, str]

    def begin(self) -> None:
        """Find the engine, and have the toys in it."""
        self.engine = Engine.connect()
        self._built: list[str] = []
        toy_base(self.engine)

    def stop(self) -> None:
        """Remove the images that were built, and let go of the engine."""
        super().stop()
        if hasattr(self, "engine"):
            built.remove(self.engine.client, set(self._built))
            self._built.clear()
            self.engine.close()

    def build(self, changed: Mapping[str, str] | None = None) -> Build:
        """Build `exercise.dockerfile` with `exercise.files`, some of which may be `changed`.

        Raises:
            BuildFailed: the builder did not come to the end.

        """
        context = {".dockerignore": IGNORED, **self.files, **(changed or {})}
        done = Build.run(self.engine, {**context, "Dockerfile": self.dockerfile}, network="none")
        self._built.append(str(done.image_id))
        return done

    def image(self, build: Build) -> Image:
        """Read what was built."""
        return Image.of(self.engine, str(build.image_id))

    def choose_app(self, libraries: Sequence[str] = ()) -> None:
        """Choose the app's files, and what it needs unless that is given."""
        some = self.random.sample(LIBRARIES, self.random.choice([2, 3, 4]))
        self.libraries = list(libraries) or some
        self.code = self.random.choice(["cli.py", "main.py", "serve.py", "app.py", "translate.py"])
        self.files = {
            self.code: f"print('variant {self.seed}')\n",
            "Pipfile": "".join(f"{name}\n" for name in self.libraries),
        }

    def missing(self, image: Image, code: str) -> str:
        """Say what the app lacks in an image, if it lacks something."""
        tree = image.tree()
        for name in self.libraries:
            found = tree.get(f"/venv/{name}")
            if found is None or found.size_bytes != LIBRARY_BYTES:
                return f"`/venv/{name}`, which the app needs, is not in the image"
        path = f"/{self.code}"
        if path not in tree:
            return f"the app itself, `{path}`, is not in the image"
        return "" if image.read(path).decode() == code else f"`{path}` in the image is an old one"


class Halve(_OfABuild):
    """Make an image half as large, with all that the app needs still in it."""

    name = "10.1"
    hints = (
        "Which layer is the largest, and what in it does the app need when it runs? "
        "LayerExplorer(exercise.image(exercise.build())).show() shows it. What is removed in a "
        "later step stays in the layer of the earlier one.",
        "Two ways. One single RUN that installs, syncs, and takes away what it needed only for "
        "that (apt-get purge …, apt-get clean). Or two stages: FROM … AS tools, and at last FROM "
        "labsupport/busybox with COPY --from=tools /venv /venv.",
    )

    def begin(self) -> None:
        """Build the image that is too large."""
        super().begin()
        self.choose_app(NOTEBOOKS)
        self.dockerfile = f"{TOOLS}ADD Pipfile /\nRUN pipenv sync\nADD {self.code} /\n"
        with self.image(self.build()) as image:
            self.first_bytes = image.size_bytes

    def task(self) -> str:
        """The task, with the size that it has."""
        return (
            f"`exercise.dockerfile` makes an image of {self.first_bytes:,} bytes. Change it so "
            f"that it makes one of at most half of that. The app needs `/{self.code}` and, below "
            f"`/venv`, {', '.join(self.libraries)}; it does not need a compiler when it runs."
        )

    def look(self) -> Verdict:
        """Build it, and read what is in it."""
        try:
            build = self.build()
        except BuildFailed as failure:
            return Verdict(False, f"there is no image. {failure}")
        with self.image(build) as image:
            if lack := self.missing(image, self.files[self.code]):
                return Verdict(False, f"{lack}.")
            share = 100 * image.size_bytes / self.first_bytes
            saw = f"it has {image.size_bytes:,} bytes, {share:.0f} % of what it had"
            if 2 * image.size_bytes > self.first_bytes:
                lost = sum(file.size_bytes for file in image.lost_files())
                also = f" {lost:,} of them were deleted by a later layer, and are still there."
                return Verdict(False, f"{saw}.{also if lost else ''}")
        return Verdict(True, f"{saw}, and all that the app needs is in it.")

    def answer(self) -> str:
        """One way to do it."""
        return (
            'exercise.dockerfile = """\n'
            f"{TOOLS.replace('toys', 'toys AS tools')}ADD Pipfile /\nRUN pipenv sync\n\n"
            "FROM labsupport/busybox\nCOPY --from=tools /venv /venv\n"
            f'ADD {self.code} /\n"""'
        )


class Rebuild(_OfABuild):
    """Have a build after a change of the code take no RUN at all."""

    name = "10.2"
    hints = (
        "A step is cached if its instruction, the files that it copies, and all steps before it "
        "are the same. After a change of the code, which is the first step that is not?",
        "ADD . / brings the code in, and pipenv sync needs the Pipfile only: ADD Pipfile /, then "
        "RUN pipenv sync, and ADD . / at the end.",
    )

    def begin(self) -> None:
        """Write the Dockerfile in the lecture's order."""
        super().begin()
        self.choose_app()
        self.dockerfile = f"{TOOLS}ADD . /\nRUN pipenv sync\n"
        self.new_code = f"print('variant {self.seed}, changed')\n"

    def task(self) -> str:
        """The task, with the file that changes."""
        return (
            "Each time that a line of the code changes, `exercise.dockerfile` has `pipenv sync` "
            f"run again. Change it so that a build after a change of `{self.code}` takes less than "
            "a second where a build of the rest takes many: no RUN may be done anew. A change of "
            "`Pipfile` must still be noticed."
        )

    def look(self) -> Verdict:
        """Build it, change the code, build again; then change what the app needs."""
        try:
            self.build()
            again = self.build({self.code: self.new_code})
        except BuildFailed as failure:
            return Verdict(False, f"there is no image. {failure}")
        done = [step for step in again.steps if _keyword(step.instruction) == "RUN"]
        anew = [step for step in done if not step.cached]
        if anew:
            return Verdict(
                False, f"after a change of `{self.code}`, `{anew[0].instruction}` was done anew, "
                f"and took {anew[0].seconds or 0:.1f} s."
            )  # fmt: skip
        with self.image(again) as image:
            if lack := self.missing(image, self.new_code):
                return Verdict(False, f"nothing was done anew, but {lack}.")
        if why := self._forgets_the_pipfile():
            return Verdict(False, why)
        return Verdict(
            True, f"{len(again.cached_steps)} of {len(again.steps)} steps were cached, every RUN "
            f"among them; the build took {again.seconds or 0:.1f} s."
        )  # fmt: skip

    def _forgets_the_pipfile(self) -> str:
        """Say what is wrong if a change of what the app needs is not noticed."""
        new = next(name for name in LIBRARIES if name not in self.libraries)
        with self.image(self.build({"Pipfile": f"{self.files['Pipfile']}{new}\n"})) as image:
            is_there = f"/venv/{new}" in image.tree()
        return "" if is_there else f"{new} was added to `Pipfile`, and is not in the image."

    def answer(self) -> str:
        """One way to do it."""
        return f'exercise.dockerfile = """\n{TOOLS}ADD Pipfile /\nRUN pipenv sync\nADD . /\n"""'


class Secret(Exercise):
    """Find the layer that gives a secret away, and the secret."""

    name = "10.3"
    hints = (
        "What a later layer deleted is in exercise.built.lost_files(): each tells its path, "
        "added_in and removed_in. LayerExplorer(exercise.built).show() shows the same.",
        "One of the lost files holds a line with “token”: lost.read() gives its bytes, and "
        "lost.added_in.number is the layer that still has it.",
    )
    PLACES: ClassVar = ("etc/app/settings.ini", "etc/netrc", "srv/deploy.env", "var/notes.txt")

    def begin(self) -> None:
        """Make an image in which a secret was for a while."""
        self._folder = tempfile.TemporaryDirectory(prefix=ownership.prefix("image"))
        self.archive = Path(self._folder.name) / "image.tar"
        self.word = f"token-{self.random.randrange(16**8):08x}"
        self._path, *others = self.random.sample(self.PLACES, self.random.choice([3, 4]))
        texts = {path: f"# nothing to see here: {path}\n" for path in others}
        texts[self._path] = f"# for the build only\npassword = {self.word}\n"
        steps = [step_archive.copy(path, text) for path, text in texts.items()]
        self.random.shuffle(steps)
        steps.append(step_archive.remove(self._path, others[0]))
        late = self.random.randrange(len(steps) + 1)
        steps.insert(late, step_archive.copy("app.sh", "date\n"))
        self.archive.write_bytes(step_archive.archive("labsupport/leaky:latest", steps))
        self.built = Image.open(self.archive)
        self.layer: int | None = None
        self.token: str | None = None

    def stop(self) -> None:
        """Let go of the image."""
        super().stop()
        if hasattr(self, "built"):
            self.built.close()
            self._folder.cleanup()

    def task(self) -> str:
        """The task, without a hint of where it is."""
        return (
            "`exercise.built` is an image as a registry would give it to you, without its "
            "Dockerfile. There was a token in it for a while; a later step has removed it. Set "
            "`exercise.token` to the token, and `exercise.layer` to the number of the layer that "
            "still gives it away."
        )

    def look(self) -> Verdict:
        """Compare with what the image itself holds."""
        if self.layer is None or self.token is None:
            return Verdict(False, "exercise.layer or exercise.token has not been set.")
        lost = {file.path: file for file in self.built.lost_files()}[f"/{self._path}"]
        if self.layer == lost.removed_in.number:
            return Verdict(
                False, f"layer {self.layer} only says that `/{self._path}` is deleted. Its bytes "
                "lie in the layer that added it."
            )  # fmt: skip
        if self.layer != lost.added_in.number:
            numbers = [layer.number for layer in self.built.layers]
            why = "has no such file" if self.layer in numbers else "is none of the image's"
            return Verdict(False, f"layer {self.layer} {why}.")
        if self.token != self.word or self.word.encode() not in lost.read():
            return Verdict(False, f"it is layer {self.layer}, but {self.token!r} is not the token.")
        return Verdict(
            True, f"`/{self._path}` is in layer {self.layer}, deleted by layer "
            f"{lost.removed_in.number}, and says `{self.word}` to whoever has the image."
        )  # fmt: skip

    def answer(self) -> str:
        """One way to do it."""
        return (
            "import re\n\n"
            "for lost in exercise.built.lost_files():\n"
            '    if found := re.search(rb"token-[0-9a-f]+", lost.read()):\n'
            "        exercise.layer = lost.added_in.number\n"
            "        exercise.token = found.group().decode()"
        )


def _keyword(instruction: str) -> str:
    return instruction.partition(" ")[0].upper()


EXERCISES: dict[str, type[Exercise]] = {each.name: each for each in (Halve, Rebuild, Secret)}
