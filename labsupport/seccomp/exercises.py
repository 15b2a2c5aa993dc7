"""The exercises of notebook 07, system calls and privileges."""

from collections.abc import Iterable

from labsupport.course.exercises import Exercise, Verdict
from labsupport.kernel.capabilities import capabilities
from labsupport.kernel.procfs import processes, tries
from labsupport.sandbox.net import listening
from labsupport.sandbox.sandbox import Sandbox
from labsupport.seccomp import verdicts
from labsupport.seccomp.filter import Filter

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
BEFORE = {
    "CAP_NET_BIND_SERVICE": "",
    "CAP_SYS_CHROOT": "busybox chroot / ",
    "CAP_SYS_ADMIN": "unshare --uts ",
}
"""What a server of exercise 07.2 has before it on its command line, by what that needs."""
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
        self._program = self.random.choice(PROGRAMS)
        self._call = self.random.choice(CALLS)
        self._errno = self.random.choice(ERRNOS)
        self.program = list(self._program)
        self.filter: Filter | None = None

    def task(self) -> str:
        return (
            f"Write a filter and call it `exercise.filter`. Under it the program "
            f"`{' '.join(self._program)}` works as before; the system call `{self._call}` fails "
            f"with {self._errno}; and no more than {MOST_ALLOWED} system calls are allowed in all. "
            "(`exercise.program` holds the program.)"
        )

    def look(self) -> Verdict:
        if self.filter is None:
            return Verdict(False, "`exercise.filter` is None: there is no filter yet.")
        if not isinstance(self.filter, Filter):
            return _not_a_filter(self.filter)
        tried = {t.name: t for t in verdicts.try_calls(self.filter.programs, verdicts.every_call())}
        seen = tried[self._call]
        if (seen.action, seen.errno) != ("errno", self._errno):
            said = f"fails with {seen.errno}" if seen.errno else f"gets “{seen.action}”"
            return Verdict(False, f"under the filter, `{self._call}` {said}, not {self._errno}.")
        allowed = sum(trial.action == "allow" for trial in tried.values())
        if allowed > MOST_ALLOWED:
            return Verdict(False, f"{allowed} system calls are allowed; {MOST_ALLOWED} at most.")
        with Sandbox() as free, Sandbox(filter=self.filter) as box:
            wanted, done = free.run(self._program), box.run(self._program)
        if (done.returncode, done.stdout) != (wanted.returncode, wanted.stdout):
            said = done.stderr.strip() or done.ending or "it printed something else"
            return Verdict(False, f"the program does not work under the filter: {said}")
        return Verdict(
            True,
            f"the program works, `{self._call}` fails with {self._errno}, and {allowed} of "
            f"{len(tried)} system calls are allowed.",
        )

    def answer(self) -> str:
        return (
            "from labsupport import Filter, record\n\n"
            "names = record(exercise.program).names\n"
            f'exercise.filter = Filter.allow(names, otherwise="{self._errno}")'
        )


class OneCapability(Exercise):
    """Start a server with the one capability that it needs, and no other; by commands only."""

    name = "07.2"
    hints = (
        "setpriv --bounding-set=-all COMMAND starts a command that has no capability, and "
        "--bounding-set=-all,+NAME one that has this one alone. Begin with none, and read what "
        "the command says; capabilities(7) tells what allows that.",
        "A port below 1024: net_bind_service. chroot(2): sys_chroot. unshare(2): sys_admin.",
    )

    def begin(self) -> None:
        self._needed = self.random.choice(list(BEFORE))
        low = self._needed == "CAP_NET_BIND_SERVICE"
        self._port = self.random.randrange(*((80, 1000) if low else (8000, 9000)))
        self._server = f"busybox httpd -p {self._port}"
        self.box = Sandbox(new={"pid", "mount", "net"}).open()

    def task(self) -> str:
        return (
            "The sandbox `exercise.box` has a network of its own, and in it you are root. There, "
            f"have the server `{BEFORE[self._needed]}{self._server}` run with the one capability "
            "that this command needs, and no other. No Python is needed: begin a cell with "
            "`%%shell in exercise.box`."
        )

    def look(self) -> Verdict:
        pid = self._server_pid()
        if pid is None:
            return Verdict(False, f"no process in the sandbox runs `{self._server}`.")
        found = capabilities(pid)
        has = found.effective | found.permitted | found.bounding
        if self._needed not in has:
            saw = f"the server runs, but without the capability that its command takes: {found}."
        elif extra := has - {self._needed}:
            saw = f"the server runs, but it has more than it needs: {_listed(extra)}."
        elif not any(place.endswith(f":{self._port}") for place in listening(self.box)):
            saw = f"the server runs, but does not listen at port {self._port}."
        else:
            saw = f"the server listens at port {self._port}, and {self._needed} is all that it has."
            return Verdict(True, saw)
        return Verdict(False, saw)

    def _server_pid(self) -> int | None:
        """Find the server, which may be on its way: other programs execute it in their turn."""
        for _ in tries(PATIENCE_SECONDS, 0.05):
            # in the foreground (-f), it is the same server
            there = {p.command.replace(" -f ", " "): p.pid for p in processes(of=self.box)}
            if self._server in there or not any(self._server in command for command in there):
                break
        return there.get(self._server)

    def answer(self) -> str:
        kept = self._needed.removeprefix("CAP_").lower()
        command = f"setpriv --bounding-set=-all,+{kept} {BEFORE[self._needed]}{self._server}"
        return f"%%shell in exercise.box\n{command}"


class OpenOneGate(Exercise):
    """Find who says no, and open that gate, and only that."""

    name = "07.3"
    hints = (
        "record(exercise.program).names says which call it is. who_said_no([CALL], "
        "filter=exercise.filter, keep=exercise.keep) says which gates are closed to it.",
        "exercise.filter.count() and .verdict(NAME) tell what the filter refuses; make a new one "
        "with Filter.deny([...]) without that call. exercise.keep is a set: add() the capability.",
    )

    def begin(self) -> None:
        self._call = self.random.choice(list(GATED))
        self._needed, self._program = GATED[self._call]
        shut = self.random.choice((["filter"], ["capability"], ["filter", "capability"]))
        self._refused = {"swapon", "acct", *([self._call] if "filter" in shut else ["mknod"])}
        self._caps = {"CAP_CHOWN", "CAP_KILL", *([] if "capability" in shut else [self._needed])}
        self.program = list(self._program)
        self.filter: Filter | None = Filter.deny(sorted(self._refused))
        self.keep: set[str] | None = set(self._caps)

    def task(self) -> str:
        return (
            f"In `exercise.run()`, the program `{' '.join(self._program)}` runs behind the filter "
            "`exercise.filter` and with the capabilities `exercise.keep`, and gets EPERM. Find out "
            "who says no (it may be both), and open exactly that gate: what else is refused, or "
            "missing, stays so. Change `exercise.filter` or `exercise.keep`, and check."
        )

    def run(self) -> object:
        """Run the program behind the guards as they are now; return the outcome."""
        with self._sandbox() as box:
            return box.run(self._program)

    def _sandbox(self) -> Sandbox:
        return Sandbox(new={"pid", "mount", "uts"}, filter=self.filter, keep_caps=self.keep)

    def look(self) -> Verdict:
        if not isinstance(self.filter, Filter | None):
            return _not_a_filter(self.filter)
        with self._sandbox() as box:
            done = box.run(self._program)
            found = capabilities(box.pid).effective
        programs = self.filter.programs if self.filter else ()
        tried = verdicts.try_calls(programs, verdicts.every_call())
        refused = {trial.name for trial in tried if trial.action != "allow"}
        if done.returncode:
            return Verdict(False, f"the program still fails: {done.stderr.strip()}.")
        if gone := self._refused - {self._call} - refused:
            return Verdict(False, f"the program works, but the filter has got wider: it lets "
                                  f"{_listed(gone)} pass, too.")  # fmt: skip
        if more := found - self._caps - {self._needed}:
            return Verdict(False, f"the program works, but it has got more capabilities: "
                                  f"{_listed(more)}.")  # fmt: skip
        if lost := self._caps - found:
            return Verdict(False, f"the program works, but {_listed(lost)} has been lost.")
        kept = f"{_listed(refused)} are still refused, and it has {_listed(found)}."
        return Verdict(True, f"the program works; {kept}")

    def answer(self) -> str:
        lines = []
        if self._call in self._refused:
            rest = sorted(self._refused - {self._call})
            lines += ["from labsupport import Filter\n", f"exercise.filter = Filter.deny({rest})"]
        if self._needed not in self._caps:
            lines.append(f'exercise.keep.add("{self._needed}")')
        return "\n".join(lines)


def _not_a_filter(found: object) -> Verdict:
    makers = "Filter.allow([…]) and Filter.deny([…]) make one"
    return Verdict(False, f"`exercise.filter` is {found!r:.40}, which is not a filter: {makers}.")


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
