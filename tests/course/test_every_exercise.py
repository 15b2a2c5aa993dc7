"""What holds for every exercise of the course. Their wrong answers are in the rooms' own tests."""

import json
import os
import re
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from labsupport import Exercise, Sandbox, VirtualMachine, probe
from labsupport.course.catalogue import NOTEBOOKS, chapters
from labsupport.course.exercises import ROOMS, exercises_of
from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing
from labsupport.sandbox.shell import run_in, script, split, wishes
from tests import census
from tests.engines import NEEDS, containers_of
from tests.waiting import wait_until

CHAPTERS = [chapter for chapter in chapters() if chapter.exercises]
TAKES_A_MINUTE = {"10.1", "10.2", "12.1", "12.2"}
THREE = 3
SEEDS = (101, 102)
"""Not those of the rooms' tests, which run meanwhile: some programs are known by a number."""
UNTOLD = {"06.1": "argv", "10.3": "word"}
"""What varies in the exercises whose words are always the same."""
every = pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=[pytest.mark.thorough(room)] * (number in TAKES_A_MINUTE))
        for chapter in CHAPTERS
        for room in [ROOMS[chapter.number]]
        for number in chapter.exercises
    ],
)


def needs_of(number):
    """Read in the notebook what the cell that starts an exercise needs."""
    [notebook] = NOTEBOOKS.glob(f"{number[:2]}_*.ipynb")
    cells = ("".join(cell["source"]) for cell in json.loads(notebook.read_bytes())["cells"])
    [needs] = [NEEDS.match(cell) for cell in cells if f'Exercise.of("{number}")' in cell]
    assert needs, f"{notebook.name}: the cell that starts {number} lacks its first line, # needs: …"
    return needs[1].replace(",", " ").split()


@pytest.fixture(scope="module")
def a_machine():
    with VirtualMachine.create("1G", "4G", 1, name="exercises") as machine:
        machine.start()
        machine.wait(600)
        yield


@pytest.fixture
def begun(begun, number, request):
    """Return what starts the exercise; skip where this machine lacks what it needs."""
    needs = needs_of(number)
    if "engine" in needs and os.geteuid() == 0:
        request.getfixturevalue("an_engine")
        needs.remove("engine")
    if lacking := probe().missing(*needs):
        pytest.skip("; ".join(f"needs {name}: {no.reason}" for name, no in lacking.items()))
    if "qemu" in needs:
        request.getfixturevalue("a_machine")
    return begun


def solve(exercise):
    """Run the solution as a cell; return the names it made."""
    scope = {"exercise": exercise}
    first, _, lines = (body := exercise.solution().body).partition("\n")
    if first.startswith("%%shell"):
        inside = eval(wishes(first.removeprefix("%%shell")).inside, scope)
        assert run_in(inside, script(split(lines)), print) == 0
    else:
        exec(body, scope)
    return scope


def close_all(scope):
    """Close what the solution's cell has opened, as the end of the notebook does."""
    for thing in scope.values():
        if isinstance(thing, Closing | Sandbox):
            thing.close()


def programs():
    """Return our programs, but not the helpers of the sandboxes, which come and go in reserve."""
    ours = census.descendants(os.getpid()) - census.running("labsupport.sandbox")
    return {("program", pid) for pid in ours}


def there():
    """What exercises make: programs, folders, mounts, groups, links, containers."""
    found = programs()
    folders = Path(tempfile.gettempdir()).glob(f"{marks.prefix('')}*")
    found |= {("folder", str(folder)) for folder in folders}
    made = census.made(marks.mark(), Path(tempfile.gettempdir()))
    found |= {(kind, name) for kind, names in made.items() for name in names}
    if address := os.environ.get("DOCKER_HOST"):
        found |= {("container", name) for name in containers_of(address)}
    return found


@every
def test_only_the_solution_passes_and_nothing_is_left(begun, number):
    for seed in SEEDS:
        exercise = begun(number, seed)
        assert not exercise.check(), "untouched"
        scope = solve(exercise)
        verdict = exercise.check()
        assert verdict, verdict
        exercise.stop()
        close_all(scope)
        if seed == SEEDS[0]:  # helpers that serve the whole notebook were started, too
            before = there()
    wait_until(lambda: there() <= before, why=lambda: f"left: {there() - before}")


@every
def test_seeds_vary_the_task_and_repeat_it(begun, number):
    def told(seed):
        exercise = begun(number, seed)
        untold = getattr(exercise, UNTOLD.get(number, ""), None)
        task, others = exercise.task(), (exercise.answer(), untold)
        exercise.stop()
        return task, others

    task, others = told(SEEDS[0])
    assert any(told(seed) != (task, others) for seed in range(102, 112))
    task_again, others_again = told(SEEDS[0])
    numbers = re.compile(r"\d+")  # of processes and ports, which are new each time
    assert numbers.sub("", task_again) == numbers.sub("", task)
    assert others_again == others


@every
def test_before_its_start_it_gives_two_hints_and_no_verdict(number):
    exercise = Exercise.of(number)
    first, second, third = (exercise.hint().body for _ in range(3))
    assert first != second == third
    with pytest.raises(LabError, match=r"exercise\.start\(\)"):
        exercise.check()


def test_an_unknown_exercise_lists_the_known_ones():
    with pytest.raises(LabError, match=r"no exercise '02\.9'.*02\.1, 02\.2"):
        Exercise.of("02.9")
    with pytest.raises(LabError, match=r"no exercise '99\.1'"):
        Exercise.of("99.1")


def wrong_answers(module):
    """Count by exercise how many wrong answers a module's tests give (see fixtures_course)."""
    found = Counter()
    for test in filter(callable, vars(module).values()):
        marks_of = getattr(test, "pytestmark", ())
        cases = [len(mark.args[1]) for mark in marks_of if mark.name == "parametrize"]
        for mark in marks_of:
            if mark.name == "wrong":
                found[mark.args[0]] += mark.kwargs.get("times", 1) * max([1, *cases])
    return found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.number)
def test_three_wrong_answers_to_each_exercise_are_refused(chapter):
    room = ROOMS[chapter.number]
    here = exercises_of(room)
    assert set(here) == set(chapter.exercises)
    found = wrong_answers(import_module(f"tests.{room}.test_exercises"))
    assert {number: found[number] for number in here if found[number] < THREE} == {}
