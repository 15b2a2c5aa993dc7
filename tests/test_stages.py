"""The run of all tests counts what it runs, and removes what it makes (about 15 s)."""

import os
import pwd
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests import selection
from tests.__main__ import Stage, remaining, run, summary
from tests.accounts import made_user
from tests.toys import CHECKOUT

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a user")
TESTS = """
import pytest
def test_one(): pass
def test_two(): assert False
@pytest.mark.skip
def test_three(): pass
"""


DEATH = "import os, signal\ndef test_death(): os.kill(os.getpid(), signal.SIGKILL)"


def stage_of(folder, source, *arguments):
    (folder / "test_toy.py").write_text(source)
    report = folder / "report.xml"
    plain = ("-p", "no:nbval", "-p", "no:hypothesispytest")  # they take a second to import
    argv = [sys.executable, "-m", "pytest", *plain, f"--junit-xml={report}", *arguments]
    return Stage("toy", [*argv, "test_toy.py"], report, cwd=folder)


def test_passed_failed_and_skipped_are_counted(tmp_path):
    count = run(stage_of(tmp_path, TESTS))
    assert summary(count + Counter(passed=1)) == "2 passed, 1 failed, 1 skipped"


@pytest.mark.parametrize(
    "what", [["import no_such_module"], ["raise SystemExit(0)"], [DEATH],
             [TESTS, "--no-such-option"]]
)  # fmt: skip
def test_a_pytest_that_reads_nothing_dies_or_does_not_start_is_a_failure(tmp_path, what):
    assert run(stage_of(tmp_path, *what))["failed"] == 1


@needs_root
def test_what_outlives_a_user_is_found_and_everything_of_theirs_removed():
    with made_user("labgone") as user:
        user.run(["sh", "-c", "setsid sleep 300 >/dev/null 2>&1 </dev/null &"])
        assert [command for _, command in remaining(user, seconds=0.5)] == ["sleep 300"]
    assert user.processes() == []
    assert not user.home.exists()
    with pytest.raises(KeyError):
        pwd.getpwnam(user.name)


@needs_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_removes_its_user(number):
    command = [sys.executable, "-m", "tests", "--only", "user", "-k", "no_such_test"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "ordinary user" in line:
                break
        process.send_signal(number)
        process.communicate(timeout=90)
    assert process.returncode not in {0, None}
    assert f"labtest{process.pid}" not in [entry.pw_name for entry in pwd.getpwall()]


@pytest.mark.parametrize(
    ("changed", "everything", "at_host", "in_vm"),
    [((), "", False, False), (["machine"], "", True, False), ((), "1", True, True)],
)
def test_the_longest_notebook_runs_with_all_or_where_its_room_has_changed(
    monkeypatch, changed, everything, at_host, in_vm
):
    monkeypatch.setenv(selection.ALL, everything)
    monkeypatch.setattr(selection, "changed_rooms", lambda: frozenset(changed))
    longest = "notebooks/12_tutorial_vm.ipynb"
    found = selection.notebooks_at_host()
    assert found[0] == (longest if at_host else "notebooks/11_tutorial_docker.ipynb")
    assert (longest in found) == at_host
    assert (longest in selection.notebooks_in_vm()) == in_vm
