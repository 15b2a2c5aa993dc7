#!/usr/bin/env python3
"""A class at once: a JupyterHub on this machine, and students who all run notebooks in it.

    python deploy/measure_class.py --students 2 02 06

It needs jupyterhub in the Python of the course, and configurable-http-proxy (npm) on the PATH or
named by --proxy. The hub listens on loopback, lets in nobody but this program, and starts a
JupyterLab server for each student as the user who runs this. Each student's kernel is the
course's own, so it is a Lab VM where LAB_PLACE=vm (its kernel by LAB_KERNEL: students have homes of
their own). What is printed: how many notebooks ran to the
end without an error, the time from "start my server" to a first output, and the memory (PSS).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PORT = 18000
HUB = f"http://127.0.0.1:{PORT}"
PATIENCE = 900  # seconds, for anything
PATIENT = {"connect_timeout": PATIENCE, "request_timeout": PATIENCE}
CONFIG = """
import sys
c = get_config()
c.JupyterHub.bind_url = {hub!r}
c.JupyterHub.hub_port = {port} + 1
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{port2}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {token!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {folder!r} + "/{{username}}"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", "--MappingKernelManager.kernel_info_timeout={patience}",
                  "--KernelManager.transport=ipc"]  # of twenty servers, two may choose a port
c.Spawner.environment = {{  # a socket's path has 107 bytes at most
    "JUPYTER_RUNTIME_DIR": lambda spawner: {folder!r} + f"/{{spawner.user.name}}/.r"}}
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL", "LAB_PLACE", "LAB_KERNEL", "LAB_MEMORY", "TMPDIR"]
c.Spawner.http_timeout = c.Spawner.start_timeout = {patience}
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.services = [{{"name": "measure", "api_token": {token!r}}}]
scopes = ["admin:users", "admin:servers", "access:servers", "admin:server_state"]
c.JupyterHub.load_roles = [{{"name": "measure", "scopes": scopes, "services": ["measure"]}}]
"""


class Student:
    """One student: a server, and in it one kernel for each notebook."""

    def __init__(self, name: str, token: str, folder: Path) -> None:
        self.name, self.token = name, token
        self.first_output = 0.0
        self.failures: list[str] = []
        self.memory_bytes = 0
        shutil.copytree(NOTEBOOKS, folder / name, ignore=shutil.ignore_patterns("my_progress*"))

    async def ask(self, method: str, path: str, body: object = None) -> dict:
        """Send a request to the hub, or to the student's server behind it."""
        text = None if method == "GET" else json.dumps(body or {})
        request = HTTPRequest(
            HUB + path, method, {"Authorization": f"token {self.token}"}, text,
            **PATIENT, allow_nonstandard_methods=True,
        )  # fmt: skip
        said = (await AsyncHTTPClient().fetch(request)).body
        return json.loads(said) if said else {}

    async def run(self, notebooks: list[Path]) -> None:
        """Start the server and run the notebooks, one after another."""
        self.began = time.monotonic()
        try:
            await self.start()
            for path in notebooks:
                await self.run_notebook(path)
        except Exception as error:  # the others go on, and the table says so
            self.failures.append(f"{type(error).__name__}: {error}")

    async def start(self) -> None:
        await self.ask("POST", f"/hub/api/users/{self.name}")
        await self.ask("POST", f"/hub/api/users/{self.name}/server")
        while not (await self.ask("GET", f"/hub/api/users/{self.name}"))["servers"][""]["ready"]:
            await asyncio.sleep(2)

    async def run_notebook(self, path: Path) -> None:
        """Run each code cell, as *Run All* does."""
        home = f"/user/{self.name}/api"
        body = {"name": path.name, "path": path.name, "type": "notebook"}
        session = await self.ask("POST", f"{home}/sessions", body | {"kernel": {"name": "python3"}})
        address = f"{HUB.replace('http', 'ws')}{home}/kernels/{session['kernel']['id']}/channels"
        headers = {"Authorization": f"token {self.token}"}
        socket = await websocket_connect(HTTPRequest(address, headers=headers, **PATIENT))
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code" and (source := "".join(cell["source"]).strip()):
                name = f"{path.stem[:2]} {cell['id']}"
                error = await self.run_cell(socket, source, name)
                if error and "raises-exception" not in cell["metadata"].get("tags", []):
                    self.failures.append(f"{name}: {error}")
        self.memory_bytes = max(self.memory_bytes, await self.memory())
        socket.close()
        await self.ask("DELETE", f"{home}/sessions/{session['id']}")

    async def run_cell(self, socket, source: str, name: str) -> str:
        """Run a cell to its end; return its error, if it has one."""
        error = ""
        number = secrets.token_hex(8)
        header = {"msg_id": number, "msg_type": "execute_request", "version": "5.3",
                  "username": self.name, "session": number}  # fmt: skip
        content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False,
                   "stop_on_error": False, "user_expressions": {}}  # fmt: skip
        await socket.write_message(json.dumps({
            "channel": "shell", "header": header, "parent_header": {}, "metadata": {},
            "content": content, "buffers": [],
        }))  # fmt: skip
        while True:
            said = await asyncio.wait_for(socket.read_message(), PATIENCE)
            if said is None:
                raise ConnectionError(f"the kernel is gone in {name}")
            if isinstance(said, bytes):  # a widget's picture
                continue
            message = json.loads(said)
            if message["parent_header"].get("msg_id") != number:
                continue
            kind = message["header"]["msg_type"]
            if kind in ("stream", "display_data", "execute_result") and not self.first_output:
                self.first_output = time.monotonic() - self.began
            if kind == "error":
                error = message["content"]["evalue"][:80]
            if kind == "status" and message["content"]["execution_state"] == "idle":
                return error

    async def memory(self) -> int:
        """What the server and everything below it holds, in bytes; shared pages in part."""
        user = await self.ask("GET", f"/hub/api/users/{self.name}")
        return await asyncio.to_thread(pss_of_tree, user["servers"][""]["state"]["pid"])


def pss_of_tree(pid: int) -> int:
    """Add up PSS of a process and its descendants; proc_pid_smaps(5).

    What shares an address space counts once, as User-Mode Linux's own three processes do: they
    have the same maps.
    """
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:  # it has just ended
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    below, spaces = {pid}, {}
    for _ in range(12):  # generations
        below |= {child for child, parent in parents.items() if parent in below}
    for each in below:
        try:
            maps = Path(f"/proc/{each}/maps").read_bytes()
            spaces[maps] = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
    lines = [line for space in spaces.values() for line in space if line.startswith("Pss:")]
    return sum(int(line.split()[1]) for line in lines) * 1024


async def ready(token: str) -> None:
    """Wait until the hub answers."""
    request = HTTPRequest(f"{HUB}/hub/api/", headers={"Authorization": f"token {token}"})
    for _ in range(300):
        try:
            await AsyncHTTPClient().fetch(request)
            return
        except Exception:
            await asyncio.sleep(2)
    sys.exit("the hub does not answer; its log is above")


async def measure(chosen: argparse.Namespace, token: str, folder: Path) -> None:
    """Run the class, and print the table."""
    await ready(token)
    AsyncHTTPClient.configure(None, max_clients=10 * chosen.students)
    notebooks = [next(NOTEBOOKS.glob(f"{number}_*.ipynb")) for number in chosen.notebooks]
    students = [Student(f"student{n:02}", token, folder) for n in range(1, chosen.students + 1)]
    began = time.monotonic()
    await asyncio.gather(*(student.run(notebooks) for student in students))
    waits = sorted(s.first_output for s in students if s.first_output)
    well = [s for s in students if s.first_output and not s.failures]
    print(
        f"{len(students)} students, notebooks {' '.join(chosen.notebooks)}, {os.cpu_count()} CPUs"
    )
    print(f"load before: {chosen.load:.1f}; all done after {time.monotonic() - began:.0f} s")
    print(f"without any error: {len(well)} of {len(students)}")
    if waits:
        last = waits[min(len(waits) - 1, int(len(waits) * 0.95))]
        print(f"first output: median {statistics.median(waits):.1f} s, 95 % {last:.1f} s")
        memory = statistics.median(s.memory_bytes for s in students if s.first_output)
        print(f"memory of a student, server and kernel, at a notebook's end: {memory / 1e6:.0f} MB")
    for student in students:
        print(*(f"  {student.name}: {each}" for each in student.failures[:3]), sep="\n", end="")
    print()


def main() -> None:
    """Start the hub, measure, and end it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("notebooks", nargs="+", metavar="NUMBER", help="such as 02")
    parser.add_argument("--students", type=int, default=2)
    parser.add_argument("--proxy", default="configurable-http-proxy")
    chosen = parser.parse_args()
    chosen.load = os.getloadavg()[0]
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="lab-hub-") as name:
        folder = Path(name)
        settings = {"hub": HUB, "port": PORT, "port2": PORT + 2, "token": token, "folder": name,
                    "proxy": chosen.proxy, "patience": PATIENCE}  # fmt: skip
        (folder / "config.py").write_text(CONFIG.format(**settings))
        argv = [sys.executable, "-m", "jupyterhub", "--config", str(folder / "config.py")]
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(argv, cwd=folder, stdout=log, stderr=subprocess.STDOUT) as hub,
        ):
            try:
                asyncio.run(measure(chosen, token, folder))
            finally:
                hub.terminate()  # and with it the students' servers
                hub.wait()
                if os.environ.get("HUB_LOG"):
                    shutil.copy(folder / "log", os.environ["HUB_LOG"])


if __name__ == "__main__":
    main()
