"""The exercises of notebook 03, file systems."""

from __future__ import annotations

from labsupport.course.exercises import Exercise, Verdict
from labsupport.linux.drives import Drive
from labsupport.linux.mounts import Mount, MountTable, mounts
from labsupport.linux.propagation import SETTINGS, copied_mounts
from labsupport.linux.rootfs import SmallRoot
from labsupport.linux.sandbox import Sandbox

NAMES = ("archive", "backup", "letters", "music", "papers", "photos")
COLOURS = ("red", "green", "blue")


class _InASandbox(Exercise):
    """What the three have in common: a sandbox with a small root, `exercise.box`."""

    def begin(self) -> None:
        """Make the sandbox, with the folders of all variants, and an init in it."""
        self.root = SmallRoot(f"srv/{name}" for name in NAMES)
        self.box = Sandbox(rootfs=self.root).open()
        _ = self.box.pid  # PID 1 is there to stay, and so is its /proc

    def stop(self) -> None:
        """Close the sandbox and remove its root."""
        super().stop()
        if hasattr(self, "root"):
            self.root.close()

    def inside(self, *argv: str) -> str:
        """Run a program in the sandbox and return what it printed."""
        return self.box.run(argv).stdout


class TwiceReadOnly(_InASandbox):
    """Bind a drive to two places more, read-only."""

    name = "03.1"
    hints = (
        'exercise.box.run(["mount", "--bind", FROM, TO]) shows a folder at a second place. '
        "mounts(of=exercise.box).at(PATH) tells what is there.",
        "The kernel takes “read-only” in a second step: mount -o remount,bind,ro TO. "
        "Without `bind` it would be the whole file system, /data included.",
    )

    def begin(self) -> None:
        """Mount a drive at /data; choose two folders."""
        super().begin()
        self.drive = Drive("Drive_C")
        self.drive.mount(self.box, "/data")
        self.places = [f"/srv/{name}" for name in sorted(self.random.sample(NAMES, 2))]

    def stop(self) -> None:
        """Give the drive back, too."""
        super().stop()
        if hasattr(self, "drive"):
            self.drive.close()

    def task(self) -> str:
        """The task, with the two folders."""
        one, two = self.places
        return (
            f"In `exercise.box` a drive is mounted at `/data`. Make `{one}` and `{two}` show the "
            "same file system, read-only. At `/data` itself it must stay writable."
        )

    def look(self) -> Verdict:
        """Read the sandbox's mount table."""
        table = mounts(of=self.box)
        there = table.visible()
        if "/data" not in there:
            return Verdict(False, "nothing is mounted at `/data` any more. Start again with "
                                  "exercise.start().")  # fmt: skip
        data = there["/data"]
        if data.read_only:
            return Verdict(False, "`/data` has become read-only, too: see the second hint, and "
                                  "start again with exercise.start().")  # fmt: skip
        for place in self.places:
            if why := _wrong(there.get(place), data):
                return Verdict(False, f"`{place}`: {why}")
        return Verdict(
            True,
            f"file system {data.device} is at `/data` read-write, and read-only at "
            f"`{self.places[0]}` and `{self.places[1]}`.",
        )

    def answer(self) -> str:
        """One way to do it."""
        return (
            f"for place in {self.places}:\n"
            '    exercise.box.run(["mount", "--bind", "/data", place])\n'
            '    exercise.box.run(["mount", "-o", "remount,bind,ro", place])'
        )


def _wrong(found: Mount | None, data: Mount) -> str:
    if found is None:
        return "nothing is mounted there."
    if found.what != data.what:
        return f"{found.fstype} {found.source} ({found.device}) is there, not {data.device}."
    return "" if found.read_only else "it is the right file system, but read-write."


class Uncover(_InASandbox):
    """Find what hides a file, and take it away."""

    name = "03.2"
    hints = (
        "A mount over a folder hides what was in the folder. mounts(of=exercise.box) lists all "
        "mounts; a later line at the same point lies over an earlier one.",
        "unmount(exercise.box, PATH) takes off what lies on top. Do it until "
        "mounts(of=exercise.box).holding(PATH).point is /srv.",
    )

    def begin(self) -> None:
        """Put a letter into each folder, and mounts over some of them."""
        super().begin()
        self.inside("mount", "-t", "tmpfs", "desk", "/srv")
        self.inside("mkdir", *(f"/srv/{name}" for name in NAMES))
        self.wanted, *others = self.random.sample(NAMES, 3)
        self.path = f"/srv/{self.wanted}/letter.txt"
        self.word = f"number {self.random.randrange(1000, 10_000)}"
        self.box.run(["tee", self.path], input=f"This is letter {self.word}.\n")
        layers = [self.wanted] * self.random.choice([1, 2]) + others
        for number, name in enumerate(layers, 1):
            self.inside("mount", "-t", "tmpfs", f"sheet_{number}", f"/srv/{name}")
        points = [f"/srv/{name}" for name in others]
        self.others = {point: mounts(of=self.box).at(point).id for point in points}

    def task(self) -> str:
        """The task, with the file."""
        return (
            f"In `exercise.box` there is a file `{self.path}`, but nobody sees it: something is "
            "mounted over it. Uncover it, and leave all other mounts as they are."
        )

    def look(self) -> Verdict:
        """See what the path lies on, whether the file can be read, and what became of the rest."""
        table = mounts(of=self.box)
        there = table.visible()
        gone = [p for p, number in self.others.items() if p not in there or there[p].id != number]
        if gone or "/srv" not in there:
            return Verdict(False, f"another mount has gone: {', '.join(gone) or '/srv'}. Start "
                                  "again with exercise.start().")  # fmt: skip
        over = table.holding(self.path)
        if over.point != "/srv":
            return Verdict(
                False, f"`{self.path}` is hidden by {over.fstype} {over.source} at `{over.point}`."
            )
        text = self.inside("cat", self.path)
        if self.word not in text:
            return Verdict(False, f"`{self.path}` lies open, but the letter is not in it.")
        return Verdict(True, f"`{self.path}` can be read: {text.strip()}")

    def answer(self) -> str:
        """One way to do it."""
        return (
            "from labsupport import mounts, unmount\n\n"
            f'path = "{self.path}"\n'
            'while mounts(of=exercise.box).holding(path).point != "/srv":\n'
            "    unmount(exercise.box, mounts(of=exercise.box).holding(path).point)"
        )


class Spread(_InASandbox):
    """Make a mount appear in some namespaces and not in others."""

    name = "03.3"
    hints = (
        'mounts(of=exercise.copies["red"].pid).at("/mnt") shows how that copy is set: shared, '
        "slave or private.",
        'run_in(exercise.box, exercise.copies["red"], ["mount", "-t", "tmpfs", "mine", PATH]) '
        "mounts in a copy, exercise.box.run([...]) in the original. From a slave or a private copy "
        "nothing spreads; what is made in the original spreads to shared and slave copies.",
    )

    def begin(self) -> None:
        """Make three copies of the sandbox's mount namespace, each with another propagation."""
        super().begin()
        self.inside("mount", "-t", "tmpfs", "base", "/mnt")
        self.inside("mount", "--make-shared", "/mnt")
        self.path = f"/mnt/{self.random.choice(NAMES)}"
        self.inside("mkdir", self.path)
        settings = self.random.sample(SETTINGS, 3)
        self.settings = dict(zip(COLOURS, settings, strict=True))
        self.copies = {name: copied_mounts(self.box, self.settings[name]) for name in COLOURS}
        name_of = {setting: name for name, setting in self.settings.items()}
        everywhere = {"the original", name_of["shared"], name_of["slave"]}
        self.wanted = self.random.choice([everywhere, {name_of["slave"]}, {name_of["private"]}])

    def task(self) -> str:
        """The task, with the place and the tables."""
        return (
            "`exercise.copies` holds three processes, red, green and blue, each in a copy of the "
            "mount namespace of `exercise.box` (the original). With one single mount, have a tmpfs "
            f"at `{self.path}` in exactly these tables: {_listed(self.wanted)}."
        )

    def look(self) -> Verdict:
        """Read all four tables."""
        tables = {"the original": mounts(of=self.box)}
        tables |= {name: mounts(of=process.pid) for name, process in self.copies.items()}
        found = {name: there for name, table in tables.items() if (there := self._mount(table))}
        saw = f"`{self.path}` is mounted in: {_listed(set(found))}"
        if set(found) != self.wanted:
            return Verdict(False, f"{saw}. It should be: {_listed(self.wanted)}.")
        if len({mount.device for mount in found.values()}) > 1:
            return Verdict(False, f"{saw}, but these are several mounts of different file systems.")
        return Verdict(True, f"{saw}, and it is one file system.")

    def _mount(self, table: MountTable) -> Mount | None:
        return table.visible().get(self.path)

    def answer(self) -> str:
        """One way to do it."""
        argv = f'["mount", "-t", "tmpfs", "mine", "{self.path}"]'
        if "the original" in self.wanted:
            return f"exercise.box.run({argv})"
        (name,) = self.wanted
        return (
            "from labsupport import run_in\n\n"
            f'run_in(exercise.box, exercise.copies["{name}"], {argv})'
        )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none of them"


EXERCISES: dict[str, type[Exercise]] = {
    each.name: each for each in (TwiceReadOnly, Uncover, Spread)
}
