"""Toy notebooks, each with one of nbval's holes: those fail that should (about 15 s in all)."""

import time
from pathlib import Path

import pytest

from tests.toys import Verdict, code, run_nbval, verdicts, write_notebook

NOTICE = """
from IPython.display import display
display({
    "application/vnd.labsupport.skipped+json": {"missing": {"ns.pid": "no luck today"}},
    "text/plain": "Not run here",
}, raw=True)
"""
CHECK = "# NBVAL_CHECK_OUTPUT\n"
CHILD = """
import atexit, pathlib, subprocess
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
pathlib.Path("child").write_text(str(child.pid))
atexit.register(child.kill)
"""
TOYS = {
    "good": ["1 + 1", "!true", "import sys; assert sys.argv"],
    "not_run": [NOTICE, "1 + 1"],
    "not_run_and_compared": [code(CHECK + NOTICE, printed="2")],
    "not_run_then_raised": [NOTICE + "raise ValueError"],
    "unknown_magic": ["%no_such_magic\nassert False", "1 + 1"],
    "failing_magic": ["%cd /no/such/folder\n", "%timeit -n1 -r1 1/0"],
    "failing_command": ["!exit 3", "!exit 3\n1 + 1", "1 + 1"],
    "nothing_raised": [code("1 + 1", tags=["raises-exception"])],
    "raised": [code("1 / 0", tags=["raises-exception"]), "1 + 1"],
    "not_tolerated": ["1 / 0"],
    "death": ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "1 + 1", "2 + 2"],
    "same": [code(CHECK + "print(2)", printed="2\n")],
    "differs": [code(CHECK + "print(3)", printed="2\n")],
    "never_compared": [code(CHECK + "print(3)", count=None)],
    "polite": [CHILD],
    "built_on": ["%load_ext labsupport", "# needs: psi\nbox = 1", "box + 1", "1 + 1"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toys")


@pytest.fixture(scope="module")
def toys(folder: Path) -> dict[str, list[Verdict]]:
    paths = [write_notebook(folder / f"{name}.ipynb", *cells) for name, cells in TOYS.items()]
    run = run_nbval(
        *paths,
        report=folder / "toys.xml",
        arguments=["-n2", "--dist=loadfile"],
        env={"LAB_PRETEND_MISSING": "psi"},
    )
    assert run.returncode == 1, run.stdout + run.stderr
    return verdicts(folder / "toys.xml")


def outcomes(cells: list[Verdict]) -> list[str]:
    return [cell.outcome for cell in cells]


def test_a_good_notebook_passes(toys):
    assert outcomes(toys["good"]) == ["passed"] * 3, toys["good"]


def test_a_cell_that_was_not_run_is_skipped_with_its_reason(toys):
    assert outcomes(toys["not_run"]) == ["skipped", "passed"]
    assert "needs ns.pid: no luck today" in toys["not_run"][0].message


def test_a_cell_that_builds_on_one_that_was_not_run_is_skipped_with_its_reason(toys):
    assert outcomes(toys["built_on"]) == ["passed", "skipped", "skipped", "passed"]
    assert "needs psi: pretended missing" in toys["built_on"][2].message


def test_a_cell_that_was_not_run_is_not_compared(toys):
    assert outcomes(toys["not_run_and_compared"]) == ["skipped"]


def test_a_notice_does_not_hide_an_exception(toys):
    assert outcomes(toys["not_run_then_raised"]) == ["failed"]


def test_an_unknown_magic_fails(toys):
    assert outcomes(toys["unknown_magic"]) == ["failed", "passed"]
    assert "%magic" in toys["unknown_magic"][0].message


def test_an_exception_inside_a_magic_fails(toys):
    assert outcomes(toys["failing_magic"])[1] == "failed"


def test_a_failing_command_fails_its_own_cell_only(toys):
    assert outcomes(toys["failing_command"]) == ["failed", "failed", "passed"]
    assert "status 3" in toys["failing_command"][0].message


def test_raises_exception_demands_one(toys):
    assert outcomes(toys["nothing_raised"]) == ["failed"]
    assert outcomes(toys["raised"]) == ["passed", "passed"]
    assert outcomes(toys["not_tolerated"]) == ["failed"]


def test_a_dead_kernel_is_noticed_within_two_seconds_and_no_later_cell_passes(toys):
    assert toys["death"][0].outcome == "failed"
    assert "died" in toys["death"][0].message
    assert "passed" not in outcomes(toys["death"])
    assert all(cell.seconds < 2 for cell in toys["death"][1:])
    # the first cell's time holds the start of the kernel as well
    start = max(cells[0].seconds for name, cells in toys.items() if name != "death")
    assert toys["death"][0].seconds < start + 2


def test_a_marked_output_is_compared(toys):
    assert outcomes(toys["same"]) == ["passed"]
    assert outcomes(toys["differs"]) == ["failed"]


def test_a_marked_output_that_was_never_saved_fails(toys):
    assert outcomes(toys["never_compared"]) == ["failed"]
    assert "nothing to compare" in toys["never_compared"][0].message


def test_what_a_cell_started_ends_with_its_kernel(toys, folder):
    assert outcomes(toys["polite"]) == ["passed"]
    child = Path("/proc") / (folder / "child").read_text()
    for _ in range(20):
        if not child.exists() or "\nState:\tZ" in (child / "status").read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"{child} lives on")


def test_a_skip_of_what_this_machine_must_have_fails(tmp_path):
    path = write_notebook(tmp_path / "not_run.ipynb", NOTICE)
    run = run_nbval(path, report=tmp_path / "report.xml", env={"LAB_MUST_HAVE": "ns.uts,ns.pid"})

    assert run.returncode == 1
    assert outcomes(verdicts(tmp_path / "report.xml")["not_run"]) == ["failed"]
    assert "LAB_MUST_HAVE names ns.pid" in run.stdout


def test_a_misspelt_name_in_lab_must_have_is_an_error(tmp_path):
    path = write_notebook(tmp_path / "good.ipynb", "1 + 1")
    run = run_nbval(path, report=tmp_path / "report.xml", env={"LAB_MUST_HAVE": "ns.pidd"})

    assert run.returncode not in {0, 1}
    assert "ns.pidd" in run.stdout + run.stderr
