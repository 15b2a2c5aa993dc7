"""Which engine is found, and why none was (3 s)."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from docker.context import ContextAPI

from labsupport.doctor import addresses
from labsupport.engine import client, daemon
from labsupport.engine.client import Engine
from labsupport.errors import EngineDown, LabError
from labsupport.kernel.refusals import CAP_SYS_ADMIN, Facts
from tests.engine.help import answering, folder_of, needs_engine, traces
from tests.waiting import owner, wait_until

may_be_private = addresses.may_be_private


def test_dockers_variable_comes_before_podmans(engine, nowhere, monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", engine.address)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/gone.sock")
    with pytest.raises(EngineDown, match="from DOCKER_HOST"):
        Engine.connect()


def test_an_engine_that_is_ill_does_not_hide_one_that_is_well(engine, nowhere, monkeypatch):
    ill, well = nowhere / "ill.sock", Path(engine.address.removeprefix("unix://"))
    monkeypatch.setattr(client, "usual_sockets", lambda: [ill, well])
    with answering(ill, "1.40"), Engine.connect() as found:
        assert found.address == engine.address


@pytest.mark.parametrize("way", ["DOCKER_HOST", "CONTAINER_HOST", "context", "usual"])
def test_an_engine_is_found_wherever_it_is_and_the_doctor_says_yes(
    engine, nowhere, monkeypatch, way
):
    usual = nowhere / "usual.sock"
    monkeypatch.setattr(addresses, "usual_sockets", lambda _environment: [usual])
    with pytest.raises(Exception, match=r"no engine was found|not running"):
        addresses.engine()
    if way == "context":
        _write_context(nowhere / "settings", "lab", engine.address)
    elif way == "usual":
        usual.symlink_to(engine.address.removeprefix("unix://"))
    else:
        monkeypatch.setenv(way, engine.address)

    with Engine.connect() as found:
        assert found.address == (f"unix://{usual}" if way == "usual" else engine.address)
        assert found.client.info()["ID"] == engine.client.info()["ID"]
        assert addresses.engine() == found.address
    assert engine.client.ping()  # closing a connection does not end the engine


@needs_engine
def test_root_gets_one_engine_for_all_that_a_process_asks_for(nowhere, monkeypatch):
    monkeypatch.setattr(addresses, "may_be_private", may_be_private)
    monkeypatch.setattr(addresses, "usual_sockets", lambda _environment: [])
    assert addresses.engine() == "a private one is started when first asked for"
    with Engine.connect() as first:
        own = daemon._of_this_process.process.pid
    with Engine.connect() as second:  # closing a connection did not end it
        assert second.address == first.address == os.environ["DOCKER_HOST"]
        assert addresses.engine() == first.address
        os.kill(own, signal.SIGTERM)
        wait_until(lambda: not traces(folder_of(first)))
    with Engine.connect() as third:  # it has ended, so another one is started
        assert third.address != first.address
        daemon._of_this_process.stop()
        assert traces(folder_of(third)) == []


@needs_engine
def test_the_engine_that_a_killed_notebook_asked_for_ends_with_it():
    program = (
        "import time; from labsupport import Engine\n"
        "print(Engine.connect().address, flush=True); time.sleep(600)"
    )
    nothing = {name: text for name, text in os.environ.items() if name != "DOCKER_HOST"}
    with owner(program, env=nothing) as (_, address):
        folder = Path(address.removeprefix("unix://")).parent
        if "labsupport" not in folder.name:
            pytest.skip("an engine runs here already")
        assert len(traces(folder)) >= 3
    wait_until(lambda: not traces(folder))


def test_the_root_of_a_user_namespace_gets_none(monkeypatch):
    monkeypatch.setattr(addresses, "ALL_USERS", ["0", "1000", "1"])
    root = Facts(capabilities=1 << CAP_SYS_ADMIN)
    assert not addresses.may_be_private(root)
    assert not addresses.may_be_private(Facts(euid=1000))


def test_a_context_is_read_as_dockers_sdk_reads_it(nowhere, monkeypatch):
    settings = nowhere / "settings"
    _write_context(settings, "lab", "tcp://10.0.0.1:2376")
    (settings / "contexts/tls" / hashlib.sha256(b"lab").hexdigest() / "docker").mkdir(parents=True)
    for name in (None, "lab", "default"):
        if name:
            monkeypatch.setenv("DOCKER_CONTEXT", name)
        theirs, ours = ContextAPI.get_context(name), addresses.chosen(os.environ)
        if theirs.Name == "default":
            assert ours is None
        else:
            assert (ours.context, ours.address) == (theirs.Name, theirs.Host)
            assert not ours.plain


def test_a_context_that_cannot_be_read_is_told(nowhere):
    _write_context(nowhere / "settings", "lab", "unix:///x")
    [meta] = nowhere.glob("settings/contexts/meta/*/meta.json")
    meta.write_text("{")
    with pytest.raises(EngineDown, match="context cannot be read"):
        Engine.connect()


def _write_context(settings, name, host):
    folder = settings / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    endpoint = {"docker": {"Host": host, "SkipTLSVerify": False}}
    meta = {"Name": name, "Metadata": {}, "Endpoints": endpoint}
    (folder / "meta.json").write_text(json.dumps(meta))
    (settings / "config.json").write_text(json.dumps({"currentContext": name}))


@pytest.mark.parametrize(
    ("installed", "remedy"),
    [
        ("", r"docker\.io(.|\n)*Lab VM"),
        ("dockerd", "start docker|docker start"),
        ("podman", r"start podman\.socket|podman\.socket start"),
    ],
)
def test_an_engine_that_is_not_there_or_not_started_is_to_be(
    nowhere, monkeypatch, installed, remedy
):
    monkeypatch.setattr(addresses, "installed", lambda: installed)

    with pytest.raises(EngineDown, match=remedy):
        Engine.connect()


@pytest.mark.parametrize("asked_by", ["DOCKER_HOST", "the usual places"])
def test_a_socket_that_is_not_ours_names_the_group(nowhere, request, monkeypatch, asked_by):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a socket of somebody else's")
    path = nowhere / "usual.sock"
    if asked_by == "DOCKER_HOST":
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with answering(path, "1.41"):
        path.chmod(0o600)
        request.getfixturevalue("nobody")
        with pytest.raises(EngineDown, match=r"run \./lab as root"):
            Engine.connect()


@pytest.mark.parametrize(("after", "said"), [(0.6, "too old"), (2.5, "Read timed out")])
def test_an_engine_that_is_slow_to_start_gets_patience_and_a_word(
    nowhere, monkeypatch, capsys, after, said
):
    monkeypatch.setattr(client, "SOON_SECONDS", 0.2)
    monkeypatch.setattr(client, "PATIENT_SECONDS", 1.5)
    usual = nowhere / "usual.sock"
    with answering(usual, "1.40", after=after), pytest.raises(LabError, match=said):
        Engine.connect()
    assert f"The engine at unix://{usual} does not answer yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("newest", "oldest", "answer"),
    [
        ("1.41", None, "1.41"),
        ("1.45", "1.24", "1.45"),
        ("1.52", "1.44", "1.45"),  # Docker 29
        ("1.40", "1.12", "too old"),
        ("1.60", "1.46", "pip install --upgrade docker"),
    ],
)
def test_versions_are_agreed_upon(monkeypatch, newest, oldest, answer):
    monkeypatch.setattr(client, "NEWEST_API", "1.45")
    said = {"ApiVersion": newest, "MinAPIVersion": oldest}
    if answer.startswith("1."):
        assert client.agreed_version(said, "here") == answer
        return
    with pytest.raises(LabError, match=answer):
        client.agreed_version(said, "here")


def test_a_socket_with_a_name_too_long_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / ("h" * 120)))
    assert not [path for path in addresses.usual_sockets() if "hhh" in str(path)]
