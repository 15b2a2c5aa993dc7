"""The exercises of notebook 07, system calls and privileges."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path

from labsupport.course.exercises import Exercise, Verdict
from labsupport.linux.capabilities import CapabilitySets, capabilities
from labsupport.linux.filters import attempts
from labsupport.linux.procfs import ProcessSnapshot, processes
from labsupport.linux.sandbox import Sandbox
from labsupport.linux.seccomp import Filter

WORDS = "/etc/passwd"
PROGRAMS = (["sort", "--reverse", WORDS], ["sha256sum", WORDS], ["wc", "--words", WORDS])
CALLS = ("chmod", "kill", "mkdir", "mount", "ptrace", "reboot", "socket", "unlink")
ERRNOS = ("EACCES", "EBUSY", "EPERM", "EROFS")
MOST_ALLOWED = 60
GATED = {
    "sethostname": ("CAP_SYS_ADMIN", ["busybox", "hostname", "blue"]),
    "chroot": ("CAP_SYS_CHROOT", ["busybox", "chroot", "/", "true"]),
    "unshare": ("CAP_SYS_ADMIN", ["unshare", "--ipc", "true"]),
}
"""System calls of exercise 07.3: the capability that each asks for, a program that makes it."""
LISTENING = "0A"  # the state of a socket in /proc/net/tcp
PATIENCE_SECONDS = 2


class JustWhatItNeeds(Exercise):
    """Write a filter under which a program works, and nearly nothing else is allowed."""

    name = "07.1"
    hints = (
        "record(exercise.program).names are the calls that the program makes. Filter.allow(names, "
        "otherwise=ERRNO) allows these and refuses all others.",
        "Let names be record(exercise.program).names; then exercise.filter = Filter.allow(names, "
        "otherwise=...), with the errno of the task in quotes.",
    )

    def begin(self) -> None:
        """Choose a program, a call that it does not make, and an errno."""
        self.program = self.random.choice(PROGRAMS)
        self.call = self.random.choice(CALLS)
        self.errno = self.random.choice(ERRNOS)
        self.filter: Filter | None = None

    def task(self) -> str:
        """The task, with program, call and errno."""
        return (
            f"Write a filter and call it `exercise.filter`. Under it the program "
            f"`{' '.join(self.program)}` works as ever; the system call `{self.call}` fails with "
            f"{self.errno}; and no more than {MOST_ALLOWED} system calls are allowed in all. "
            "(`exercise.program` holds the program.)"
        )

    def look(self) -> Verdict:
        """Run the program under the filter, and try every call under it."""
        if self.filter is None:
            return Verdict(False, "`exercise.filter` is None: there is no filter yet.")
        tried = {t.name: t for t in attempts.try_calls(self.filter.programs, attempts.every_call())}
        seen = tried[self.call]
        if (seen.action, seen.errno) != ("errno", self.errno):
            said = f"fails with {seen.errno}" if seen.errno else f"gets “{seen.action}”"
            return Verdict(False, f"under the filter, `{self.call}` {said}, not {self.errno}.")
        allowed = sum(trial.action == "allow" for trial in tried.values())
        if allowed > MOST_ALLOWED:
            return Verdict(False, f"{allowed} system calls are allowed; {MOST_ALLOWED} at most.")
        with Sandbox() as free, Sandbox(filter=self.filter) as box:
            wanted, done = free.run(self.program), box.run(self.program)
        if (done.returncode, done.stdout) != (wanted.returncode, wanted.stdout):
            said = done.stderr.strip() or done.ending or "it printed something else"
            return Verdict(False, f"the program does not work under the filter: {said}")
        return Verdict(
            True,
            f"the program works, `{self.call}` fails with {self.errno}, and {allowed} of "
            f"{len(tried)} system calls are allowed.",
        )

    def answer(self) -> str:
        """One way to do it."""
        return (
            "from labsupport import Filter, record\n\n"
            "names = record(exercise.program).names\n"
            f'exercise.filter = Filter.allow(names, otherwise="{self.errno}")'
        )


class OneCapability(Exercise):
    """Start a server with the one capability that it needs, and no other."""

    name = "07.2"
    hints = (
        "Start it with keep_caps=set(), without any, and read what the server says: "
        ".errors of what start() returns. capabilities(7) says which capability allows that.",
        "A port below 1024: NET_BIND_SERVICE. chroot(2): SYS_CHROOT. unshare(2): SYS_ADMIN.",
    )

    def begin(self) -> None:
        """Choose a server and a port."""
        variant = self.random.choice(("port", "chroot", "unshare"))
        self.port = (
            self.random.randrange(80, 1000)
            if variant == "port"
            else self.random.randrange(8000, 9000)
        )
        server = ["busybox", "httpd", "-f", "-p", str(self.port)]
        before: dict[str, list[str]] = {
            "chroot": ["busybox", "chroot", "/"], "unshare": ["unshare", "--uts"],
        }  # fmt: skip
        self.argv = [*before.get(variant, []), *server]
        self.needed = {
            "port": "CAP_NET_BIND_SERVICE", "chroot": "CAP_SYS_CHROOT", "unshare": "CAP_SYS_ADMIN",
        }[variant]  # fmt: skip
        self.box: Sandbox | None = None

    def task(self) -> str:
        """The task, with the command."""
        return (
            f"Have the server `{' '.join(self.argv)}` run in a sandbox with new namespaces for "
            "pid, mount and net, with the one capability that it needs, and no other. Call the "
            "sandbox `exercise.box`; `exercise.argv` holds the command."
        )

    def look(self) -> Verdict:
        """Find the server, read its capability sets, and see whether it listens."""
        if self.box is None:
            return Verdict(False, "`exercise.box` is None: there is no sandbox yet.")
        if not {"pid", "mount", "net"} <= self.box.new:
            return Verdict(False, "the sandbox lacks one of the namespaces pid, mount and net.")
        wanted = f"busybox httpd -f -p {self.port}"
        servers = self._servers(self.box, wanted)
        if not servers:
            return Verdict(False, f"no process in the sandbox runs `{wanted}`. Look at .errors of "
                                  "what start() returned.")  # fmt: skip
        found = capabilities(servers[0].pid)
        has = found.effective | found.permitted | found.bounding
        if has != {self.needed}:
            return Verdict(False, self._complaint(has, found))
        if not _listens(servers[0].pid, self.port):
            return Verdict(False, f"the server runs, but does not listen at port {self.port}.")
        return Verdict(
            True, f"the server listens at port {self.port}, and {self.needed} is all that it has."
        )

    def _servers(self, box: Sandbox, wanted: str) -> list[ProcessSnapshot]:
        """Find the server, which may be on its way: chroot and unshare execute it in their turn."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = processes(of=box)
            on_its_way = " ".join(self.argv) in {each.command for each in found} - {wanted}
            if not on_its_way or time.monotonic() > until:
                return [each for each in found if each.command == wanted]
            time.sleep(0.05)

    def _complaint(self, has: Collection[str], found: CapabilitySets) -> str:
        if self.needed not in has:
            return f"the server runs, but without the capability that its command takes: {found}."
        extra = sorted(set(has) - {self.needed})
        listed = ", ".join(extra[:4]) + (f" and {len(extra) - 4} more" if len(extra) > 4 else "")
        return f"the server runs, but it has more than it needs: {listed}."

    def answer(self) -> str:
        """One way to do it."""
        return (
            "from labsupport import Sandbox\n\n"
            'exercise.box = Sandbox(new={"pid", "mount", "net"}, '
            f'keep_caps={{"{self.needed}"}}).open()\n'
            "exercise.box.start(exercise.argv)"
        )


def _listens(pid: int, port: int) -> bool:
    """Whether somebody listens at the port in the process's network; it may have just begun."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not any(_listening(Path(f"/proc/{pid}/net/{file}"), port) for file in ("tcp", "tcp6")):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _listening(table: Path, port: int) -> bool:
    lines = table.read_text().splitlines()[1:] if table.exists() else []
    return any(
        fields[1].endswith(f":{port:04X}") and fields[3] == LISTENING
        for fields in map(str.split, lines)
    )


class OpenOneGate(Exercise):
    """Find who says no, and open that gate, and only that."""

    name = "07.3"
    hints = (
        "Both guards say EPERM, so try one at a time: run exercise.program in a Sandbox with "
        "only filter=exercise.filter, and in one with only keep_caps=exercise.keep.",
        "exercise.filter.count() and .verdict(NAME) tell what the filter refuses; make one anew "
        "with Filter.deny([...]) without that call. exercise.keep is a set: add() the capability.",
    )

    def begin(self) -> None:
        """Choose a program, what the filter refuses, and which capabilities are there."""
        self.call = self.random.choice(list(GATED))
        self.needed, self.program = GATED[self.call]
        shut = self.random.choice((["filter"], ["capability"], ["filter", "capability"]))
        self.refused = {"swapon", "acct", *([self.call] if "filter" in shut else ["mknod"])}
        self.caps = {"CAP_CHOWN", "CAP_KILL", *(() if "capability" in shut else (self.needed,))}
        self.filter: Filter | None = Filter.deny(sorted(self.refused))
        self.keep: set[str] | None = set(self.caps)

    def task(self) -> str:
        """The task, with the program."""
        return (
            f"In `exercise.run()`, the program `{' '.join(self.program)}` runs behind the filter "
            "`exercise.filter` and with the capabilities `exercise.keep`, and gets EPERM. Find out "
            "who says no (it may be both), and open exactly that gate: what else is refused, or "
            "missing, stays so. Change `exercise.filter` or `exercise.keep`, and check."
        )

    def run(self) -> object:
        """Run the program behind the guards as they are now; return what came of it."""
        with self._sandbox() as box:
            return box.run(self.program)

    def _sandbox(self) -> Sandbox:
        return Sandbox(new={"pid", "mount", "uts"}, filter=self.filter, keep_caps=self.keep)

    def look(self) -> Verdict:
        """Run the program; read the capabilities, and try every call."""
        with self._sandbox() as box:
            done = box.run(self.program)
            found = capabilities(box.pid).effective
        programs = self.filter.programs if self.filter else ()
        refused = {
            t.name
            for t in attempts.try_calls(programs, attempts.every_call())
            if t.action != "allow"
        }
        if done.returncode:
            return Verdict(False, f"the program still fails: {done.stderr.strip()}.")
        if gone := self.refused - {self.call} - refused:
            return Verdict(False, f"the program works, but the filter has got wider: it lets "
                                  f"{_listed(gone)} pass, too.")  # fmt: skip
        if more := found - self.caps - {self.needed}:
            return Verdict(False, f"the program works, but it has got more: {_listed(more)}.")
        if lost := self.caps - found:
            return Verdict(False, f"the program works, but {_listed(lost)} has been lost.")
        return Verdict(
            True,
            f"the program works; {_listed(refused)} are still refused, and it has "
            f"{_listed(found)}.",
        )

    def answer(self) -> str:
        """One way to do it."""
        lines = []
        if self.call in self.refused:
            rest = sorted(self.refused - {self.call})
            lines += ["from labsupport import Filter\n", f"exercise.filter = Filter.deny({rest})"]
        if self.needed not in self.caps:
            lines.append(f'exercise.keep.add("{self.needed}")')
        return "\n".join(lines)


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")


EXERCISES: dict[str, type[Exercise]] = {
    each.name: each for each in (JustWhatItNeeds, OneCapability, OpenOneGate)
}
