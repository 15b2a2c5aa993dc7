"""A notebook that asks for this machine gets it, from a real server, as an ordinary user."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.toys import write_notebook
from tests.waiting import wait_until

KERNELSPEC = Path(sys.prefix) / "share/jupyter/kernels/lab-host"


class Server:
    """A Jupyter server of a user's."""

    def __init__(self, user, root):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.token = secrets.token_hex(8)
        argv = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={self.port}", f"--ServerApp.root_dir={root}",
                "--ServerApp.allow_root=True", "--no-browser"]  # fmt: skip
        env = {"JUPYTER_TOKEN": self.token, "LAB_PLACE": "auto"}
        argv = ["env", *(f"{k}={v}" for k, v in env.items()), *argv]
        self.process = subprocess.Popen(
            argv if user.is_me else user.command(argv), cwd="/", stderr=subprocess.DEVNULL
        )

    def ask(self, path, data=None):
        """Ask its REST interface."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}?token={self.token}",
            data=json.dumps(data).encode() if data else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def is_up(self):
        try:
            return bool(self.ask("status"))
        except OSError:
            time.sleep(0.2)
            return False


@pytest.mark.skipif(not KERNELSPEC.is_dir(), reason="needs the course's kernels: ./lab kernels")
def test_the_place_in_a_notebooks_metadata_is_where_it_runs(ordinary_user, tmp_path):
    if ordinary_user.run([sys.executable, "-c", "import labsupport"], cwd="/").returncode:
        pytest.skip("needs a checkout and a Python that an ordinary user can read")
    root = ordinary_user.home / "notebooks"
    ordinary_user.run(["mkdir", str(root)], check=True)
    for name, place in {"here.ipynb": {"place": "host"}, "anywhere.ipynb": {}}.items():
        path = write_notebook(tmp_path / name, "1")
        notebook = json.loads(path.read_text())
        notebook["metadata"]["lab"] = place
        path.write_text(json.dumps(notebook))
        shutil.copy(path, root / name)
        (root / name).chmod(0o644)
    server = Server(ordinary_user, root)
    try:
        wait_until(server.is_up, 60)
        await_program(server, ordinary_user, "here.ipynb", "ipykernel_launcher")
        vm = would_be_in_vm(ordinary_user)
        expected = "labsupport.vm.launcher" if vm else "ipykernel_launcher"
        await_program(server, ordinary_user, "anywhere.ipynb", expected)
        if vm:  # the launcher has not become ipykernel, but boots a guest
            wait_until(lambda: any(" mem=" in told for _, told in ordinary_user.processes()))
    finally:
        server.process.terminate()
        server.process.wait(30)
        shutil.rmtree(root)


def await_program(server, user, name, module):
    """Start a notebook's kernel, and wait until this module runs it."""
    asked = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
    kernel = server.ask("sessions", asked)["kernel"]["id"]
    wait_until(
        lambda: any(kernel in told and f"-m {module}" in told for _, told in user.processes())
    )


def would_be_in_vm(user):
    told = user.run([sys.executable, "-c", "from labsupport import probe; "
                     "print(probe().notebooks_run_at())"], cwd="/")  # fmt: skip
    return told.stdout.strip() == "vm"
