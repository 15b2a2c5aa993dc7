"""A toy notebook with each of nbval's holes: those cells fail that should (about 10 s in all)."""

import pytest

from tests.toys import code, run_nbval, verdicts, write_notebook
from tests.waiting import is_alive, wait_until

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
PASS, SKIP, FAIL = "passed", "skipped", "failed"
MISSED = "needs psi: pretended missing"
TOYS = {
    "good": ("1 + 1", PASS, ""),
    "a good command": ("!true", PASS, ""),
    "arguments": ("import sys; assert sys.argv", PASS, ""),
    "not run": (NOTICE, SKIP, "needs ns.pid: no luck today"),
    "not run and compared": (code(CHECK + NOTICE, printed="2"), SKIP, "needs ns.pid"),
    "not run, then raised": (NOTICE + "raise ValueError", FAIL, "ValueError"),
    "unknown magic": ("%no_such_magic\nassert False", FAIL, "%magic"),
    "failing magic": ("%timeit -n1 -r1 1/0", FAIL, "ZeroDivisionError"),
    "failing command": ("!exit 3", FAIL, "status 3"),
    "failing command, then more": ("!exit 3\n1 + 1", FAIL, "status 3"),
    "nothing raised": (code("1 + 1", tags=["raises-exception"]), FAIL, "nothing was raised"),
    "raised": (code("1 / 0", tags=["raises-exception"]), PASS, ""),
    "not tolerated": ("1 / 0", FAIL, "ZeroDivisionError"),
    "same": (code(CHECK + "print(2)", printed="2\n"), PASS, ""),
    "differs": (code(CHECK + "print(3)", printed="2\n"), FAIL, ""),
    "never compared": (code(CHECK + "print(3)", count=None), FAIL, "nothing to compare"),
    "polite": (CHILD, PASS, ""),
    "loads": ("%load_ext labsupport", PASS, ""),
    "needy": ("# needs: psi\nbox = 1", SKIP, MISSED),
    "built on it": ("box + 1", SKIP, MISSED),
    "good again": ("1 + 1", PASS, ""),
}
"""The cells of a notebook, the verdict on each, and words of it."""
DEATH = ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "1 + 1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("toys")


@pytest.fixture(scope="module")
def toys(folder):
    paths = [
        write_notebook(folder / "toys.ipynb", *(cell for cell, *_ in TOYS.values())),
        write_notebook(folder / "death.ipynb", *DEATH),
    ]
    run = run_nbval(*paths, report=folder / "toys.xml", env={"LAB_PRETEND_MISSING": "psi"})
    assert run.returncode == 1, run.stdout + run.stderr
    return verdicts(folder / "toys.xml")


@pytest.mark.parametrize("name", TOYS)
def test_each_cell_gets_the_verdict_that_it_deserves(toys, name):
    found = dict(zip(TOYS, toys["toys"], strict=True))[name]
    _, expected, words = TOYS[name]
    assert found.outcome == expected
    assert words in found.message


def test_a_dead_kernel_is_told_at_once_and_fails_what_follows(toys):
    first, second = toys["death"]
    assert first.outcome == second.outcome == FAIL
    assert "died" in first.message


def test_what_a_cell_started_ends_with_its_kernel(toys, folder):
    wait_until(lambda: not is_alive(int((folder / "child").read_text())))


def test_a_skip_of_what_this_machine_must_have_fails(tmp_path):
    path = write_notebook(tmp_path / "not_run.ipynb", NOTICE)
    run = run_nbval(path, report=tmp_path / "report.xml", env={"LAB_MUST_HAVE": "ns.uts,ns.pid"})

    assert run.returncode == 1
    assert verdicts(tmp_path / "report.xml")["not_run"][0].outcome == FAIL
    assert "LAB_MUST_HAVE names ns.pid" in run.stdout


def test_a_misspelt_name_in_lab_must_have_is_an_error(tmp_path):
    path = write_notebook(tmp_path / "good.ipynb", "1 + 1")
    run = run_nbval(path, report=tmp_path / "report.xml", env={"LAB_MUST_HAVE": "ns.pidd"})

    assert run.returncode not in {0, 1}
    assert "ns.pidd" in run.stdout + run.stderr
