"""Two small real servers for experiments: a web server and a database, no service installed.

The lecture's example has nginx and MySQL. Their packages start services on the machine; busybox
httpd and Redis are as real, and run only when and where an experiment starts them.
"""

import shutil
import signal
import socket
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

from labsupport import trace
from labsupport.errors import LabError, MissingCapability, TimedOut
from labsupport.kernel import netlink
from labsupport.kernel.procfs import tries
from labsupport.ownership import marks
from labsupport.sandbox.net import listening
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Server:
    """A server: the `argv` that starts it, its folder, and how to ask it something.

    The folder goes with `close()`, or with the server.
    """

    argv: list[str]
    folder: Path
    address: str | tuple[str, int]
    question: bytes

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def close(self) -> None:
        """Remove its folder; may be called twice."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, timeout: float = 60) -> str:
        """Connect, ask, and return the first words of the answer; wait until it listens.

        Raises `TimedOut`: it does not answer within `timeout` seconds.
        """
        for _ in tries(timeout, 0.01):
            try:
                return self._answer()
            except OSError as error:
                why = str(error)
        raise TimedOut(f"{self.argv[0]} does not answer", why)

    def add_file(self, name: str, size_bytes: int) -> None:
        """Offer a file of zeros for download; it takes no room on the disk."""
        with (self.folder / name).open("wb") as file:
            file.truncate(size_bytes)

    def _answer(self) -> str:
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(2)
            connection.connect(self.address)
            connection.sendall(self.question)
            words = b""
            while part := connection.recv(4096):
                words += part
                if isinstance(self.address, str) and words.endswith(b"\r\n"):
                    break
        return words.decode().rpartition("\r\n\r\n")[2].strip().lstrip("+")


def web_server(page: str = "Hello from PID 1\n", at: str | None = None) -> Server:
    """Return a web server on a free port of the loopback; the page is its only file.

    `at` is another address and port, such as "10.0.0.2:80", for a sandbox with its own network.
    Raises `MissingCapability`.
    """
    program = _find("busybox", "busybox-static")
    folder = Path(tempfile.mkdtemp(prefix=marks.prefix("web")))
    folder.chmod(0o755)
    (folder / "index.html").write_text(page)
    host, port = at.split(":") if at else ("127.0.0.1", str(netlink.free_port()))
    argv = [program, "httpd", "-f", "-p", f"{host}:{port}", "-h", str(folder)]
    return Server(argv, folder, (host, int(port)), b"GET / HTTP/1.0\r\n\r\n")


class Serving:
    """A web server that runs in a sandbox, until another one is to listen at the same place."""

    def __init__(self, server: Server, process: Process) -> None:
        self.server, self.process = server, process

    @property
    def log(self) -> list[str]:
        """What it tells of who has asked, a line for each."""
        return self.process.errors.splitlines()

    def __repr__(self) -> str:
        return f"$ {trace.command(self.process.argv)}"


_serving: weakref.WeakValueDictionary[tuple[int, str], Serving] = weakref.WeakValueDictionary()


def serve(box: Sandbox, page: str, at: str) -> Serving:
    """Start a web server at an address and port of a sandbox's network, and wait for it.

    Raises `LabError`: it ends at once, and why.
    """
    place = (box.holder_pid, at)
    if earlier := _serving.get(place):
        earlier.process.signal(signal.SIGKILL)
        earlier.process.wait()
    server = web_server(page, at=at)
    process = box.start([*server.argv, "-v"])
    while at not in listening(box):
        if process.returncode is not None:
            raise LabError(f"nobody serves {at}", process.errors.strip(), "see box.net.links()")
        time.sleep(0.01)
    _serving[place] = serving = Serving(server, process)
    return serving


def database() -> Server:
    """Return a Redis that keeps everything in memory and listens on a Unix socket.

    Raises `MissingCapability`: Redis is not installed.
    """
    program = shutil.which("redis-server")
    check = None if program else _find("redis-check-rdb", "redis-tools")
    folder = Path(tempfile.mkdtemp(prefix=marks.prefix("db")))
    if check:
        # Debian's redis-tools has the server under another name; the name it is called by decides
        program = str(folder / "redis-server")
        Path(program).symlink_to(check)
    socket_path = str(folder / "socket")
    options = {"port": "0", "unixsocket": socket_path, "save": "", "dir": str(folder)}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Server([str(program), *words], folder, socket_path, b"PING\r\n")


def _find(program: str, package: str) -> str:
    if found := shutil.which(program):
        return found
    why = "the program is not installed"
    raise MissingCapability(program, why, f"sudo apt install {package}")
