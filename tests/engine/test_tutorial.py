"""What tutorial T3 begins with: hello-world, the app's folder, the command docker (about 12 s)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from labsupport.engine import registry_program
from labsupport.engine.app_folder import AppFolder
from labsupport.engine.belongings import clean_up, require_free
from labsupport.engine.client import Engine
from labsupport.engine.command_line import CommandLine
from labsupport.engine.hello import OURS, for_another_cpu, hello_world
from labsupport.engine.labels import OWNER
from labsupport.engine.made_image import make_image
from labsupport.engine.registry import Registry
from labsupport.engine.smallest import hello_program
from labsupport.engine.workbench import Workbench
from labsupport.errors import AppMissing, CommandMissing, NameTaken, TextMissing
from tests.engines import why_none

needs_engine = pytest.mark.skipif(bool(why_none()), reason=why_none() or "an engine is there")
needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="needs the command docker")


@pytest.fixture(scope="module")
def engine():
    with Engine.start_private() as engine:
        engine.base_image()
        yield engine


@needs_engine
def test_hello_world_is_one_file_and_says_which_image_it_was(engine, monkeypatch):
    monkeypatch.setenv("LAB_IN_VM", "1")  # nothing is pulled
    hello = hello_world(engine)

    assert hello.image == OURS
    assert list(hello.files) == ["/hello"]
    assert hello.ran.status == 0
    assert "Hello from an image of this course" in hello.ran.output
    assert "labsupport/hello-world" in repr(hello)


@needs_engine
def test_a_real_hello_world_that_is_here_is_taken_and_stays(engine):
    make_image(engine, "hello-world:latest", {"/x": (hello_program("real\n"), 0o755)}, Cmd=["/x"])
    hello = hello_world(engine)

    assert (hello.image, hello.ran.output) == ("hello-world", "real\n")
    assert engine.client.images.get("hello-world")
    clean_up(engine)


@needs_engine
def test_a_program_for_another_cpu_is_refused_by_the_kernel(engine):
    foreign = for_another_cpu(engine)
    with Workbench(engine) as bench:
        ran = bench.run(foreign.tags[0])

    here = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert foreign.attrs["Architecture"] != here
    assert "exec format error" in ran.said


@needs_engine
def test_no_name_is_taken_away_from_an_image_that_is_not_ours(engine):
    image = engine.base_image()  # which is the course's
    image.tag("simple-translate", "1.0")
    try:
        with pytest.raises(NameTaken, match=r"simple-translate:1\.0 already"):
            require_free(engine, "simple-translate:1.1", "simple-translate:1.0")
    finally:
        engine.client.images.remove("simple-translate:1.0")
    make_image(engine, "simple-translate:1.0", {"/x": (b"", 0o644)})
    require_free(engine, "simple-translate:1.0")  # our own may be built again
    clean_up(engine)
    with pytest.raises(ImageNotFound):
        engine.client.images.get("simple-translate:1.0")


@needs_engine
def test_a_made_image_is_what_it_was_told_to_be(engine):
    image = make_image(
        engine, "made:1", {"/app/run": (b"#!/bin/sh\nid -u\n", 0o755)}, on_busybox=True,
        architecture="riscv64", Entrypoint=["/app/run"], User="1000",
    )  # fmt: skip
    try:
        assert image.attrs["Architecture"] == "riscv64"
        assert OWNER in image.labels
        with Workbench(engine) as bench:
            assert bench.run("made:1").output == "1000\n"
    finally:
        clean_up(engine)


def test_the_app_is_copied_changed_and_removed(tmp_path):
    with AppFolder() as app:
        before = (app.path / "cli.py").read_text()
        assert "Dockerfile" in app.files
        assert app.change("cli.py", "Output:", "Translation:").count("Translation:") == 1
        assert (app.path / "cli.py").read_text() == before.replace("Output:", "Translation:")
        for missing in ("no such text", "import"):  # not there; there several times
            with pytest.raises(TextMissing, match="times"):
                app.change("cli.py", missing, "x")
        assert "<summary>Dockerfile" in app._repr_html_()
    assert not app.path.exists()
    with pytest.raises(AppMissing):
        AppFolder(tmp_path / "none")


@needs_engine
@needs_docker
def test_the_command_docker_speaks_to_this_engine_and_leaves_no_settings(engine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:1")
    with CommandLine(engine) as docker:
        listed = docker("image ls --quiet")
        assert listed.status == 0
        assert engine.base_image().short_id.removeprefix("sha256:") in listed.said
        failed = docker("image inspect", "no such image")
        assert failed.status == 1
        assert repr(failed).startswith("$ docker image inspect 'no such image'\n")
        assert "(exit status 1)" in repr(failed)
    assert not docker.folder.exists()


@needs_engine
@needs_docker
@pytest.mark.skipif(registry_program.find() is None, reason="needs a registry's program")
def test_a_token_leaks_by_the_command_line_and_by_the_settings(engine):
    usual = Path.home() / ".docker" / "config.json"
    before = usual.read_bytes() if usual.exists() else None
    with Registry.start() as registry, CommandLine(engine) as docker:
        seen, mode = docker.seen_in_proc("login -u student -p", "no-real-token", registry.address)
        assert "no-real-token" in seen
        assert mode == "-r--r--r--"
        assert not docker.keeps_in_clear(registry.password)
        login = "login --username student --password-stdin"
        assert docker(login, registry.address, typed="wrong").status == 1
        assert docker(login, registry.address, typed=registry.password).status == 0
        assert docker.keeps_in_clear(registry.password)
    assert (usual.read_bytes() if usual.exists() else None) == before


@needs_engine
def test_without_the_command_the_error_says_so(engine, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandMissing, match="by its API"):
        CommandLine(engine)
