"""The app of the race: a web server that asks itself for its page, and prints what it got.

It needs nothing but Python, so that it runs alike as a process, in a virtual environment, in a
sandbox, in a container and in a virtual machine. The page says what the app can see around it, and
what came of its tries to break out: its argument (JSON) names a file of the host's to be read, one
to be changed, and a process of the host's to be found and to be ended. It serves until its standard
input ends.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import sys
import threading
from typing import Any

HTTP_BYTES = 1 << 16


def read(path: str) -> str:
    """Return what is in a file, or why it cannot be read."""
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return type(error).__name__


def change(path: str) -> str:
    """Write into a file of the host's; return what came of it."""
    try:
        with open(path, "r+") as file:
            file.write("changed")
    except OSError as error:
        return type(error).__name__
    return "written"


def find(token: str) -> int:
    """Return how many processes in sight have this text in their command line."""
    pids = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    return sum(token in read(f"/proc/{pid}/cmdline") for pid in pids)


def end(pid: int) -> str:
    """Send SIGTERM to a process by the number that the host has for it; return what came of it."""
    if pid in {1, os.getpid()}:  # a namespace may have given the number to us
        return "that is my own number"
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError as error:
        return type(error).__name__
    return "sent"


def around(bait: dict[str, Any]) -> dict[str, Any]:
    """Say what can be seen and done from here."""
    return {
        "pid": os.getpid(),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "kernel": platform.release(),
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
        "hostname": socket.gethostname(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "init": read("/proc/1/comm").strip(),
        "read": read(bait["secret"]),
        "changed": change(bait["note"]),
        "found": find(bait["token"]),
        "ended": end(bait["pid"]),
    }


def serve(listener: socket.socket, bait: dict[str, Any]) -> None:
    """Answer each request with the page."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(HTTP_BYTES)
            page = json.dumps(around(bait)).encode()
            head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(page)}\r\n\r\n".encode()
            connection.sendall(head + page)


def ask(path: str) -> str:
    """Ask for the page, as a browser would."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(HTTP_BYTES), b""))
    return answer.partition(b"\r\n\r\n")[2].decode()


def main() -> None:
    """Serve, ask, print the answer; end with the input."""
    # a Unix socket: a new network has not even a loopback that is up
    path = f"\0app-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        bait = json.loads(sys.argv[1])
        threading.Thread(target=serve, args=(listener, bait), daemon=True).start()
        print(ask(path), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
