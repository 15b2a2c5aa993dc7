"""What tutorial T3 begins with: hello-world, the app's folder, the command docker (about 12 s)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from labsupport.build.bases import base_image, hello_program, make_image
from labsupport.engine.command_line import engine_environment, seen_in_proc
from labsupport.engine.listing import clean_up, require_free
from labsupport.errors import LabError
from labsupport.registry.tutorial import AppFolder, hello_world

needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="needs the command docker")


def test_a_real_hello_world_that_is_here_is_taken_and_stays(engine):
    make_image(engine, "hello-world:latest", {"/x": (hello_program("real\n"), 0o755)}, Cmd=["/x"])
    assert hello_world(engine) == "hello-world"
    clean_up(engine)


def test_no_name_is_taken_away_from_an_image_that_is_not_ours(engine):
    image = base_image(engine)  # which is the course's
    image.tag("simple-translate", "1.0")
    try:
        with pytest.raises(LabError, match=r"simple-translate:1\.0 already"):
            require_free(engine, "simple-translate:1.1", "simple-translate:1.0")
    finally:
        engine.client.images.remove("simple-translate:1.0")
    make_image(engine, "simple-translate:1.0", {"/x": (b"", 0o644)})
    require_free(engine, "simple-translate:1.0")  # our own may be built again
    clean_up(engine)
    with pytest.raises(ImageNotFound):
        engine.client.images.get("simple-translate:1.0")


def test_the_app_is_copied_and_removed():
    with AppFolder() as app:
        assert "B  Dockerfile" in repr(app)
        assert "<summary>Dockerfile" in app._repr_html_()
    assert not app.path.exists()


@needs_docker
def test_what_a_cell_types_reaches_this_engine_and_leaves_no_settings(engine, monkeypatch):
    usual = Path.home() / ".docker" / "config.json"
    before = usual.read_bytes() if usual.exists() else None
    environment = {**os.environ, **engine_environment(engine.address)}
    argv = ["docker", "login", "--username", "student", "--password", "x", "127.0.0.1:1"]
    subprocess.run(argv, env=environment, capture_output=True, check=False)
    listed = subprocess.check_output(["docker", "image", "ls"], env=environment, text=True)
    assert "labsupport/busybox" in listed
    assert (usual.read_bytes() if usual.exists() else None) == before


def test_without_the_command_the_error_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match=r"no command `docker`.*\n.*install .*docker"):
        seen_in_proc("version")
