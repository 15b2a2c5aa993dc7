"""A real registry, asked over HTTP, by an engine, and after a `kill -9` (about 8 s)."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from labsupport.doctor import addresses
from labsupport.errors import LabError
from labsupport.registry.registry import Registry
from labsupport.registry.server import OWN_AGENT, Log
from tests import census
from tests.toys import stand_in
from tests.waiting import owner, wait_until

pytestmark = pytest.mark.needs("registry")


@pytest.fixture(scope="module")
def registry():
    with Registry.start() as registry:
        yield registry


def status_of(address):
    try:
        return urlopen(f"http://{address}/v2/", timeout=60).status
    except HTTPError as error:
        return error.code


PROXY_CODE = """
from labsupport import Registry
with Registry.start() as registry:
    print(registry.catalogue())
"""


def test_it_listens_on_the_loopback_only(registry):
    host, _, port = registry.address.partition(":")

    assert host == "127.0.0.1"
    argv = ["ss", "-Hltn", f"sport = :{port}"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert [line.split()[3] for line in told.stdout.splitlines()] == [registry.address]


def test_who_does_not_log_in_is_refused_and_the_log_says_so(registry):
    before = len(registry.log())
    assert status_of(registry.address) == 401

    wait_until(lambda: len(registry.log()) > before)  # it answers first, and writes then
    request = registry.log()[before]
    assert (request.method, request.path, request.status, request.user) == ("GET", "/v2/", 401, "")


def test_its_own_user_is_let_in_and_sees_what_is_there(registry):
    before = len(registry.log())

    assert registry.catalogue() == {}
    assert len(registry.log()) == before  # our own questions are not counted


def test_a_proxy_is_not_asked_for_what_is_on_our_own_loopback():
    done = subprocess.run(
        [sys.executable, "-c", PROXY_CODE], env={**os.environ, "http_proxy": "http://127.0.0.1:9"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "{}\n"


def test_the_token_is_nowhere_in_clear(registry):
    assert registry.password not in repr(registry)
    assert len(registry.password) == 32
    files = [path for path in registry.folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if registry.password in path.read_text(errors="replace")]
    assert not census.running(registry.password)


def test_a_log_that_comes_late_is_read_as_far_as_a_mark():
    """The registry answers first, and writes how that ended when it likes."""

    def line(number, path, agent="docker", **more):
        keys = {"id": number, "method": "GET", "uri": path, "useragent": agent}
        entry = {f"http.request.{key}": value for key, value in keys.items()}
        return json.dumps({"msg": "", **entry, **more}).encode()

    def late():
        for number, path, agent in ((1, "/v2/x/blobs/y", "docker"), (2, "/v2/?mark=m", OWN_AGENT)):
            go_on.wait(60)
            yield line(number, path, agent)
        yield line(2, "/v2/?mark=m", OWN_AGENT, **{"http.response.status": 200})
        time.sleep(0.1)
        yield line(1, "/v2/x/blobs/y", **{"http.response.status": 200})
        read.wait(60)

    go_on, read = threading.Event(), threading.Event()
    log = Log(late())
    assert log.requests() == []
    go_on.set()
    assert [(each.path, each.status) for each in log.requests("mark=m")] == [("/v2/x/blobs/y", 200)]
    read.set()


def test_its_end_leaves_nothing(registry):
    other = Registry.start()
    assert census.running(str(other.folder))
    other.stop()
    other.stop()
    assert not other.folder.exists()
    assert not census.running(str(other.folder))
    wait_until(lambda: other._running._process.stderr.closed)
    with pytest.raises(LabError, match="refused"):
        other.catalogue()


def test_it_ends_with_its_owner_even_by_kill_9():
    program = """
        import time
        from labsupport.registry.registry import Registry
        registry = Registry.start()
        print(registry.address, registry.folder, flush=True)
        time.sleep(600)
    """
    with owner(program) as (_, said):
        address, folder = said.split()
        assert status_of(address) == 401
    wait_until(lambda: not Path(folder).exists())
    with pytest.raises(OSError, match="refused"):
        status_of(address)


def test_an_ordinary_user_has_one_too(as_user):
    program = """if True:
        from labsupport.registry.registry import Registry
        with Registry.start() as registry:
            print(registry.catalogue(), oct(registry.folder.stat().st_mode & 0o777))
    """
    done = as_user([sys.executable, "-c", program], timeout=60)
    assert done.stdout.split("\n")[0] == "{} 0o700", done.stderr


def test_a_program_that_is_no_registry_is_named(tmp_path, monkeypatch):
    stand_in(tmp_path / "docker-registry", "echo 'not today' >&2; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(LabError, match="not today"):
        Registry.start()


def test_where_there_is_none_the_remedy_is_a_command(tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "NAMES", ())
    monkeypatch.setattr(addresses, "KEPT", tmp_path / "none")

    with pytest.raises(LabError, match=r"\./lab registry"):
        Registry.start()
