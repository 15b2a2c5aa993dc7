"""The decision helper, the corrections, the landscape: they say what they should."""

import pytest

from labsupport import choose, corrections
from labsupport.course.catalogue import NOTEBOOKS, chapters
from labsupport.course.chooser import Chooser
from labsupport.course.choosing import OTHERWISE, QUESTIONS
from labsupport.technologies import ALL, Technology, _find, landscape


def test_every_question_leads_somewhere_else():
    picks = {choose(**{name: True}).pick for name in QUESTIONS}
    assert len(picks) == len(QUESTIONS)
    assert OTHERWISE.pick not in picks


def test_the_stronger_wall_decides():
    assert choose(strangers_code=True, only_python_packages=True).notebook == "07"
    assert choose(other_kernel=True, strangers_code=True).pick == "a virtual machine"


def test_an_unknown_question_is_refused():
    with pytest.raises(TypeError):
        choose(strangers=True)


def test_ticking_a_box_changes_the_recommendation():
    chooser = Chooser()
    assert chooser.choice == OTHERWISE
    chooser.tick("no_root")
    assert chooser.choice.notebook == "05"
    assert "rootless" in chooser.widget.children[-1].value


def test_every_recommendation_names_a_notebook_of_the_course():
    numbers = {path.name[:2] for path in NOTEBOOKS.glob("*.ipynb")}
    assert {choose(**{name: True}).notebook for name in QUESTIONS} <= numbers


def test_each_correction_names_a_code_cell_that_is_there():
    table = corrections()
    assert table.rows
    for link in table.links:
        file, _, cell = link.partition("#cell-id=")
        assert f'"id": "{cell}"' in (NOTEBOOKS / file).read_text()
    known = {claim for chapter in chapters() for claim in chapter.claims}
    assert {row[0] for row in table.rows} <= known


def test_the_landscape_finds_what_is_here_and_only_that():
    found = {each.technology.name: each for each in landscape()}
    assert len(found) == len(ALL)
    assert not found["WSL 2"].is_here
    shell = _find(Technology("a shell", "sh", "", "", "", "", ("-c", "echo 1.2")), ())
    assert shell.is_here
    assert shell.version == "1.2"
