"""The exercises of notebook 05, more namespaces."""

import os
import subprocess

from labsupport.course.exercises import AGAIN, Exercise, Verdict
from labsupport.kernel.mounts import mounts
from labsupport.kernel.procfs import Extent, namespaces, processes, uid_map
from labsupport.ownership import marks
from labsupport.sandbox.process import Process
from labsupport.sandbox.rootfs import FolderOf
from labsupport.sandbox.sandbox import Sandbox
from labsupport.users.namespaces import keepers, namespace

NAMES = ("heron", "otter", "badger", "lynx", "plover", "stoat", "marten", "siskin")
SET_NAME = 'hostname "$0"; echo ready; exec sleep 7200'


class NameOfOneNetworkOfAnother(Exercise):
    """Join namespaces of two different processes."""

    name = "05.1"
    moment = 0.5  # what nsenter starts is there a little after nsenter
    hints = (
        "nsenter(1) joins a namespace for each option, and each may name another process's file: "
        "`--uts=/proc/A/ns/uts --net=/proc/B/ns/net`. exercise.programs['heron'].pid is a PID.",
        "Start it in exercise.box, where you have the right to join them: "
        "exercise.box.start(['nsenter', '--uts=/proc/…/ns/uts', '--net=/proc/…/ns/net', …]).",
    )

    def begin(self) -> None:
        names = self.random.sample(NAMES, 5)
        self._uts, self._net = names[:2]
        self.seconds = self.random.randrange(20_000, 30_000)
        self.box = Sandbox(new={"uts"}).open()
        start = ["unshare", "--uts", "--net", "sh", "-c", SET_NAME]
        found = {name: self.box.start([*start, name]) for name in sorted(names)}
        for program in found.values():
            program.expect("ready")
        self.programs: dict[str, Process] = found

    def task(self) -> str:
        return (
            "In exercise.box five programs run, each in a UTS and a network namespace of its own: "
            "exercise.programs has them by host name. Have one `sleep "
            f"{self.seconds}` run in the UTS namespace of {self._uts}, but in the network "
            f"namespace of {self._net}."
        )

    def look(self) -> Verdict:
        command = f"sleep {self.seconds}"
        found = [each for each in processes() if each.command == command]
        if not found:
            return Verdict(False, f"no process runs `{command}`.")
        whose = [
            (each.pid, [self._one(kind, each.namespaces[kind]) for kind in ("uts", "net")])
            for each in found
        ]
        saw = " ".join(
            f"`{command}` (PID {pid}) has the host name of {uts} and the network of {net}."
            for pid, (uts, net) in whose
        )
        if len(found) > 1:
            return Verdict(False, f"{saw} One was asked for: end the others with `kill PID`.")
        return Verdict(whose[0][1] == [self._uts, self._net], saw)

    def _one(self, kind: str, inode: int) -> str:
        for name, program in self.programs.items():
            if program.returncode is None and namespaces(program.pid)[kind] == inode:
                return name
        if namespaces()[kind] == inode:
            return "the notebook"
        return "its sandbox" if namespaces(self.box.pid)[kind] == inode else "somebody else"

    def answer(self) -> str:
        return (
            "uts, net = (exercise.programs[name].pid "
            f"for name in ({self._uts!r}, {self._net!r}))\n"
            'exercise.box.start(["nsenter", f"--uts=/proc/{uts}/ns/uts", '
            f'f"--net=/proc/{{net}}/ns/net", "sleep", "{self.seconds}"])'
        )


class WriteTheMap(Exercise):
    """Write a user map, and see whose a file is."""

    name = "05.2"
    hints = (
        "The map is the file /proc/PID/uid_map, here of the process exercise.pid. It is written "
        "from outside, by `echo … > /proc/PID/uid_map`, and only once.",
        "A line of it has three numbers: the first number inside, the first number outside, and "
        "how many. Here it is only one user.",
    )

    def begin(self) -> None:
        self._inside = self.random.randrange(1_000, 9_000)
        self._outside = os.geteuid() or self.random.randrange(20_000, 50_000)
        self._folder = FolderOf(self._outside)
        self.ends.callback(self._folder.close)
        # it ends when we do, with its input; --keep-caps: it may change its number
        script = (
            "echo ready; while read -r file; do "
            'setpriv --reuid="$0" touch "$file" && echo made || echo refused; done'
        )
        argv = ["unshare", "--user", "--keep-caps", "sh", "-c", script, str(self._inside)]
        pipe = subprocess.PIPE
        self._waiting = subprocess.Popen(
            argv, text=True, bufsize=1, stdin=pipe, stdout=pipe, stderr=pipe,
            env=marks.environment(),
        )  # fmt: skip
        self.ends.enter_context(self._waiting)  # at its end: closes its pipes, and waits for it
        self.ends.callback(self._waiting.kill)
        self._answer()
        self.pid = self._waiting.pid

    def _answer(self) -> str:
        assert self._waiting.stdout  # noqa: S101 (for the type checker)
        return self._waiting.stdout.readline().strip()

    def task(self) -> str:
        return (
            f"Process {self.pid} (exercise.pid) lives in a new user namespace whose uid_map is "
            f"still empty. Write it so that user {self._inside} inside is user {self._outside} "
            "outside, and nobody else is mapped. One command in a shell is enough. The check then "
            "has the process become that user and make a file, and looks whose it is. (A map can "
            "be written only once; exercise.start() gives you a new one.)"
        )

    def look(self) -> Verdict:
        if self._waiting.poll() is not None:
            return Verdict(False, f"process {self.pid} has ended. {AGAIN}")
        found = uid_map(self.pid)
        if not found.lines:
            return Verdict(False, f"the uid_map of process {self.pid} is empty.")
        if found.lines != (Extent(self._inside, self._outside, 1),):
            saw = f"by the map, {str(found).strip('<>')}. A map can be written only once."
            return Verdict(False, f"{saw} {AGAIN}")
        owner = self._owner_of_a_file()
        if owner is None:
            return Verdict(False, "the process could not make its file.")
        saw = f"user {self._inside} inside made a file, and here it belongs to user {owner}."
        return Verdict(owner == self._outside, saw)

    def _owner_of_a_file(self) -> int | None:
        """Have the process make a file of a new name."""
        file = self._folder.path / os.urandom(8).hex()
        assert self._waiting.stdin  # noqa: S101 (for the type checker)
        self._waiting.stdin.write(f"{file}\n")
        return file.stat().st_uid if self._answer() == "made" else None

    def answer(self) -> str:
        return (
            "from pathlib import Path\n\n"
            'Path(f"/proc/{exercise.pid}/uid_map")'
            f'.write_text("{self._inside} {self._outside} 1")'
        )


class KeepWithoutAProcess(Exercise):
    """Keep a namespace when nobody lives in it any more."""

    name = "05.3"
    moment = 0.5
    hints = (
        "Besides a process, an open descriptor keeps a namespace: open the file "
        "/proc/PID/ns/uts of exercise.program, before it ends.",
        "kept = os.open(f'/proc/{exercise.program.pid}/ns/uts', os.O_RDONLY), and only then end "
        "the program with exercise.program.signal(9).",
    )

    def begin(self) -> None:
        self._hostname = f"{self.random.choice(NAMES)}-{self.random.randrange(100, 1000)}"
        self.box = Sandbox(new={"uts", "mount"}).open()  # what is mounted in it ends with it
        start = ["unshare", "--uts", "sh", "-c", SET_NAME, self._hostname]
        self.program = self.box.start(start)
        self.program.expect("ready")
        self._made = namespace("uts", of=self.program.pid)

    def stop(self) -> None:
        if self._started:
            link, places = f"uts:[{self._made.inode}]", keepers(self._made).mounts
            for each in [each for each in mounts() if each.root == link and each.point in places]:
                subprocess.run(["umount", each.point], check=False)
        super().stop()

    def task(self) -> str:
        return (
            f"exercise.program is the only process in the UTS namespace {self._made.inode}, where "
            f"the host name is {self._hostname}. End the program, and yet keep the namespace, "
            "without any process in it."
        )

    def look(self) -> Verdict:
        found = keepers(self._made)
        saw = f"UTS namespace {self._made.inode} is {str(found).strip('<>')}."
        if not found:
            return Verdict(False, f"{saw} It is gone, and its host name with it. {AGAIN}")
        return Verdict(not found.processes, saw)

    def answer(self) -> str:
        return (
            "import os\n\n"
            'kept = os.open(f"/proc/{exercise.program.pid}/ns/uts", os.O_RDONLY)\n'
            "exercise.program.signal(9)\n"
            "exercise.program.wait()"
        )
