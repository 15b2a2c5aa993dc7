"""cgroup v2: what an ordinary user can do in a group that was given to them. Runs in the Lab VM."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from labsupport.cgroup import life
from labsupport.cgroup.files import Folder
from labsupport.kernel.mounts import trees, version
from tests.toys import CHECKOUT

NOBODY = 65534
pytestmark = [
    pytest.mark.skipif(version() != 2, reason="delegation is cgroup v2's"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who gives away"),
    pytest.mark.usefixtures("nothing_is_left"),
]
ASK = """
    import subprocess, sys
    from labsupport import Cgroup
    from labsupport.errors import LabError
    try:
        with Cgroup(pids=3, memory="16M") as group, Cgroup(pids=2) as second:
            program = subprocess.Popen(["sleep", "60"])
            group.add(program.pid)
            print(group.limits.pids, len(group.processes()), group.folders["pids"])
        program.wait()
        print(program.returncode)
    except LabError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def given():
    """A group that belongs to the user `nobody`, as systemd would give it."""
    folder = trees()["pids"].own / life.new_name("given")
    folder.mkdir()
    for path in (
        folder,
        *(folder / f"cgroup.{n}" for n in ("procs", "subtree_control", "threads")),
    ):
        os.chown(path, NOBODY, NOBODY)
    yield folder
    as_folder = Folder(folder, 2)
    life.kill([as_folder])
    life.remove([as_folder])


def ask(folder):
    """Run the questions as an ordinary user inside the group."""

    def enter():
        (folder / "cgroup.procs").write_text("0")
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(ASK)],
        preexec_fn=enter, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_in_a_delegated_group_an_ordinary_user_can_limit(given):
    os.setxattr(given, "user.delegate", b"1")
    first, second = ask(given)
    pids, count, folder = first.split()
    assert (pids, count, second) == ("3", "1", "-9")
    assert Path(folder).parent == given
    assert {path.name for path in given.iterdir() if path.is_dir()} == {life.PROGRAMS}


def test_without_the_mark_nothing_is_moved_and_the_rule_is_told(given):
    text = "\n".join(ask(given))
    assert text.startswith("InternalProcesses")
    assert "EBUSY" in text
    assert life.REMEDY in text
    assert [path for path in given.iterdir() if path.is_dir()] == []


def test_in_somebody_elses_group_the_remedy_is_named(given):
    for path in (given, given / "cgroup.subtree_control"):
        os.chown(path, 0, 0)
    text = "\n".join(ask(given))
    assert text.startswith("CgroupRefused")
    assert life.REMEDY in text


def test_a_controller_that_was_not_given_is_named(given):
    os.setxattr(given, "user.delegate", b"1")
    (given / "inner").mkdir()
    with pytest.raises(life.MissingController, match=r"itself given: none(?s:.*)echo \+pids"):
        life.hand_down(given / "inner", ["pids"])
