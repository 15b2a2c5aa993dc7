"""Containers to be compared, on an engine of our own (about 6 s)."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from docker.errors import APIError

from labsupport import ComparedContainer, Engine, capabilities
from labsupport.engine import compared
from labsupport.engine.labels import OWNER
from labsupport.errors import EngineElsewhere
from tests.toys import CHECKOUT

DOCKERD = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not DOCKERD, reason="needs root and dockerd (apt-get install docker.io)"
)
START = """
import sys
from labsupport import ComparedContainer, Engine
engine = Engine.connect()
with ComparedContainer(engine) as container:
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
    with ComparedContainer(engine, cap_drop=["ALL"], cap_add=["CHOWN"]) as container:
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
        ComparedContainer(engine, cap_add=["NO_SUCH_CAPABILITY"])
    assert containers(engine) == []


def test_another_process_of_that_number_is_not_taken_for_the_container(engine, monkeypatch):
    require = compared._require_here
    monkeypatch.setattr(compared, "_require_here", lambda _, *rest: require(os.getpid(), *rest))
    with pytest.raises(EngineElsewhere, match="Lab VM"):
        ComparedContainer(engine)
    assert wait_for_none(engine) == []
