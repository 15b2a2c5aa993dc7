"""Exercises of 04: the right answer passes, typical wrong ones get their reason."""

import pytest

from labsupport import Exercise, probe
from labsupport.course.e04 import FAULTS


@pytest.fixture
def start():
    """Return what starts an exercise; it is stopped afterwards."""
    started = []

    def begin(name, seed):
        if name == "04.3" and (no := probe().why_not("nftables")):
            pytest.skip(f"needs nftables: {no.reason}")
        started.append(Exercise.of(name, seed))
        started[-1].start()
        return started[-1]

    yield begin
    for exercise in started:
        exercise.stop()


def solve(exercise):
    exec(exercise.solution().body, {"exercise": exercise})


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", ["04.1", "04.2", "04.3"])
def test_only_the_solution_passes(start, name, seed):
    exercise = start(name, seed)
    before = exercise.check()
    assert not before, before
    solve(exercise)
    after = exercise.check()
    assert after, after


def test_seeds_vary_the_task_and_the_fault(start):
    tasks, faults = set(), set()
    for seed in range(25):
        exercise = start("04.2", seed)
        faults.add(exercise.fault)
        exercise.stop()
    for seed in range(4):
        tasks.add(start("04.1", seed).task())
    assert len(tasks) == 4
    assert faults == set(FAULTS)


def test_a_wrong_address_is_told(start):
    exercise = start("04.1", 5)
    exercise.switch.net.plug("br0", exercise.box, "10.9.9.9/24", port="mine")
    verdict = exercise.check()
    assert not verdict
    assert f"10.9.9.9/24, not {exercise.wanted}" in verdict.saw


def test_a_cable_that_is_not_plugged_in_is_no_way(start):
    exercise = start("04.1", 5)
    exercise.switch.net.connect(exercise.box, "mine")
    exercise.box.net.set_up("eth0", f"{exercise.wanted}/24")
    verdict = exercise.check()
    assert not verdict
    assert "no answer" in verdict.saw


def test_a_short_cut_round_the_router_is_refused(start):
    exercise = start("04.2", 1)
    exercise.client.net.connect(exercise.server, "shortcut", "shortcut")
    assert "other cables" in exercise.check().saw


def test_a_filter_that_lets_all_or_nothing_through_is_told(start):
    exercise = start("04.3", 2)
    text = "table inet t { chain c { type filter hook input priority 0; %s }; }"
    exercise.server.run(["nft", "-f", "-"], input=text % "tcp dport 1-65535 drop;")
    assert "ports [] answer" in exercise.check().saw
    exercise.server.run(["nft", "flush", "ruleset"])
    exercise.server.run(["nft", "-f", "-"], input=text % "tcp dport 1 drop;")
    assert f"ports {exercise.ports} answer" in exercise.check().saw


def test_stopping_closes_the_sandboxes(start):
    exercise = start("04.2", 1)
    boxes = list(exercise.boxes)
    exercise.stop()
    assert all(box._channel is None for box in boxes)
