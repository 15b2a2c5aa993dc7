"""The exercises of notebook 03, file systems."""

from collections.abc import Iterable

from labsupport.course.exercises import AGAIN, Exercise, Verdict
from labsupport.kernel.mounts import Mount, MountTable, mounts
from labsupport.mount.mounting import Drive
from labsupport.sandbox.process import Process
from labsupport.sandbox.rootfs import SmallRoot
from labsupport.sandbox.sandbox import Sandbox

NAMES = ("archive", "backup", "letters", "music", "papers", "photos")
COLOURS = ("red", "green", "blue")
ORIGINAL = "the original"


class _InASandbox(Exercise):
    """What the three have in common: a sandbox with a small root, `exercise.box`."""

    def begin(self) -> None:
        self.root = SmallRoot(f"srv/{name}" for name in NAMES)
        self.ends.callback(self.root.close)
        self.box = Sandbox(rootfs=self.root).open()
        _ = self.box.pid  # PID 1 is there to stay, and so is its /proc

    def inside(self, *argv: str) -> str:
        """Run a program in the sandbox and return what it printed."""
        return self.box.run(argv).stdout


class TwiceReadOnly(_InASandbox):
    """Bind a drive to two places more, read-only."""

    name = "03.1"
    hints = (
        "mount --bind FROM TO, in the sandbox, shows a folder at a second place. "
        "mounts(of=exercise.box).at(PATH) tells what is there.",
        "The kernel takes “read-only” in a second step: mount -o remount,bind,ro TO. "
        "Without `bind` it would be the whole file system, /data included.",
    )

    def begin(self) -> None:
        super().begin()
        self._drive = Drive("Drive_C")
        self.ends.callback(self._drive.close)
        self._drive.mount(self.box, "/data")
        self._places = [f"/srv/{name}" for name in sorted(self.random.sample(NAMES, 2))]

    def task(self) -> str:
        one, two = self._places
        return (
            f"In `exercise.box` a drive is mounted at `/data`. Make `{one}` and `{two}` show the "
            "same file system, so that nobody can write there. At `/data` itself files can be "
            "written as before. Commands are enough: `%%shell in exercise.box`."
        )

    def look(self) -> Verdict:
        there = mounts(of=self.box).visible()
        if "/data" not in there:
            return Verdict(False, f"nothing is mounted at `/data` any more. {AGAIN}")
        data = there["/data"]
        if not self._can_write("/data"):
            whole = "ro" in data.super_options
            what = "its whole file system is read-only" if whole else "this mount is read-only"
            return Verdict(False, f"no file can be written at `/data`: {what}. {AGAIN}")
        for place in self._places:
            if why := self._wrong(place, there.get(place), data):
                return Verdict(False, f"`{place}`: {why}")
        one, two = self._places
        saw = f"a file can be written at `/data`, and not at `{one}` and `{two}`"
        return Verdict(True, f"file system {data.device}: {saw}.")

    def _wrong(self, place: str, found: Mount | None, data: Mount) -> str:
        if found is None:
            return "nothing is mounted there."
        if found.what != data.what:
            return f"{found.fstype} {found.source} ({found.device}) is there, not {data.device}."
        if self._can_write(place):
            return "it is the right file system, but a file can be written there."
        return ""

    def _can_write(self, folder: str) -> bool:
        file = f"{folder}/written-by-the-check"
        return self.box.run(["sh", "-c", 'touch "$0" && rm "$0"', file]).returncode == 0

    def answer(self) -> str:
        return (
            f"for place in {self._places}:\n"
            '    exercise.box.run(["mount", "--bind", "/data", place])\n'
            '    exercise.box.run(["mount", "-o", "remount,bind,ro", place])'
        )


class Uncover(_InASandbox):
    """Find what hides a file, and take it away."""

    name = "03.2"
    hints = (
        "A mount over a folder hides what was in the folder. mounts(of=exercise.box) lists all "
        "mounts; a later line at the same point lies over an earlier one.",
        "`umount PATH`, in the sandbox, takes off what lies on top at PATH. Do it until "
        "mounts(of=exercise.box).holding(FILE).point is /srv.",
    )

    def begin(self) -> None:
        super().begin()
        self.inside("mount", "-t", "tmpfs", "desk", "/srv")
        self.inside("mkdir", *(f"/srv/{name}" for name in NAMES))
        self._folder, *others = (f"/srv/{name}" for name in self.random.sample(NAMES, 3))
        self._path = f"{self._folder}/letter.txt"
        self._word = f"number {self.random.randrange(1000, 10_000)}"
        self.box.run(["tee", self._path], input=f"This is letter {self._word}.\n")
        layers = [self._folder] * self.random.choice([1, 2]) + others
        for number, folder in enumerate(layers, 1):
            self.inside("mount", "-t", "tmpfs", f"sheet_{number}", folder)
        self._others = {mount.id for mount in self._table() if mount.point != self._folder}
        self._covers = len(self._table()) - len(self._others)

    def _table(self) -> MountTable:
        return mounts(of=self.box)

    def task(self) -> str:
        return (
            f"In `exercise.box` there is a file `{self._path}`, but nobody sees it. "
            "Find out why and uncover it; leave all other mounts as they are."
        )

    def look(self) -> Verdict:
        table = self._table()
        others = {mount.id: mount for mount in table if mount.point != self._folder}
        if new := [mount.point for number, mount in others.items() if number not in self._others]:
            return Verdict(False, f"something has been mounted: `{new[0]}`. {AGAIN}")
        if self._others - others.keys():
            return Verdict(False, f"another mount has gone. {AGAIN}")
        covers = len(table) - len(others)
        if covers:
            fewer = "less lies over it than at first, but " if covers < self._covers else ""
            return Verdict(False, f"{fewer}`{self._path}` cannot be seen yet.")
        text = self.inside("cat", self._path)
        if self._word not in text:
            return Verdict(False, f"`{self._path}` lies open, but the letter is not in it.")
        return Verdict(True, f"`{self._path}` can be read: {text.strip()}")

    def answer(self) -> str:
        return (
            "from labsupport import mounts\n\n"
            f'while mounts(of=exercise.box).holding("{self._path}").point == "{self._folder}":\n'
            f'    exercise.box.run(["umount", "{self._folder}"])'
        )


class Spread(_InASandbox):
    """Set three copies of a mount namespace so that mounts spread as they should."""

    name = "03.3"
    hints = (
        "`nsenter -t NUMBER -m COMMAND`, in the sandbox, runs a command in the mount namespace of "
        "a copy; `mount --make-slave /mnt`, `--make-private` and `--make-shared` set how a mount "
        "spreads.",
        "A shared copy hears the original and is heard by it; a slave only hears; a private copy "
        "neither hears nor is heard.",
    )

    def begin(self) -> None:
        super().begin()
        self._path = f"/mnt/{self.random.choice(NAMES)}"
        self.inside("mount", "-t", "tmpfs", "base", "/mnt")
        self.inside("mount", "--make-shared", "/mnt")
        self.inside("mkdir", self._path)
        self._copies = {name: _in_a_copy(self.box) for name in COLOURS}
        self._speaks, self._listens, self._deaf = self.random.sample(COLOURS, 3)

    def task(self) -> str:
        numbers = ", ".join(f"{name} ({each.pids[-1]})" for name, each in self._copies.items())
        return (
            "Three processes of `exercise.box` live in copies of its mount namespace: "
            f"{numbers}; the numbers are their PIDs in there. All copies keep in step with the "
            f"original. Change how `/mnt` spreads: what is mounted below it in the original shows "
            f"in {self._speaks} and {self._listens}, but not in {self._deaf}. What is mounted in "
            f"{self._speaks} shows in the original and in {self._listens}, too; what is mounted in "
            f"{self._listens} or {self._deaf} shows nowhere else."
        )

    def look(self) -> Verdict:
        wanted = {
            ORIGINAL: {ORIGINAL, self._speaks, self._listens},
            self._speaks: {ORIGINAL, self._speaks, self._listens},
            self._listens: {self._listens},
            self._deaf: {self._deaf},
        }
        if gone := [name for name, each in self._copies.items() if each.returncode is not None]:
            return Verdict(False, f"{_listed(gone)} has ended. {AGAIN}")
        for side, should in wanted.items():
            found = self._shows_in(side)
            if found != should:
                saw = f"what is mounted in {side} shows in {_listed(found)}"
                return Verdict(False, f"{saw}. It should be: {_listed(should)}.")
        return Verdict(True, f"mounted once on each side at `{self._path}`: all spread as asked.")

    def _shows_in(self, side: str) -> set[str]:
        before = self._tables()
        if not self._run_in(side, "mount", "-t", "tmpfs", "probe", self._path):
            return set()
        after = self._tables()
        self._run_in(side, "umount", self._path)
        return {name for name in after if len(after[name]) > len(before[name])}

    def _tables(self) -> dict[str, MountTable]:
        copies = {name: mounts(of=process.pid) for name, process in self._copies.items()}
        return {ORIGINAL: mounts(of=self.box)} | copies

    def _run_in(self, side: str, *argv: str) -> bool:
        enter = [] if side == ORIGINAL else _enter(self._copies[side])
        return self.box.run([*enter, *argv]).returncode == 0

    def answer(self) -> str:
        lines = (
            f"exercise.box.run({[*_enter(self._copies[name]), 'mount', option, '/mnt']})"
            for name, option in ((self._listens, "--make-slave"), (self._deaf, "--make-private"))
        )
        return "\n".join(lines)


def _in_a_copy(box: Sandbox) -> Process:
    """Start a process that lives in a copy of the mount namespace, in step with it; unshare(1)."""
    wait = ["sh", "-c", "echo ready; exec sleep 3600"]
    process = box.start(["unshare", "--mount", "--propagation", "shared", *wait])
    process.expect("ready")
    return process


def _enter(process: Process) -> list[str]:
    return ["nsenter", "-t", str(process.pids[-1]), "-m"]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none of them"
