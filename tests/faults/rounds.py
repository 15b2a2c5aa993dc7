"""One round of the fault kit: `python -m tests.faults.rounds SEED EXPERIMENT FAULT` prints JSON.

An experiment runs in a Python of its own; at a random moment something of ours is killed, stopped,
taken away, full or short. Then the next start sweeps, and what is left of ours is counted. As root,
the round has mounts and a network of its own, so what other programs do is not counted.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from labsupport.kernel import proc, syscalls
from labsupport.ownership import marks
from tests import census
from tests.faults.experiments import EXPERIMENTS

ROOM = "size=300M"
FEW_FILES, FEW_PROCESSES = (12, 60), (0, 12)
BEGIN_SECONDS, SWEEP_SECONDS, LAST_SECONDS = 60, 60, 5
END_SECONDS = 200  # the Docker SDK waits a minute for each of its answers
SWEEP = "import sys; from labsupport.ownership import marks; sys.exit(marks.main([]))"


class Round:
    """What happens in one round; `seen` is what came of it."""

    def __init__(self, seed: str, experiment: str, fault: str) -> None:
        self.random = random.Random(seed)
        self.experiment, self.fault = EXPERIMENTS[experiment], fault
        self.seen: dict[str, Any] = {"experiment": experiment, "fault": fault, "hurt": ""}
        self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
        self.mark = "nobody yet"

    def run(self) -> dict[str, Any]:
        """Start the experiment, hurt it, sweep, and count."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # whatever is orphaned becomes our child
        if os.geteuid() == 0:
            syscalls.mount("none", str(self.folder), "tmpfs", 0, ROOM)
        try:
            return self._run()
        finally:
            self._end_all()

    def _run(self) -> dict[str, Any]:
        before = self.count()
        with tempfile.TemporaryFile("w+b") as self.log:
            self._start()
            self._hurt()
            self._await_end()
            self._sweep()
            self.log.seek(0)
            self.seen["said"] = self.log.read().decode(errors="replace")[-4000:]
        until = time.monotonic() + LAST_SECONDS
        while (left := self._left(before)) and time.monotonic() < until:
            time.sleep(0.05)
        return {**self.seen, "left": left}

    def _start(self) -> None:
        argv = [sys.executable, "-c", self.experiment.program]
        if self.fault == "few files":
            argv = ["prlimit", f"--nofile={self.random.randint(*FEW_FILES)}", *argv]
        self.python = subprocess.Popen(
            argv, env={**os.environ, "TMPDIR": str(self.folder)}, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        self.mark = marks.mark(self.python.pid)
        until = time.monotonic() + BEGIN_SECONDS
        while self.python.poll() is None and not os.pread(self.log.fileno(), 6, 0):
            assert time.monotonic() < until, "it does not begin"
            time.sleep(0.002)

    def _hurt(self) -> None:
        self.seen["after"] = self.random.uniform(0, self.experiment.seconds)
        with suppress(subprocess.TimeoutExpired):
            self.python.wait(self.seen["after"])
        with suppress(ProcessLookupError, FileNotFoundError):  # it was faster
            FAULTS[self.fault](self)

    def helper(self) -> int:
        """Choose one of the processes that the experiment has started."""
        until = time.monotonic() + LAST_SECONDS
        while not (found := sorted(census.descendants(self.python.pid) - {self.python.pid})):
            if self.python.poll() is not None or time.monotonic() > until:
                raise ProcessLookupError
        chosen = self.random.choice(found)
        words = proc.read(chosen, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        self.seen["hurt"] = words[-60:].strip() or proc.text(proc.read(chosen, "comm")).strip()
        return chosen

    def _await_end(self) -> None:
        try:
            self.seen["status"] = self.python.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.seen["status"] = "hangs"
            self.python.kill()
            self.python.wait()

    def _sweep(self) -> None:
        """Give back what was taken, and let the next start find what is left."""
        if os.geteuid() == 0:
            writable(self, True)
        (self.folder / "filler").unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", SWEEP], env={**os.environ, "TMPDIR": str(self.folder)},
            capture_output=True, text=True, timeout=SWEEP_SECONDS, check=False,
        )  # fmt: skip
        self.seen["swept"] = done.stdout + done.stderr
        self.seen["sweep failed"] = done.returncode

    def count(self) -> dict[str, set[str]]:
        """Count what there is of ours, by kind."""
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        mine = census.descendants(os.getpid()) - {os.getpid()}
        found = {
            "processes": {_words(pid) for pid in mine},
            "files": {path.name for path in self.folder.iterdir()},
            "loop devices": set(census.loop_devices(self.folder)),
            "cgroups": set(map(str, census.cgroups(self.mark.replace(":", "-")))),
        }
        if os.geteuid() == 0:  # in namespaces of its own
            found["mounts"] = set(proc.mount_lines())
            found["links"] = set(os.listdir("/sys/class/net"))
            found["sockets"] = set(_sockets())
        return found

    def _left(self, before: dict[str, set[str]]) -> dict[str, list[str]]:
        now = self.count()
        return {kind: sorted(now[kind] - before[kind]) for kind in now if now[kind] - before[kind]}

    def _end_all(self) -> None:
        """Let this round's leak not be the next one's: our own children and our own folder only."""
        for pid in census.descendants(os.getpid()) - {os.getpid()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if os.geteuid() == 0:
            syscalls.umount2(str(self.folder), syscalls.MNT_DETACH)
        shutil.rmtree(self.folder)


def _words(pid: int) -> str:
    with suppress(*proc.OURS_NO_MORE):
        return f"{proc.text(proc.read(pid, 'cmdline'))[:120]} {proc.stat(pid)[0]}"
    return ""


def _sockets() -> list[str]:
    """Who listens: TCP by address, Unix by path."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    bound = [row[7] for row in unix if len(row) > 7 and row[3] == "00010000"]
    return [row[1] for row in rows if row[3] == "0A"] + bound


# --- the faults ----------------------------------------------------------------------------------


def kill_python(of: Round) -> None:
    of.python.kill()


def interrupt(of: Round) -> None:
    of.python.send_signal(signal.SIGINT)


def kill_helper(of: Round) -> None:
    os.kill(of.helper(), signal.SIGKILL)


def stop_helper(of: Round) -> None:
    """Stop it, and let it go on."""
    helper = of.helper()
    os.kill(helper, signal.SIGSTOP)
    time.sleep(of.random.uniform(0.1, 1.5))
    os.kill(helper, signal.SIGCONT)


def stop_helper_and_kill(of: Round) -> None:
    """Stop it for good, and kill Python. A tool that runs for a moment has no mark, and goes on."""
    helper = of.helper()
    os.kill(helper, signal.SIGSTOP)
    until = time.monotonic() + LAST_SECONDS
    while proc.stat(helper)[0] not in "TZX" and time.monotonic() < until:
        time.sleep(0.001)  # before its `exec` it has its parent's mark, and in it none to be read
    if not _is_marked(helper):
        os.kill(helper, signal.SIGCONT)
    of.python.kill()


def _is_marked(pid: int) -> bool:
    with suppress(PermissionError):  # a set-user-ID program
        return bool(marks._owner_of(pid))
    return False


def stop_python_and_kill(of: Round) -> None:
    of.python.send_signal(signal.SIGSTOP)
    time.sleep(of.random.uniform(0, 0.5))
    of.python.kill()


def kill_both(of: Round) -> None:
    """Kill Python and one of its helpers."""
    helper = of.helper()
    of.python.kill()
    os.kill(helper, signal.SIGKILL)


def writable(of: Round, really: bool = False) -> None:
    """Make the run folder read-only, or writable again; where it is being written to, nothing."""
    how = f"remount,bind,{'rw' if really else 'ro'}"
    subprocess.run(["mount", "-o", how, of.folder], capture_output=True, check=False)


def gone(of: Round) -> None:
    for folder in of.folder.iterdir():
        shutil.rmtree(folder, ignore_errors=True)


def full(of: Round) -> None:
    with suppress(OSError), (of.folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 20)):
            pass


def few_processes(of: Round) -> None:
    """Let this user have hardly more processes than there are."""
    mine = sum(1 for pid in proc.pids() if Path(f"/proc/{pid}").stat().st_uid == os.geteuid())
    most = mine + of.random.randint(*FEW_PROCESSES)
    resource.prlimit(of.python.pid, resource.RLIMIT_NPROC, (most, most))


FAULTS = {
    "Python killed": kill_python,
    "interrupt": interrupt,
    "helper killed": kill_helper,
    "helper stopped, goes on": stop_helper,
    "helper stopped, Python killed": stop_helper_and_kill,
    "Python stopped, then killed": stop_python_and_kill,
    "both killed": kill_both,
    "read-only folder": writable,
    "folder gone": gone,
    "folder full": full,
    "few files": lambda _round: None,  # from its beginning
    "few processes": few_processes,
}
"""Each is called at the random moment."""
TAKES_ROOT = {"read-only folder", "folder full"}
TAKES_A_USER = {"few processes"}  # root has no such limit


def faults() -> list[str]:
    """Name those that can be made here."""
    return sorted(FAULTS.keys() - (TAKES_A_USER if os.geteuid() == 0 else TAKES_ROOT))


if __name__ == "__main__":
    print(json.dumps(Round(*sys.argv[1:]).run()))
