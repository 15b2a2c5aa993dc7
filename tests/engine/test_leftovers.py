"""What notebooks that were killed leave in an engine (a private one; 5 s)."""

import io
import os
import shutil

import pytest

from labsupport import ownership
from labsupport.engine import labels, leftovers
from labsupport.engine.client import Engine

needs_dockerd = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin"),
    reason="needs root and dockerd (apt-get install docker.io)",
)
DEAD = "999999999:1"


@pytest.fixture(scope="module")
def engine():
    with Engine.start_private() as engine:
        yield engine


def container(engine, value, **options):
    return engine.client.containers.create(
        engine.base_image(), ["sleep", "600"], network_mode="none",
        labels={labels.OWNER: value}, **options,
    )  # fmt: skip


@needs_dockerd
def test_only_what_a_dead_owner_of_this_machine_left_is_removed(engine):
    ours = labels.owner_labels()[labels.OWNER]
    here = ours.partition("@")[2]
    left = container(engine, f"{DEAD}@{here}")
    left.start()
    kept = [
        container(engine, ours),
        container(engine, f"{DEAD}@another-boot/4026531836"),
        container(engine, labels.COURSE),
        engine.client.containers.create(engine.base_image(), network_mode="none"),
    ]

    found = list(leftovers.find_in(engine.client))
    assert [leftover.what for leftover in found] == [f"container {left.name}"]
    found[0].remove()
    found[0].remove()  # as when two notebooks sweep at once

    there = {each.id for each in engine.client.containers.list(all=True, ignore_removed=True)}
    assert there == {each.id for each in kept}
    for each in kept:
        each.remove()


def build(engine, value, *lines, tag=None):
    """Build an image whose owner is `value`; the builder leaves one for each line."""
    dockerfile = "\n".join([f"FROM {engine.base_image().tags[0]}", *lines])
    image, _ = engine.client.images.build(
        fileobj=io.BytesIO(dockerfile.encode()), tag=tag, labels={labels.OWNER: value},
        network_mode="none", rm=True,
    )  # fmt: skip
    return image


@needs_dockerd
def test_only_images_of_a_dead_owner_are_removed(engine):
    ours = labels.owner_labels()[labels.OWNER]
    here = ours.partition("@")[2]
    kept = {engine.base_image().id, build(engine, ours, "ENV A=ours").id}
    before = {each.id for each in engine.client.images.list(all=True)}
    marked = f'LABEL {labels.OWNER}="{DEAD}@{here}"'  # also the images of the steps
    left = build(
        engine, f"{DEAD}@{here}", marked, "ENV B=left", "ENV C=left", tag="labsupport/left"
    )
    used = build(engine, f"{DEAD}@{here}", "ENV D=used")
    somebodys = {labels.OWNER: labels.COURSE}  # without it, the image's label would count
    container = engine.client.containers.create(used, network_mode="none", labels=somebodys)

    found = list(leftovers.find_in(engine.client))
    assert found[0].what == "image labsupport/left:latest"
    for each in [*found, *found]:  # as when two notebooks sweep at once
        each.remove()

    there = {each.id for each in engine.client.images.list(all=True)}
    assert left.id not in there
    assert {used.id, *kept} <= there
    container.remove()
    for each in leftovers.find_in(engine.client):
        each.remove()
    engine.client.images.remove(next(iter(kept - {engine.base_image().id})))
    assert {each.id for each in engine.client.images.list(all=True)} <= before


def test_our_own_label_is_no_leftover():
    assert ownership.mark() in labels.owner_labels()[labels.OWNER]
    assert not labels.is_left(labels.owner_labels()[labels.OWNER])
    assert not labels.is_left("")
