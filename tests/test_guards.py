"""Each guard is broken once, and a test of its own turns red (2 s for each)."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.guards import GUARDS
from tests.toys import CHECKOUT

EVERY_CHANGE = range(0, len(GUARDS), 15)
APART = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
LEFT_OUT = shutil.ignore_patterns("node_modules", "__pycache__", ".*")
FAILED, PASSED = 1, 0


def case(number, guard):
    """A mutant runs with `--all`, and where its room has changed."""
    room = guard.file.partition("/")[0]
    marks = () if number in EVERY_CHANGE else pytest.mark.thorough(room)
    return pytest.param(guard, id=f"{guard.test.partition('::test_')[2]}-{number}", marks=marks)


@pytest.fixture(scope="module")
def course():
    """Yield a copy of the course, whose files may be broken, and which any user can read."""
    with tempfile.TemporaryDirectory(prefix="lab-guards-") as scratch:
        Path(scratch).chmod(0o755)
        copy = Path(scratch) / "course"
        for name in ("labsupport", "tests", "notebooks"):
            shutil.copytree(CHECKOUT / name, copy / name, ignore=LEFT_OUT)
        for name in ("pyproject.toml", "conftest.py"):
            shutil.copy(CHECKOUT / name, copy)
        yield copy


def run(course, *tests):
    """Run tests in the copy; as root in namespaces that they may spoil, and that end all of it."""
    apart = [*APART, "sh", "-c", '"$@"; exit $?', "sh"] if os.geteuid() == 0 else []
    argv = [*apart, sys.executable, "-m", "pytest", "-q", "-p", "tests.notebooks", "-n", "0"]
    env = {**os.environ, "PYTHONPATH": str(course), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*argv, "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)], cwd=course,
        env=env, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_what_is_broken_is_once_in_its_file():
    """Where a line has moved, its guard is tested no more."""
    files = {guard.file: (CHECKOUT / "labsupport" / guard.file).read_text() for guard in GUARDS}
    assert not [guard for guard in GUARDS if files[guard.file].count(guard.old) != 1]


@pytest.mark.thorough
def test_without_a_mutant_they_are_green(course):
    done = run(course, *sorted({guard.test for guard in GUARDS}))
    assert done.returncode == PASSED, done.stdout[-3000:]


@pytest.mark.parametrize("guard", [case(*each) for each in enumerate(GUARDS)])
def test_a_broken_guard_turns_its_test_red(guard, course):
    file = course / "labsupport" / guard.file
    sound = file.read_text()
    file.write_text(sound.replace(guard.old, guard.new))
    try:
        done = run(course, guard.test)
    finally:
        file.write_text(sound)
    if " skipped" in done.stdout.splitlines()[-1] and done.returncode == PASSED:
        pytest.skip(f"its test is skipped here: {done.stdout[-300:]}")
    assert done.returncode == FAILED, f"not noticed: {done.stdout[-2000:]}{done.stderr[-500:]}"
    assert "SyntaxError" not in done.stdout
