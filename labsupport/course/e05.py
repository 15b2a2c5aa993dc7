"""The exercises of notebook 05, more namespaces."""

from __future__ import annotations

import os
import subprocess

from labsupport import ownership
from labsupport.course.exercises import Exercise, Verdict
from labsupport.linux.folders import FolderOf
from labsupport.linux.ids import IdMap, uid_map
from labsupport.linux.namespaces import keepers, namespace
from labsupport.linux.process import Process
from labsupport.linux.procfs import namespaces, processes
from labsupport.linux.sandbox import Sandbox

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
        """Start five programs, each with a host name and a network of its own."""
        names = self.random.sample(NAMES, 5)
        self.uts, self.net = names[:2]
        self.seconds = self.random.randrange(20_000, 30_000)
        self.box = Sandbox(new={"uts"}).open()
        start = ["unshare", "--uts", "--net", "sh", "-c", SET_NAME]
        found = {name: self.box.start([*start, name]) for name in sorted(names)}
        for program in found.values():
            program.expect("ready")
        self.programs: dict[str, Process] = found

    def task(self) -> str:
        """The task, with the two names."""
        return (
            "In exercise.box five programs run, each with a host name and a network of its own: "
            f"exercise.programs has them by name. Have `sleep {self.seconds}` run with the host "
            f"name of {self.uts}, but with the network of {self.net}."
        )

    def look(self) -> Verdict:
        """See which namespaces the program is in, and whose they are."""
        command = f"sleep {self.seconds}"
        found = [process for process in processes() if process.command == command]
        if not found:
            return Verdict(False, f"no process runs `{command}`.")
        theirs = found[0].namespaces
        whose = {kind: self._whose(kind, theirs[kind]) for kind in ("uts", "net")}
        saw = f"`{command}` has the host name of {whose['uts']} and the network of {whose['net']}."
        return Verdict(whose == {"uts": self.uts, "net": self.net}, saw)

    def _whose(self, kind: str, inode: int) -> str:
        for name, program in self.programs.items():
            if program.returncode is None and namespaces(program.pid)[kind] == inode:
                return name
        if namespaces()[kind] == inode:
            return "the notebook"
        return "its sandbox" if namespaces(self.box.pid)[kind] == inode else "somebody else"

    def answer(self) -> str:
        """One way to do it."""
        return (
            "uts, net = (exercise.programs[name].pid "
            f"for name in ({self.uts!r}, {self.net!r}))\n"
            'exercise.box.start(["nsenter", f"--uts=/proc/{uts}/ns/uts", '
            f'f"--net=/proc/{{net}}/ns/net", "sleep", "{self.seconds}"])'
        )


class WriteTheMap(Exercise):
    """Write a user map, and see whose a file is."""

    name = "05.2"
    hints = (
        "The map is the file /proc/PID/uid_map, here of the process exercise.pid. You write it "
        "from outside, with Path(…).write_text(…), and only once.",
        "A line of it has three numbers: the first number inside, the first number outside, and "
        "how many. Here it is only one user.",
    )

    def begin(self) -> None:
        """Start a program in a user namespace without a map; it waits to make a file."""
        self.inside = self.random.randrange(1_000, 9_000)
        self.outside = os.geteuid() or self.random.randrange(20_000, 50_000)
        self._folder = FolderOf(self.outside)
        self.file = self._folder.path / "file"
        # it waits for a line, and ends when we do; --keep-caps: it may change its number
        script = 'echo ready; read line && exec setpriv --reuid="$0" touch "$1"'
        argv = ["unshare", "--user", "--keep-caps", "sh", "-c", script, str(self.inside)]
        self._waiting = subprocess.Popen(
            [*argv, str(self.file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, ownership.VARIABLE: ownership.mark()},
        )  # fmt: skip
        assert self._waiting.stdout  # noqa: S101 (for the type checker)
        self._waiting.stdout.readline()
        self.pid = self._waiting.pid

    def stop(self) -> None:
        """End the program, and remove the file."""
        super().stop()
        if hasattr(self, "_waiting"):
            with self._waiting as waiting:  # closes its pipes, and waits for it
                waiting.kill()
            self._folder.close()

    def task(self) -> str:
        """The task, with the two numbers."""
        return (
            f"Process {self.pid} (exercise.pid) lives in a new user namespace whose uid_map is "
            f"still empty. Write it so that user {self.inside} inside is user {self.outside} "
            "outside. The check then lets the process become that user and make a file, and looks "
            "whose it is. (A map can be written only once; exercise.start() begins anew.)"
        )

    def look(self) -> Verdict:
        """Read the map; if it is the right one, have the file made and see whose it is."""
        if not self.file.exists():
            found: IdMap = uid_map(self.pid)
            if not found.lines:
                return Verdict(False, f"the uid_map of process {self.pid} is empty.")
            if found.outside(self.inside) != self.outside:
                return Verdict(False, f"by the map, {str(found).strip('<>')}. A map can be written "
                                      "only once: begin anew with exercise.start().")  # fmt: skip
            self._make_the_file()
        if not self.file.exists():
            return Verdict(False, "the process could not make its file.")
        owner = self.file.stat().st_uid
        saw = f"user {self.inside} inside made a file, and here it belongs to user {owner}."
        return Verdict(owner == self.outside, saw)

    def _make_the_file(self) -> None:
        if self._waiting.stdin and not self._waiting.stdin.closed:
            self._waiting.stdin.write("go\n")
            self._waiting.stdin.close()
            self._waiting.wait(timeout=20)

    def answer(self) -> str:
        """One way to do it."""
        return (
            "from pathlib import Path\n\n"
            'Path(f"/proc/{exercise.pid}/uid_map")'
            f'.write_text("{self.inside} {self.outside} 1")'
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
        """Start a program in a UTS namespace of its own."""
        self.hostname = f"{self.random.choice(NAMES)}-{self.random.randrange(100, 1000)}"
        self.box = Sandbox(new={"uts"}).open()
        start = ["unshare", "--uts", "sh", "-c", SET_NAME, self.hostname]
        self.program = self.box.start(start)
        self.program.expect("ready")
        made = namespace("uts", of=self.program.pid)
        self.inode, self.ns_id = made.inode, made.ns_id

    def task(self) -> str:
        """The task, with the namespace's number."""
        return (
            f"exercise.program is the only process in the UTS namespace {self.inode}, where the "
            f"host name is {self.hostname}. End the program, and yet keep the namespace."
        )

    def look(self) -> Verdict:
        """See what keeps the namespace."""
        found = keepers("uts", self.inode, self.ns_id)
        saw = f"UTS namespace {self.inode} is {str(found).strip('<>')}."
        if not found:
            return Verdict(False, f"{saw} It is gone, and its host name with it. Begin anew with "
                                  "exercise.start().")  # fmt: skip
        return Verdict(not found.processes, saw)

    def answer(self) -> str:
        """One way to do it."""
        return (
            "import os\n\n"
            'kept = os.open(f"/proc/{exercise.program.pid}/ns/uts", os.O_RDONLY)\n'
            "exercise.program.signal(9)\n"
            "exercise.program.wait()"
        )


EXERCISES: dict[str, type[Exercise]] = {
    each.name: each for each in (NameOfOneNetworkOfAnother, WriteTheMap, KeepWithoutAProcess)
}
