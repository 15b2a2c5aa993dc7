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
@pytest.mark.untouched("04.1", "04.2", "04.3")
@pytest.mark.right("04.1", "04.2", "04.3")
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


@pytest.mark.wrong("04.1")
def test_a_wrong_address_is_told(start):
    exercise = start("04.1", 5)
    exercise.switch.net.plug("br0", exercise.box, "10.9.9.9/24", port="mine")
    verdict = exercise.check()
    assert not verdict
    assert f"10.9.9.9/24, not {exercise.wanted}" in verdict.saw


@pytest.mark.wrong("04.1")
def test_a_cable_that_is_not_plugged_in_is_no_way(start):
    exercise = start("04.1", 5)
    exercise.switch.net.connect(exercise.box, "mine")
    exercise.box.net.set_up("eth0", f"{exercise.wanted}/24")
    verdict = exercise.check()
    assert not verdict
    assert "no answer" in verdict.saw


@pytest.mark.wrong("04.1")
def test_a_cable_without_an_address_is_told(start):
    exercise = start("04.1", 5)
    exercise.switch.net.connect(exercise.box, "mine")
    assert f"has no address at all, not {exercise.wanted}" in exercise.check().saw


@pytest.mark.wrong("04.1")
def test_an_address_whose_network_has_nobody_else_is_told(start):
    exercise = start("04.1", 5)
    exercise.switch.net.plug("br0", exercise.box, f"{exercise.wanted}/32", port="mine")
    assert f"has {exercise.wanted}, but no answer" in exercise.check().saw


def with_fault(start, fault):
    return next(e for seed in range(40) if (e := start("04.2", seed)).fault == fault)


@pytest.mark.wrong("04.2")
def test_a_way_back_over_nobody_is_no_way(start):
    exercise = with_fault(start, "no way back")
    exercise.server.net.add_route("default", via="10.0.2.77")
    assert "nothing came back in time" in exercise.check().saw


@pytest.mark.wrong("04.2")
def test_moving_the_server_to_the_client_is_refused(start):
    exercise = with_fault(start, "no route")
    exercise.server.net.set_up("eth0", "10.0.1.7/24")
    assert "the server has other cables or addresses" in exercise.check().saw


@pytest.mark.wrong("04.2")
def test_a_short_cut_round_the_router_is_refused(start):
    exercise = start("04.2", 1)
    exercise.client.net.connect(exercise.server, "shortcut", "shortcut")
    assert "other cables" in exercise.check().saw


@pytest.mark.wrong("04.3", times=2)
def test_a_filter_that_lets_all_or_nothing_through_is_told(start):
    exercise = start("04.3", 2)
    text = "table inet t { chain c { type filter hook input priority 0; %s }; }"
    exercise.server.run(["nft", "-f", "-"], input=text % "tcp dport 1-65535 drop;")
    assert "ports [] answer" in exercise.check().saw
    exercise.server.run(["nft", "flush", "ruleset"])
    exercise.server.run(["nft", "-f", "-"], input=text % "tcp dport 1 drop;")
    assert f"ports {exercise.ports} answer" in exercise.check().saw


@pytest.mark.wrong("04.3", times=2)
def test_a_filter_the_wrong_way_round_or_in_the_wrong_place_is_told(start):
    exercise = start("04.3", 2)
    text = "table inet t { chain c { type filter hook %s priority 0; tcp dport %s drop; }; }"
    others = [port for port in exercise.ports if port != exercise.wanted]
    exercise.client.run(["nft", "-f", "-"], input=text % ("output", f"!= {exercise.wanted}"))
    assert "exercise.server has no rule" in exercise.check().saw
    exercise.client.run(["nft", "flush", "ruleset"])
    exercise.server.run(["nft", "-f", "-"], input=text % ("input", exercise.wanted))
    assert f"ports {others} answer, and it should be {exercise.wanted}" in exercise.check().saw


def test_stopping_closes_the_sandboxes(start):
    exercise = start("04.2", 1)
    boxes = list(exercise.boxes)
    exercise.stop()
    assert all(box._channel is None for box in boxes)
