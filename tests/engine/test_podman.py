"""The same words on a real Podman service of our own (8 s)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from labsupport.build.bases import base_image
from labsupport.build.container import Container
from labsupport.doctor import addresses
from labsupport.engine import listing
from labsupport.engine.client import Engine
from labsupport.engine.command_line import engine_environment
from tests import podmans

pytestmark = pytest.mark.skipif(bool(podmans.why_none()), reason=podmans.why_none() or "all there")
NAME = "labsupport/busybox:latest"


VFS = pytest.param("vfs", marks=pytest.mark.thorough("build"))


@pytest.fixture(scope="module", params=[VFS, "overlay"])
def driver(request):
    return request.param


@pytest.fixture(scope="module")
def engine(driver):
    with podmans.podman(driver) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        with Engine.connect() as engine:
            yield engine


def test_it_says_what_it_is(engine, driver):
    assert (engine.kind, engine.image_store) == ("podman", "classic")
    assert engine.storage_driver == driver
    assert engine.kernel_release == os.uname().release
    assert engine.cgroup_version == (2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1)
    assert not engine.rootless
    assert str(engine).startswith(f"Podman {engine.version} at unix://")
    assert addresses.engine() == engine.address


def test_a_container_that_is_held_is_a_process_here_and_goes(engine):
    with Container(engine) as held:
        assert os.readlink(f"/proc/{held.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        assert held.exec(["echo", "hello"]) == "hello\n"
        name = held.container.name
    assert name not in [
        each.name for each in engine.client.containers.list(all=True, ignore_removed=True)
    ]
    assert list(listing.find_in(engine.client)) == []


@pytest.mark.skipif(not shutil.which("docker"), reason="needs the command docker")
def test_what_is_typed_builds_although_podman_does_not_know_buildkit(engine, tmp_path):
    base_image(engine)
    (tmp_path / "Dockerfile").write_text(f"FROM {NAME}\nENV TYPED=1\n")
    environment = {**os.environ, **engine_environment(engine.address, engine.kind)}
    argv = ["docker", "build", "--quiet", "--tag=typed", str(tmp_path)]
    subprocess.run(argv, env=environment, capture_output=True, check=True)
    engine.client.images.remove("typed")
