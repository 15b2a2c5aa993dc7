"""A program in new namespaces, from Python; the notebook's own process never moves.

A `Sandbox` is a set of namespaces, held open from `open()` to `close()`, or for a `with` block.
Programs are put into it by the helper processes of `labsupport.linux.zygote`. As in a container,
the first program is PID 1 of its own PID namespace, and programs that are started while it runs
join it there.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from labsupport import ownership, trace
from labsupport.completed import Completed
from labsupport.errors import (
    NamespaceRefused,
    SandboxEnded,
)
from labsupport.linux import recipes, zygote_client
from labsupport.linux.confinement import Confinement, Group, Programs
from labsupport.linux.kinds import KINDS, kinds
from labsupport.linux.launch import Launch, spawn
from labsupport.linux.options import check_options
from labsupport.linux.process import Process
from labsupport.linux.refusals import explain

if TYPE_CHECKING:
    from labsupport.linux.network import Net


class Sandbox:
    """New namespaces for programs; use it in a `with` statement.

    Args:
        new: the kinds of namespaces to make, such as `{"pid", "mount"}`. An ordinary user always
            gets a new user namespace as well, since the kernel allows no other without it:
            `box.new` tells. With "pid" and "mount" together, `/proc` inside is a fresh one.
        rootfs: a folder that becomes `/` inside, by pivot_root(2); needs "mount".
        hostname: the host name inside; needs "uts".
        uid: the user who makes the namespaces and is root inside; needs "user", and root here if it
            is somebody else. They have that number as their only group, too.
        clock_offsets: seconds that clocks inside are ahead, such as `{"boottime": 86400}`, or
            "monotonic"; needs "time".
        cgroup: a `Cgroup` that the programs join before they execute.
        filter: a seccomp `Filter` that is loaded right before a program executes.
        keep_caps: names of the only capabilities that the programs have, such as `{"NET_ADMIN"}`.

    Raises:
        UnknownNamespace: a word in `new` is no kind of namespace.
        NamespaceRefused: the kernel said no; the message says at which step, and why.
        BadRootfs: `rootfs` is no folder.

    """

    def __init__(
        self,
        new: Iterable[str] = ("pid", "mount"),
        *,
        rootfs: str | os.PathLike[str] | None = None,
        hostname: str | None = None,
        uid: int | None = None,
        clock_offsets: Mapping[str, int] | None = None,
        cgroup: Group | None = None,
        filter: Programs | None = None,  # noqa: A002 (one of the course's fixed words)
        keep_caps: Collection[str] | None = None,
    ) -> None:
        wanted = {kind.name for kind in kinds(new)}
        if not zygote_client.may_make_namespaces():
            wanted.add("user")
        check_options(
            wanted, rootfs=rootfs, hostname=hostname, uid=uid, clock_offsets=clock_offsets
        )
        self.new = frozenset(wanted)
        self.rootfs = None if rootfs is None else str(Path(rootfs).resolve())
        self.hostname = hostname
        self.uid = None if uid == os.geteuid() else uid
        self.clock_offsets = dict(clock_offsets or {})
        self._confinement = Confinement(cgroup, filter, keep_caps)
        self._holder_pid = 0
        self._answered = True
        self._channel: socket.socket | None = None
        self._init: Process | None = None
        self._confined: dict[str, Any] = {}
        self._steps: list[Callable[[], trace.Step]] = []
        self._enter_calls: tuple[str, ...] = ()

    def open(self) -> Self:
        """Make the namespaces. A `with` statement does this, and `close()` at its end."""
        flags = sum(KINDS[name].flag for name in self.new)
        self._confined = self._confinement.order()
        order = {
            "flags": flags, "rootfs": self.rootfs, "hostname": self.hostname,
            "uid": self.uid, "clocks": self.clock_offsets, "cgroups": self._confined["cgroups"],
        }  # fmt: skip
        self._channel = zygote_client.order_holder(order)
        self._answered = False
        # what root's sandboxes nearly always are has been prepared: the answer need not be awaited
        if "user" in self.new or self.new - {"pid", "mount"} or self.rootfs:
            self._settle()
        return self

    def _settle(self) -> None:
        """Take the answer to our order, if that has not been done."""
        if self._answered or self._channel is None:
            return
        self._answered = True
        answer, _ = zygote_client.take(self._channel)
        if "pid" not in answer:
            self._channel.close()
            self._channel = None
            raise _refused(answer, self.new)
        self._holder_pid = answer["pid"]
        self._enter_calls = tuple(answer["calls"])

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        tb: TracebackType | None = None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every program inside and give the namespaces back; may be called twice."""
        if self._channel is None:
            return
        channel, self._channel = self._channel, None
        if net := self.__dict__.pop("net", None):
            net.close()
        channel.shutdown(socket.SHUT_WR)
        zygote_client.await_end(channel)

    @property
    def pid(self) -> int:
        """The number, on this side, of the sandbox's PID 1.

        If no program runs yet, a tiny init that only reaps orphans is started as PID 1, as
        `docker run --init` does. Without a new PID namespace there is no PID 1: then it is the
        process that holds the namespaces.
        """
        pid = self.anchor_pid
        return self.start([]).pid if pid is None else pid

    @property
    def holder_pid(self) -> int:
        """The process that holds the namespaces; it is not one of the sandbox's programs.

        Raises:
            SandboxEnded: the sandbox is closed; that process serves others now.

        """
        if self._channel is None:
            raise _not_open()
        self._settle()
        return self._holder_pid

    @property
    def anchor_pid(self) -> int | None:
        """A process in all of the sandbox's namespaces: its PID 1, or None if nothing runs."""
        if "pid" not in self.new:
            return self.holder_pid
        if self._init is None or self._init.returncode is not None:
            return None
        return self._init.pid

    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | None = None,
    ) -> Process:
        """Start a program and return at once, with the program already executing.

        It is PID 1 if nothing runs in the sandbox, and joins what runs there otherwise. When such
        a PID 1 ends, the sandbox has ended. `stdin` is a file descriptor; the default is
        `/dev/null`. Output is collected, see `Process.output`.

        Raises:
            ProgramNotFound: there is no such program inside.
            SandboxEnded: the sandbox is closed, or its PID 1 has ended.

        """
        launch = self._launch(argv, env, cwd, stdin, lasting=True)
        self._steps.append(launch.settle())
        return launch.process

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        input: str = "",  # noqa: A002 (subprocess.run calls it so)
        timeout: float = 60,
    ) -> Completed:
        """Run a program to its end and return what it printed, as `subprocess.run` does.

        If it was PID 1, the next program gets a PID namespace of its own, since one cannot outlive
        its PID 1; the other namespaces stay.

        Raises:
            TimedOut: it took longer than `timeout` seconds; it has been killed.
            ProgramNotFound, SandboxEnded: as for `start`.

        """
        began = time.monotonic()
        if input:
            with _file(input) as stdin:
                launch = self._launch(argv, env, cwd, stdin, lasting=False)
        else:
            launch = self._launch(argv, env, cwd, None, lasting=False)
        process = launch.process
        try:
            code = process.wait(timeout)
        except BaseException:
            process.signal(signal.SIGKILL)
            process.wait()
            raise
        finally:
            self._steps.append(launch.settle())
        seconds = time.monotonic() - began
        return Completed(process.argv, process.output, process.errors, code, seconds)

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket of the sandbox's network; a socket never leaves the namespace it is of.

        Raises:
            OSError: the kernel knows no such family, kind or protocol.
            SandboxEnded: the sandbox is closed, or its PID 1 has ended.

        """
        channel = self._ready_channel()
        self._settle()
        zygote_client.send(channel, (int(family), int(kind), protocol), ())
        answer, fds = zygote_client.take(channel)
        if not answer:
            raise SandboxEnded("there is no socket", "the sandbox's helper process has ended")
        if "error" in answer:
            raise OSError(answer["error"]["errno"], answer["error"]["text"])
        return socket.socket(family, kind, protocol, fileno=fds[0])

    @cached_property
    def net(self) -> Net:
        """Its network: links, addresses, routes; needs "net" in `new`."""
        from labsupport.linux.network import Net

        return Net(self)

    def record(self, step: trace.Step) -> None:
        """Let `shell()` show a step that somebody else took in this sandbox."""
        self._steps.append(lambda: step)

    def shell(self) -> trace.Steps:
        """Show each step as a shell command, with the system calls that were really made."""
        steps = tuple(step() for step in self._steps)
        return trace.Steps("The same in a terminal, and the system calls", steps)

    def _launch(
        self,
        argv: Sequence[str | os.PathLike[str]],
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        stdin: int | None,
        *,
        lasting: bool,
    ) -> Launch:
        channel = self._ready_channel()
        words = [os.fspath(word) for word in argv]
        elsewhere = self.rootfs or self.uid is not None  # who may not be able to enter our folder
        folder = os.fspath(cwd) if cwd else "/" if elsewhere else str(Path.cwd())
        variables = {**(os.environ if env is None else env), ownership.VARIABLE: ownership.mark()}
        request = {"argv": words, "env": variables, "cwd": folder, **self._confined}
        launch = spawn(channel, request, stdin, lasting, self._settle)
        launch.recipe = self._recipe(launch)
        if launch.first or "pid" not in self.new:
            launch.calls[:0] = self._enter_calls
            self._enter_calls = ()
        if launch.first:
            self._init = launch.process
        return launch

    def _ready_channel(self) -> socket.socket:
        if self._channel is None:
            raise _not_open()
        init = self._init
        if init and init.returncode is not None and init.lasting:
            raise SandboxEnded(
                f"the sandbox has ended with its PID 1, {trace.command(init.argv)}",
                f"it {init.ending}, and the kernel ends a PID namespace together with its PID 1",
                "make a new Sandbox",
            )
        return self._channel

    def _recipe(self, launch: Launch) -> tuple[str, Callable[[], str]]:
        """Say what is being done, in words and as what writes the line for a terminal."""
        argv = self._confinement.inside(launch.process.argv)
        if self._enter_calls and (launch.first or "pid" not in self.new):
            what = "Make the namespaces and start the first program"
            make = partial(recipes.unshare, self.new, argv, self.rootfs, self.hostname)
            write = partial(make, uid=self.uid, clock_offsets=self.clock_offsets)
        elif launch.first:
            what = "Start the next program in a PID namespace of its own"
            write = partial(recipes.fresh_pid, self.new, self.holder_pid, argv)
        else:
            what = "Join it with another program"
            target = self._init.pid if self._init else self.holder_pid
            write = partial(recipes.nsenter, self.new, target, argv)
        groups = self._confined["cgroups"]
        return what, lambda: trace.command(recipes.in_cgroup(groups, write()))


def _not_open() -> SandboxEnded:
    remedy = "use it inside `with Sandbox(...) as box:`, or open() it"
    return SandboxEnded("the sandbox is not open", "", remedy)


def _refused(answer: Mapping[str, Any], new: Iterable[str]) -> NamespaceRefused:
    error = answer.get("error")
    if error is None:
        return NamespaceRefused(
            "the sandbox was not made",
            "its helper process ended at once",
            "run ./lab doctor; if it was killed, memory may be short",
        )
    why, remedy = explain(error, new)
    return NamespaceRefused(f"the sandbox was not made ({error['step']})", why, remedy)


class _file:  # noqa: N801 (reads like open())
    """A file in memory that holds `text`, ready to be read; its descriptor in a `with` block."""

    def __init__(self, text: str) -> None:
        self.fd = os.memfd_create("stdin")
        with open(os.dup(self.fd), "w") as file:
            file.write(text)
        os.lseek(self.fd, 0, os.SEEK_SET)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
