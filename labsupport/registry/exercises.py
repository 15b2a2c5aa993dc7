"""The exercises of notebook 11: ship a new version in few bytes; an image that does not start."""

import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from labsupport.build.bases import File, a_file, base_image, hello_program, make_image, pack
from labsupport.build.build import Build
from labsupport.build.container import Ran, start_and_end
from labsupport.build.workbench import PATIENCE_SECONDS, Workbench
from labsupport.course.exercises import Exercise, Verdict
from labsupport.engine.client import Engine
from labsupport.ownership import marks
from labsupport.registry import shipping
from labsupport.registry.registry import Registry

Members = Mapping[str, tuple[tarfile.TarInfo, bytes]]

WORDS_BYTES = 400_000
FEW_BYTES = 20_000
SAYINGS = ("Good morning", "Buenos días", "Bon dia", "Bonjour", "Guten Morgen", "Buongiorno")
APP = """#!/bin/sh
echo "{saying}"
echo "$(wc -c < /app/words) bytes of words"
"""
GOOD_ORDER = """FROM labsupport/busybox
COPY words /app/words
COPY app.sh /app/app.sh
CMD ["/app/app.sh"]
"""
TIDIED_UP = """FROM labsupport/busybox
COPY . /app/
CMD ["/app/app.sh"]
"""


class NewVersion(Exercise):
    """Ship version 2 so that a machine that has version 1 fetches as little as can be."""

    name = "11.1"
    hints = (
        "Push, and look which layers went: push(engine, exercise.wanted, exercise.registry). "
        "Compare lab.Image.of(engine, exercise.shipped).history with the "
        "Dockerfile in exercise.folder: which files share a layer, and which of them changed?",
        "A layer that is the same as in version 1 is not fetched again. So the words, which do not "
        "change, need the layer that they had: one COPY for them, as in version 1, and one for "
        "app.sh after it. Or: FROM the image that was shipped.",
    )

    def begin(self) -> None:
        self.engine = self.ends.enter_context(Engine.connect())
        base_image(self.engine)
        self.registry = self.ends.enter_context(Registry.start())
        folder = tempfile.TemporaryDirectory(prefix=marks.prefix("app"))
        self.folder = Path(self.ends.enter_context(folder))
        old, self.saying = self.random.sample(SAYINGS, 2)
        (self.folder / "words").write_bytes(self.random.randbytes(WORDS_BYTES))
        (self.folder / "app.sh").write_text(APP.format(saying=old))
        (self.folder / "app.sh").chmod(0o755)
        (self.folder / "Dockerfile").write_text(GOOD_ORDER)
        self.shipped, self.wanted = (self.registry.name("app", tag) for tag in "12")
        self.ends.callback(_remove_images, self.engine, self.shipped, self.wanted)
        Build.run(self.engine, self.folder, self.shipped, network="none")
        shipping.push(self.engine, self.shipped, self.registry)
        (self.folder / "Dockerfile").write_text(TIDIED_UP)

    def task(self) -> str:
        return (
            f"Version 1 of an app has been shipped as `{self.shipped}`, and another machine has "
            f"it. Its files are in exercise.folder; since then, a colleague has tidied up the "
            f"Dockerfile. Version 2 must say `{self.saying}`, and otherwise work as before. "
            f"Change app.sh, build, and push it as exercise.wanted (`{self.wanted}`) to "
            f"exercise.registry, so that the other machine need not fetch layers of more than "
            f"{FEW_BYTES:,} bytes. (The words alone take {WORDS_BYTES:,}.)"
        )

    def look(self) -> Verdict:
        if "2" not in self.registry.catalogue().get(f"{self.registry.user}/app", ()):
            return Verdict(False, f"the registry has no `{self.wanted}`: was it tagged and pushed?")
        before = {digest for digest, *_ in self.registry.contents(self.shipped)}
        told = self.registry.contents(self.wanted)
        new = [layer for layer in told if layer[0] not in before]
        image = self.engine.client.images.pull(self.wanted, auth_config=self.registry.auth)
        if wrong := self._wrong(str(image.id)):
            return Verdict(False, wrong)
        total = sum(size for *_, size in new)
        if total > FEW_BYTES:
            made_by = max(new, key=lambda layer: layer[2])[1]
            return Verdict(False, f"version 2 works, but its new layers have {total:,} bytes; the "
                           f"largest was made by `{made_by}`.")  # fmt: skip
        return Verdict(
            True,
            f"version 2 says `{self.saying}`, and of its {len(told)} layers {len(new)} are new to "
            f"the other machine: {total:,} bytes.",
        )

    def _wrong(self, image_id: str) -> str:
        """Run the image that was pulled; say what is wrong with it, if anything."""
        with Workbench(self.engine) as bench:
            ran = bench.run(image_id)
            other = self.random.randrange(1000, WORDS_BYTES)
            counted = run_with(bench, image_id, "/app", {"words": a_file(bytes(other))})
        said = ran.output.splitlines()
        if said[:1] != [self.saying]:
            return f"version 2 in the registry says {ran.said!r}, not `{self.saying}`"
        if said[1:] != [f"{WORDS_BYTES} bytes of words"]:
            return f"version 2 has lost its words: it says {ran.said!r}"
        if counted.output.splitlines()[1:] != [f"{other} bytes of words"]:
            return f"version 2 does not count: of a file of {other} bytes it says {counted.said!r}"
        return ""

    def answer(self) -> str:
        return (
            "from labsupport.build.build import Build\n"
            "from labsupport.registry.shipping import push\n\n"
            "app = exercise.folder / 'app.sh'\n"
            f"app.write_text({APP.format(saying=self.saying)!r})\n"
            f"(exercise.folder / 'Dockerfile').write_text({GOOD_ORDER!r})\n"
            "Build.run(exercise.engine, exercise.folder, exercise.wanted)\n"
            "push(exercise.engine, exercise.wanted, exercise.registry)"
        )


def run_with(bench: Workbench, image: str, folder: str, files: Members) -> Ran:
    """Run an image in a container in which some files of a folder are others."""
    container = bench.create(image)
    container.put_archive(folder, pack(files))
    try:
        return start_and_end(container, f"docker run {image}", time.monotonic(), PATIENCE_SECONDS)
    finally:
        bench.remove(container)


@dataclass(frozen=True)
class Fault:
    """A reason why an image does not start, and a Dockerfile's lines that mend it."""

    files: Callable[[str], dict[str, File]]
    config: Mapping[str, Any]
    mend: str


def _script(saying: str, start: str = "#!/bin/sh", end: str = "\n") -> bytes:
    return f'{start}{end}echo "{saying}"{end}'.encode()


_HERE = os.uname().machine
_ELSEWHERE = "aarch64" if _HERE == "x86_64" else "x86_64"
_RUN: Mapping[str, Any] = {"Entrypoint": ["/app/run"], "User": "1000"}


def _programs(saying: str) -> dict[str, File]:
    machines = (_HERE, _ELSEWHERE)
    return {f"/app/{each}/run": (hello_program(f"{saying}\n", each), 0o755) for each in machines}


class DoesNotStart(Exercise):
    """An image whose program does not start, for one of several reasons."""

    name = "11.2"
    hints = (
        "Run it, and read the last words of the error. Then look into the image without starting "
        "its program: docker run --rm --entrypoint ls $given -l /app, and docker image inspect "
        "$given (given=exercise.given).",
        "`no such file`, and yet it is there: then it is the file in its first line that is "
        "missing; od -c shows characters that cannot be seen. `permission denied`: which user, and "
        "which mode? `exec format error`: which CPU? To change a file in a Dockerfile, begin with "
        "FROM the given image and USER root; end with the USER that it had.",
    )
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "the path": Fault(
            lambda saying: {"/app/start": (_script(saying), 0o755)}, _RUN,
            'ENTRYPOINT ["/app/start"]',
        ),
        "no x": Fault(
            lambda saying: {"/app/run": (_script(saying), 0o644)}, _RUN,
            "USER root\nRUN chmod 755 /app/run\nUSER 1000",
        ),
        "no interpreter": Fault(
            lambda saying: {"/app/run": (_script(saying, "#!/bin/bash"), 0o755)}, _RUN,
            "USER root\nRUN sed -i '1s/bash/sh/' /app/run\nUSER 1000",
        ),
        "line ends": Fault(
            lambda saying: {"/app/run": (_script(saying, end="\r\n"), 0o755)}, _RUN,
            "USER root\nRUN sed -i 's/\\r//' /app/run\nUSER 1000",
        ),
        "the user": Fault(
            lambda saying: {"/app/run": (_script(saying), 0o700)}, _RUN,
            "USER root\nRUN chown 1000 /app/run\nUSER 1000",
        ),
        "the CPU": Fault(
            _programs, {"Entrypoint": [f"/app/{_ELSEWHERE}/run"], "User": "1000"},
            f'ENTRYPOINT ["/app/{_HERE}/run"]',
        ),
    }  # fmt: skip

    def begin(self) -> None:
        self.engine = self.ends.enter_context(Engine.connect())
        self.given = f"labsupport/exercise-{self.seed}:given"
        self.wanted = f"labsupport/exercise-{self.seed}:mended"
        self.ends.callback(_remove_images, self.engine, self.wanted, self.given)
        self.saying = f"{self.random.choice(SAYINGS)}, {self.random.randrange(1000)}!"
        faults = sorted(self.FAULTS)
        self.random.shuffle(faults)
        for self.cause in faults:  # an engine that emulates other CPUs does start the last kind
            fault = self.FAULTS[self.cause]
            files = fault.files(self.saying)
            make_image(self.engine, self.given, files, on_busybox=True, **fault.config)
            self.found = self._run(self.given)
            if self.found.status:
                return

    def task(self) -> str:
        said = self.found.said.splitlines()[-1]
        return (
            f"The image exercise.given (`{self.given}`) should say `{self.saying}`; but it does "
            f"not start: `{said}`. Find out why, and build exercise.wanted (`{self.wanted}`) FROM "
            "it, which does start, as the same user: the program in /app is to say it."
        )

    def look(self) -> Verdict:
        from docker.errors import ImageNotFound

        images = self.engine.client.images
        given = images.get(self.given).attrs
        try:
            wanted = images.get(self.wanted).attrs
        except ImageNotFound:
            return Verdict(False, f"there is no image `{self.wanted}`.")
        layers = given["RootFS"]["Layers"]
        if wanted["RootFS"]["Layers"][: len(layers)] != layers:
            return Verdict(False, "that image does not begin with the given one's layers.")
        ran = self._run(self.wanted)
        if ran.output != f"{self.saying}\n" or ran.status:
            return Verdict(False, f"it says {ran.said!r} (exit status {ran.status}).")
        if not self._is_the_program():
            return Verdict(False, "it says so, but it is not the program in /app that says it.")
        user = wanted["Config"]["User"].partition(":")[0]  # behind it may stand a group
        if user != given["Config"]["User"]:
            return Verdict(False, f"it starts, but as the user {user or 'root'!r}, not 1000.")
        return Verdict(True, f"it says `{self.saying}`, as user {user}: the fault was mended.")

    def _run(self, name: str) -> Ran:
        with Workbench(self.engine) as bench:
            return bench.run(name)

    def _is_the_program(self) -> bool:
        """Give the files in /app other words to say, and look whether those are said."""
        words, others = self.saying.encode(), self.saying[::-1].encode()
        with Workbench(self.engine) as bench:
            parts, _ = bench.create(self.wanted).get_archive("/app")
            with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
                members = {it.name: (it, _content(tar, it).replace(words, others)) for it in tar}
            ran = run_with(bench, self.wanted, "/", members)
        return ran.output == f"{others.decode()}\n"

    def answer(self) -> str:
        dockerfile = f"FROM {self.given}\n{self.FAULTS[self.cause].mend}\n"
        return (
            "from labsupport.build.build import Build\n\n"
            f"Build.run(exercise.engine, {{'Dockerfile': {dockerfile!r}}}, exercise.wanted)"
        )


def _remove_images(engine: Engine, *names: str) -> None:
    """Take these names away, and what has none then; the student may have given others."""
    from docker.errors import ImageNotFound

    for name in names:
        with suppress(ImageNotFound):
            engine.client.images.remove(name, force=True)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isfile() else None
    return file.read() if file else b""
