"""Guests start one by one on each CPU. About 2 s."""

import os
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from labsupport.vm import gate
from tests.waiting import owner, wait_until


@pytest.fixture(autouse=True)
def private_gate(monkeypatch):
    """A gate that the guests of other tests do not use."""
    monkeypatch.setattr(gate, "PREFIX", f"labsupport-test-{os.getpid()}-{time.monotonic_ns()}-")
    yield
    assert crowd() == 0


def crowd():
    """How many slots are taken, and who waits: a listener, and a connection to it; unix(7)."""
    return Path("/proc/net/unix").read_bytes().count(f"@{gate.PREFIX}".encode())


@pytest.fixture
def one_cpu():
    """This thread, and those that it starts, have one CPU; so there is one slot."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def test_one_more_waits_until_a_slot_is_free(one_cpu):
    passed = threading.Event()

    def wait():
        with gate.enter():
            passed.set()

    with gate.enter():
        thread = threading.Thread(target=wait)
        thread.start()
        wait_until(lambda: crowd() == 2, 2)
        assert not passed.wait(0.1)
    assert passed.wait(60)
    thread.join()


def test_the_slot_of_a_killed_process_is_free(one_cpu):
    code = (
        f"from labsupport.vm import gate; import time; gate.PREFIX = {gate.PREFIX!r};"
        "slot = gate.enter(); print('in', flush=True); time.sleep(60)"
    )
    with owner(code) as (_, said):
        assert said == "in"
        assert crowd() == 1
    began = time.monotonic()
    gate.enter().close()
    assert time.monotonic() - began < gate.LONGEST_WAIT_SECONDS


def test_a_stopped_holder_keeps_nobody_for_ever(one_cpu, monkeypatch):
    monkeypatch.setattr(gate, "LONGEST_WAIT_SECONDS", 0.2)
    with gate.enter(), gate.enter() as other:
        assert other.cpu in os.sched_getaffinity(0)


@pytest.mark.parametrize("backlog", [None, 0])
def test_a_name_that_somebody_else_took_keeps_nobody_for_ever(one_cpu, monkeypatch, backlog):
    """Deaf, or with its queue full: whoever waits must not hang, and not try without a pause."""
    monkeypatch.setattr(gate, "LONGEST_WAIT_SECONDS", 1.0)
    [cpu] = os.sched_getaffinity(0)
    with ExitStack() as stack:
        squatter = stack.enter_context(socket.socket(socket.AF_UNIX))
        squatter.bind(f"\0{gate.PREFIX}{cpu}")
        if backlog is not None:
            squatter.listen(backlog)
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(squatter.getsockname())
        began, busy = time.monotonic(), time.process_time()
        gate.enter().close()
        assert time.monotonic() - began < 3
        assert time.process_time() - busy < 0.5
