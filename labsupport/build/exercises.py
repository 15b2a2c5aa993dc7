"""The exercises of notebook 09, images and Dockerfiles: each is judged by what the engine says."""

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from docker.errors import NotFound
from docker.models.containers import Container

from labsupport.build.container import Ran
from labsupport.build.workbench import Workbench
from labsupport.course.exercises import Exercise, Verdict
from labsupport.engine.client import Engine
from labsupport.engine.daemon import PATIENCE

GREETINGS = ("Bonjour", "Hola", "Ciao", "Hallo", "Ahoj", "Hei")
NAMES = ("Ada", "Grace", "Radia", "Katherine", "Barbara", "Frances")
SHELF = ("apple", "bread", "cheese", "honey", "lemon", "onion", "pepper", "salt")
FILES = tuple(f"/srv/shelf/{name}.txt" for name in SHELF)
USERS = (1000, 2000, 4711, 65534)
FOLDERS = ("diary", "ledger", "logbook")
PATIENCE_SECONDS = 20.0 * PATIENCE
LONG_AGO = 1_000_000_000  # Docker misses a change that keeps a file's length and its second

# It names a file that it only reads, and leaves the one that it changes as long as it was.
CULPRIT = """
cd /srv/shelf
echo "I only changed {decoy}"
cat * > /dev/null
tr a-z b-za < {changed} > /tmp/text
cat /tmp/text > {changed}
echo scribble > {added}
rm {deleted}
"""
SERVICE = """#!/bin/sh
echo started >> /srv/{folder}/state || exit 1
echo ready
exec sleep 1000
"""


class _OnABench(Exercise):
    """What the exercises share: a bench of their own, which goes with the exercise.

    `image` is the name of what the student is to build, if that is the task.
    """

    image: ClassVar[str] = ""

    def begin(self) -> None:
        self.engine = self.ends.enter_context(Engine.connect())
        self.bench = Workbench(self.engine)
        self.ends.callback(self.bench.close)

    def look(self) -> Verdict:
        if self.image and self.image not in self.bench.images:
            return Verdict(False, f"there is no image `{self.image}` on `exercise.bench` yet.")
        return self.judge()

    @abstractmethod
    def judge(self) -> Verdict:
        """Look at what the engine has."""


class Greeter(_OnABench):
    """Write an image that greets whom it is told to, and somebody if it is told nobody."""

    name = "09.1"
    image = "greeter"
    hints = (
        "What is always the same belongs in ENTRYPOINT, what an argument may replace in CMD. "
        "/bin/echo is a program.",
        "Both as lists: in shell form, arguments are lost. Look at `hello_world_cmd` above.",
    )

    def begin(self) -> None:
        super().begin()
        self.greeting = self.random.choice(GREETINGS)
        self.default, self.other = self.random.sample(NAMES, 2)

    def task(self) -> str:
        return (
            f"Build an image on `exercise.bench` and call it `greeter`: run without arguments it "
            f"prints “{self.greeting} {self.default}”; with the argument {self.other} it prints "
            f"“{self.greeting} {self.other}”, and likewise for any other name. Start from "
            "labsupport/busybox."
        )

    def judge(self) -> Verdict:
        stranger = f"N{self.random.randrange(10_000)}"
        for arguments in ([], [self.other], [stranger]):
            ran = self.bench.run("greeter", *arguments, patience=PATIENCE_SECONDS)
            wanted = " ".join([self.greeting, *(arguments or [self.default])])
            if ran.status or ran.output.strip() != wanted:
                return Verdict(False, self._complaint(ran, arguments, wanted))
        return Verdict(True, f"`{ran.command}` says “{ran.output.strip()}”, and the default works.")

    def _complaint(self, ran: Ran, arguments: list[str], wanted: str) -> str:
        config = self.bench.image("greeter").attrs["Config"]
        entrypoint = config.get("Entrypoint") or []
        said = f"`{ran.command}` says “{ran.said}” (exit status {ran.status}), not “{wanted}”."
        if entrypoint[:2] == ["/bin/sh", "-c"]:
            return (
                f"{said} ENTRYPOINT is in shell form (a list has double quotes): CMD and arguments "
                "are lost."
            )
        if arguments and not entrypoint:
            return f"{said} There is no ENTRYPOINT: the argument replaced the whole command."
        if arguments and self.default in entrypoint:
            return f"{said} The default is in ENTRYPOINT, which an argument does not replace."
        if not arguments and not config.get("Cmd"):
            return f"{said} There is no CMD, so without arguments nobody is greeted."
        return said

    def answer(self) -> str:
        return (
            "exercise.bench.build('''\n"
            "FROM labsupport/busybox\n"
            f'ENTRYPOINT ["/bin/echo", "{self.greeting}"]\n'
            f'CMD ["{self.default}"]\n'
            "''', \"greeter\")"
        )


class Changed(_OnABench):
    """Find the file of the image that a container has changed behind your back."""

    name = "09.2"
    hints = (
        "The image is as it was, so what changed lies in the container's own layer. Sizes "
        "tell nothing here; the engine does: exercise.container.diff().",
        "In what diff() returns, Kind 0 is changed, 1 added, 2 deleted. A folder counts as changed "
        "when something in it did.",
    )

    def begin(self) -> None:
        super().begin()
        self._changed, self._decoy, self._deleted = self.random.sample(FILES, 3)
        self._added = f"/srv/shelf/{self.random.choice(('sugar', 'mint', 'rice'))}.txt"
        self.found: str | None = None
        for path in FILES:
            name = path.rpartition("/")[2]
            os.utime(self.bench.write(f"shelf/{name}", f"{name}\n" * 3), (LONG_AGO, LONG_AGO))
        values = {"changed": self._changed, "decoy": self._decoy, "added": self._added,
                  "deleted": self._deleted}  # fmt: skip
        self.bench.build("FROM labsupport/busybox\nCOPY shelf /srv/shelf\n", "shelf")
        self.container: Container = self.bench.start(
            "shelf",
            "sh",
            "-c",
            CULPRIT.format(**values),
            tmpfs={"/tmp": ""},  # noqa: S108
        )
        self.container.wait(timeout=PATIENCE_SECONDS)

    def task(self) -> str:
        said = self.container.logs().decode().strip()
        return (
            f"A container of an image with {len(FILES)} files in /srv/shelf has run, and says: "
            f"“{said}”. Do not believe it. Which file of the image is different in the container? "
            "Set `exercise.found` to its path. The container has ended, but is still there: "
            "`exercise.container`."
        )

    def judge(self) -> Verdict:
        if self.found is None:
            return Verdict(False, "`exercise.found` is None: no file is named yet.")
        try:
            told: list[dict[str, Any]] = self.container.diff() or []
        except NotFound:
            return Verdict(False, "the container has been removed, and its layer with it: start() "
                           "makes another one.")  # fmt: skip
        kinds: dict[str, int] = {each["Path"]: each["Kind"] for each in told}
        folders = {path for path in kinds if any(other.startswith(f"{path}/") for other in kinds)}
        return self._judge_kind(self.found, kinds, folders)

    def _judge_kind(self, found: str, kinds: Mapping[str, int], folders: set[str]) -> Verdict:
        if found in folders:
            return Verdict(False, f"`{found}` is a folder: something in it is different.")
        if found not in (*FILES, self._added):
            return Verdict(False, f"the image has no file `{found}` in /srv/shelf.")
        if found not in kinds:
            return Verdict(
                False, f"the container's own layer knows nothing of `{found}`: it is as it was."
            )
        if word := {1: "added", 2: "deleted"}.get(kinds[found]):
            return Verdict(False, f"`{found}` was {word}, not changed.")
        return Verdict(True, f"`{found}` lies in the container's own layer, changed.")

    def answer(self) -> str:
        return (
            "changed = [each['Path'] for each in exercise.container.diff() if each['Kind'] == 0]\n"
            "exercise.found = max(changed, key=len)"
        )


class NotRoot(_OnABench):
    """Make a service run as an ordinary user, and still be able to write."""

    name = "09.3"
    image = "service"
    hints = (
        "USER says who runs all that follows, RUN as well, and the program in the end. A folder "
        "that root made belongs to root.",
        "Before USER: RUN chown NUMBER /srv/FOLDER (or COPY a folder with --chown=NUMBER). "
        "Then USER NUMBER.",
    )

    def begin(self) -> None:
        super().begin()
        self.user = self.random.choice(USERS)
        self.folder = self.random.choice(FOLDERS)
        self.bench.write("service", SERVICE.format(folder=self.folder), executable=True)
        self.dockerfile = (
            "FROM labsupport/busybox\n"
            "COPY service /usr/local/bin/\n"
            f"RUN mkdir /srv && mkdir /srv/{self.folder}\n"
            'CMD ["service"]\n'
        )

    def task(self) -> str:
        return (
            "The Dockerfile `exercise.dockerfile` makes a service that runs as root. Build one "
            f"on `exercise.bench`, called `service`, in which it runs as user {self.user}, says "
            f"“ready”, and has written the file /srv/{self.folder}/state. Nobody else may "
            "write into that folder."
        )

    def judge(self) -> Verdict:
        container = self.bench.start("service", until="ready")
        try:
            if container.status != "running":
                said = container.logs().decode().strip()
                return Verdict(False, f"the service has ended: “{said}”. Who may write there?")
            first = _stat(container, "/proc/1")
            if first != str(self.user):
                return Verdict(False, self._complaint(first))
            owner = _stat(container, f"/srv/{self.folder}/state")
            if owner != first:
                return Verdict(False, f"the owner of the file state is not user {first}: {owner}.")
            mode = int(_stat(container, f"/srv/{self.folder}", "%a"), 8)
            if mode & 0o022:
                return Verdict(False, f"others may write into /srv/{self.folder}, too: its mode is "
                               f"{mode:o}.")  # fmt: skip
            return Verdict(True, f"PID 1 runs as user {first}, who owns the file that it wrote.")
        finally:
            self.bench.remove(container)

    def _complaint(self, first: str) -> str:
        told = self.bench.image("service").attrs["Config"].get("User") or ""
        if not told:
            return f"PID 1 runs as user {first}: the image's configuration names no user."
        return f"PID 1 runs as user {first} (the image says User: {told!r}), not {self.user}."

    def answer(self) -> str:
        return (
            "exercise.bench.build('''\n"
            "FROM labsupport/busybox\n"
            "COPY service /usr/local/bin/\n"
            f"RUN mkdir /srv && mkdir /srv/{self.folder} && chown {self.user} /srv/{self.folder}\n"
            f"USER {self.user}\n"
            'CMD ["service"]\n'
            "''', \"service\")"
        )


def _stat(container: Container, path: str, what: str = "%u") -> str:
    """Whose a file is, or a process by its folder in /proc, asked as root within the container."""
    output: Any = container.exec_run(["stat", "-c", what, path], user="0").output
    return str(output.decode()).strip()
