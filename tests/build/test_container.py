"""Containers that live as long as we do, on an engine of our own (about 6 s)."""

import gc
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from docker.errors import APIError

from labsupport import Engine, capabilities, namespaces
from labsupport.build.container import Container
from labsupport.engine.listing import OWNER
from labsupport.errors import LabError
from labsupport.sandbox.terminal import ContainerTerminal
from tests.toys import CHECKOUT

DOCKERD = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not DOCKERD, reason="needs root and dockerd (apt-get install docker.io)"
)
START = """
import sys
from labsupport.build.container import Container
from labsupport import Engine
engine = Engine.connect()
with Container(engine) as container:
    print(container.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def engine():
    with Engine.start_private() as engine:
        yield engine


def containers(engine):
    return engine.client.containers.list(all=True, ignore_removed=True)


def wait_for_none(engine, seconds=10):
    until = time.monotonic() + seconds
    while containers(engine) and time.monotonic() < until:
        time.sleep(0.1)
    return containers(engine)


def test_options_reach_the_kernel_and_nothing_is_left(engine):
    with Container(engine, cap_drop=["ALL"], cap_add=["CHOWN"]) as container:
        assert capabilities(container.pid).effective == {"CAP_CHOWN"}
        assert container.command == (
            "docker run --cap-drop ALL --cap-add CHOWN labsupport/busybox cat"
        )
        assert OWNER in container.container.labels
    container.close()
    assert containers(engine) == []


def test_it_ends_with_the_process_that_started_it(engine):
    owner = subprocess.Popen(
        [sys.executable, "-c", START], cwd=CHECKOUT, stdin=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE, env={**os.environ, "DOCKER_HOST": engine.address},
    )  # fmt: skip
    pid = int(owner.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    owner.kill()
    owner.wait()
    assert wait_for_none(engine) == []


def test_an_option_that_the_engine_does_not_know_leaves_nothing(engine):
    with pytest.raises(APIError):
        Container(engine, cap_add=["NO_SUCH_CAPABILITY"])
    assert containers(engine) == []


def test_another_process_of_that_number_is_not_taken_for_the_container(engine):
    with Container(engine) as container:
        assert container.require_here() is container
        container.pid = os.getpid()
        with pytest.raises(LabError, match="Lab VM"):
            container.require_here()
    assert wait_for_none(engine) == []


def test_it_tells_its_namespaces_and_closes_what_it_has_opened(engine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    with Container() as container:
        assert container.namespaces == namespaces(container.pid) != namespaces()
    assert containers(engine) == []


def test_nothing_complains_when_its_connections_are_collected(engine, monkeypatch):
    """As Python 3.13 does of an HTTP response whose socket was closed below it."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with Container(engine) as box:
        ContainerTerminal(box.container, ["sh"], rows=24, columns=80).close()
    gc.collect()
    assert complaints == []
