"""nbgrader's part: the mark for one exercise, the assignment, and what is never run."""

import runpy
from fnmatch import fnmatch
from importlib.machinery import all_suffixes

import nbformat
import pytest
from traitlets.config import Config

from labsupport.errors import LabError
from labsupport.making.recheck import mark
from tests.fixtures_course import handed_in
from tests.toys import CHECKOUT

FOLDER = CHECKOUT / "deploy/nbgrader"
SOLVED = """import os, re, signal
number = int(re.search(r"PID (\\d+) in there", exercise.task())[1])
[it] = [p for p in processes(of=exercise.box) if p.pids[-1] == number]
os.kill(it.pids[0], signal.SIGTERM)"""


def test_what_passes_again_gets_its_point_and_is_shown(tmp_path, capsys):
    mark("02.1", handed_in(tmp_path, [SOLVED]), here=True)
    assert "    | os.kill(it.pids[0], signal.SIGTERM)" in capsys.readouterr().out


@pytest.mark.parametrize("answers", [["pass", SOLVED], [SOLVED, "pass"]])
def test_what_does_not_pass_gets_none(tmp_path, answers):
    with pytest.raises(LabError, match="does not pass again"):
        mark("02.1", handed_in(tmp_path, *([answer] for answer in answers)), here=True)


def test_what_is_not_there_gets_none(tmp_path):
    with pytest.raises(LabError, match="not solved"):
        mark("02.2", handed_in(tmp_path, [SOLVED]), here=True)
    with pytest.raises(LabError, match="cannot be read"):
        mark("02.1", tmp_path / "nothing.json", here=True)


def test_an_assignment_has_a_graded_cell_for_each_exercise():
    made = runpy.run_path(str(FOLDER / "assignment.py"))["notebook"](["02.1", "06.2"])
    nbformat.validate(made)
    graded = [cell for cell in made.cells if "nbgrader" in cell.metadata]
    assert [cell.metadata.nbgrader.grade_id for cell in graded] == [
        "exercise-02-1",
        "exercise-06-2",
    ]
    assert graded[1].source.endswith("mark('06.2')")


def config():
    settings = Config()
    path = str(FOLDER / "nbgrader_config.py")
    return settings, runpy.run_path(path, {"get_config": lambda: settings})


def test_a_handed_in_notebook_is_replaced_by_the_released_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_PLACE", "auto")
    settings, names = config()
    make = runpy.run_path(str(FOLDER / "assignment.py"))["notebook"]
    (tmp_path / "release/ns").mkdir(parents=True)
    nbformat.write(make(["02.1"]), tmp_path / "release/ns/hand_in.ipynb")
    forged = make(["02.2"])
    first = settings.Autograde.sanitize_preprocessors[0](parent=None)
    assert isinstance(first, names["AsReleased"])
    taken, _ = first(forged, {"nbgrader": {"assignment": "ns", "notebook": "hand_in"}})
    assert [cell.source for cell in taken.cells][1].endswith("mark('02.1')")


@pytest.mark.parametrize("name", [f"labsupport{suffix}" for suffix in all_suffixes()])
def test_no_module_is_copied_from_what_was_handed_in(name, monkeypatch):
    monkeypatch.setenv("LAB_PLACE", "auto")
    settings, _ = config()
    assert any(fnmatch(name, pattern) for pattern in settings.CourseDirectory.ignore)
