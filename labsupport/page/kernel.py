"""IPython's kernel for the page: ipykernel as it is, but over our line instead of ZeroMQ sockets.

Jupyter's messages go both ways whole (headers, buffers and all), so whatever ipykernel does, a
notebook in the page does: streams, displays, comms, completion, `input()`, interrupts.
https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from struct import Struct
from types import SimpleNamespace, TracebackType
from typing import Any

import traitlets
from ipykernel.ipkernel import IPythonKernel
from ipykernel.jsonutil import json_clean
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from tornado.ioloop import IOLoop
from traitlets.config import Config

from labsupport.engine.daemon import USUAL_SOCKET
from labsupport.page.agent import Frames

Message = dict[str, Any]
_LENGTH = Struct(">I")
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def pack(message: Message, buffers: Sequence[Any] = ()) -> bytes:
    """Return a message as bytes: the length of its JSON, the JSON, and its buffers after it."""
    raw = [bytes(each) for each in buffers]
    message = {**message, "buffers": [len(each) for each in raw]}
    text = json.dumps(message, default=json_default, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *raw])


def unpack(payload: bytes) -> Message:
    """Return the message in a payload, its buffers as a list of `memoryview`s."""
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    message: Message = json.loads(payload[_LENGTH.size : end])
    rest, buffers = memoryview(payload)[end:], []
    for size in message.get("buffers", ()):
        buffers.append(rest[:size])
        rest = rest[size:]
    return {**message, "buffers": buffers}


class Outlet:
    """What ipykernel takes for a socket: it has a name, and nothing to be flushed."""

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def flush(self, *_: object) -> None:
        """Nothing waits here."""


class LineSession(Session):
    """Sends ipykernel's messages over the line."""

    frames: Frames | None = None

    def send(
        self, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None,
        ident: Any = None, buffers: Any = None, track: bool = False, header: Any = None,
        metadata: Any = None,
    ) -> Message:  # fmt: skip
        """Make a message, as the base class does, and write it."""
        if isinstance(msg_or_type, str):
            message = self.msg(msg_or_type, content, parent, header, metadata)
        else:
            message = {**msg_or_type}
            buffers = buffers or message.get("buffers")
        message["channel"] = getattr(stream, "channel", "iopub")
        if self.frames is not None:
            self.frames.send(1, pack(message, buffers or ()))
        return message


class Stream(io.TextIOBase):
    """Standard output or error: what is written is shown line by line, or when flushed."""

    encoding = "utf-8"
    errors = "strict"

    def __init__(self, kernel: PageKernel, name: str) -> None:
        self._kernel, self.name, self._text = kernel, name, ""

    def write(self, text: str) -> int:
        """Take text; a whole line is sent."""
        self._text += text
        if "\n" in text or "\r" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what is left."""
        text, self._text = self._text, ""
        if text:
            kernel = self._kernel
            content = {"name": self.name, "text": text}
            kernel.line.send(kernel.iopub_socket, "stream", content, kernel.get_parent("shell"))

    def writable(self) -> bool:
        """It can be written."""
        return True


SETTINGS = Config(HistoryManager={"enabled": False}, Completer={"use_jedi": False})
"""Kernels are forks of one process: in IPython's database they would be one session. And Jedi reads
a grammar and a library's sources first: a student would wait for half a minute."""


class PageKernel(IPythonKernel):
    """ipykernel's, with its messages taken from the line one by one."""

    iopub_socket = traitlets.Any(Outlet("iopub"))
    shell_stream = traitlets.Any(Outlet("shell"))
    stdin_socket = traitlets.Any(Outlet("stdin"))

    # ipykernel asks it only whether cells run in the main thread, where signals arrive
    shell_channel_thread = SimpleNamespace(parent_thread=threading.main_thread())
    _supports_kernel_subshells = False

    def __init__(self, **traits: Any) -> None:
        self.line = LineSession(key=b"")
        log = logging.getLogger("page")
        super().__init__(session=self.line, log=log, config=SETTINGS, **traits)
        self.waiting: deque[Message] = deque()
        self.in_hand: Message | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, sock: socket.socket) -> None:
        """Be the kernel at the other end of a socket, until that is closed."""
        self.frames = self.line.frames = Frames(sock.fileno())
        self.line.session = os.urandom(16).hex()
        sys.stdout, sys.stderr = Stream(self, "stdout"), Stream(self, "stderr")
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # but while a cell runs
        asyncio.run(self._serve())

    def prepare(self) -> None:
        """Make a first sandbox: the process that later ones are forked from is then there."""
        from labsupport.sandbox.sandbox import Sandbox

        with Sandbox(new={"pid", "mount"}) as box:
            box.run(["ps", "-e"])
        gc.collect()
        gc.freeze()

    def rehearse(self) -> None:
        """Run what notebooks begin with."""
        shell: Any = self.shell
        engine = ENGINE_COMMANDS if USUAL_SOCKET.exists() else ()
        shell.user_ns["COMMANDS"] = (*COMMANDS, *engine)
        shell.run_cell(REHEARSAL)
        self.answer_once()

    def answer_once(self) -> None:
        """Complete a name, explain one and show an error.

        For a first error, IPython looks at the file of each module, and Pygments compiles some
        hundred patterns: half a minute on a slow computer.
        """
        shell: Any = self.shell
        self.do_complete("print", 5)
        self.do_inspect("print", 5)
        shell.run_cell("undefined")

    def start_engine(self) -> None:
        """Start it, and run one container of the base image; what that reads is then in memory."""
        from labsupport.build.bases import TAG, base_image
        from labsupport.engine.client import Engine

        with Engine.connect() as engine:
            base_image(engine)
        DROP_CACHES.write_text("1")
        subprocess.run(["docker", "run", "--rm", TAG, "true"], check=True)

    async def _serve(self) -> None:
        self.arrived = asyncio.Event()
        ended = asyncio.Event()

        def heard() -> None:
            try:
                self._sort(unpack(payload) for _, payload in self.frames.receive())
            except (EOFError, ConnectionResetError):
                ended.set()

        loop = asyncio.get_running_loop()
        self.io_loop = IOLoop.current()
        loop.add_reader(self.frames.fd, heard)
        # for any signal, the loop then wakes: an interrupt has tornado call back without a wake-up
        loop.add_signal_handler(signal.SIGUSR2, lambda: None)
        self._do(self._work())
        self.frames.send(1, b"")  # ready
        await ended.wait()

    def _sort(self, messages: Any) -> None:
        """Comms go on while a cell waits; the rest waits for its turn."""
        for message in messages:
            if message["header"]["msg_type"].startswith("comm_"):
                self._do(self.handle(message))
            else:
                self.waiting.append(message)
                self.arrived.set()

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while True:
            while self.waiting:
                self.in_hand = self.waiting.popleft()
                await self.handle(self.in_hand)
            self.arrived.clear()
            await self.arrived.wait()

    async def handle(self, message: Message) -> None:
        """Do what a message asks, between `busy` and `idle`."""
        kind = message["header"]["msg_type"]
        handler = self.shell_handlers.get(kind) or self.control_handlers.get(kind)
        if handler is None:
            return
        self.set_parent([], message, channel="shell")
        self._publish_status("busy", "shell")
        self.pre_handler_hook()
        try:
            result = handler(self.shell_stream, [], message)
            if inspect.isawaitable(result):
                await result
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        finally:
            self.post_handler_hook()
            sys.stdout.flush()
            sys.stderr.flush()
            self._publish_status("idle", "shell")
            if message is self.in_hand:
                self.in_hand = None
            elif self.in_hand:  # a cell waits while a control is moved: the kernel is not idle
                self._publish_status("busy", "shell", self.in_hand)

    def _abort_queues(self, subshell_id: str | None = None) -> None:
        """Answer the cells that wait behind one that failed, as ipykernel does."""
        self._sort(self._arrived_by_now())
        left = [m for m in self.waiting if m["header"]["msg_type"] == "execute_request"]
        for message in left:
            self.waiting.remove(message)
            self._send_abort_reply(self.shell_stream, message, [])
            self.line.send(self.iopub_socket, "status", {"execution_state": "idle"}, message)

    def _arrived_by_now(self) -> list[Message]:
        import select

        found: list[Message] = []
        while select.select([self.frames.fd], [], [], 0)[0]:
            found += [unpack(payload) for _, payload in self.frames.receive()]
        return found

    def _input_request(self, prompt: str, ident: Any, parent: Any, password: bool = False) -> str:
        """Ask the reader of the page, and wait for the answer."""
        sys.stdout.flush()
        content = json_clean({"prompt": prompt, "password": password})
        self.line.send(self.stdin_socket, "input_request", content, parent)
        while True:
            for _, payload in self.frames.receive():
                message = unpack(payload)
                if message["header"]["msg_type"] == "input_reply":
                    return str(message["content"]["value"])
                self.waiting.append(message)


WARM = (
    "matplotlib.pyplot", "ipywidgets", "anywidget", "numpy",
    *(f"labsupport.{room}" for room in (
        "sandbox.sandbox", "sandbox.shell", "sandbox.terminal", "sandbox.net", "figure.page",
        "figure.live", "course.exercises", "course.predictions", "course.guess_widget",
        "pid.pidmap", "cgroup.group", "cgroup.console", "mount.mount_map", "mount.overlay",
        "net.network_map", "net.servers", "users.namespaces", "seccomp.filter",
        "seccomp.pictures", "handmade.workshop", "doctor.needs", "engine.client", "engine.chain",
        "build.workbench", "image.writable", "image.layer_explorer",
    )),
)  # fmt: skip
"""What is imported before the machine's state is saved: in the page it is there at once."""


def warm_up() -> PageKernel:
    """Make a kernel that lacks nothing but its line."""
    kernel = PageKernel.instance()
    shell: Any = kernel.shell
    shell.kernel = kernel
    for name in WARM:
        import_module(name)
    from labsupport.doctor import machine

    machine.probe()
    _rehearse(kernel)
    DROP_CACHES.write_text("1")  # a module's file is not read again
    _rehearse(kernel)  # now it reads what a notebook does
    draw_once(shell)
    show_errors_without_ipython(shell)
    kernel.answer_once()
    gc.collect()
    gc.freeze()  # a collection in a kernel would copy each page that it shares with us
    return kernel


def show_errors_without_ipython(shell: Any) -> None:
    """Leave out IPython's own frame before its file is parsed, which has 4,000 lines; not after."""
    records = shell.InteractiveTB.get_records

    def students(etb: TracebackType, lines: int, offset: int) -> Any:
        while offset and etb.tb_next:
            etb, offset = etb.tb_next, offset - 1
        return records(etb, lines, offset)

    shell.InteractiveTB.get_records = students


def draw_once(shell: Any) -> None:
    """Let a plot be drawn when it is shown, and not before: for a window, and to find its edges.

    One is drawn now, so that the fonts have been read; to hint them takes seconds where floats are
    slow.
    """
    from IPython.core.pylabtools import activate_matplotlib
    from matplotlib import pyplot
    from matplotlib_inline.backend_inline import configure_inline_support, set_matplotlib_formats

    activate_matplotlib("inline")
    configure_inline_support(shell, "inline")
    set_matplotlib_formats("png", bbox_inches=None, pil_kwargs={"compress_level": 1})
    pyplot.uninstall_repl_displayhook()
    pyplot.rcParams["text.hinting"] = "none"
    pyplot.plot([1, 2])
    pyplot.gcf().canvas.draw()
    pyplot.close()


REHEARSAL = """
%load_ext labsupport
from labsupport import PidMap, Sandbox, namespaces
with Sandbox(new={"pid", "mount"}) as box:
    box.run(["ps", "-e"])
    display(namespaces(box.pid))
    PidMap({"box": box}).draw()
import ipywidgets
ipywidgets.IntSlider().close()
from matplotlib import pyplot
pyplot.plot([1, 2])
pyplot.show()
import subprocess
for line in COMMANDS:
    subprocess.run(line, shell=True, capture_output=True, timeout=60)
"""
COMMANDS = (
    *("python3 -c ''", "unshare --pid --fork --mount-proc ps ax", "ip link", "mkdir -p /tmp"),
    *("mount", "ls -la /", "grep root /etc/passwd", "nsenter --help"),
)
"""What the first notebooks start: the student's browser need not fetch it file by file."""
ENGINE_COMMANDS = ("docker version", "containerd-shim-runc-v2 -v", "crun --version")
"""What `docker run` starts, where an engine runs already."""


def _rehearse(kernel: PageKernel) -> None:
    """Run what notebooks begin with in a process of its own, and import what it has imported."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        kernel.rehearse()
        os.write(writing, " ".join(sys.modules).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as names:
        for name in names.read().split():
            with contextlib.suppress(ImportError):
                import_module(name)
    os.waitpid(pid, 0)
