"""An engine in a virtual machine, and its client outside: how Docker Desktop is built, in small.

The machine is a Lab VM with an engine in it. A Unix socket outside is joined to the engine's socket
inside, so that `docker --host` and the SDK reach it as they reach any other engine.
"""

import shutil
import socket
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing
from labsupport.vm import mux
from labsupport.vm.guest import LabVM
from labsupport.vm.mux import Connection

MEMORY = "768M"
START_SECONDS = 120
_START = "from labsupport import Engine; print(Engine.connect().address)"


class Desktop(Closing):
    """Boot it, use `address` as `DOCKER_HOST`, and `close()` it: nothing of it is left.

    `release` is the version of its kernel, as the kernel said when it booted. Raises `LabError`:
    there is no Lab VM here, or no engine starts in it.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=marks.prefix("desktop")))
        self._guest = LabVM.boot(MEMORY)
        self._closing = False
        self.release = self._guest.release
        self.address = f"unix://{self._folder / 'docker.sock'}"
        try:
            self._listener = self._listen(self._start_engine())
        except BaseException:
            self._guest.close()
            shutil.rmtree(self._folder)
            raise
        self._thread = threading.Thread(target=self._serve, name="desktop", daemon=True)
        self._thread.start()

    def _start_engine(self) -> str:
        home = Path(__file__).parents[2]
        argv = [sys.executable, "-c", _START]
        done = self._guest.run(argv, cwd=home, timeout=START_SECONDS)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise LabError("no engine starts in the Lab VM", said[-1])
        return done.stdout.strip().removeprefix("unix://")

    def _listen(self, inside: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address.removeprefix("unix://"))
        listener.listen()
        listener.setblocking(False)
        self._guest.mux.watch(listener.fileno(), partial(self._join, listener, inside))
        return listener

    def _join(self, listener: socket.socket, inside: str, _events: int) -> None:
        client, _address = listener.accept()
        client.setblocking(False)
        connection = _HalfClosed(self._guest.mux, self._guest.number())
        connection.send(mux.CONNECT, inside.encode())
        fd = client.detach()
        connection.read_from(fd)
        connection.write_to(fd)

    def _serve(self) -> None:
        while not self._closing:
            self._guest.turn(0.1)

    def close(self) -> None:
        """Power the machine off; may be called twice."""
        if self._closing:
            return
        self._closing = True
        self._thread.join()
        self._listener.close()
        self._guest.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _HalfClosed(Connection):
    """A client that says no more (`docker run` does) still listens; the engine hangs up."""

    def source_ended(self, fd: int) -> None:
        """Read no more, but go on writing."""
        self.mux.unwatch(fd)
        self.sources.pop(fd)
        self.sink = fd
