"""Exercises of 03: the right answer passes, typical wrong ones get their reason."""

import tempfile
from pathlib import Path

import pytest

from labsupport import mounts, ownership, processes, run_in, unmount

NUMBERS = ["03.1", "03.2", "03.3"]


@pytest.mark.parametrize("number", NUMBERS)
def test_stopping_takes_the_scene_down(begun, number):
    exercise = begun(number)
    exercise.stop()
    assert processes(of=exercise.box) == []
    assert list(Path(tempfile.gettempdir()).glob(f"{ownership.prefix('root')}*")) == []
    assert list(Path(tempfile.gettempdir()).glob(f"{ownership.prefix('drive')}*")) == []


@pytest.mark.wrong("03.1", times=2)
def test_a_bind_that_is_not_read_only_is_told_so(begun):
    exercise = begun("03.1")
    one, two = exercise.places
    exercise.inside("mount", "--bind", "/data", one)
    assert "but read-write" in exercise.check().saw
    exercise.inside("mount", "-o", "remount,bind,ro", one)
    exercise.inside("mount", "-t", "tmpfs", "other", two)
    assert "other" in exercise.check().saw
    assert two in exercise.check().saw


@pytest.mark.wrong("03.1")
def test_read_only_data_is_told_so(begun):
    exercise = begun("03.1")
    exercise.inside("mount", "-o", "remount,bind,ro", "/data")
    assert "has become read-only" in exercise.check().saw


def test_what_hides_the_file_is_named(begun):
    exercise = begun("03.2")
    top = mounts(of=exercise.box).holding(exercise.path)
    assert top.source in exercise.check().saw


@pytest.mark.wrong("03.2")
def test_too_many_mounts_taken_off_is_told_so(begun):
    exercise = begun("03.2")
    other = next(iter(exercise.others))
    unmount(exercise.box, other)
    assert other in exercise.check().saw
    assert not exercise.check()


@pytest.mark.wrong("03.2")
def test_only_the_upper_of_two_taken_off_is_told(begun):
    def layers(exercise):
        return [m for m in mounts(of=exercise.box) if m.point == f"/srv/{exercise.wanted}"]

    exercise = next(e for seed in range(20) if len(layers(e := begun("03.2", seed))) > 1)
    upper = mounts(of=exercise.box).holding(exercise.path)
    unmount(exercise.box, upper.point)
    lower = mounts(of=exercise.box).holding(exercise.path)
    verdict = exercise.check()
    assert not verdict
    assert upper.source != lower.source
    assert f"is hidden by {lower.fstype} {lower.source}" in verdict.saw


@pytest.mark.wrong("03.2")
def test_a_new_letter_is_not_the_letter(begun):
    exercise = begun("03.2")
    while mounts(of=exercise.box).holding(exercise.path).point != "/srv":
        unmount(exercise.box, f"/srv/{exercise.wanted}")
    assert exercise.check()
    exercise.box.run(["tee", exercise.path], input="another\n")
    assert "the letter is not in it" in exercise.check().saw


@pytest.mark.wrong("03.3")
def test_a_mount_in_the_wrong_table_is_told(begun):
    exercise = begun("03.3")
    wrong = next(name for name in exercise.copies if name not in exercise.wanted)
    run_in(exercise.box, exercise.copies[wrong], ["mount", "-t", "tmpfs", "x", exercise.path])
    verdict = exercise.check()
    assert not verdict
    assert wrong in verdict.saw


@pytest.mark.wrong("03.3")
def test_a_mount_that_spreads_too_far_is_told(begun):
    exercise = next(
        e for seed in range(20) if "the original" not in (e := begun("03.3", seed)).wanted
    )
    exercise.inside("mount", "-t", "tmpfs", "x", exercise.path)
    name_of = {setting: name for name, setting in exercise.settings.items()}
    everywhere = ", ".join(sorted(["the original", name_of["shared"], name_of["slave"]]))
    verdict = exercise.check()
    assert f"is mounted in: {everywhere}. It should be" in verdict.saw


@pytest.mark.wrong("03.3")
def test_several_mounts_are_not_one(begun):
    exercise = next(e for seed in range(20) if "the original" in (e := begun("03.3", seed)).wanted)
    slave = next(name for name, setting in exercise.settings.items() if setting == "slave")
    run_in(exercise.box, exercise.copies[slave], ["mount", "-t", "tmpfs", "x", exercise.path])
    exercise.inside("mount", "-t", "tmpfs", "y", exercise.path)
    assert "several mounts" in exercise.check().saw
