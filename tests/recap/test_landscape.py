"""The landscape and the glossary: they tell what is here, and whose it is."""

from labsupport.course import progress
from labsupport.recap import glossary
from labsupport.recap.landscape import ALL, RUNTIME, Technology, _find, landscape, words


def test_the_landscape_finds_what_is_here_and_only_that():
    found = {each.technology.name: each for each in landscape()}
    assert len(found) == len(ALL)
    assert found["WSL 2"].state == "Windows"
    shell = _find(Technology("a shell", RUNTIME, "bash", "", "", ""), ())
    assert shell.is_here
    assert shell.state.startswith("✓ 5")


def test_what_no_cell_shows_has_a_source():
    assert all(each.source.startswith(("https://", "man:")) for each in ALL)
    assert "rkt (ended in 2020)" in words(landscape())


def test_what_the_student_has_made_is_read_from_the_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_PROGRESS", str(tmp_path / "progress.jsonl"))
    assert dict(glossary._made_by_the_student()) == {}
    progress.note("exercise", name="09.1", passed=False, saw="no image")
    progress.note("exercise", name="09.1", passed=True, saw="it greets")
    made = dict(glossary._made_by_the_student())
    assert set(made) == {"Dockerfile", "image", "container"}
    assert made["image"].endswith("exercise 09.1: it greets")
