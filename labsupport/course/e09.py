"""The exercises of notebook 09, images and Dockerfiles: each is judged by what the engine says."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from labsupport.course.exercises import Exercise, Verdict
from labsupport.engine.client import Engine
from labsupport.engine.ran import Ran
from labsupport.engine.workbench import Workbench

if TYPE_CHECKING:
    from docker.models.containers import Container

GREETINGS = ("Bonjour", "Hola", "Ciao", "Hallo", "Ahoj", "Hei")
NAMES = ("Ada", "Grace", "Radia", "Katherine", "Barbara", "Frances")
SHELF = ("apple", "bread", "cheese", "honey", "lemon", "onion", "pepper", "salt")
FILES = tuple(f"/srv/shelf/{name}.txt" for name in SHELF)
USERS = (1000, 2000, 4711, 65534)
FOLDERS = ("diary", "ledger", "logbook")
PATIENCE_SECONDS = 20.0
LONG_AGO = 1_000_000_000  # Docker sees no change of a file as long as before in the same second

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
        """Clear the bench."""
        self.engine = Engine.connect()
        self.bench = Workbench(self.engine)

    def stop(self) -> None:
        """Take away what was built and run."""
        super().stop()
        if hasattr(self, "bench"):
            self.bench.close()
            self.engine.close()

    def look(self) -> Verdict:
        """Judge the image that was to be built, once there is one."""
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
        "What is always the same belongs into ENTRYPOINT, what an argument may replace into CMD. "
        "/bin/echo is a program.",
        "Both as lists: in shell form, arguments are lost. Look at `hello_world_cmd` above.",
    )

    def begin(self) -> None:
        """Choose the words."""
        super().begin()
        self.greeting = self.random.choice(GREETINGS)
        self.default, self.other = self.random.sample(NAMES, 2)

    def task(self) -> str:
        """The task, with the words."""
        return (
            f"Build an image on `exercise.bench` and call it `greeter`: run without arguments it "
            f"prints “{self.greeting} {self.default}”; with the argument {self.other} it prints "
            f"“{self.greeting} {self.other}”, and so for any other name. Start from "
            "labsupport/busybox."
        )

    def judge(self) -> Verdict:
        """Run it without arguments, with one, and with one that nobody could foresee."""
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
        if arguments and not entrypoint:
            return f"{said} There is no ENTRYPOINT: the argument replaced the whole command."
        if arguments and entrypoint[:2] == ["/bin/sh", "-c"]:
            return f"{said} ENTRYPOINT is in shell form: arguments are lost."
        if arguments and self.default in entrypoint:
            return f"{said} The default stands in ENTRYPOINT, which an argument does not replace."
        if not arguments and not config.get("Cmd"):
            return f"{said} There is no CMD, so without arguments nobody is greeted."
        return said

    def answer(self) -> str:
        """One way to do it."""
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
        """Build the shelf, and let the culprit at it."""
        super().begin()
        self.changed, self.decoy, self.deleted = self.random.sample(FILES, 3)
        self.added = f"/srv/shelf/{self.random.choice(('sugar', 'mint', 'rice'))}.txt"
        self.found: str | None = None
        for path in FILES:
            name = path.rpartition("/")[2]
            os.utime(self.bench.write(f"shelf/{name}", f"{name}\n" * 3), (LONG_AGO, LONG_AGO))
        values = {"changed": self.changed, "decoy": self.decoy, "added": self.added,
                  "deleted": self.deleted}  # fmt: skip
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
        """The task, with what the culprit says of itself."""
        said = self.container.logs().decode().strip()
        return (
            f"A container of an image with {len(FILES)} files in /srv/shelf has run, and says: "
            f"“{said}”. Do not believe it. Which file of the image is different in the container? "
            "Set `exercise.found` to its path. The container has ended, but is still there: "
            "`exercise.container`."
        )

    def judge(self) -> Verdict:
        """Ask the engine what the container's layer holds."""
        if self.found is None:
            return Verdict(False, "`exercise.found` is None: no file is named yet.")
        told: list[dict[str, Any]] = self.container.diff() or []
        kinds: dict[str, int] = {each["Path"]: each["Kind"] for each in told}
        folders = {path for path in kinds if any(other.startswith(f"{path}/") for other in kinds)}
        if self.found in folders:
            return Verdict(False, f"`{self.found}` is a folder: something in it is different.")
        if self.found not in kinds:
            return Verdict(
                False,
                f"the container's own layer knows nothing of `{self.found}`: it is as it was.",
            )
        if word := {1: "added", 2: "deleted"}.get(kinds[self.found]):
            return Verdict(False, f"`{self.found}` was {word}, not changed.")
        return Verdict(True, f"`{self.found}` lies in the container's own layer, changed.")

    def answer(self) -> str:
        """One way to do it."""
        return (
            "changed = [each['Path'] for each in exercise.container.diff() if each['Kind'] == 0]\n"
            "exercise.found = max(changed, key=len)"
        )


class NotRoot(_OnABench):
    """Have a service run as an ordinary user, and still be able to write."""

    name = "09.3"
    image = "service"
    hints = (
        "USER says who runs all that follows, RUN as well, and the program in the end. A folder "
        "that root made belongs to root.",
        "Before USER: RUN chown NUMBER /srv/FOLDER. Or create nothing as root: COPY knows "
        "--chown=NUMBER. Then USER NUMBER.",
    )

    def begin(self) -> None:
        """Choose user and folder."""
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
        """The task, with user and folder."""
        return (
            "The Dockerfile `exercise.dockerfile` makes a service that runs as root. Build one "
            f"on `exercise.bench`, called `service`, in which it runs as user {self.user}, says "
            f"“ready”, and has written the file /srv/{self.folder}/state."
        )

    def judge(self) -> Verdict:
        """Run it; ask who its first process is, and whose the file."""
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
                return Verdict(False, f"the file state there is not user {first}'s: {owner}.")
            return Verdict(True, f"PID 1 is user {first}'s, and so is the file that it wrote.")
        finally:
            self.bench.remove(container)

    def _complaint(self, first: str) -> str:
        told = self.bench.image("service").attrs["Config"].get("User") or ""
        if not told:
            return f"PID 1 runs as user {first}: the image's configuration names no user."
        return f"PID 1 runs as user {first} (the image says User: {told!r}), not {self.user}."

    def answer(self) -> str:
        """One way to do it."""
        return (
            "exercise.bench.build('''\n"
            "FROM labsupport/busybox\n"
            "COPY service /usr/local/bin/\n"
            f"RUN mkdir /srv && mkdir /srv/{self.folder} && chown {self.user} /srv/{self.folder}\n"
            f"USER {self.user}\n"
            'CMD ["service"]\n'
            "''', \"service\")"
        )


def _stat(container: Container, path: str) -> str:
    """Whose a file is, or a process by its folder in /proc, asked as root within the container."""
    output: Any = container.exec_run(["stat", "-c", "%u", path], user="0").output
    return str(output.decode()).strip()


EXERCISES: dict[str, type[Exercise]] = {each.name: each for each in (Greeter, Changed, NotRoot)}
