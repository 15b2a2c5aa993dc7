"""A private JupyterLab: nothing of the user's configuration is read or written, nothing stays."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

START_SECONDS = 60


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it answers, and the folder whose notebooks it shows.

    `progress` is the file in which its kernels keep what the student has done.
    """

    base: str
    token: str
    root: Path
    progress: Path

    def address(self, notebook: Path) -> str:
        """Return the page of a notebook under `root`, in a workspace without other tabs."""
        path = quote(notebook.resolve().relative_to(self.root).as_posix())
        return f"{self.base}/doc/tree/{path}?token={self.token}"


@contextmanager
def jupyterlab(root: Path, dark: bool = False) -> Iterator[Lab]:
    """Run JupyterLab on a free port of the loopback interface; end it and its kernels on exit."""
    with tempfile.TemporaryDirectory(prefix="lab-browser-") as scratch:
        home = Path(scratch)
        _write_settings(home / "settings", dark)
        base, token = f"http://127.0.0.1:{_free_port()}", os.urandom(16).hex()
        lab = Lab(base, token, root.resolve(), home / "progress.jsonl")
        with (home / "log").open("w") as log:
            server = subprocess.Popen(
                _command(lab), env={**os.environ, **_environment(home), **_variables(lab)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            _wait_until_it_answers(lab, server, home / "log")
            yield lab
        finally:
            _end(server)


def _command(lab: Lab) -> list[str]:
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={lab.base.rpartition(':')[2]}", "--ServerApp.port_retries=0",
        "--ServerApp.answer_yes=True", f"--ServerApp.root_dir={lab.root}",
        f"--ServerApp.allow_root={os.geteuid() == 0}", "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip


def _environment(home: Path) -> dict[str, str]:
    return {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "run"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }


def _variables(lab: Lab) -> dict[str, str]:
    return {"JUPYTER_TOKEN": lab.token, "LAB_PROGRESS": str(lab.progress)}


def _write_settings(folder: Path, dark: bool) -> None:
    def write(extension: str, plugin: str, **values: Any) -> None:
        path = folder / extension / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    apputils, theme = "@jupyterlab/apputils-extension", "Dark" if dark else "Light"
    write(apputils, "notification", fetchNews="false", checkForUpdates=False, doNotDisturbMode=True)
    write(apputils, "themes", theme=f"JupyterLab {theme}")
    write("@jupyterlab/docmanager-extension", "plugin", autosave=False)
    # Without this, cells off-screen are not rendered.
    tracker = {"windowingMode": "none", "kernelShutdown": True}
    write("@jupyterlab/notebook-extension", "tracker", **tracker)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_it_answers(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
        try:
            urllib.request.urlopen(f"{lab.base}/api", timeout=1).close()
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"JupyterLab did not answer within {START_SECONDS} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGINT, 15), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        if server.poll() is not None:
            return
        server.send_signal(number)
        try:
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
