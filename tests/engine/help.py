"""What several tests of engines need: a private one, its traces, and a fake that only refuses."""

import http.server
import json
import os
import socketserver
import threading
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from labsupport.build.bases import base_image
from labsupport.engine.client import Engine
from tests import census
from tests.engines import why_none

needs_engine = pytest.mark.skipif(bool(why_none()), reason=why_none() or "all is there")


def traces(folder: Path) -> list[str]:
    """What is left of a private engine: processes, mounts, cgroups, its folder."""
    processes = sorted(map(str, census.running(folder.name)))
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if folder.name in line]
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if path.endswith(f"/{folder.name}")]
    return processes + mounts + groups + ([str(folder)] if folder.exists() else [])


def folder_of(engine: Engine) -> Path:
    return Path(engine.address.removeprefix("unix://")).parent


def start_sleeper(engine: Engine) -> int:
    """Start a container and return the process ID of its first process on this machine."""
    container = engine.client.containers.run(
        base_image(engine), ["sleep", "600"], network_mode="none", detach=True
    )
    return engine.client.api.inspect_container(container.id)["State"]["Pid"]


def said_by(
    client: docker.DockerClient, image: Any, argv: Sequence[str] | None = None, **options: Any
) -> bytes:
    """Run a container to its end, without a network unless told otherwise; return its output.

    `containers.run` follows the log from the start instead, and Docker 20 sometimes ends that
    before the last line.
    """
    stderr = options.pop("stderr", False)
    if "network" not in options:
        options.setdefault("network_mode", "none")
    container = client.containers.create(image, argv, **options)
    try:
        container.start()
        container.wait()
        return container.logs(stderr=stderr)
    finally:
        container.remove(force=True)


@contextmanager
def answering(path: Path, api: str, after: float = 0, status: int = 200):
    """Answer like an engine of this age, so late after the first question; only to be refused."""
    ready_at: list[float] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = {"Version": "1", "ApiVersion": api, "MinAPIVersion": "1.12", "Driver": "aufs"}
            body = json.dumps(said).encode()
            ready_at.append(time.monotonic() + after)
            time.sleep(max(ready_at[0] - time.monotonic(), 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "test"

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
