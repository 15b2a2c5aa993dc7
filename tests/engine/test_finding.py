"""Which engine is found, and why none was (3 s)."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import socketserver
from pathlib import Path

import pytest
from docker.context import ContextAPI

from labsupport.engine import addresses, finding
from labsupport.engine.client import Engine
from labsupport.errors import (
    EngineDown,
    EngineMissing,
    EngineRefused,
    EngineTooNew,
    EngineTooOld,
)
from labsupport.probes import engine as probe
from tests.engine.help import answering, needs_dockerd


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


@needs_dockerd
def test_podmans_variable_is_obeyed_if_there_is_none_of_dockers(engine, nowhere, monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", engine.address)
    with Engine.connect() as found:
        assert found.address == engine.address

    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/gone.sock")
    with pytest.raises(EngineDown, match="from DOCKER_HOST"):
        Engine.connect()


@needs_dockerd
def test_an_engine_that_is_ill_does_not_hide_one_that_is_well(engine, nowhere, monkeypatch):
    ill, well = nowhere / "ill.sock", Path(engine.address.removeprefix("unix://"))
    monkeypatch.setattr(finding, "usual_sockets", lambda: [ill, well])
    with answering(ill, "1.40"), Engine.connect() as found:
        assert found.address == engine.address


@needs_dockerd
@pytest.mark.parametrize("way", ["DOCKER_HOST", "CONTAINER_HOST", "context", "usual"])
def test_the_doctor_says_yes_wherever_one_is_found(engine, nowhere, monkeypatch, way):
    socket = Path(engine.address.removeprefix("unix://"))
    monkeypatch.setattr(addresses, "usual_sockets", lambda _environment: [nowhere / "usual.sock"])
    with pytest.raises(Exception, match=r"no engine was found|not running"):
        probe.engine()
    if way == "context":
        _write_context(nowhere / "settings", "lab", engine.address)
    elif way == "usual":
        (nowhere / "usual.sock").symlink_to(socket)
    else:
        monkeypatch.setenv(way, engine.address)

    with Engine.connect() as found:
        assert probe.engine() == found.address


@needs_dockerd
def test_the_version_of_the_api_is_the_newest_that_both_know(engine, monkeypatch):
    known = [engine.newest_api, finding.NEWEST_API]
    assert engine.client.api.api_version == min(known, key=lambda each: int(each.split(".")[1]))
    monkeypatch.setattr(finding, "NEWEST_API", "1.30")
    older = finding.connect(addresses.Chosen(engine.address, "test"))
    assert older.api.api_version == "1.30"
    assert older.ping()
    older.close()


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
        with pytest.raises(EngineRefused, match=rf"{asked_by}(.|\n)*usermod -aG docker"):
            Engine.connect()


@pytest.mark.parametrize("version", ["1.18", "1.40"])
def test_an_old_engine_is_told_apart(nowhere, version):
    refusal = pytest.raises(EngineTooOld, match=r"too old(.|\n)*upgrade it")
    with answering(nowhere / "usual.sock", version), refusal:
        Engine.connect()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({"ApiVersion": "1.41"}, "1.41"),
        ({"ApiVersion": "1.45", "MinAPIVersion": "1.24"}, "1.45"),
        ({"ApiVersion": "1.52", "MinAPIVersion": "1.44"}, "1.45"),  # Docker 29
        ({"ApiVersion": "1.40", "MinAPIVersion": "1.12"}, EngineTooOld),
        ({"ApiVersion": "1.60", "MinAPIVersion": "1.46"}, EngineTooNew),
    ],
)
def test_versions_are_agreed_upon(monkeypatch, said, answer):
    monkeypatch.setattr(finding, "NEWEST_API", "1.45")
    if isinstance(answer, str):
        assert finding.agreed_version(said, "here") == answer
        return
    with pytest.raises(answer, match=said["ApiVersion"]):
        finding.agreed_version(said, "here")


def test_an_engine_that_is_too_new_names_the_sdk(nowhere):
    with (
        answering(nowhere / "usual.sock", "1.99", oldest="1.98"),
        pytest.raises(EngineTooNew, match="pip install --upgrade docker"),
    ):
        Engine.connect()


def test_a_socket_with_a_name_too_long_is_passed_over(nowhere, monkeypatch):
    monkeypatch.setattr(finding, "usual_sockets", lambda: [nowhere / ("s" * 120)])
    with pytest.raises((EngineDown, EngineMissing)):
        Engine.connect()
