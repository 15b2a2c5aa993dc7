"""Exercises of 05: the right answer passes, typical wrong ones get their reason."""

import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from labsupport import Exercise, keepers
from labsupport.errors import ExerciseNotStarted
from labsupport.linux.procfs import all_pids

NUMBERS = ["05.1", "05.2", "05.3"]


@pytest.fixture(params=NUMBERS)
def exercise(request):
    exercise = Exercise.of(request.param, seed=7)
    yield exercise
    exercise.stop()


@pytest.fixture
def started(request):
    exercise = Exercise.of(request.param, seed=3)
    exercise.start()
    yield exercise
    exercise.stop()


join, write, keep = (
    pytest.mark.parametrize("started", [number], indirect=True) for number in NUMBERS
)


@pytest.mark.untouched(*NUMBERS)
def test_an_untouched_start_is_refused(exercise):
    exercise.start()
    assert not exercise.check()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.right(*NUMBERS)
def test_the_solution_passes(exercise, seed):
    exercise.seed = seed
    exercise.start()
    scope = {"exercise": exercise}
    exec(exercise.solution().body, scope)
    time.sleep(0.3)
    verdict, again = exercise.check(), exercise.check()
    if "kept" in scope:
        os.close(scope["kept"])
    assert verdict, verdict
    assert again == verdict


def test_a_check_before_the_start_says_so(exercise):
    with pytest.raises(ExerciseNotStarted, match=r"exercise\.start\(\)"):
        exercise.check()


def test_there_are_two_hints_and_the_second_stays(exercise):
    bodies = [exercise.hint().body for _ in range(3)]
    assert bodies[0] != bodies[1] == bodies[2]


@pytest.mark.parametrize("number", ["05.1", "05.2", "05.3"])
def test_seeds_vary_the_task(number):
    def scene(seed):
        exercise = Exercise.of(number, seed)
        exercise.start()
        facts = {"05.1": ("uts", "net", "seconds"), "05.2": ("inside",), "05.3": ("hostname",)}
        found = [getattr(exercise, name) for name in facts[number]]
        exercise.stop()
        return found

    assert scene(1) == scene(1) != scene(2)


def told_of(started, *joining):
    """Start the asked-for program so, and return what the check says of it."""
    started.box.start([*joining, "sleep", str(started.seconds)])
    verdict = started.check()
    assert not verdict
    return verdict.saw


@join
@pytest.mark.wrong("05.1")
def test_a_program_with_the_network_of_nobody_is_told(started):
    pid = started.programs[started.uts].pid
    saw = told_of(started, "nsenter", f"--uts=/proc/{pid}/ns/uts")
    assert f"host name of {started.uts} and the network of the notebook" in saw


@join
@pytest.mark.wrong("05.1")
def test_the_wrong_way_round_is_told(started):
    uts, net = (started.programs[name].pid for name in (started.net, started.uts))
    saw = told_of(started, "nsenter", f"--uts=/proc/{uts}/ns/uts", f"--net=/proc/{net}/ns/net")
    assert f"host name of {started.net} and the network of {started.uts}" in saw


@join
@pytest.mark.wrong("05.1")
def test_a_program_that_joined_nobody_is_told(started):
    saw = told_of(started)
    assert "host name of its sandbox and the network of the notebook" in saw


@join
def test_stopping_ends_all_five(started):
    pids = {program.pid for program in started.programs.values()}
    assert len(pids) == 5 <= len(pids & set(all_pids()))
    started.stop()
    assert not pids & set(all_pids())


@write
@pytest.mark.wrong("05.2")
def test_a_wrong_map_is_told_and_how_to_begin_anew(started):
    Path(f"/proc/{started.pid}/uid_map").write_text(f"0 {started.outside} 1")
    verdict = started.check()
    assert not verdict
    assert f"0 inside is {started.outside} outside" in verdict.saw
    assert "exercise.start()" in verdict.saw
    started.start()
    assert "is empty" in started.check().saw


@write
@pytest.mark.wrong("05.2")
def test_root_inside_is_not_the_one_that_was_asked_for(started):
    Path(f"/proc/{started.pid}/uid_map").write_text(f"{started.inside + 1} {started.outside} 1")
    verdict = started.check()
    assert not verdict
    assert f"{started.inside + 1} inside is {started.outside} outside" in verdict.saw


@write
@pytest.mark.wrong("05.2")
def test_the_columns_exchanged_are_told(started):
    columns = f"{started.outside} {started.inside} 1"
    if os.geteuid():  # the kernel lets an ordinary user give away nobody but themselves
        with pytest.raises(PermissionError):
            Path(f"/proc/{started.pid}/uid_map").write_text(columns)
        columns = f"{started.outside} {started.outside} 1"
    Path(f"/proc/{started.pid}/uid_map").write_text(columns)
    verdict = started.check()
    assert not verdict
    assert f"by the map, {started.outside} inside is {columns.split()[1]} outside" in verdict.saw


@write
def test_no_file_is_made_before_the_map_is_right(started):
    started.check()
    assert not started.file.exists()
    Path(f"/proc/{started.pid}/uid_map").write_text(f"{started.inside} {started.outside} 1")
    assert started.check()
    assert started.file.stat().st_uid == started.outside


@write
def test_stopping_ends_the_program_and_removes_its_file(started):
    pid, folder = started.pid, started.file.parents[1]
    started.stop()
    assert pid not in all_pids()
    assert not folder.exists()


def seen_when_it_has_gone(started, keeping):
    """Let the namespace go while `keeping(pid)` is open, and return what the check says.

    A free number goes to the next namespace, perhaps of a test beside this: then it begins anew.
    """
    for _ in range(5):
        with keeping(started.program.pid):
            started.program.signal(9)
            started.program.wait()
            verdict = started.check()
        assert not verdict
        if "kept by nothing" in verdict.saw:
            break
        started.start()
    return verdict.saw


@keep
@pytest.mark.wrong("05.3")
def test_letting_it_go_is_told(started):
    saw = seen_when_it_has_gone(started, lambda _: nullcontext())
    assert "kept by nothing. It is gone" in saw


@keep
@pytest.mark.wrong("05.3")
def test_keeping_another_namespace_is_told(started):
    saw = seen_when_it_has_gone(started, lambda pid: open(f"/proc/{pid}/ns/mnt"))  # noqa: SIM115
    assert f"UTS namespace {started.inode} is kept by nothing" in saw


@keep
@pytest.mark.wrong("05.3")
def test_another_process_that_keeps_it_is_told(started):
    into = f"--uts=/proc/{started.program.pid}/ns/uts"
    other = started.box.start(["nsenter", into, "sh", "-c", "echo in; exec sleep 1000"])
    other.expect("in")
    started.program.signal(9)
    started.program.wait()
    verdict = started.check()
    assert not verdict
    assert f"is kept by process {other.pid}" in verdict.saw


@keep
@pytest.mark.wrong("05.3")
def test_a_descriptor_beside_the_program_is_not_enough(started):
    with open(f"/proc/{started.program.pid}/ns/uts") as kept:
        verdict = started.check()
        assert not verdict
        assert f"descriptor {kept.fileno()}" in verdict.saw
    assert keepers("uts", started.inode).processes == (started.program.pid,)
