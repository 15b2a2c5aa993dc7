"""A real registry, asked over HTTP, by an engine, and after a `kill -9` (about 8 s)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from labsupport.engine import registry_program
from labsupport.engine.registry import Registry
from labsupport.errors import AddressInUse, RegistryFailed, RegistryMissing

pytestmark = pytest.mark.skipif(
    registry_program.find() is None, reason="needs a registry's program (./lab registry)"
)


@pytest.fixture(scope="module")
def registry():
    with Registry.start() as registry:
        yield registry


def status_of(address: str) -> int:
    try:
        return urlopen(f"http://{address}/v2/", timeout=10).status
    except HTTPError as error:
        return error.code


def test_it_listens_on_the_loopback_only(registry):
    host, _, port = registry.address.partition(":")

    assert host == "127.0.0.1"
    argv = ["ss", "-Hltn", f"sport = :{port}"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert [line.split()[3] for line in told.stdout.splitlines()] == [registry.address]


def test_who_does_not_log_in_is_refused_and_the_log_says_so(registry):
    before = len(registry.log())
    assert status_of(registry.address) == 401

    until = time.monotonic() + 5  # it answers first, and writes then
    while len(registry.log()) == before and time.monotonic() < until:
        time.sleep(0.02)
    request = registry.log()[before]
    assert (request.method, request.path, request.status, request.user) == ("GET", "/v2/", 401, "")


def test_its_own_user_is_let_in_and_sees_what_is_there(registry):
    before = len(registry.log())

    assert registry.catalogue() == {}
    assert len(registry.log()) == before  # our own questions are not counted


def test_the_token_is_nowhere_in_clear(registry):
    assert registry.password not in repr(registry)
    assert len(registry.password) == 32
    files = [path for path in registry.folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if registry.password in path.read_text(errors="replace")]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        assert registry.password.encode() not in entry.read_bytes()


def test_two_do_not_disturb_each_other(registry):
    with Registry.start(user="other") as other:
        assert other.address != registry.address
        assert other.password != registry.password
        assert other.name("app", "2") == f"{other.address}/other/app:2"


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=rf"127.0.0.1:{port}.*in use"):
            Registry.start(port=port)


def test_its_end_leaves_nothing(registry):
    other = Registry.start()
    inside = [int(p.name) for p in Path("/proc").glob("[0-9]*") if _mentions(p, other.folder)]
    assert inside

    other.stop()
    other.stop()
    assert not other.folder.exists()
    assert not [p for p in inside if Path(f"/proc/{p}").exists()]
    with pytest.raises(RegistryFailed, match="refused"):
        other.catalogue()


def _mentions(process: Path, folder: Path) -> bool:
    try:
        return str(folder).encode() in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_ends_with_its_owner_even_by_kill_9():
    program = """if True:
        import time
        from labsupport.engine.registry import Registry
        registry = Registry.start()
        print(registry.address, registry.folder, flush=True)
        time.sleep(600)
    """
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    address, folder = owner.stdout.readline().split()
    assert status_of(address) == 401
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()

    deadline = time.monotonic() + 10
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(folder).exists()
    with pytest.raises(OSError, match="refused"):
        status_of(address)


def test_an_ordinary_user_has_one_too(as_user):
    program = """if True:
        from labsupport.engine.registry import Registry
        with Registry.start() as registry:
            print(registry.catalogue(), oct(registry.folder.stat().st_mode & 0o777))
    """
    done = as_user([sys.executable, "-c", program], timeout=60)
    assert done.stdout.split("\n")[0] == "{} 0o700", done.stderr


def test_a_program_that_is_no_registry_is_named(tmp_path, monkeypatch):
    (tmp_path / "docker-registry").write_text("#!/bin/sh\necho 'not today' >&2; exit 3\n")
    (tmp_path / "docker-registry").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(RegistryFailed, match="not today"):
        Registry.start()


def test_where_there_is_none_the_remedy_is_a_command(tmp_path, monkeypatch):
    monkeypatch.setattr(registry_program, "NAMES", ())
    monkeypatch.setattr(registry_program, "KEPT", tmp_path / "none")

    with pytest.raises(RegistryMissing, match=r"\./lab registry"):
        Registry.start()
