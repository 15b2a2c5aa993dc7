"""The engine: a private one on this machine (5 s), and the guest's own in the Lab VM (20 s)."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from labsupport.engine import base_image, daemon, finding
from labsupport.engine.client import Engine
from labsupport.engine.labels import OWNER
from labsupport.errors import (
    BaseFilesMissing,
    EngineDown,
    EngineFailed,
    EngineMissing,
    EngineRefused,
    EngineTooOld,
)
from labsupport.linux.net import bridges

DOCKERD = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
needs_dockerd = pytest.mark.skipif(
    os.geteuid() != 0 or not DOCKERD, reason="needs root and dockerd (apt-get install docker.io)"
)


@pytest.fixture(scope="module")
def engine():
    with Engine.start_private() as engine:
        yield engine


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No engine is named, and none of the usual sockets is there."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "LAB_IN_VM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "settings"))
    monkeypatch.setattr(finding, "usual_sockets", lambda: [tmp_path / "usual.sock"])
    return tmp_path


def traces(folder: Path) -> list[str]:
    """What is left of a private engine: processes, mounts, cgroups, its folder."""
    processes = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and folder.name in _command_line(entry)
    ]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if folder.name in line]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{folder.name}")]
    return processes + mounts + groups + ([str(folder)] if folder.exists() else [])


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def folder_of(engine: Engine) -> Path:
    return Path(engine.address.removeprefix("unix://")).parent


def start_sleeper(engine: Engine) -> int:
    """Start a container and return the process ID of its first process on this machine."""
    container = engine.client.containers.run(
        engine.base_image(), ["sleep", "600"], network_mode="none", detach=True
    )
    return engine.client.api.inspect_container(container.id)["State"]["Pid"]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@needs_dockerd
def test_the_engine_says_what_it_is(engine):
    assert engine.kind == "docker"
    assert engine.kernel_release == os.uname().release
    assert engine.cgroup_version == (2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1)
    assert engine.version == engine.client.version()["Version"]
    assert engine.storage_driver
    assert not engine.rootless


@needs_dockerd
def test_a_container_of_the_base_image_is_a_process_here(engine):
    pid = start_sleeper(engine)

    assert folder_of(engine).name in Path(f"/proc/{pid}/cgroup").read_text()
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert Path(f"/proc/{pid}/root/bin/sh").is_symlink()
    assert Path(f"/proc/{pid}/root/bin/busybox").read_bytes() == base_image._busybox().read_bytes()


@needs_dockerd
def test_the_base_image_is_made_once_and_runs_every_tool(engine):
    first, second = engine.base_image(), engine.base_image()

    assert first.id == second.id
    assert first.labels == {OWNER: "course"}
    assert [step["CreatedBy"].split()[0] for step in first.history()] == ["CMD", "ENV", "ADD"]
    script = "id -un; ls -ld /tmp; which httpd; wc -l < /etc/passwd"
    said = engine.client.containers.run(first, ["sh", "-c", script], network_mode="none")
    assert said.decode().split("\n")[0] == "root"
    assert b"drwxrwxrwt" in said
    assert b"/httpd" in said


@needs_dockerd
def test_another_image_of_that_name_is_replaced(engine):
    made = engine.base_image()
    engine.client.images.load(base_image._archive(*_other_image()))
    assert engine.client.images.get(base_image.TAG).id != made.id

    assert engine.base_image().id == made.id


def _other_image():
    layer = base_image.pack({"hello": base_image.a_file(b"hello")})
    return layer, base_image._config(hashlib.sha256(layer).hexdigest())


def test_the_base_image_needs_a_static_busybox(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BaseFilesMissing, match=r"no program `busybox`(.|\n)*busybox-static"):
        base_image._busybox()

    shutil.copy(os.path.realpath(sys.executable), tmp_path / "busybox")
    with pytest.raises(BaseFilesMissing, match="needs shared libraries"):
        base_image._busybox()


@needs_dockerd
def test_a_closed_engine_leaves_nothing():
    with Engine.start_private() as engine:
        pid = start_sleeper(engine)
        folder = folder_of(engine)
        assert len(traces(folder)) >= 3

    assert not is_alive(pid)
    assert traces(folder) == []


SERVES = ["sh", "-c", "mkdir /web; echo hello > /web/index.html; httpd -f -p 80 -h /web"]
OWNER_OF_AN_ENGINE = f"""
import time
from labsupport.engine.client import Engine
engine = Engine.start_private()
network = engine.client.networks.create("own")
container = engine.client.containers.run(
    engine.base_image(), {SERVES}, ports={{"80/tcp": None}}, network="own", detach=True)
pid = engine.client.api.inspect_container(container.id)["State"]["Pid"]
print(engine.address, pid, flush=True)
time.sleep(600)
"""


@contextmanager
def owner_of_an_engine():
    """Start a program with an engine, a network and a server; yield it, folder and server's PID."""
    argv = [sys.executable, "-c", OWNER_OF_AN_ENGINE]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        address, pid = owner.stdout.readline().split()
        assert is_alive(int(pid))
        yield owner, Path(address.removeprefix("unix://")).parent, int(pid)


def wait_until(done, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)


def links_of(reaper: int) -> set[str]:
    """The bridge of an engine whose reaper this is, and what is plugged in."""
    bridges_ = [
        link.name
        for link in bridges.LINKS.glob("labengine*")
        if f"labsupport-engine-{reaper}-" in (link / "ifalias").read_text()
    ]
    return {*bridges_, *(port for name in bridges_ for port in bridges._ports(name))}


def all_links() -> set[str]:
    return set(os.listdir(bridges.LINKS))


@needs_dockerd
def test_a_killed_owner_leaves_nothing():
    with owner_of_an_engine() as (owner, folder, pid):
        [reaper] = map(
            int, Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()
        )
        links = {*links_of(reaper), *bridges.made_by_engine(folder / "data")}
        assert len(links) == 2  # the engine's bridge, and that of its other network
        links |= {port for name in links for port in bridges._ports(name)}
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not traces(folder))

    assert not is_alive(pid)
    assert traces(folder) == []
    assert len(links) == 3
    assert not links & all_links()


@needs_dockerd
def test_a_bridge_whose_reaper_was_killed_is_found_by_its_alias():
    with Engine.start_private() as engine:
        reaper = engine._daemon.process
        [bridge] = links_of(reaper.pid)
        assert f"bridge {bridge}" not in [left.what for left in bridges.find()]
        reaper.kill()
        reaper.wait()
        assert f"bridge {bridge}" in [left.what for left in bridges.find()]
        for name in ("pid", "exec/containerd/containerd.pid"):
            os.kill(int((folder_of(engine) / name).read_text()), signal.SIGKILL)
    shutil.rmtree(folder_of(engine))

    with Engine.start_private() as engine:
        assert links_of(reaper.pid) == set()


@needs_dockerd
def test_ports_are_published_on_the_loopback_and_names_are_known(engine):
    client, image = engine.client, engine.base_image()
    network = client.networks.create("talk")
    published = {"80/tcp": None}
    web = client.containers.run(image, SERVES, name="web", ports=published, detach=True)
    network.connect(web)
    web.reload()
    [port] = web.ports["80/tcp"]
    assert port["HostIp"] == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{port['HostPort']}", timeout=10) as page:
        assert page.read() == b"hello\n"
    question = ["wget", "-q", "-O-", "http://web/"]
    assert client.containers.run(image, question, network="talk", remove=True) == b"hello\n"
    web.remove(force=True)
    network.remove()


@needs_dockerd
def test_the_machines_network_is_not_touched():
    def seen():
        programs = [["iptables-save"], ["nft", "list", "ruleset"]]
        rules = [subprocess.check_output(argv, text=True) for argv in programs]
        routes = Path("/proc/net/route").read_text().splitlines()
        routes = [line for line in routes if not line.startswith(("labengine", "br-"))]
        links = {name for name in all_links() if not name.startswith(("labengine", "br-", "veth"))}
        return [Path("/proc/sys/net/ipv4/ip_forward").read_text(), links, routes, *rules]

    before = seen()
    with Engine.start_private() as engine:
        engine.client.networks.create("own")
        start_sleeper(engine)
        assert seen() == before
    assert seen() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("script", "said"),
    [("echo no overlay here; exit 3", "no overlay here"), ("exit 3", "without a word")],
)
def test_a_daemon_that_does_not_start_is_quoted(tmp_path, monkeypatch, script, said):
    fake = tmp_path / "dockerd"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with tempfile.TemporaryDirectory(prefix="lab-") as scratch:  # pytest's own is too long a path
        monkeypatch.setattr(tempfile, "tempdir", scratch)
        with pytest.raises(EngineFailed, match=f"dockerd did not start: (.|\n)*{said}"):
            Engine.start_private()
        assert os.listdir(scratch) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_temporary_folder_too_deep_for_a_socket_is_told(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(EngineFailed, match=r"too long for a socket(.|\n)*TMPDIR=/tmp"):
        Engine.start_private()
    assert list(deep.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_daemon_that_is_never_ready_is_ended(tmp_path, monkeypatch):
    fake = tmp_path / "dockerd"
    fake.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(daemon, "READY_SECONDS", 0.7)

    with pytest.raises(EngineFailed, match="not ready in"):
        Engine.start_private()
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_only_root_has_a_private_engine(nowhere, nobody):
    with pytest.raises((EngineFailed, EngineMissing), match=r"only root can|no program `dockerd`"):
        Engine.start_private()


@needs_dockerd
def test_docker_host_is_obeyed(engine, nowhere, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.address)

    with Engine.connect() as found:
        assert found.client.info()["ID"] == engine.client.info()["ID"]
    assert engine.client.ping()  # closing a connection does not end the engine


@needs_dockerd
def test_dockers_context_is_obeyed(engine, nowhere, monkeypatch):
    _write_context(nowhere / "settings", "lab", engine.address)

    with Engine.connect() as found:
        assert found.address == engine.address


@needs_dockerd
def test_the_usual_socket_is_found(engine, nowhere):
    (nowhere / "usual.sock").symlink_to(engine.address.removeprefix("unix://"))

    with Engine.connect() as found:
        assert found.address == f"unix://{nowhere}/usual.sock"


def _write_context(settings: Path, name: str, host: str) -> None:
    folder = settings / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    endpoint = {"docker": {"Host": host, "SkipTLSVerify": False}}
    meta = {"Name": name, "Metadata": {}, "Endpoints": endpoint}
    (folder / "meta.json").write_text(json.dumps(meta))
    (settings / "config.json").write_text(json.dumps({"currentContext": name}))


def test_a_context_that_is_gone_is_named(nowhere, monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")

    with pytest.raises(EngineDown, match=r"'elsewhere'(.|\n)*docker context ls"):
        Engine.connect()


def test_a_dead_docker_host_is_named(nowhere, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/gone.sock")
    with pytest.raises(EngineDown, match=r"gone\.sock: No such file(.|\n)*from DOCKER_HOST"):
        Engine.connect()

    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(EngineDown, match=r"tcp://127\.0\.0\.1:1(.|\n)*from DOCKER_HOST"):
        Engine.connect()


def test_without_any_engine_its_package_is_named(nowhere, monkeypatch):
    monkeypatch.setattr(finding, "_installed", lambda: "")

    with pytest.raises(EngineMissing, match=r"apt-get install docker\.io(.|\n)*Lab VM"):
        Engine.connect()


@pytest.mark.parametrize(
    ("program", "remedy"), [("dockerd", "systemctl start docker"), ("podman", "podman.socket")]
)
def test_an_engine_that_is_not_started_is_to_be_started(nowhere, monkeypatch, program, remedy):
    monkeypatch.setattr(finding, "_installed", lambda: program)

    with pytest.raises(EngineDown, match=f"{program} is installed(.|\n)*{remedy}"):
        Engine.connect()


def test_a_socket_without_a_listener_is_told_apart(nowhere):
    with socketserver.UnixStreamServer(
        str(nowhere / "usual.sock"), http.server.BaseHTTPRequestHandler
    ):
        pass

    with pytest.raises(EngineDown, match=r"usual\.sock is there, but nobody listens"):
        Engine.connect()


@pytest.fixture
def nobody(tmp_path):
    """Go on as a user without any rights."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize("asked_by", ["DOCKER_HOST", "the usual places"])
def test_a_socket_that_is_not_ours_names_the_group(nowhere, request, monkeypatch, asked_by):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a socket of somebody else's")
    path = nowhere / "usual.sock"
    if asked_by == "DOCKER_HOST":
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with _answering(path, "1.41"):
        path.chmod(0o600)
        request.getfixturevalue("nobody")
        with pytest.raises(EngineRefused, match=rf"{asked_by}(.|\n)*usermod -aG docker"):
            Engine.connect()


@pytest.mark.parametrize("version", ["1.18", "1.40"])
def test_an_old_engine_is_told_apart(nowhere, version):
    refusal = pytest.raises(EngineTooOld, match=r"too old(.|\n)*upgrade it")
    with _answering(nowhere / "usual.sock", version), refusal:
        Engine.connect()


@contextmanager
def _answering(path: Path, api: str):
    """Answer like an engine of this age; it stands for refusals only."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"Version": "1", "ApiVersion": api, "Driver": "aufs"}).encode()
            self.send_response(200)
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
