"""The base of the tutorials' app in a real engine, and the app's two images made on it (30 s)."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from labsupport.build import bases
from labsupport.build.bases import APP_BASE_TAG as TAG
from labsupport.build.bases import ARCHIVE, RECIPE, app_base, find_archive
from labsupport.engine.client import Engine
from labsupport.engine.listing import COURSE, IMAGE_OWNER
from labsupport.errors import AppBaseMissing
from labsupport.making import base as making
from tests import podmans
from tests.toys import CHECKOUT

APP = CHECKOUT / "notebooks/apps/simple_translate"
ANSWER = "\nOutput:\nBuenos días\n"


@pytest.fixture(scope="module")
def archive():
    if (found := find_archive()) is None:
        pytest.skip("needs the base image of the app (./lab base)")
    return found


@pytest.fixture(scope="module")
def base(archive, engine):
    return app_base(engine)


@pytest.fixture(scope="module")
def build(engine, base):
    """Build the app, or a copy of it, without a network; return the builder's words."""

    def build(dockerfile="Dockerfile", folder=APP):
        name = f"translate-{dockerfile.lower()}"
        _, log = engine.client.images.build(
            path=str(folder), dockerfile=dockerfile, tag=name, buildargs={"BASE": TAG},
            network_mode="none", rm=True,
        )  # fmt: skip
        return name, "".join(line.get("stream", "") for line in log)

    return build


@pytest.fixture(scope="module")
def image(build):
    return build()[0]


def run(engine, image, *command, **options):
    """Run a container to its end; return its exit status and what it wrote."""
    options["network_mode"] = "none"
    box = engine.client.containers.create(image, list(command) or None, **options)
    try:
        box.start()
        status = box.wait()["StatusCode"]
        return status, box.logs(stderr=False).decode(), box.logs(stdout=False).decode()
    finally:
        box.remove(force=True)


def test_every_file_lies_in_a_folder_that_it_brings_along(archive):
    """Docker would make what is missing, and let only root read it."""
    with tarfile.open(archive) as tar, tarfile.open(fileobj=tar.extractfile("layer.tar")) as layer:
        files = set(layer.getnames())
    assert {str(Path(name).parent) for name in files} - {"."} <= files


def test_it_is_the_courses_and_says_what_it_was_made_by(base):
    assert base.tags == ["labsupport/python-apertium:bookworm"]
    assert base.labels == {IMAGE_OWNER: COURSE, RECIPE: making.recipe_hash()}
    made, cmd = reversed(base.history())
    assert "Debian bookworm: python3, apertium" in made["CreatedBy"]
    assert cmd["CreatedBy"] == 'CMD ["python3"]'


def test_it_is_loaded_once(engine, base, monkeypatch):
    monkeypatch.setattr(type(engine.client.images), "load", lambda *_: pytest.fail("loaded again"))

    assert app_base(engine).id == base.id


def test_an_older_one_is_replaced(engine, base):
    patience = engine.client.api.timeout
    bases.base_image(engine).tag(TAG)

    assert app_base(engine).id == base.id
    assert engine.client.images.get(TAG).id == base.id
    assert engine.client.api.timeout == patience


def test_without_an_archive_it_says_how_to_make_one(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_BASES", str(tmp_path))
    monkeypatch.setattr(bases, "SYSTEM_BASES", tmp_path / "none")
    monkeypatch.setattr(bases, "APP_BASE_TAG", "labsupport/never-made:bookworm")

    with pytest.raises(AppBaseMissing, match=rf"no {ARCHIVE} in {tmp_path}[\s\S]*\./lab base"):
        app_base(engine)


@pytest.mark.parametrize("content", [b"", b"something else", "a tar"])
def test_a_file_that_is_no_archive_of_it_is_told(monkeypatch, tmp_path, content):
    if content == "a tar":
        packed = io.BytesIO()
        tarfile.open(fileobj=packed, mode="w").close()
        content = packed.getvalue()
    (tmp_path / ARCHIVE).write_bytes(content)
    monkeypatch.setenv("LAB_BASES", str(tmp_path))

    with pytest.raises(AppBaseMissing, match="is not an archive of it"):
        bases.read_config(find_archive())


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile.lecture"])
def test_both_images_translate(build, engine, dockerfile):
    name, log = build(dockerfile)
    by_hand = ["-c", 'exec python3 /cli.py "$@"', "sh"] * (dockerfile != "Dockerfile")
    words = [*by_hand, "-t", "Good morning", "-s", "en", "-d", "es"]
    status, output, errors = run(engine, name, *words)

    assert (status, errors) == (0, "")
    assert output.endswith(ANSWER)
    assert "Looking in links: /usr/share/python-wheels" in log


def test_it_is_not_root_and_needs_no_privilege_nor_a_place_to_write(image, engine):
    options = {"cap_drop": ["ALL"], "read_only": True, "security_opt": ["no-new-privileges"]}

    assert run(engine, image, "-u", entrypoint="id", **options)[1] == "65534\n"
    assert run(engine, image, "-t", "Good morning", **options)[1].endswith(ANSWER)


def test_building_leaves_nothing_behind_but_the_app(engine, base, image):
    look = "ls /app; find /root /tmp /var/cache /var/lib/apt -mindepth 1"
    _, found, _ = run(engine, image, "-c", look, entrypoint="sh", user="0")
    assert found.split() == ["cli.py", "requirements.txt"]
    built = engine.client.images.get(image)
    assert built.attrs["Size"] - base.attrs["Size"] < 400_000


def test_files_that_the_image_does_not_need_are_not_sent(build, tmp_path):
    folder = tmp_path / "app"
    shutil.copytree(APP, folder)
    build("Dockerfile.lecture", folder)
    (folder / "README.md").write_text("another word")
    (folder / "letters").mkdir()
    (folder / "letters/secret.txt").write_text("Dear …")
    _, log = build("Dockerfile.lecture", folder)

    assert log.count("Using cache") == 4


def test_a_shell_in_a_container_of_it(engine, base):
    if not shutil.which("docker"):
        pytest.skip("needs the program docker (apt-get install docker.io)")
    done = subprocess.run(
        [APP / "docker-shell.sh", "--network", "none"],
        input='python3 cli.py -t "Good morning"; id -u',
        env={**os.environ, "DOCKER_HOST": engine.address, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{ANSWER}65534\n")


@pytest.mark.thorough("engine")
@pytest.mark.skipif(bool(podmans.why_none()), reason=podmans.why_none() or "all is there")
def test_podman_takes_it_too(archive, monkeypatch):
    with podmans.podman("overlay") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        with Engine.connect() as engine:
            first, second = app_base(engine), app_base(engine)

    assert first.id == second.id
    assert first.labels[IMAGE_OWNER] == COURSE
