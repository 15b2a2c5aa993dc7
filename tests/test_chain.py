"""The chain from client to process, watched on a real engine (5 s)."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from labsupport.chain import Chain
from labsupport.engine.client import Engine
from labsupport.engine.labels import owner_labels
from labsupport.linux.procfs import status
from labsupport.views import chain as picture


@pytest.fixture
def engine(an_engine):
    with Engine.connect() as engine:
        yield engine


@pytest.fixture
def image(engine):
    return engine.base_image()


def watched(engine, image):
    with Chain(engine) as chain:
        container = engine.client.containers.create(
            image, ["sleep", "1000"], network_mode="none", labels=owner_labels()
        )
        container.start()
        pid = int(engine.client.api.inspect_container(container.id)["State"]["Pid"])
        numbers = status(pid).pids
        container.kill()
        container.wait()
        container.remove()
    return chain, pid, numbers


def test_every_member_is_who_the_engine_and_the_kernel_say(engine, image):
    chain, pid, numbers = watched(engine, image)
    process, shim = chain.member("process"), chain.member("shim")
    assert (process.pid, process.pids, process.name) == (pid, numbers, "sleep")
    assert process.pids[-1] == 1
    assert process.parent_pid == shim.pid
    assert shim.name == "containerd-shim"
    assert chain.member("client").pid == os.getpid()
    assert chain.member("engine").name == "dockerd"
    assert chain.member("engine").found_by.startswith("it listens at")
    assert chain.member("containerd").found_by.startswith("it listens at")
    assert chain.member("containerd").name == "containerd"
    assert chain.elsewhere == ""
    assert chain.parent_of("process") == "shim"
    assert chain.parent_of("containerd") == "engine"


def test_create_starts_nothing_and_the_end_leaves_nobody(engine, image):
    chain, *_ = watched(engine, image)
    assert set(chain.roles_after("create")) == {"client", "engine", "containerd"}
    assert {"shim", "process"} <= set(chain.roles_after("start"))
    assert chain.moments[-1].call is None
    assert not {"shim", "process"} & set(chain.moments[-1].roles)
    assert not Path(f"/proc/{chain.member('process').pid}").exists()
    assert chain.roles_after("no-such-request") == ()


def test_only_the_first_container_is_followed(engine, image):
    with Chain(engine) as chain:
        made = [
            engine.client.containers.create(
                image, [name, "1000"], network_mode="none", labels=owner_labels()
            )
            for name in ("sleep", "usleep")
        ]
        made[0].start()
    assert chain.member("process").name == "sleep"
    for each in made:
        each.remove(force=True)


@pytest.mark.parametrize(
    ("release", "listener", "said"),
    [("6.0-linuxkit", 1, "another kernel (6.0-linuxkit)"), (None, None, "another PID namespace")],
)
def test_an_engine_elsewhere_is_told_as_such(engine, image, monkeypatch, release, listener, said):
    # stands for an engine in a virtual machine, or in a container: nobody here has the ID
    monkeypatch.setattr("labsupport.linux.relatives.group_members", lambda part: [])
    monkeypatch.setattr("labsupport.linux.relatives.listener", lambda path: listener)
    there = replace(engine, kernel_release=release or engine.kernel_release)
    chain, *_ = watched(there, image)
    assert said in chain.elsewhere
    assert engine.address in chain.elsewhere
    assert chain.member("process") is None
    assert chain.parent_of("process") == ""
    assert picture.finding(chain) == "The requests are seen here, the container's process is not"


def test_a_container_that_is_not_found_here_is_no_reason_to_look_elsewhere(
    engine, image, monkeypatch
):
    monkeypatch.setattr("labsupport.linux.relatives.group_members", lambda part: [])
    chain, *_ = watched(engine, image)
    assert chain.elsewhere == ""


def test_the_engine_is_found_by_name_where_systemd_listens_for_it(engine, image, monkeypatch):
    monkeypatch.setattr("labsupport.linux.relatives.listener", lambda path: 1)
    chain, *_ = watched(engine, image)
    assert chain.member("engine").name == "dockerd"
    assert "PID 1 listens for it" in chain.member("engine").found_by


def test_the_picture_says_who_came_and_who_went(engine, image):
    chain, pid, _ = watched(engine, image)
    assert picture.finding(chain).startswith("“create” starts nothing")
    said = picture.words(chain)
    assert f"process sleep, PID {pid}, 1 inside, child of {chain.member('shim').pid}" in said
    assert "the process is gone" in said
    table = picture.table(chain)
    assert len({len(row) for row in table}) == 1
    column = table[0].index("process")
    here = [row[column] for row in table[1:]]
    assert here[0] == "-"
    assert f"PID {pid}" in here
    assert here[-1] == "-"
    picture.show_chain(chain)


def test_an_empty_chain_can_be_drawn(engine):
    with Chain(engine) as chain:
        pass
    picture.show_chain(chain)
    assert repr(chain) == ""
