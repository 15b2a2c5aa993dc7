"""Containers that live as long as we do, on an engine of our own (about 6 s)."""

import os
import subprocess
from pathlib import Path

import pytest
from docker.errors import APIError

from labsupport import capabilities, namespaces
from labsupport.build.container import Container
from labsupport.engine.listing import OWNER
from labsupport.errors import LabError
from tests.toys import CHECKOUT
from tests.waiting import owner, wait_until

START = """
import sys
from labsupport.build.container import Container
from labsupport import Engine
engine = Engine.connect()
with Container(engine) as container:
    print(container.pid, flush=True)
    sys.stdin.read()
"""


def containers(engine):
    return engine.client.containers.list(all=True, ignore_removed=True)


def test_options_reach_the_kernel_and_nothing_is_left(engine):
    with Container(engine, cap_drop=["ALL"], cap_add=["CHOWN"]) as container:
        assert capabilities(container.pid).effective == {"CAP_CHOWN"}
        line = "docker run --rm --cap-drop=ALL --cap-add=CHOWN labsupport/busybox cat"
        assert repr(container).startswith(f"<{line}: PID ")
        assert OWNER in container.container.labels
    container.close()
    assert containers(engine) == []


def test_it_ends_with_the_process_that_started_it(engine):
    environment = {**os.environ, "DOCKER_HOST": engine.address}
    with owner(START, cwd=CHECKOUT, stdin=subprocess.PIPE, env=environment) as (_, pid):
        assert Path(f"/proc/{pid}").exists()
    wait_until(lambda: not containers(engine))


def test_an_option_that_the_engine_does_not_know_leaves_nothing(engine):
    with pytest.raises(APIError):
        Container(engine, cap_add=["NO_SUCH_CAPABILITY"])
    assert containers(engine) == []


def test_what_a_program_inside_says_is_its_output_alone_and_its_failure_is_told(engine):
    with Container(engine) as container:
        assert container.exec(["sh", "-c", "echo err >&2; echo out"]) == "out\n"
        assert container.exec(["true"]) == ""
        with pytest.raises(LabError, match=r"cat /nothing failed.*status 1.*No such file"):
            container.exec(["cat", "/nothing"])


def test_another_process_of_that_number_is_not_taken_for_the_container(engine):
    with Container(engine) as container:
        assert container.require_here() is container
        container.pid = os.getpid()
        with pytest.raises(LabError, match="Lab VM"):
            container.require_here()
    wait_until(lambda: not containers(engine))


def test_it_tells_its_namespaces_and_closes_what_it_has_opened(engine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    with Container() as container:
        assert container.namespaces == namespaces(container.pid) != namespaces()
    assert containers(engine) == []
