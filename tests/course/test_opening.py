"""`./lab` opens JupyterLab: where, on which port, and how it ends (about 15 s in all)."""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from labsupport.course import opening
from labsupport.errors import LabError
from tests.toys import write_notebook

FIRST = "/lab/tree/00_start_here.ipynb"
SETTINGS = "/lab/api/settings/@jupyterlab/apputils-extension"
STARTER = "import sys, tests; from labsupport.course import opening; "
STARTER += "opening.FOLDER = opening.Path(sys.argv[1]); "
STARTER += "opening.places.wants_kernel = lambda environment: {wants_kernel}; "
STARTER += "opening.BUILD = ['sh', '-c', 'echo $$ $LAB_KERNEL_IS_BUILT; exec sleep 1000']; "
STARTER += "sys.exit(opening.main(sys.argv[2:]))"


@pytest.fixture
def folder(tmp_path):
    write_notebook(tmp_path / "00_start_here.ipynb", "1 + 1")
    write_notebook(tmp_path / "02_second.ipynb", "1 + 1")
    return tmp_path


@contextmanager
def opened(folder, *arguments, errors=None, wants_kernel=False):
    """Open the course in that folder; yield the process and the address that it tells."""
    starter = STARTER.format(wants_kernel=wants_kernel)
    command = [sys.executable, "-c", starter, str(folder), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
    with subprocess.Popen(command, env={**os.environ, "CI": "true"}, **pipes) as server:
        try:
            text = ""
            while "token=" not in text:
                line = server.stdout.readline()
                assert line, f"no address: {text}"
                text += line
            yield server, re.search(r"http\S+", text).group()
        finally:
            server.kill()


def asked(address, path):
    """Return what JupyterLab answers to a question of its page's."""
    with urllib.request.urlopen(address.replace(FIRST, path), timeout=60) as page:
        return json.load(page)


def test_the_address_answers_as_soon_as_it_is_told_and_one_ctrl_c_ends_all(folder):
    with opened(folder) as (server, address):
        with urllib.request.urlopen(address, timeout=60) as page:
            assert b"JupyterLab" in page.read()
        assert "/lab/tree/00_start_here.ipynb?token=" in address
        token = address.rpartition("=")[2]
        assert token not in Path(f"/proc/{server.pid}/cmdline").read_text()
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


def test_a_kernel_is_built_beside_the_open_course_and_no_longer(folder):
    with opened(folder, wants_kernel=True) as (server, address):
        told = iter(server.stdout.readline, "")
        assert any("One is built now" in line for line in told)
        builder, variable = next(line for line in told if line[0].isdigit()).split()
        assert variable == "1"
        assert asked(address, "/api/kernelspecs")
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        assert not Path("/proc", builder).exists()


def test_settings_and_kernels_of_the_user_do_not_reach_in_and_ours_ask_for_no_news(
    folder, monkeypatch
):
    """Theirs ask for parts that are not installed here, and another Python."""
    settings = {"ServerApp": {"contents_manager_class": "not.there.Manager"}}
    themes = "apputils-extension/themes.jupyterlab-settings"
    kernel = {"argv": ["/theirs"], "display_name": "theirs", "language": "python"}
    for name, text in {
        ".jupyter/jupyter_server_config.json": settings,
        f".jupyter/lab/user-settings/@jupyterlab/{themes}": {"theme": "theirs"},
        ".local/share/jupyter/kernels/python3/kernel.json": kernel,
        "more/kernels/python3/kernel.json": kernel,
    }.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(json.dumps(text))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "more"))
    monkeypatch.delenv("JUPYTER_CONFIG_DIR", raising=False)
    before = sorted(folder.glob(".*/**/*"))
    with opened(folder) as (_, address):
        found = asked(address, "/api/kernelspecs")["kernelspecs"]
        chosen = asked(address, f"{SETTINGS}:themes")
        ours = asked(address, f"{SETTINGS}:notification")["schema"]["properties"]
    assert found["python3"]["spec"]["argv"][0] == sys.executable
    assert chosen["settings"].get("theme") != "theirs"
    assert ours["fetchNews"]["default"] == "false"
    assert ours["checkForUpdates"]["default"] is False
    assert sorted(folder.glob(".*/**/*")) == before


def test_a_first_visit_warns_of_a_strangers_notebook_and_of_nothing_else(folder):
    write_notebook(folder / "strange.ipynb", "1 + 1")
    with (folder / "errors").open("w") as errors, opened(folder, errors=errors) as (_, address):
        for name in ("00_start_here.ipynb", "strange.ipynb"):
            asked(address, f"/api/contents/{name}")
        asyncio.run(use_a_kernel(address))
        told = (folder / "errors").read_text().splitlines()
    assert re.findall(r"Notebook (\S+) is not trusted", "\n".join(told)) == ["strange.ipynb"]
    assert len(told) == 1, told


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ("Got events for closed stream %s", False),
        ("Got events for stream %s after terminating context", True),
    ],
)
def test_a_kernels_late_answer_to_jupyter_is_not_a_fault(said, is_one):
    record = logging.makeLogRecord({"msg": said, "args": ("<ZMQStream>",)})
    assert opening.is_a_fault(record) is is_one


async def use_a_kernel(address):
    """Start one, and connect to it as the page does."""
    host, token = re.match(r"http://([^/]+).*token=(\w+)", address).groups()
    client, headers = AsyncHTTPClient(), {"Authorization": f"token {token}"}
    kernels, patient = f"http://{host}/api/kernels", {"headers": headers, "request_timeout": 60}
    made = await client.fetch(kernels, method="POST", body="{}", **patient)
    number = json.loads(made.body)["id"]
    channels = f"ws://{host}/api/kernels/{number}/channels?session_id=test"
    (await websocket_connect(HTTPRequest(channels, **patient))).close()  # it has answered by now


def test_a_notebook_may_be_named_by_its_start_and_a_closed_terminal_ends_all(folder):
    with opened(folder, "02") as (server, address):
        assert "/lab/tree/02_second.ipynb?token=" in address
        server.send_signal(signal.SIGHUP)
        assert server.wait(60) == 0


def test_a_taken_port_is_told(folder):
    starter = STARTER.format(wants_kernel=False)
    with socket.create_server((opening.LOOPBACK, 0)) as listener:
        taken = str(listener.getsockname()[1])
        command = [sys.executable, "-c", starter, str(folder), "--port", taken]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert taken in done.stderr


def test_a_missing_notebook_is_told(folder, monkeypatch):
    monkeypatch.setattr(opening, "FOLDER", folder)
    with pytest.raises(LabError, match="99_no_such"):
        opening.find("99_no_such.ipynb")


@pytest.mark.parametrize(
    ("env", "display"),
    [({}, False), ({"DISPLAY": ":0"}, True), ({"DISPLAY": ":0", "CI": "1"}, False)],
)
def test_a_browser_is_opened_only_where_there_is_a_display(env, display, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert opening.has_display() is display
