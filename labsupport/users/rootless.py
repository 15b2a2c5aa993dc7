"""A container that an ordinary user runs, without any help from root.

A real OCI runtime (runc, which Docker uses, too) is run in a `Sandbox` with a user namespace of an
unprivileged user; so it ends with the notebook, as every sandbox does.
"""

import os
from typing import Self

from labsupport.engine.oci_runtime import bundle
from labsupport.errors import LabError, RuntimeMissing, TimedOut
from labsupport.kernel.procfs import processes, tries
from labsupport.ownership.marks import Opening
from labsupport.sandbox.process import Process
from labsupport.sandbox.rootfs import FolderOf, small_root
from labsupport.sandbox.sandbox import Sandbox

PROGRAM = ("sleep", "86400")
PATIENCE = 30.0  # seconds; runc takes 0.1, in the Lab VM half a second
UNPRIVILEGED = 60_000  # a number that Debian gives to nobody: its users end at 59,999
LIKE_RUNC = ("user", "pid", "mount", "uts", "ipc")


def ordinary_uid() -> int:
    """Yourself, if you are an ordinary user; else a number without any privileges."""
    return os.geteuid() or UNPRIVILEGED


class RootlessContainer(Opening):
    """A small root file system in a container of an ordinary user, running `sleep`.

    `pid` is its first process, on this side, `uid` the user who owns it, `runtime` what runs it:
    without an OCI runtime here it is a `Sandbox` with the same namespaces, and says so.
    """

    def __init__(self) -> None:
        self.uid = ordinary_uid()
        self.runtime = ""
        self.pid = 0
        self._root = small_root()
        self._folder = FolderOf(self.uid)
        self._box: Sandbox | None = None

    def open(self) -> Self:
        """Start it. Raises `LabError`, `TimedOut`."""
        try:
            folder, root = self._folder.path, self._root.path
            made = bundle(folder, root, PROGRAM, rootless=True, read_only=True)
        except RuntimeMissing as missing:
            self.runtime = f"a Sandbox: {missing.what}"
            self._box = Sandbox(new=LIKE_RUNC, uid=self.uid).open()
            self.pid = self._box.start(PROGRAM).pid
        else:
            self.runtime = made.runtime
            self._box = Sandbox(new={"user", "pid", "mount"}, uid=self.uid).open()
            self.pid = self._wait_for(self._box, self._box.start(made.run("rootless")))
        return self

    def _wait_for(self, box: Sandbox, runtime: Process) -> int:
        for _ in tries(PATIENCE):
            for process in processes(of=box):
                if process.command == " ".join(PROGRAM):
                    return process.pid
            if runtime.returncode is not None:
                said = (runtime.output + runtime.errors).strip()
                raise LabError(f"{self.runtime} {runtime.ending}", said)
        raise TimedOut(f"{self.runtime} did not start a container", f"it had {PATIENCE:g} seconds")

    def close(self) -> None:
        """End it and remove its files; may be called twice."""
        if self._box:
            self._box.close()
        self._root.close()
        self._folder.close()

    def __repr__(self) -> str:
        return f"<container of user {self.uid}, run by {self.runtime}: PID {self.pid}>"
