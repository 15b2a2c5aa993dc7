"""Requests, and the chain from client to process, watched on a real engine (10 s)."""

import os
from dataclasses import replace

import pytest

from labsupport.build.bases import base_image
from labsupport.engine import chain as picture
from labsupport.engine.chain import ApiCalls, Chain
from labsupport.engine.listing import owner_labels
from labsupport.kernel import procfs
from labsupport.kernel.procfs import status


@pytest.fixture(scope="module")
def image(engine):
    return base_image(engine)


@pytest.fixture(scope="module")
def seen(engine, image):
    """A chain with its process's PID and numbers, nothing being amiss."""
    return watched(engine, image)


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


def test_every_member_is_who_the_engine_and_the_kernel_say(seen):
    chain, pid, numbers = seen
    process, shim = chain.member("process"), chain.member("shim")
    assert (process.pid, process.pids, process.name) == (pid, numbers, "sleep")
    assert process.pids[-1] == 1
    assert process.parent_pid == shim.pid
    assert shim.name == "containerd-shim"
    assert chain.member("client").pid == os.getpid()
    assert chain.member("engine").name == "dockerd"
    assert chain.member("containerd").name == "containerd"
    assert chain.elsewhere == ""
    assert chain.parent_of("process") == "shim"
    assert chain.parent_of("containerd") == "engine"


def test_who_is_asked_where_is_what_the_kernel_says(seen):
    chain, *_ = seen
    for role, ending in (("engine", "/docker.sock"), ("containerd", "/containerd.sock")):
        member = chain.member(role)
        assert member.socket.endswith(ending)
        assert procfs.listener(member.socket) == member.pid
    assert chain.member("shim").socket.startswith("/run/containerd/s/")
    assert not any(chain.member(role).socket for role in ("client", "process"))
    assert chain.parent_of("shim") not in ("containerd", "engine")


@pytest.mark.parametrize(
    ("release", "listener", "said"),
    [("6.0-linuxkit", 1, "another kernel (6.0-linuxkit)"), (None, None, "another PID namespace")],
)
def test_an_engine_elsewhere_is_told_as_such(engine, image, monkeypatch, release, listener, said):
    # stands for an engine in a virtual machine, or in a container: nobody here has the ID
    monkeypatch.setattr("labsupport.kernel.procfs.group_members", lambda part: [])
    monkeypatch.setattr("labsupport.kernel.procfs.listener", lambda path: listener)
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
    monkeypatch.setattr("labsupport.kernel.procfs.group_members", lambda part: [])
    chain, *_ = watched(engine, image)
    assert chain.elsewhere == ""


def test_the_engine_is_found_by_name_where_systemd_listens_for_it(engine, image, monkeypatch):
    monkeypatch.setattr("labsupport.kernel.procfs.listener", lambda path: 1)
    chain, *_ = watched(engine, image)
    assert chain.member("engine").name == "dockerd"


def test_the_picture_says_who_came_and_who_went(seen):
    chain, pid, _ = seen
    assert picture.finding(chain).startswith("“create” starts nothing")
    said = picture.words(chain)
    assert f"process sleep, PID {pid}, 1 inside, child of {chain.member('shim').pid}" in said
    assert "the shim is gone; the process is gone" in said
    process = [row[picture.table(chain)[0].index("process")] for row in picture.table(chain)[1:]]
    assert (process[0], process[-1]) == ("-", "-")
    assert f"PID {pid}" in process


def test_each_request_is_noted_in_order_with_its_answer(seen):
    calls = list(seen[0].calls)
    create, start, remove = calls[0], calls[2], calls[-1]
    assert [each.what for each in (create, start, remove)] == ["create", "start", "remove"]
    assert [each.method for each in (create, start, remove)] == ["POST", "POST", "DELETE"]
    assert [each.status for each in (create, start, remove)] == [201, 204, 204]
    assert [call.number for call in calls] == [*range(1, len(calls) + 1)]
    assert start.short == f"POST /containers/{create.made[:6]}…/start"
    assert create.made in start.path


def test_a_refusal_is_noted_too(engine):
    with ApiCalls(engine) as calls, pytest.raises(Exception, match="No such"):
        engine.client.containers.get("no-such-container")
    assert [call.status for call in calls] == [404]


def test_answers_that_stream_are_left_to_whom_they_are_for(engine):
    base_image(engine)
    with ApiCalls(engine) as calls:
        packed = b"".join(engine.client.images.get("labsupport/busybox").save())
    assert len(packed) > 1_000_000
    assert len(calls) == 2
