"""Entrants that run the host's own Python: a process, a virtual environment, a sandbox."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence

from labsupport.errors import ProcessGone, RuntimeFailed, TimedOut
from labsupport.linux.procfs import processes
from labsupport.linux.sandbox import Sandbox
from labsupport.race.bait import Bait
from labsupport.race.runners import APP, SECONDS, Runner

PYTHON = os.path.realpath(sys.executable)


class AsProcess(Runner):
    """An ordinary process. It ends when its input does: with us at the latest."""

    name = "process"

    def __init__(self, bait: Bait) -> None:
        super().__init__(bait)
        self.python = PYTHON
        self._process: subprocess.Popen[str] | None = None

    def _start(self, argument: str) -> str:
        # -I: without what this notebook's own environment would add
        argv = [self.python, "-I", str(APP), argument]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        return _first_line(self._process, self.name)

    def _pids(self) -> Sequence[int]:
        return [self._process.pid] if self._process else []

    def stop(self) -> None:
        if self._process:
            self._process.communicate()
            self._process = None


class InEnvironment(AsProcess):
    """A process in a virtual environment of its own, without any package yet."""

    name = "virtual environment"
    set_up_words = "python -m venv"
    disk_words = "links to the host's Python"

    def _prepare(self) -> int:
        folder = self.bait.folder / "venv"
        argv = [PYTHON, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(argv, check=True, capture_output=True)
        self.python = str(folder / "bin/python")
        # blocks of 512 bytes, stat(2); a link that lies in its inode takes none
        return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_dir())


class InSandbox(Runner):
    """Namespaces around a process: its own processes, mounts and name."""

    name = "our sandbox"
    needs = ("ns.pid", "ns.mount", "ns.uts", "ns.ipc")

    def __init__(self, bait: Bait) -> None:
        super().__init__(bait)
        self._box: Sandbox | None = None
        self._writing = -1

    def _start(self, argument: str) -> str:
        new = {"pid", "mount", "uts", "ipc"}
        self._box = Sandbox(new=new, hostname="sandbox").open()
        # the one folder that it must not see; a container's image hides all of them
        hidden = self._box.run(["mount", "-t", "tmpfs", "none", str(self.bait.folder)])
        if hidden.returncode:
            raise RuntimeFailed(f"{self.name}: the folder is not hidden", hidden.stderr[-300:])
        reading, self._writing = os.pipe()
        try:
            process = self._box.start([PYTHON, "-I", str(APP), argument], stdin=reading)
        finally:
            os.close(reading)
        try:
            process.expect("\n", timeout=SECONDS)
        except (ProcessGone, TimedOut) as error:
            raise RuntimeFailed(f"{self.name}: the app did not answer", str(error)) from error
        return process.output

    def _pids(self) -> Sequence[int]:
        return [each.pid for each in processes(of=self._box)] if self._box else []

    def stop(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1
        if self._box:
            self._box.close()
            self._box = None


def _first_line(process: subprocess.Popen[str], name: str) -> str:
    if process.stdout is None:
        raise RuntimeFailed(f"{name}: its output is not read")
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    line = process.stdout.readline() if ready else ""
    if not line:
        process.kill()
        raise RuntimeFailed(f"{name}: the app did not answer", process.communicate()[1][-300:])
    return line
