"""Login, push, pull and clean-up with a real engine and a real registry (about 15 s)."""

import io
import tarfile
from dataclasses import replace

import pytest
from docker.errors import NotFound

from labsupport.build.build import Build
from labsupport.build.container import stranger
from labsupport.engine.listing import (
    MINE,
    SOMEBODYS,
    THE_COURSES,
    Belongings,
    clean_up,
    owner_labels,
)
from labsupport.errors import LabError
from labsupport.registry import shipping
from labsupport.registry.registry import Registry
from labsupport.registry.server import requests_table

pytestmark = pytest.mark.needs("registry")
APP = "FROM labsupport/busybox\nRUN echo old > /a\nCOPY say /say\n"


@pytest.fixture
def registry():
    with Registry.start() as registry:
        yield registry


@pytest.fixture
def ship(engine, registry):
    """Build an app of three layers, under the name that leads to the registry."""

    def build(tag="1", say="hello", dockerfile=APP):
        name = registry.name("app", tag)
        files = {"Dockerfile": dockerfile, "say": say}
        Build.run(engine, files, name)
        return name

    yield build
    clean_up(engine)


def tar_of(name):
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(name))
        return packed.getvalue()


def outcomes(trip):
    return [layer.outcome for layer in trip.layers]


def test_the_first_push_sends_all_layers_and_the_registry_has_them(engine, registry, ship):
    name = ship()
    trip = shipping.push(engine, name, registry)

    assert outcomes(trip) == ["sent"] * 3
    assert "busybox" in trip.layers[0].made_by
    assert "COPY" in trip.layers[2].made_by
    assert registry.catalogue() == {"student/app": ["1"]}
    puts = {
        request.blob: request.stored_bytes for request in registry.log() if request.stored_bytes
    }
    assert {layer.digest: layer.blob_bytes for layer in trip.layers}.items() <= puts.items()
    assert {request.user for request in registry.log() if request.stored_bytes} == {"student"}
    told = requests_table(registry.log())
    assert "401 who are you?" in {row[2] for row in told.rows}
    put = f"(it was {trip.layers[2].digest.removeprefix('sha256:')[:8]}…)`"
    assert any(row[1].startswith("`PUT") and row[1].endswith(put) for row in told.rows)
    assert "_state" not in told._repr_html_()


def test_layers_of_another_repository_are_taken_over(engine, registry, ship):
    shipping.push(engine, ship(), registry)
    copy = registry.name("copy", "1")
    engine.client.images.get(registry.name("app", "1")).tag(copy)
    trip = shipping.push(engine, copy, registry)

    assert not trip.travelled
    assert trip.line_bytes == 0
    assert registry.catalogue() == {"student/app": ["1"], "student/copy": ["1"]}


@pytest.mark.parametrize("token", ["", "a wrong one"])
def test_without_the_token_nothing_goes(engine, registry, ship, token):
    name = ship()
    shipping.push(engine, name, registry)
    with pytest.raises(LabError, match=f"docker push {name}.*\n.*docker login"):
        shipping.push(engine, name, replace(registry, password=token))


def test_only_what_is_ours_is_cleaned_up(engine, registry, ship):
    """A stranger's container, image, network and volume carry no label of ours."""
    client = engine.client
    client.api.import_image_from_data(tar_of("bin/x"), repository="strangers-image", tag="1")
    theirs = client.containers.create("strangers-image:1", ["/bin/x"], name="strangers")
    network, volume = client.networks.create("st-net"), client.volumes.create("st-vol")
    name = ship()
    ours = {"network_mode": "none", "labels": owner_labels()}
    client.containers.run(name, ["sleep", "600"], detach=True, **ours)
    client.volumes.create("our-vol", labels=owner_labels())
    before = Belongings.of(engine)
    gone = clean_up(engine)
    after = Belongings.of(engine)

    assert {thing.kind for thing in gone} == {"container", "image", "volume"}
    assert not after.mine
    assert after.identities == {it.identity for it in before.things if it.whose != MINE}
    assert {thing.name for thing in after.whose(SOMEBODYS)} == {
        "strangers", "strangers-image:1", "st-net", "st-vol",
    }  # fmt: skip
    assert "labsupport/busybox:latest" in {thing.name for thing in after.whose(THE_COURSES)}
    theirs.remove()
    client.images.remove("strangers-image:1")
    network.remove()
    volume.remove()


def test_a_stranger_survives_a_clean_up_and_ends_with_its_owner(engine):
    with stranger(engine) as other:
        (seen,) = Belongings.of(engine).whose(SOMEBODYS)
        assert seen.key == other.container.id
        assert not clean_up(engine)
        assert other.exec(["echo", "still here"]) == "still here\n"
    assert not Belongings.of(engine).whose(SOMEBODYS)


def test_an_image_that_somebody_elses_container_uses_stays(engine, ship):
    name = ship()
    container = engine.client.containers.run(
        name, ["sleep", "600"], detach=True, network_mode="none"
    )
    try:
        assert not clean_up(engine)
        assert [thing.kind for thing in Belongings.of(engine).whose(MINE)] == ["image"]
    finally:
        container.remove(force=True)
    clean_up(engine)
    with pytest.raises(NotFound):
        engine.client.images.get(name)
