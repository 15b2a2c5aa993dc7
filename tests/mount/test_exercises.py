"""Exercises of 03: the right answer passes, typical wrong ones get their reason."""

import pytest

from labsupport import mounts
from tests.fixtures_course import refused, variant


def shell(exercise, line):
    done = exercise.box.run(line)
    assert done.returncode == 0, done


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mount --bind /data {0}", "but a file can be written there"),
        ("mount --bind /data {0}; mount -o remount,bind,ro {0}; mount -t tmpfs other {1}", "other"),
        ("mount -o remount,bind,ro /data", "`/data`: this mount is read-only"),
        ("for at in {0} {1}; do mount -t tmpfs -o ro cheat $at; done", "cheat"),
    ],
    ids=["writable", "another", "data-read-only", "empty-ones"],
)
@pytest.mark.wrong("03.1")
def test_what_is_not_the_drive_twice_and_read_only_is_told(begun, line, said):
    exercise = begun("03.1")
    shell(exercise, line.format(*exercise._places))
    refused(exercise, said)


@pytest.mark.wrong("03.1")
def test_the_error_that_the_hint_warns_of_is_found_by_writing_a_file(begun):
    """The mount at /data stays read-write in the table; its file system does not."""
    exercise = begun("03.1")
    if exercise._drive.kind != "ext4":
        pytest.skip(f"needs a disk: {exercise._drive.why}")
    for place in exercise._places:
        shell(exercise, f"mount --bind /data {place}; mount -o remount,ro {place}")
    assert "ro" not in mounts(of=exercise.box).at("/data").options
    assert "its whole file system is read-only" in exercise.check().saw


def test_the_check_leaves_no_file_behind(begun):
    exercise = begun("03.1")
    before = exercise.inside("ls", "/data")
    exercise.check()
    assert exercise.inside("ls", "/data") == before


def test_what_hides_the_file_is_not_told(begun):
    exercise = begun("03.2")
    top = mounts(of=exercise.box).holding(exercise._path)
    said = f"{exercise.task()} {exercise.check().saw}"
    assert top.source not in said
    assert "mounted over" not in said


@pytest.mark.wrong("03.2")
def test_too_many_mounts_taken_off_is_told_so(begun):
    exercise = begun("03.2")
    for point in {mount.point for mount in mounts(of=exercise.box) if "sheet" in mount.source}:
        shell(exercise, f"umount {point}")
    assert "another mount has gone" in exercise.check().saw


@pytest.mark.wrong("03.2")
def test_only_the_upper_of_two_taken_off_is_told(begun):
    exercise = variant(begun, "03.2", lambda exercise: exercise._covers > 1, True)
    shell(exercise, f"umount {exercise._folder}")
    assert "less lies over it than at first" in exercise.check().saw


@pytest.mark.wrong("03.2")
def test_a_look_from_the_side_is_not_uncovering(begun):
    """A bind mount shows what lies below, and the letter could be copied from there."""
    exercise = begun("03.2")
    shell(exercise, f"mount --bind /srv /mnt; cat /mnt/{exercise._path[5:]} > {exercise._path}")
    assert exercise._word in exercise.inside("cat", exercise._path)
    assert "something has been mounted: `/mnt`" in exercise.check().saw


@pytest.mark.wrong("03.2", times=2)
def test_a_new_letter_is_not_the_letter(begun):
    exercise = begun("03.2")
    shell(exercise, f"echo another > {exercise._path}")
    assert "cannot be seen yet" in exercise.check().saw
    for _ in range(exercise._covers):
        shell(exercise, f"umount {exercise._folder}")
    assert exercise.check()
    shell(exercise, f"echo another > {exercise._path}")
    assert "the letter is not in it" in exercise.check().saw


def set_all(exercise, setting):
    for process in exercise._copies.values():
        shell(exercise, f"nsenter -t {process.pids[-1]} -m mount --make-{setting} /mnt")


@pytest.mark.wrong("03.3", times=2)
def test_all_alike_is_told_by_what_shows_where(begun):
    exercise = begun("03.3")
    assert "what is mounted in the original shows in blue, green, red" in exercise.check().saw
    set_all(exercise, "slave")
    assert "shows in blue, green, red" in exercise.check().saw
    set_all(exercise, "private")
    assert "what is mounted in the original shows in the original." in exercise.check().saw


@pytest.mark.wrong("03.3")
def test_who_should_only_listen_and_speaks_is_told(begun):
    exercise = begun("03.3")
    deaf = exercise._copies[exercise._deaf].pids[-1]
    shell(exercise, f"nsenter -t {deaf} -m mount --make-private /mnt")
    assert f"what is mounted in {exercise._listens} shows in" in exercise.check().saw


@pytest.mark.wrong("03.3")
def test_something_mounted_by_hand_does_not_count(begun):
    exercise = begun("03.3")
    shell(exercise, f"mount -t tmpfs cheat {exercise._path}")
    assert not exercise.check()


@pytest.mark.wrong("03.3")
def test_an_ended_copy_is_told(begun):
    exercise = begun("03.3")
    exercise._copies["red"].signal(9)
    exercise._copies["red"].wait()
    assert "red has ended" in exercise.check().saw
