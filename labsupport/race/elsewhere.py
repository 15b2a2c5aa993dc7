"""Entrants with files or a kernel of their own: a container, and a virtual machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from labsupport.doctor.machine import probe
from labsupport.kernel import proc
from labsupport.kernel.procfs import status_fields
from labsupport.ownership import marks
from labsupport.race.runners import SECONDS, Pids, Runner, read_answer, size_of

MEMORY = "128M"
MEMORY_BYTES = 128 << 20


class InContainer(Runner):
    """A container of the engine, from an image with Debian and Python (the one of notebook 11)."""

    name = "container"
    needs = ("engine",)
    set_up_words = "load the image"
    disk_words = "the app, and an image with Debian and Python"
    borrowed_bytes = 0
    engine: Any = None

    @classmethod
    def why_not(cls) -> str:
        return super().why_not() or _no_image()

    def _prepare(self) -> int:
        from labsupport.build.bases import app_base
        from labsupport.engine.client import Engine

        self.engine = Engine.connect()
        self.image = app_base(self.engine)
        return int(self.image.attrs["Size"])

    def _start(self, arguments: list[str]) -> tuple[str, Pids]:
        from labsupport.engine.listing import owner_labels

        # its input is ours: when we end, it ends, and auto_remove takes it away
        container = self.engine.client.containers.create(
            self.image, ["python3", "-I", "-c", self.bait.app.read_text(), *arguments],
            entrypoint=[], stdin_open=True, network_mode="none", labels=owner_labels(),
            auto_remove=True,
        )  # fmt: skip
        self.ends.callback(_remove, container)
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        connection = container.attach_socket(params=streams)
        self.ends.callback(connection.close)
        container.start()
        answer = self._first_line(getattr(connection, "_sock", connection))
        return answer, lambda: _with_shim(container)

    def _first_line(self, connection: Any) -> str:
        """Read it out of an attached container's stream, whose frames have heads of 8 bytes."""
        connection.settimeout(SECONDS)
        data = b""
        while b"\n" not in data:
            if not (head := _exactly(connection, 8)):
                raise self._no_answer(data.decode())
            data += _exactly(connection, int.from_bytes(head[4:], "big"))
        return data.decode()

    def close(self) -> None:
        super().close()
        if self.engine:
            self.engine.close()
            self.engine = None


def _remove(container: Any) -> None:
    from docker.errors import APIError, NotFound

    with suppress(NotFound, APIError):  # removed by the engine already, or just being so
        container.remove(force=True)


def _with_shim(container: Any) -> Sequence[int]:
    """Return the app, and the shim that the engine keeps for each container."""
    container.reload()
    first = int(container.attrs["State"]["Pid"])
    shim = int(status_fields(first)["PPid"]) if Path(f"/proc/{first}").exists() else 0
    return [pid for pid in (first, shim) if pid > 1]


# What the machine starts first, and only: the app. Its input never ends, since neither may this.
INIT = """\
import ctypes, os, runpy, sys
ctypes.CDLL(None).mount(b"proc", b"/proc", b"proc", 0, None)
os.dup2(os.pipe()[0], 0)
sys.argv = {arguments!r}
runpy.run_path("/app.py")
"""


class InVirtualMachine(Runner):
    """A virtual machine: User-Mode Linux, a kernel that is an ordinary program of the host's.

    Its disk is a folder with the container's files, and nothing else of the host's can be mounted
    in it (`hostfs=`); so it has the app and its Python, and no program is started but these.
    """

    name = "virtual machine"
    needs: ClassVar[tuple[str, ...]] = ("vm",)
    set_up_words = "unpack its disk"
    disk_words = "the app, a kernel, and the same Debian and Python"
    borrowed_bytes = 0

    @classmethod
    def why_not(cls) -> str:
        if probe().place == "vm":
            return "this notebook is in a virtual machine already (the Lab VM)"
        return super().why_not() or _no_image()

    def _prepare(self) -> int:
        from labsupport.build.bases import find_archive
        from labsupport.doctor.guest import find_kernel

        self.kernel, self.disk = find_kernel(), self.bait.folder / "disk"
        self.disk.mkdir()
        unpack = 'tar -xO -f "$1" layer.tar | tar -x --no-same-owner -C "$2"'
        argv = ["sh", "-euc", unpack, "sh", str(find_archive()), str(self.disk)]
        subprocess.run(argv, check=True, capture_output=True)
        shutil.copy(self.bait.app, self.disk)
        return size_of([self.kernel, *self.disk.rglob("*")])

    def _start(self, arguments: list[str]) -> tuple[str, Pids]:
        from labsupport.doctor.guest import memory_folder
        from labsupport.vm.uml import QUICKLY

        (self.disk / "init.py").write_text(INIT.format(arguments=["app.py", *arguments]))
        root = ("rootfstype=hostfs", f"hostfs={self.disk}", "rootflags=/", "ro", "quiet")
        first = ("init=/usr/bin/python3", "--", "-I", "/init.py")
        argv = [str(self.kernel), f"mem={MEMORY}", *root, "con=null", "con0=null,fd:1", *QUICKLY]
        machine = subprocess.Popen(
            [*marks.reaping("--guest", "--"), *argv, *first],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"TMPDIR": memory_folder(MEMORY_BYTES), "PATH": os.defpath},
        )  # fmt: skip
        self.ends.callback(_end, machine)
        assert machine.stdout  # noqa: S101 (a pipe)
        if answer := read_answer(machine.stdout):
            return answer, lambda: _descendants(machine.pid)
        raise self._no_answer(_end(machine))

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.bait.folder / "disk", ignore_errors=True)


def _end(machine: subprocess.Popen[bytes]) -> str:
    """End it at once, since it does not power itself off; return its errors. Twice is once."""
    return "" if machine.stdin and machine.stdin.closed else machine.communicate(b"!")[1].decode()


def _no_image() -> str:
    from labsupport.build.bases import find_archive

    return "" if find_archive() else "the image is not here (./lab base makes it)"


def _descendants(pid: int) -> list[int]:
    return [found for child in proc.children(pid) for found in (child, *_descendants(child))]


def _exactly(connection: Any, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := connection.recv(count - len(data))):
        data += piece
    return data
