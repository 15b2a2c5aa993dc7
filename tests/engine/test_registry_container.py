"""A registry out of an image, where no program of it is installed (about 6 s)."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport.engine import registry_program, shipping
from labsupport.engine.belongings import clean_up
from labsupport.engine.client import Engine
from labsupport.engine.made_image import make_image
from labsupport.engine.registry import Registry
from labsupport.errors import RegistryMissing
from tests.engines import why_none

PROGRAM = registry_program.find()
pytestmark = [
    pytest.mark.skipif(bool(why_none()), reason=why_none() or "an engine is there"),
    pytest.mark.skipif(PROGRAM is None, reason="needs a registry's program (./lab registry)"),
]


@pytest.fixture(scope="module")
def engine():
    """Return an engine with an image `registry:2`: the real program, on busybox."""
    libraries = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=True).stdout
    files = {path: Path(path) for path in re.findall(r"/\S+\.so\S*", libraries)}
    files["/bin/registry"] = PROGRAM
    with Engine.start_private() as engine, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.address)
        patch.setattr(registry_program, "NAMES", ())
        patch.setattr(registry_program, "KEPT", Path("/nowhere"))
        content = {name: (path.read_bytes(), 0o755) for name, path in files.items()}
        make_image(engine, "registry:2", content, on_busybox=True)
        yield engine
        clean_up(engine)


def containers(engine):
    return engine.client.containers.list(all=True, ignore_removed=True)


def test_it_does_what_the_program_does_and_leaves_nothing(engine):
    with Registry.start() as registry:
        assert registry.is_running
        assert len(containers(engine)) == 1
        assert registry.login(engine) == "Login Succeeded"
        name = registry.name("app", "1")
        engine.base_image().tag(name)
        trip = shipping.push(engine, name, registry)
        assert trip.line_bytes > 500_000
        assert sum(request.stored_bytes for request in registry.log()) > trip.line_bytes
        engine.client.images.remove(name)
    assert containers(engine) == []
    assert not registry.is_running
    assert not registry.folder.exists()


def test_it_ends_with_its_owner_even_by_kill_9(engine):
    program = """if True:
        import time
        from pathlib import Path
        from labsupport.engine import registry_program
        from labsupport.engine.registry import Registry
        registry_program.NAMES, registry_program.KEPT = (), Path("/nowhere")
        registry = Registry.start()
        print(registry.address, flush=True)
        time.sleep(600)
    """
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline().startswith("127.0.0.1:")
    assert len(containers(engine)) == 1
    owner.kill()
    owner.communicate()

    deadline = time.monotonic() + 20
    while containers(engine) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert containers(engine) == []


def test_without_image_and_program_the_remedy_is_a_command(engine, monkeypatch):
    monkeypatch.setattr("labsupport.engine.registry_container.IMAGES", ())
    with pytest.raises(RegistryMissing, match=r"\./lab registry"):
        Registry.start()
