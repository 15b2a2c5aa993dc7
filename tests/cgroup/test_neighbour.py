"""The neighbour answers, and its times are those of a real server."""

from unittest.mock import Mock

import pytest

from labsupport import Neighbour
from labsupport.cgroup.neighbour import ResponseTimes, together
from labsupport.errors import MissingCapability
from labsupport.kernel.procfs import all_pids
from labsupport.net.servers import database


@pytest.fixture
def neighbour():
    try:
        database()
    except MissingCapability as missing:
        pytest.skip(f"needs redis: {missing}")
    with Neighbour() as neighbour:
        yield neighbour


def test_the_90th_percentile_is_what_nine_of_ten_kept_to():
    times = ResponseTimes("x", tuple(float(n) for n in range(1, 101)))
    assert (times.median, times.p90) == (50.5, 90)
    assert ResponseTimes("x", (1.0,)).p90 == 1


def test_one_slow_answer_is_not_what_nine_of_ten_keep_to():
    """On a slow machine, two seconds give five answers, and one of them meets somebody else."""
    slow = Mock(_timed=Mock(side_effect=[9.0, *[0.3] * 99]))
    [times] = together({"slow": slow}, seconds=0)
    assert times.p90 == 0.3


def test_it_works_for_an_answer_and_leaves_nobody(neighbour):
    assert b"0." in neighbour._ask("SORT", "numbers", "LIMIT", "0", "1")
    pid = neighbour.box.anchor_pid
    neighbour.close()
    neighbour.close()
    assert pid not in all_pids()


def test_a_slow_computer_sorts_fewer_and_both_neighbours_the_same(neighbour, monkeypatch):
    monkeypatch.setattr(Neighbour, "numbers", 0)
    monkeypatch.setattr("labsupport.cgroup.neighbour.LONGEST_SECONDS", 1e-4)
    with Neighbour() as slow, Neighbour() as other:
        lengths = {each._ask("LLEN", "numbers") for each in (slow, other)}
    assert len(lengths) == 1
    assert 0 < int(lengths.pop()[1:]) < 10_000
