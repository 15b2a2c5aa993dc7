"""An engine for tests, or a skip; and a place where none is found."""

import os
import tempfile
from pathlib import Path

import pytest

from labsupport.build.bases import APP_BASE_TAG, TAG, base_image
from labsupport.doctor import addresses
from labsupport.engine import client
from labsupport.engine.client import Engine
from tests.engines import containers_of, why_none


@pytest.fixture(scope="session")
def private_engine():
    """An engine of our own, started once for all tests, or a skip."""
    if why := why_none():
        pytest.skip(why)
    with Engine.start_private() as engine:
        base_image(engine)
        yield engine


@pytest.fixture(scope="module")
def engine(private_engine):
    """That engine, with nothing in it but the course's images."""
    _empty(private_engine.client)
    yield private_engine
    _empty(private_engine.client)


def _empty(client):
    for container in client.containers.list(all=True, ignore_removed=True):
        container.remove(force=True)
    tags = {tag for image in client.images.list() for tag in image.tags}
    for tag in tags - {TAG, APP_BASE_TAG}:
        client.images.remove(tag)
    for things in (client.images, client.networks, client.volumes):
        things.prune()


@pytest.fixture
def an_engine(private_engine, monkeypatch):
    """Let `Engine.connect` find that engine; yield its address.

    A test that leaves a container in it fails: the next one would find it.
    """
    monkeypatch.setenv("DOCKER_HOST", private_engine.address)
    yield private_engine.address
    assert not containers_of(private_engine.address)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No engine is named, none of the usual sockets is there, and none may be started."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "LAB_IN_VM"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever the test makes of it
        monkeypatch.delenv(name)
    monkeypatch.setattr(addresses, "may_be_private", lambda _known: False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "settings"))
    monkeypatch.setattr(client, "usual_sockets", lambda: [tmp_path / "usual.sock"])
    return tmp_path


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
