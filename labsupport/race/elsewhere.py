"""Entrants with files or a kernel of their own: a container, and virtual machines of two kinds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from labsupport.errors import LabError, ProcessGone, RuntimeFailed
from labsupport.linux.procfs import all_pids, status, status_fields
from labsupport.machine import probe
from labsupport.race.bait import Bait
from labsupport.race.on_the_host import PYTHON
from labsupport.race.runners import APP, SECONDS, Runner

MEMORY = "256M"


class InContainer(Runner):
    """A container of the engine, from an image with Debian and Python (the one of notebook 11)."""

    name = "container"
    needs = ("engine",)
    set_up_words = "load the image"
    disk_words = "image with Debian and Python"

    def __init__(self, bait: Bait) -> None:
        super().__init__(bait)
        self._socket: Any = None
        self._container: Any = None
        self._engine: Any = None

    @classmethod
    def why_not(cls) -> str:
        from labsupport.engine.app_base import find_archive

        if why := super().why_not():
            return why
        return "" if find_archive() else "the image is not here (./lab base makes it)"

    def _prepare(self) -> int:
        from labsupport.engine.app_base import app_base
        from labsupport.engine.client import Engine

        self._engine = Engine.connect()
        self._image = app_base(self._engine)
        return int(self._image.attrs["Size"])

    def _start(self, argument: str) -> str:
        from labsupport.engine.labels import owner_labels

        # its input is ours: when we end, it ends, and auto_remove takes it away
        self._container = self._engine.client.containers.create(
            self._image, ["python3", "-I", "-c", APP.read_text(), argument], entrypoint=[],
            stdin_open=True, network_mode="none", labels=owner_labels(), auto_remove=True,
        )  # fmt: skip
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._socket = self._container.attach_socket(params=streams)
        self._container.start()
        return _of_stream(getattr(self._socket, "_sock", self._socket), self.name)

    def _pids(self) -> Sequence[int]:
        self._container.reload()
        first = int(self._container.attrs["State"]["Pid"])
        # beside the app itself: the shim that the engine keeps for each container
        shim = int(status_fields(first)["PPid"]) if Path(f"/proc/{first}").exists() else 0
        return [pid for pid in (first, shim) if pid > 1]

    def stop(self) -> None:
        from docker.errors import APIError, NotFound

        if self._container is None:
            return
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        with suppress(NotFound, APIError):  # removed by the engine already, or just being so
            self._container.remove(force=True)
        self._container = None

    def close(self) -> None:
        super().close()
        if self._engine:
            self._engine.close()
            self._engine = None


class InLabVM(Runner):
    """The Lab VM: User-Mode Linux, a kernel that is an ordinary program of the host's."""

    name = "Lab VM"
    needs: ClassVar[tuple[str, ...]] = ("vm",)
    backend = "uml"
    disk_words = "its kernel; all else is the host's files, read-only"

    def __init__(self, bait: Bait) -> None:
        super().__init__(bait)
        self._guest: Any = None
        self._ours: list[int] = []

    def _prepare(self) -> int:
        from labsupport.vm.kernels import find_kernel

        return find_kernel().stat().st_size

    def _start(self, argument: str) -> str:
        from labsupport.vm.guest import LabVM

        before = set(all_pids())
        self._guest = LabVM.boot(memory=MEMORY, backend=self.backend)
        # there is no input that stays open: the app ends after its answer, the machine does not
        setting = f"import sys; sys.argv = ['app', {argument!r}]; sys.stdin.read = lambda: ''"
        done = self._guest.run([PYTHON, "-I", "-c", f"{setting}\nexec({APP.read_text()!r})"])
        if done.returncode:
            raise RuntimeFailed(f"{self.name}: the app did not answer", done.stderr[-300:])
        self._ours = [pid for pid in all_pids() if pid not in before and _is_ours(pid)]
        return str(done.stdout)

    def _pids(self) -> Sequence[int]:
        return self._ours

    def stop(self) -> None:
        if self._guest:
            self._guest.close()
            self._guest = None


class InVirtualMachine(InLabVM):
    """QEMU: a whole machine, by hardware (KVM) or simulated, under the distribution's kernel."""

    name = "virtual machine"
    needs: ClassVar[tuple[str, ...]] = ()
    backend = "qemu"
    disk_words = "kernel and first files; all else is the host's files, read-only"

    @classmethod
    def why_not(cls) -> str:
        from labsupport.vm.backends import find_backend

        machine = probe()
        if machine.place == "vm":
            return "this is a virtual machine already"
        if machine.why_not("vm") and not machine.can("qemu"):
            return machine.refused["vm"].reason
        try:
            find_backend(cls.backend).check(int(MEMORY[:-1]) << 20)
        except LabError as error:
            return str(error).partition("\n")[0]
        return ""

    def _prepare(self) -> int:
        from labsupport.vm import initramfs, qemu

        kernel, release, modules = qemu.find_kernel()
        return kernel.stat().st_size + initramfs.prepare(release, modules).stat().st_size


def _of_stream(connection: Any, name: str) -> str:
    """Read the first line out of an attached container's stream, whose frames have 8-byte heads."""
    connection.settimeout(SECONDS)
    data = b""
    while b"\n" not in data:
        head = _exactly(connection, 8)
        if not head:
            raise RuntimeFailed(f"{name}: the app did not answer", data.decode()[-300:])
        data += _exactly(connection, int.from_bytes(head[4:], "big"))
    return data.decode()


def _exactly(connection: Any, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := connection.recv(count - len(data))):
        data += piece
    return data


def _is_ours(pid: int) -> bool:
    """Whether it has been started by this process, by one that was, and so on."""
    with suppress(ProcessGone):
        while pid > 1:
            pid = status(pid).parent_pid
            if pid == os.getpid():
                return True
    return False
