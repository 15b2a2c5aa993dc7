"""What notebooks that were killed leave in an engine (a private one; 5 s)."""

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

    there = {each.id for each in engine.client.containers.list(all=True)}
    assert there == {each.id for each in kept}
    for each in kept:
        each.remove()


def test_our_own_label_is_no_leftover():
    assert ownership.mark() in labels.owner_labels()[labels.OWNER]
    assert not labels.is_left(labels.owner_labels()[labels.OWNER])
    assert not labels.is_left("")
