"""Progress: what is kept, counted, handed in, and run once more."""

import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from labsupport import Exercise, predict
from labsupport.course import course_map, progress
from labsupport.course.catalogue import NOTEBOOKS, chapters
from labsupport.course.course_map import CourseMap
from labsupport.errors import LabError, ProgressNotKept, ProgressUnreadable
from labsupport.making import recheck
from labsupport.vm import guest, mux
from tests.fixtures_course import handed_in

QUESTION = chapters()[2].questions[0]
ANSWER = """import os, signal
[it] = [p for p in processes(of=exercise.box) if p.pids[-1] == exercise._number]
os.kill(it.pids[0], signal.SIGTERM)"""


def in_a_jail(test):
    """Skip a test where answers cannot be run apart from what is the teacher's."""
    has_bwrap = pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
    return has_bwrap(pytest.mark.needs("vm")(test))


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("LAB_PROGRESS", str(path))
    return path


@pytest.fixture
def unwritable(monkeypatch):
    monkeypatch.setenv("LAB_PROGRESS", "/proc/nothing/progress.jsonl")


def guessed(guess, answer=8, **how):
    question = predict(QUESTION, **(how or {"within": 0}))
    question.guess = guess
    return question.beside(answer)


def score_of(number):
    [score] = [score for score in course_map.scores() if score.number == number]
    return score


def test_the_first_real_guess_counts_not_one_made_after_the_answer_was_seen():
    guessed(None)
    assert (score_of("02").guessed, score_of("02").skipped) == (0, 1)
    guessed(3)
    guessed(8)
    assert (score_of("02").guessed, score_of("02").met) == (1, 0)


def test_the_map_says_what_was_done():
    guessed(8)
    shown = CourseMap()
    assert shown.begun == ["02"]
    assert (score_of("02").guessed, score_of("02").met, score_of("02").skipped) == (1, 1, 0)
    row = next(line for line in repr(shown).splitlines() if line.startswith("02 Process IDs"))
    assert "●·" in row
    assert "1 of " in row
    assert "href='02_pid" in shown._repr_html_()


def test_two_writers_lose_nothing(own_file):
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(note_many, range(4)))
    assert len(progress.events()) == 400


def note_many(number):
    for count in range(100):
        progress.note("exercise", name=f"{number}.{count}", saw="x" * 500)


def test_a_file_that_cannot_be_written_is_told_beside_the_verdict(unwritable):
    assert "cannot be kept" in repr(guessed(8))
    with pytest.raises(ProgressNotKept, match="LAB_PROGRESS"):
        progress.note("exercise")


def test_a_damaged_file_names_the_line_and_is_left_alone(own_file):
    guessed(8)
    own_file.write_text(own_file.read_text() + "no event\n")
    with pytest.raises(ProgressUnreadable, match=r"line 2 of progress\.jsonl"):
        CourseMap()
    assert own_file.read_text().endswith("no event\n")


def test_no_home_folder_is_written(own_file, monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    guessed("/home/alice/x", choices=["/home/alice/x"], answer="/home/alice/x")
    assert "alice" not in own_file.read_text()


def test_every_question_and_exercise_of_the_notebooks_is_in_the_catalogue():
    for chapter in chapters():
        cells = json.loads((NOTEBOOKS / chapter.file).read_text())["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        # f"…" is a question for each of many
        asked = re.findall(r"(?<!\w)predict\(\s*(?![f\s])", code)
        assert len(chapter.questions) == len(asked), chapter
        assert len(chapter.exercises) == code.count("Exercise.of("), chapter
    questions = [question for chapter in chapters() for question in chapter.questions]
    assert len(questions) == len(set(questions))


# ---- handing in, and running once more ------------------------------------------------------


def as_a_student(own_file, lines):
    """Run cells in an IPython of their own, as a notebook does."""
    code = "from IPython.core.interactiveshell import InteractiveShell\n"
    code += "shell = InteractiveShell.instance()\n"
    code += "".join(f"shell.run_cell({line!r}).raise_error()\n" for line in lines)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "LAB_PROGRESS": str(own_file)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("ns.pid")
def test_a_solved_exercise_is_kept_with_seed_evidence_and_cells_and_passes_again(
    own_file, tmp_path
):
    start = 'exercise = Exercise.of("02.1", 7)\nexercise.start()'
    first = "%load_ext labsupport\nfrom labsupport import Exercise, processes"
    last = "exercise.check()\nexercise.stop()"
    as_a_student(own_file, [first, start, "exercise.hint()", ANSWER, last])
    [kept] = course_map.collect()["exercises"]
    assert (kept["name"], kept["seed"], kept["passed"], kept["hints"]) == ("02.1", 7, True, 1)
    _hint, cell = kept["answer"]
    assert "os.kill(it.pids[0]" in cell
    assert "got SIGTERM" in kept["saw"]
    path = course_map.export_progress(tmp_path / "handed_in.json")
    [(exercise, outcome)] = recheck.recheck(path, here=True)
    assert exercise["name"] == "02.1"
    assert outcome["passed"], outcome


@pytest.mark.parametrize("place", [".", "notebooks"])
def test_a_terminal_hands_in_what_was_done_beside_the_notebooks(
    place, own_file, tmp_path, monkeypatch
):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    guessed(8)
    own_file.rename(notebooks / progress.FILE)
    monkeypatch.setattr(course_map, "NOTEBOOKS", notebooks)
    monkeypatch.delenv(progress.VARIABLE)
    monkeypatch.chdir(tmp_path / place)

    assert course_map.main(["--export", "mine.json"]) == 0
    [prediction] = json.loads(Path("mine.json").read_text())["predictions"]
    told = {"question": QUESTION, "guess": 8, "measured": 8, "met": True}
    assert prediction == {"notebook": "02", **told}


def test_nothing_is_handed_in_where_nothing_was_done(tmp_path):
    with pytest.raises(LabError, match="there is nothing to hand in"):
        course_map.export_progress(tmp_path / "mine.json")
    assert not (tmp_path / "mine.json").exists()


@in_a_jail
def test_an_answer_passes_once_more_in_the_lab_vm(tmp_path):
    [(_, outcome)] = recheck.recheck(handed_in(tmp_path, [ANSWER]))
    assert outcome["passed"], outcome


@pytest.mark.parametrize("forged", ["raise SystemExit", "def", "print('{}')"])
@pytest.mark.needs("ns.pid")
def test_a_forged_answer_does_not_pass(tmp_path, forged):
    [(_, outcome)] = recheck.recheck(handed_in(tmp_path, [forged]), here=True)
    assert outcome["passed"] is False


@pytest.mark.needs("ns.pid")
def test_an_answer_without_an_end_does_not_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(recheck, "SECONDS", 1)
    path = handed_in(tmp_path, ["import time; time.sleep(60)"])
    [(_, outcome)] = recheck.recheck(path, here=True)
    assert outcome == {"passed": False, "why": "it was not done after 1 s"}


@pytest.mark.needs("ns.pid")
def test_of_a_long_output_only_the_end_is_kept(tmp_path):
    path = handed_in(tmp_path, ["import os; os.write(1, b'\\xff' * (32 << 20))", ANSWER])
    tracemalloc.start()
    [(_, outcome)] = recheck.recheck(path, here=True)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome["passed"], outcome
    assert most < 1 << 20


@pytest.mark.needs("ns.pid")
def test_the_command_tells_and_its_status_says_whether_all_pass(tmp_path, capsys):
    assert recheck.main(["--here", str(handed_in(tmp_path, [ANSWER]))]) == 0
    told = capsys.readouterr().out
    assert "02.1 (variant 7): passes again" in told
    assert "    | os.kill(it.pids[0], signal.SIGTERM)" in told


def test_a_file_without_a_solved_exercise_is_told(tmp_path, capsys):
    assert recheck.main([str(handed_in(tmp_path, passed=False))]) == 0
    assert "no exercise in it was solved" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"answer": "one text"}, "is damaged"),
        ({"seed": None}, "is damaged"),
        ({"name": "99.1"}, "no exercise '99.1'"),
        ({"answer": ["#" * 200_000]}, "does NOT pass"),
        ({"answer": ["import os; os.write(1, b'{ not json\\n'); os._exit(0)"]}, "does NOT pass"),
        ({"answer": ["import os; os.write(1, b'[' * 99_999); os._exit(0)"]}, "does NOT pass"),
        ({"saw": "\x1b[2K\r\x9b1A passes again"}, "\ufffd[2K\ufffd\ufffd1A passes"),
    ],
)
def test_whatever_a_file_holds_the_next_one_has_its_turn(tmp_path, capsys, facts, words):
    path = handed_in(tmp_path, **facts)
    assert recheck.main(["--here", str(path), str(path)]) == 1
    told = capsys.readouterr().out
    assert told.count("handed_in.json:") == 2
    assert words in told
    assert not set(told) & set("\x1b\r\x9b")


def test_a_file_of_brackets_alone_is_told(tmp_path, capsys):
    path = tmp_path / "brackets.json"
    path.write_text("[" * 99_999)
    assert recheck.main([str(path), str(path)]) == 1
    assert capsys.readouterr().out.count("brackets.json cannot be read") == 2


FORGE = """import os, struct, time
line = os.open("/dev/ttyS0", os.O_WRONLY)
os.write(line, struct.pack(">BII", *{head}) + {payload})
time.sleep(60)"""


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (FORGE.format(head=(mux.HELLO, 0, 1), payload=b"x"), "does not speak"),
        (FORGE.format(head=(mux.FAILED, 1, 8), payload=b'["a", 1]'), "does not speak"),
        (FORGE.format(head=(mux.FAILED, 1, 9999), payload="b'[' * 9999"), "does not speak"),
        (FORGE.format(head=(mux.EXIT, 1, 1), payload=b"x"), "does not speak"),
        (FORGE.format(head=(mux.DATA, 1, 1 << 31), payload=b"x"), "does not speak"),
        ("import os\nwhile True: os.write(1, b'x' * 9999)", "more than 1 MB"),
    ],
)
@in_a_jail
def test_whatever_a_guest_says_its_answer_does_not_pass(tmp_path, monkeypatch, cell, words):
    """Root in it may write to the line to the host, and without an end."""
    monkeypatch.setattr(guest, "MOST_OUTPUT", 1 << 20)
    [(_, outcome)] = recheck.recheck(handed_in(tmp_path, [cell]))
    assert outcome["passed"] is False
    assert words in outcome["why"]


@pytest.mark.parametrize(
    ("attack", "seconds"),
    [("os.kill(os.getppid(), 9)", 15), ("time.sleep(1000)", 5), ("os.kill(1, 9); os._exit(1)", 15)],
)
@in_a_jail
def test_an_answer_that_ends_or_stops_its_machine_does_not_pass(
    tmp_path, monkeypatch, attack, seconds
):
    monkeypatch.setattr(recheck, "SECONDS", seconds)
    path = handed_in(tmp_path, [f"import os, time; {attack}"])
    [(_, outcome)] = recheck.recheck(path)
    assert not outcome["passed"]


@in_a_jail
def test_an_answer_reaches_no_file_of_the_teachers(tmp_path, monkeypatch):
    """Root in the guest mounts the host's files a second time."""
    grades = tmp_path / "grades"
    grades.write_text("1.0")
    monkeypatch.setenv("TOKEN", "a secret")
    cells = f"""import json, os, subprocess
os.makedirs("/m")
subprocess.run("mount -t hostfs h /m -o /", shell=True, check=True)
seen = [os.path.exists("/m/etc/passwd"), os.path.exists("/m{grades}"), "TOKEN" in os.environ]
tried = subprocess.run(["touch", "/m{NOTEBOOKS}/written"]).returncode
os.write(1, json.dumps({{"passed": True, "why": str([*seen, tried])}}).encode())
os._exit(0)"""
    [(_, outcome)] = recheck.recheck(handed_in(tmp_path, [cells]))
    assert outcome["why"] == "[True, False, False, 1]"


def test_a_strangers_file_is_not_overwritten(tmp_path):
    guessed(8)
    path = tmp_path / "thesis.json"
    path.write_text("{}")
    with pytest.raises(LabError, match="is not an export"):
        course_map.export_progress(path)
    assert path.read_text() == "{}"


@pytest.mark.parametrize("text", ["", "[]", '{"format": "other"}', "\0"])
def test_what_is_no_export_is_refused(tmp_path, text):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ProgressUnreadable):
        course_map.read(path)


@pytest.mark.needs("ns.pid")
def test_an_exercise_without_ipython_is_kept_without_cells(own_file):
    exercise = Exercise.of("02.1")
    exercise.start()
    assert not exercise.check()
    exercise.stop()
    assert course_map.collect()["exercises"][0]["answer"] == []
    assert Path(own_file).stat().st_mode & 0o077 == 0
