"""The exercises of 01: each wrong answer gets its reason."""

import os
import re
import signal
import subprocess
import time

import pytest

from labsupport import Sandbox, namespaces
from labsupport.race.exercises import KINDS
from tests.fixtures_course import refused

pytestmark = pytest.mark.needs("ns.pid", "ns.mount", "ns.uts", "ns.ipc")


def end(exercise, pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def plain(exercise):
    """The ordinary ones, found as a student would."""
    return [pid for pid in exercise.pids if namespaces(pid) == namespaces()]


def order(exercise):
    """What 01.2 asks for, read in its task: the kinds, and the command."""
    kinds = [kind for kind in KINDS if f"{KINDS[kind]} " in exercise.task().split("namespace")[0]]
    return kinds, re.search(r"`(sleep \d+)`", exercise.task())[1].split()


@pytest.mark.wrong("01.1", times=2)
def test_one_that_is_left_is_named_even_if_it_is_stopped(begun):
    exercise = begun("01.1")
    refused(exercise, "still run, in the same namespaces")
    first, *others = plain(exercise)
    end(exercise, others)
    os.kill(first, signal.SIGSTOP)
    refused(exercise, f"{first} still runs")
    began = time.monotonic()
    exercise.stop()  # it does not wait for one that is stopped
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("which", ["one", "all"])
@pytest.mark.wrong("01.1")
def test_ending_a_contained_one_is_refused(begun, which):
    exercise = begun("01.1")
    contained = sorted(set(exercise.pids) - set(plain(exercise)))
    ended = contained[:1] if which == "one" else contained
    end(exercise, ended if which == "one" else exercise.pids)
    for words in (*map(str, ended), "lived in other namespaces, and ended"):
        refused(exercise, words)


def test_who_is_looked_at_is_not_for_the_student_to_say(begun):
    exercise = begun("01.1")
    with pytest.raises(AttributeError):
        exercise.pids = ()


@pytest.mark.wrong("01.2", times=2)
def test_a_plain_process_has_no_walls_and_another_program_is_no_sleep(begun):
    exercise = begun("01.2")
    _, command = order(exercise)
    with subprocess.Popen(["bash", "-c", f"exec -a '{' '.join(command)}' tail -f /dev/null"]) as it:
        refused(exercise, "runs 0 times")
        it.kill()
    with subprocess.Popen(command) as sleeper:
        refused(exercise, "no namespace of its own")
        sleeper.kill()


@pytest.mark.parametrize("too", ["few", "many"])
@pytest.mark.wrong("01.2")
def test_a_wall_too_few_or_too_many_is_refused(begun, too):
    exercise = begun("01.2")
    wanted, command = order(exercise)
    more = [kind for kind in ("uts", "ipc", "mount") if kind not in wanted]
    kinds = {wanted[0]} if too == "few" else {*wanted, *more}
    exercise.box = Sandbox(new=kinds).open()
    exercise.box.start(command)
    few = f"it shares {wanted[1]} with this notebook"
    many = f"{' and '.join(sorted(more))} {'were' if more[1:] else 'was'} not asked for"
    refused(exercise, (few if too == "few" else many))
