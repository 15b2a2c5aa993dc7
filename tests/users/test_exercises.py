"""Exercises of 05: typical wrong answers get their reason."""

import os
import subprocess
from pathlib import Path

import pytest

from labsupport.kernel import proc
from labsupport.users.namespaces import keepers
from tests.fixtures_course import refused

# --- 05.1: two namespaces of two programs -------------------------------------------------------


def into(exercise, **whose):
    """Return the options of nsenter(1) that join namespaces of programs, given by their names."""
    there = exercise.programs
    return [f"--{kind}=/proc/{there[name].pid}/ns/{kind}" for kind, name in whose.items()]


def start(exercise, *options):
    joining = ["nsenter", *options] if options else []
    return exercise.box.start([*joining, "sleep", str(exercise.seconds)])


@pytest.mark.parametrize(
    ("joined", "said"),
    [
        (lambda e: into(e, uts=e._uts), "host name of {0._uts} and the network of the notebook"),
        (lambda e: into(e, uts=e._net, net=e._uts), "name of {0._net} and the network of {0._uts}"),
        (lambda e: [], "host name of its sandbox and the network of the notebook"),
    ],
    ids=["nobodys-network", "the-wrong-way-round", "nobody"],
)
@pytest.mark.wrong("05.1")
def test_a_program_that_joined_others_than_asked_for_is_told(begun, joined, said):
    exercise = begun("05.1", 3)
    start(exercise, *joined(exercise))
    refused(exercise, said.format(exercise))


@pytest.mark.wrong("05.1")
def test_a_wrong_one_beside_the_right_one_is_told_with_its_number(begun):
    exercise = begun("05.1", 3)
    wrong = start(exercise)
    start(exercise, *into(exercise, uts=exercise._uts, net=exercise._net))
    refused(exercise, f"(PID {wrong.pid}) has the host name of its sandbox")
    right = f"has the host name of {exercise._uts} and the network of {exercise._net}"
    assert "end the others" in refused(exercise, right)
    wrong.signal(9)
    wrong.wait()
    assert exercise.check()


# --- 05.2: a map --------------------------------------------------------------------------------


def write(exercise, line):
    Path(f"/proc/{exercise.pid}/uid_map").write_text(line)


@pytest.mark.parametrize("which", ["everybody", "root", "the-next", "columns-exchanged"])
@pytest.mark.wrong("05.2")
def test_another_map_is_told_and_how_to_begin_again(begun, which):
    exercise = begun("05.2", 3)
    inside, outside = exercise._inside, exercise._outside
    first = outside - inside
    line, said = {
        "everybody": (f"0 {first} 65536", f"0 to 65535 inside is {first} to {first + 65535} out"),
        "root": (f"0 {outside} 1", f"0 inside is {outside} outside"),
        "the-next": (f"{inside + 1} {outside} 1", f"{inside + 1} inside is {outside} outside"),
        "columns-exchanged": (f"{outside} {inside} 1", f"{outside} inside is {inside} outside"),
    }[which]
    if os.geteuid() and which in ("everybody", "columns-exchanged"):
        with pytest.raises(OSError, match=r"not permitted|Invalid"):  # only themselves
            write(exercise, line)
        line, said = f"{outside} {outside} 1", f"{outside} inside is {outside} outside"
    write(exercise, line)
    assert "exercise.start()" in refused(exercise, f"by the map, {said}")
    exercise.start()
    refused(exercise, "is empty")


def test_no_file_is_made_before_the_map_is_right(begun):
    exercise = begun("05.2", 3)
    exercise.check()
    assert not list(exercise._folder.path.iterdir())
    write(exercise, f"{exercise._inside} {exercise._outside} 1")
    assert exercise.check()
    assert exercise.check()
    owners = [file.stat().st_uid for file in exercise._folder.path.iterdir()]
    assert owners == [exercise._outside] * 2


# --- 05.3: what keeps a namespace ---------------------------------------------------------------


def end(exercise):
    exercise.program.signal(9)
    exercise.program.wait()


@pytest.mark.wrong("05.3")
def test_letting_it_go_is_told(begun):
    """A free number goes to the next namespace, perhaps of a test at the same time."""
    exercise = begun("05.3", 3)
    for _ in range(5):
        with open(f"/proc/{exercise.program.pid}/ns/mnt"):  # another namespace is kept
            end(exercise)
            saw = exercise.check().saw
        if f"UTS namespace {exercise._made.inode} is kept by nothing. It is gone" in saw:
            return
        exercise.start()
    pytest.fail(saw)


@pytest.mark.wrong("05.3")
def test_another_process_that_keeps_it_is_told(begun):
    exercise = begun("05.3", 3)
    enter = f"--uts=/proc/{exercise.program.pid}/ns/uts"
    other = exercise.box.start(["nsenter", enter, "sh", "-c", "echo in; exec sleep 1000"])
    other.expect("in")
    end(exercise)
    refused(exercise, f"is kept by process {other.pid}")


@pytest.mark.wrong("05.3")
def test_a_descriptor_beside_the_program_is_not_enough(begun):
    exercise = begun("05.3", 3)
    with open(f"/proc/{exercise.program.pid}/ns/uts") as kept:
        refused(exercise, f"descriptor {kept.fileno()}")
    assert keepers(exercise._made).processes == (exercise.program.pid,)


@pytest.mark.parametrize("where", ["its-sandbox", "this-machine"])
def test_what_is_mounted_keeps_it_and_is_taken_down(begun, tmp_path, where):
    exercise = begun("05.3", 3)
    place = tmp_path / "place"
    place.touch()
    mount = ["mount", "--bind", f"/proc/{exercise.program.pid}/ns/uts", str(place)]
    if where == "its-sandbox":
        exercise.box.run(mount)
    elif subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root: an ordinary user mounts nothing here")
    end(exercise)
    assert exercise.check()
    exercise.stop()
    assert not any(str(place) in line for line in proc.mount_lines())
    if where == "its-sandbox":  # whoever has made a mount namespace meanwhile has a copy of ours
        assert not keepers(exercise._made)
    place.unlink()
