"""A program in new namespaces, from Python; the notebook's own process never moves.

A `Sandbox` is a set of namespaces, held open from `open()` to `close()`, or for a `with` block.
Programs are put into it by the helper processes of `labsupport.sandbox.holder`. As in a container,
the first program is PID 1 of its own PID namespace, and programs that are started while it runs
join it there.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from labsupport import trace
from labsupport.errors import LabError, NamespaceRefused, mistaken
from labsupport.kernel.capabilities import capability_mask
from labsupport.kernel.procfs import KINDS, kinds
from labsupport.ownership import marks
from labsupport.ownership.marks import Opening
from labsupport.sandbox import launch as launching
from labsupport.sandbox.launch import Launch, explain, spawn
from labsupport.sandbox.process import Process
from labsupport.trace import Completed

if TYPE_CHECKING:
    from labsupport.sandbox.net import Net

HOST_NAME_MAX = 64  # bytes; sethostname(2)
NO_USER = (1 << 32) - 1  # setresuid(2) takes it for "leave it as it is"
FOR_OTHERS = ("PATH", "LANG", "LC_ALL", "PAGER")
"""What tells another user how to find and show things; the rest may be root's secrets."""

Words = str | Sequence[str | float | os.PathLike[str]]
"""A program and its arguments (numbers are written out); a text is a line for a shell."""


def check_options(
    new: set[str], rootfs: str | os.PathLike[str] | None, hostname: str | None, uid: int | None
) -> None:
    """Refuse what cannot be, before anything is made, by `NamespaceRefused` or `LabError`.

    An option whose namespace is not among the new ones would change this machine.
    """
    options = (("rootfs", rootfs, "mount"), ("hostname", hostname, "uts"), ("uid", uid, "user"))
    for option, value, kind in options:
        if value is not None and kind not in new:
            why = "without one it would change this machine, not a sandbox"
            remedy = f'add "{kind}" to new='
            raise NamespaceRefused(f"{option}= needs a new {kind} namespace", why, remedy)
    _check_values(hostname, uid)
    if rootfs is not None and not (isinstance(rootfs, str | os.PathLike) and Path(rootfs).is_dir()):
        raise LabError(f"rootfs={rootfs!s} is not a folder", "", "small_root() makes one")
    if uid not in (None, os.geteuid()) and os.geteuid() != 0:
        why = f"you are {os.geteuid()}, and only root can become another user"
        remedy = "leave uid= out: then you are root inside"
        raise NamespaceRefused(f"uid={uid} is another user", why, remedy)


def _check_values(hostname: str | None, uid: int | None) -> None:
    """Refuse what the kernel would misunderstand: to setresuid(2), -1 means "leave it as it is"."""
    if not isinstance(hostname, str | None):
        raise mistaken(hostname, "a host name", 'hostname="web"')
    if hostname is not None and len(os.fsencode(hostname)) > HOST_NAME_MAX:
        what = f"a host name of {len(os.fsencode(hostname))} bytes is too long"
        remedy = "choose a shorter one"
        raise LabError(what, f"the kernel keeps {HOST_NAME_MAX}; sethostname(2)", remedy)
    if uid is not None and (not isinstance(uid, int) or not 0 <= uid < NO_USER):
        why = f"numbers are 0 to {NO_USER - 1}"
        remedy = f"`id -u {uid if isinstance(uid, str) else 'NAME'}` prints the number of a user"
        raise LabError(f"uid={uid!r} is not the number of a user", why, remedy)


class Group(Protocol):
    """A cgroup that programs can join: `labsupport.cgroup.group.Cgroup` is one."""

    @property
    def procs_paths(self) -> tuple[str, ...]:
        """Its `cgroup.procs` files: one, or one for each hierarchy of version 1."""


class Programs(Protocol):
    """Seccomp filters to load: `labsupport.seccomp.filter.Filter` is one."""

    @property
    def programs(self) -> tuple[bytes, ...]:
        """Arrays of `struct sock_filter`, in the order of loading."""


@dataclass(frozen=True)
class Confinement:
    """What holds programs besides namespaces: a cgroup, filters, the only capabilities to keep."""

    cgroup: Group | None = None
    filter: Programs | None = None
    keep_caps: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.cgroup is not None and not hasattr(self.cgroup, "procs_paths"):
            raise mistaken(self.cgroup, "a cgroup", 'with Cgroup(memory="64M") as group: …')
        if self.filter is not None and not hasattr(self.filter, "programs"):
            raise mistaken(self.filter, "a filter", 'filter=Filter.deny(["mkdir"])')

    def order(self) -> dict[str, Any]:
        """Return it as plain data, for the sandbox's helper processes."""
        return {
            "cgroups": self.cgroup.procs_paths if self.cgroup else (),
            "filters": self.filter.programs if self.filter else (),
            "keep_caps": None if self.keep_caps is None else capability_mask(self.keep_caps),
        }

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command that drops capabilities and runs `argv`; no tool loads filters."""
        if self.keep_caps is None:
            return list(argv)
        short = (f"+{name.lower().removeprefix('cap_')}" for name in sorted(self.keep_caps))
        kept = ",".join(["-all", *short])
        return ["setpriv", f"--bounding-set={kept}", "--inh-caps=-all", *argv]


class Sandbox(Opening):
    """New namespaces for programs; use it in a `with` statement.

    Args:
        new: the kinds of namespaces to make, such as `{"pid", "mount"}`. An ordinary user always
            gets a new user namespace as well, since the kernel allows no other without it:
            `box.new` tells; sandboxes of {"net"} alone share one. With "pid" and "mount" together,
            `/proc` inside is a fresh one.
        rootfs: a folder that becomes `/` inside, by pivot_root(2); needs "mount".
        hostname: the host name inside; needs "uts".
        uid: the user who makes the namespaces and is root inside; needs "user", and root here if it
            is somebody else. They have that number as their only group, too.
        cgroup: a `Cgroup` that the programs join before they execute.
        filter: a seccomp `Filter` that is loaded right before a program executes.
        keep_caps: names of the only capabilities that the programs have, such as `{"NET_ADMIN"}`.

    Raises `LabError`: a word in `new` is not a kind of namespace, or `rootfs` is not a folder.
    Raises `NamespaceRefused`: the kernel said no; the message says at which step, and why.

    """

    def __init__(
        self,
        new: Iterable[str] = ("pid", "mount"),
        *,
        rootfs: str | os.PathLike[str] | None = None,
        hostname: str | None = None,
        uid: int | None = None,
        cgroup: Group | None = None,
        filter: Programs | None = None,  # noqa: A002 (one of the course's fixed words)
        keep_caps: Collection[str] | None = None,
    ) -> None:
        wanted = {kind.name for kind in kinds(new)}
        # neighbours on a network: one user namespace for all, or no cable could be laid
        self._is_neighbour = not launching.may_make_namespaces() and wanted == {"net"}
        if not launching.may_make_namespaces():
            wanted.add("user")
        check_options(wanted, rootfs, hostname, uid)
        self.new = frozenset(wanted)
        self.rootfs = None if rootfs is None else str(Path(rootfs).resolve())
        self.hostname = hostname
        self.uid = None if uid == os.geteuid() else uid
        self._confinement = Confinement(cgroup, filter, keep_caps)
        self._holder_pid = 0
        self._channel: socket.socket | None = None
        self._init: Process | None = None
        self._confined: dict[str, Any] = {}
        self._steps: list[trace.Step] = []
        self._enter_calls: tuple[str, ...] = ()

    def open(self) -> Self:
        """Make the namespaces. A `with` statement does this, and `close()` at its end."""
        flags = sum(KINDS[name].flag for name in self.new)
        self._confined = self._confinement.order()
        order = {
            "flags": flags, "rootfs": self.rootfs, "hostname": self.hostname,
            "uid": self.uid, "cgroups": self._confined["cgroups"],
            "user": launching.neighbourhood() if self._is_neighbour else None,
        }  # fmt: skip
        channel, answer = launching.order_holder(order)
        if "pid" not in answer:
            channel.close()
            raise _refused(answer, self.new)
        self._channel, self._init = channel, None  # an earlier PID 1 ended with its namespaces
        self._holder_pid = answer["pid"]
        if self._is_neighbour:
            launching.found_neighbourhood(self._holder_pid)
        self._enter_calls = tuple(answer["calls"])
        return self

    def close(self) -> None:
        """End every program inside and give the namespaces back; may be called twice.

        Raises `TimedOut`: programs do not end; the message says which. They will when they can.
        """
        if self._channel is None:
            return
        channel, self._channel = self._channel, None
        if net := self.__dict__.pop("net", None):
            net.close()
        launching.await_end(channel, self._holder_pid)

    def __repr__(self) -> str:
        state = "closed" if self._channel is None else "open"
        return f"<Sandbox, new: {', '.join(sorted(self.new)) or 'nothing'}; {state}>"

    @property
    def pid(self) -> int:
        """The number, on this side, of the sandbox's PID 1.

        If no program runs yet, a tiny init that only reaps orphans is started as PID 1, as
        `docker run --init` does. Without a new PID namespace there is no PID 1: then it is the
        process that holds the namespaces.
        """
        pid = self.anchor_pid
        if pid is None:
            pid = self._started(self._launch([], None, None, None, lasting=True)).pid
        return pid

    @property
    def holder_pid(self) -> int:
        """The process that holds the namespaces; it is not one of the sandbox's programs.

        Raises `LabError`: the sandbox is closed, and that process has ended.
        """
        self._ready_channel(needs_init=False)
        return self._holder_pid

    @property
    def anchor_pid(self) -> int | None:
        """A process in all of the sandbox's namespaces: its PID 1, or None if nothing runs.

        Raises `LabError`: the sandbox is closed.
        """
        holder = self.holder_pid
        if "pid" not in self.new:
            return holder
        if self._init is None or self._init.returncode is not None:
            return None
        return self._init.pid

    def start(
        self, argv: Words, *, env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None, stdin: int | None = None,
    ) -> Process:  # fmt: skip
        """Start a program and return at once, with the program already executing.

        It is PID 1 if nothing runs in the sandbox, and joins what runs there otherwise. When such
        a PID 1 ends, the sandbox has ended. `stdin` is a file descriptor; the default is
        `/dev/null`. Output is collected, see `Process.output`.

        Raises `ProgramNotFound`: there is no such program inside.
        Raises `LabError`: the sandbox is closed, or its PID 1 has ended.
        """
        launch = self._launch(_words(argv), env, cwd, stdin, lasting=True)
        try:
            return self._started(launch)
        except BaseException:  # an interrupt: nobody would ever end it
            launch.process.signal(signal.SIGKILL)
            raise

    def run(
        self,
        argv: Words,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        input: str = "",  # noqa: A002 (subprocess.run calls it so)
        timeout: float = 60,
    ) -> Completed:
        """Run a program to its end and return what it printed, as `subprocess.run` does.

        If it was PID 1, the next program gets a PID namespace of its own, since one cannot outlive
        its PID 1; the other namespaces stay.

        A text is a line for a shell, as with `subprocess.run(..., shell=True)`.

        Raises `TimedOut`: it took longer than `timeout` seconds; it has been killed.
        Raises `ProgramNotFound` or `LabError`: as for `start`.
        """
        began = time.monotonic()
        with _file(input) as stdin:
            launch = self._launch(_words(argv), env, cwd, stdin, lasting=False)
        process = launch.process
        try:
            code = process.wait(timeout)
        except BaseException:
            process.signal(signal.SIGKILL)
            process.wait()
            raise
        finally:
            self._started(launch)
        seconds = time.monotonic() - began
        return Completed(process.argv, process.output, process.errors, code, seconds)

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket of the sandbox's network; a socket never leaves the namespace it is of.

        Raises `OSError`: the kernel does not know the family, kind or protocol.
        Raises `LabError`: the sandbox is closed, or its PID 1 has ended.
        """
        return launching.give_socket(self._ready_channel(), family, kind, protocol)

    @cached_property
    def net(self) -> Net:
        """Its network: links, addresses, routes; needs "net" in `new`."""
        from labsupport.sandbox.net import Net

        return Net(self)

    def record(self, step: trace.Step) -> None:
        """Let `shell()` show a step that somebody else took in this sandbox."""
        self._steps.append(step)

    def record_as(self, ran: str, told: str) -> None:
        """Let `shell()` show the last step with other words in it: a cell's lines as typed."""
        step = self._steps.pop()
        line = step.shell.replace(shlex.quote(ran), shlex.quote(told.strip()))
        self._steps.append(replace(step, shell=line))

    def shell(self) -> trace.Steps:
        """Show each step as a shell command, with the system calls that were really made."""
        return trace.Steps("The same in a terminal, and the system calls", tuple(self._steps))

    def _launch(
        self, words: list[str], env: Mapping[str, str] | None, cwd: str | os.PathLike[str] | None,
        stdin: int | None, *, lasting: bool,
    ) -> Launch:  # fmt: skip
        channel = self._ready_channel()
        elsewhere = self.rootfs or self.uid is not None  # others may be unable to enter our folder
        folder = os.fspath(cwd) if cwd else "/" if elsewhere else str(Path.cwd())
        variables = {**(self.environment() if env is None else env), marks.VARIABLE: marks.mark()}
        request = {
            "argv": words, "env": variables, "cwd": folder, "lenient": cwd is None, **self._confined
        }  # fmt: skip
        launch = spawn(channel, request, stdin, lasting)
        if launch.first:
            self._init = launch.process
        return launch

    def environment(self, ours: Mapping[str, str] = os.environ) -> Mapping[str, str]:
        """Return what its programs find: all of ours, or what another user may know of it."""
        if self.uid is None:
            return ours
        return {name: ours[name] for name in FOR_OTHERS if name in ours}

    def _started(self, launch: Launch) -> Process:
        """Wait until it executes, and write down what was done."""
        calls = launch.settle()
        what, argv = self._recipe(launch)
        if launch.first or "pid" not in self.new:
            calls, self._enter_calls = self._enter_calls + calls, ()
        line = trace.command(launching.in_cgroup(self._confined["cgroups"], argv))
        self._steps.append(trace.Step(what, line, calls))
        return launch.process

    def _ready_channel(self, *, needs_init: bool = True) -> socket.socket:
        if self._channel is None:
            remedy = "use it inside `with Sandbox(...) as box:`, or open() it"
            raise LabError("the sandbox is not open", "", remedy)
        init = self._init
        if needs_init and init and init.returncode is not None and init.lasting:
            what = f"the sandbox has ended with its PID 1, {trace.command(init.argv)}"
            why = f"it {init.ending}, and the kernel ends a PID namespace together with its PID 1"
            raise LabError(what, why, "make a new Sandbox")
        return self._channel

    def _recipe(self, launch: Launch) -> tuple[str, list[str]]:
        """Say what was done, in words and as a command."""
        argv = self._confinement.inside(launch.process.argv)
        if self._enter_calls and (launch.first or "pid" not in self.new):
            first = launching.unshare(self.new, argv, self.rootfs, self.hostname, self.uid)
            return "Make the namespaces and start the first program", first
        if launch.first:
            what = "Start the next program in a PID namespace of its own"
            return what, launching.fresh_pid(self.new, self.holder_pid, argv)
        target = self._init.pid if self._init else self.holder_pid
        return "Join it with another program", launching.nsenter(self.new, target, argv)


def _refused(answer: Mapping[str, Any], new: Iterable[str]) -> NamespaceRefused:
    error = answer.get("error")
    if error is None:
        remedy = "run ./lab doctor; if it was killed, memory may be short"
        why = "its helper process ended at once"
        return NamespaceRefused("the sandbox was not made", why, remedy)
    why, remedy = explain(error, new)
    return NamespaceRefused(f"the sandbox was not made ({error['step']})", why, remedy)


def _words(argv: Words) -> list[str]:
    """Write a command as a list of texts; a line is one for a shell."""
    example = 'box.run(["sleep", "1"]), or box.run("sleep 1")'
    if not isinstance(argv, Iterable):
        raise mistaken(argv, "a command", example)
    if not argv:
        raise LabError("there is no program to start", "the list is empty", example)
    if isinstance(argv, str):
        return ["sh", "-c", argv]
    for word in argv:
        if not isinstance(word, str | int | float | os.PathLike):
            raise mistaken(word, "a word of a command", example)
    return [os.fspath(w) if isinstance(w, os.PathLike) else str(w) for w in argv]


@contextlib.contextmanager
def _file(text: str) -> Iterator[int | None]:
    """Yield a descriptor from which `text` can be read; None if there is none."""
    if not text:
        yield None
        return
    with open(os.memfd_create("stdin"), "w+") as file:
        file.write(text)
        file.seek(0)
        yield file.fileno()
