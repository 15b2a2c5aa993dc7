"""A private JupyterLab: nothing of the user's configuration is read or written, nothing stays."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labsupport.kernel import netlink
from tests.waiting import wait_until

FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_RUNTIME_DIR": "run",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
    "LAB_PROGRESS": "progress.jsonl",
}


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it answers, and the folder whose notebooks it shows."""

    base: str
    token: str
    root: Path

    def address(self, notebook: Path) -> str:
        """Return the page of a notebook under `root`, in a workspace without other tabs."""
        path = quote(notebook.resolve().relative_to(self.root).as_posix())
        return f"{self.base}doc/tree/{path}?token={self.token}"


@contextmanager
def jupyterlab(root: Path, dark: bool = False) -> Iterator[Lab]:
    """Run JupyterLab on a free port of the loopback interface; end it and its kernels on exit."""
    with tempfile.TemporaryDirectory(prefix="lab-browser-") as scratch:
        home = Path(scratch)
        (home / "overrides.json").write_text(json.dumps(_settings(dark)))
        mine = {name: str(home / path) for name, path in FOLDERS.items()}
        with (home / "log").open("w") as log:
            server = subprocess.Popen(
                _command(root, home), env={**os.environ, **mine}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            told = _told_by(server, home)
            yield Lab(told["url"], told["token"], root.resolve())
        finally:
            server.terminate()  # it ends its kernels
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _command(root: Path, home: Path) -> list[str]:
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={netlink.free_port()}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root.resolve()}", f"--ServerApp.allow_root={os.geteuid() == 0}",
        f"--LabApp.app_settings_dir={home}", "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip


def _settings(dark: bool) -> dict[str, dict[str, Any]]:
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    return {
        "@jupyterlab/apputils-extension:notification": quiet,
        "@jupyterlab/apputils-extension:themes": {
            "theme": f"JupyterLab {'Dark' if dark else 'Light'}"
        },
        "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
        # without the first, cells off-screen are not rendered
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none", "kernelShutdown": True},
    }


def _told_by(server: subprocess.Popen[bytes], home: Path) -> dict[str, Any]:
    """Wait until it listens, and return what it writes of itself then: `url`, `token`, …"""

    def written() -> list[str]:
        assert server.poll() is None, (home / "log").read_text()[-3000:]
        texts = [file.read_text() for file in home.glob("run/jpserver-*.json")]
        return [text for text in texts if text.endswith("}")]

    [text] = wait_until(written, 60, lambda: (home / "log").read_text()[-3000:])
    told: dict[str, Any] = json.loads(text)
    wait_until(lambda: _listens(told["port"]))
    return told


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0
