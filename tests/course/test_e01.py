"""The exercises of 01: right answers pass, and each wrong one gets its reason."""

import os
import signal
import subprocess

import pytest

from labsupport import Sandbox, namespaces, probe, processes

needs_walls = pytest.mark.skipif(
    bool(probe().missing("ns.pid", "ns.mount", "ns.uts", "ns.ipc")), reason="needs ns.pid ns.uts …"
)
pytestmark = needs_walls


def end(exercise, pid):
    os.kill(pid, signal.SIGKILL)
    if pid in exercise.plain:
        exercise.plain[pid].wait()


@pytest.mark.parametrize("number", ["01.1", "01.2"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.right("01.1", "01.2")
def test_the_solution_passes(begun, number, seed):
    exercise = begun(number, seed)
    exec(exercise.solution().body, {"exercise": exercise})
    assert exercise.check(), exercise.check()


def test_seeds_differ(begun):
    begins = [begun("01.1", seed) for seed in range(6)]
    orders = {tuple(pid in exercise.plain for pid in exercise.pids) for exercise in begins}
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("number", "said"), [("01.1", "still run, in the same namespaces"), ("01.2", "runs 0 times")]
)
@pytest.mark.untouched("01.1", "01.2")
def test_an_untouched_start_is_refused(begun, number, said):
    verdict = begun(number).check()
    assert not verdict
    assert said in verdict.saw


@pytest.mark.wrong("01.1")
def test_one_that_is_left_is_named(begun):
    exercise = begun("01.1")
    first, *others = exercise.plain
    for pid in others:
        end(exercise, pid)
    verdict = exercise.check()
    assert not verdict
    assert verdict.saw.startswith(f"{first} still runs")


@pytest.mark.wrong("01.1")
def test_ending_a_contained_one_is_refused(begun):
    exercise = begun("01.1")
    contained = next(pid for pid in exercise.pids if pid not in exercise.plain)
    end(exercise, contained)
    for box in exercise.boxes:
        box.close()
    verdict = exercise.check()
    assert not verdict
    assert f"{contained}" in verdict.saw
    assert "lived in namespaces apart, and ended" in verdict.saw


@pytest.mark.wrong("01.1")
def test_ending_all_is_refused(begun):
    exercise = begun("01.1")
    for pid in exercise.pids:
        end(exercise, pid)
    verdict = exercise.check()
    assert not verdict
    told = [str(pid) for pid in sorted(set(exercise.pids) - set(exercise.plain))]
    assert f"{' and '.join(told)} lived in namespaces apart" in verdict.saw


@pytest.mark.wrong("01.2")
def test_a_plain_process_has_no_walls(begun):
    exercise = begun("01.2")
    with subprocess.Popen(["sleep", str(exercise.seconds)]) as sleeper:
        verdict = exercise.check()
        sleeper.kill()
    assert not verdict
    assert "its own nothing" in verdict.saw


@pytest.mark.wrong("01.2")
def test_one_wall_is_not_enough(begun):
    exercise = begun("01.2")
    exercise.box = Sandbox(new={exercise.wanted[0]}).open()
    exercise.box.start(["sleep", str(exercise.seconds)])
    verdict = exercise.check()
    assert not verdict
    assert f"it shares {exercise.wanted[1]} with this notebook" in verdict.saw


@pytest.mark.wrong("01.2")
def test_a_wall_too_many_is_refused(begun):
    exercise = begun("01.2")
    more = next(kind for kind in ("uts", "ipc", "mount") if kind not in exercise.wanted)
    exercise.box = Sandbox(new={*exercise.wanted, more}).open()
    exercise.box.start(["sleep", str(exercise.seconds)])
    verdict = exercise.check()
    assert not verdict
    assert f"{more} was not asked for" in verdict.saw


def test_nothing_is_left(begun):
    exercise = begun("01.1")
    exercise.stop()
    for pid in exercise.pids:
        with pytest.raises(Exception, match=str(pid)):
            namespaces(pid)
    other = begun("01.2")
    exec(other.solution().body, {"exercise": other})
    other.stop()
    assert not [p for p in processes() if p.command == f"sleep {other.seconds}"]
