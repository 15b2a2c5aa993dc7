"""The race: what each entrant is found to isolate, on real kernels; and that nothing is left."""

import asyncio
import contextlib
import json
import os
import tempfile
from pathlib import Path

import nbformat
import pytest

from labsupport import Race
from labsupport.errors import LabError
from labsupport.race import runners
from labsupport.race.runners import (
    PYTHON,
    AsProcess,
    InEnvironment,
    InVirtualMachine,
)
from tests import census
from tests.toys import CHECKOUT


def the_app():
    """The app, as the notebook writes it."""
    cells = nbformat.read(CHECKOUT / "notebooks/01_why_containers.ipynb", as_version=4).cells
    [source] = [cell.source for cell in cells if cell.source.startswith("%%writefile")]
    return source.partition("\n")[2]


def a_race(*kinds):
    race = Race(kinds)
    (race.folder / "app.py").write_text(the_app())
    return race


def run(*kinds, rounds=1):
    race = a_race(*kinds)
    asyncio.run(race.run(rounds))
    race.close()
    return race


def skip_unless_here(kind):
    if why := kind.why_not():
        pytest.skip(f"needs {', '.join(kind.needs)}: {why}")


def folders():
    return set(Path(tempfile.gettempdir()).glob(f"labsupport-race-{os.getpid()}-*"))


@pytest.fixture(scope="module")
def ran():
    """A race of an ordinary process and a virtual environment, three times."""
    return run(AsProcess, InEnvironment, rounds=3)


def test_no_wall_holds_around_an_ordinary_process_and_each_start_counts(ran):
    for entrant in ran.ran.values():
        assert entrant.walls == (False,) * 6
        assert entrant.page["kernel"] == os.uname().release
        assert len(entrant.starts) == 3
    assert [row[0] for row in ran.kernels().rows] == ["process", "virtual environment"]
    assert 1000 < ran["virtual environment"].disk_bytes < 1_000_000
    assert folders() == set()
    assert not census.running(ran.token)


MOUNTS = """
import ctypes
ctypes.CDLL(None, use_errno=True).mount(b"none", b"/mnt", b"hostfs", 0, b"/")
"""


def test_every_wall_holds_around_a_virtual_machine_that_would_mount_the_hosts_files():
    skip_unless_here(InVirtualMachine)
    race = a_race(InVirtualMachine)
    listed = the_app().replace('" ".join(platform.libc_ver())', 'sorted(os.listdir("/mnt"))')
    assert listed != the_app()
    (race.folder / "app.py").write_text(MOUNTS + listed)
    asyncio.run(race.run(1))
    race.close()
    entrant = race["virtual machine"]
    assert entrant.walls == (True,) * 6
    assert entrant.memory_bytes > 20_000_000
    assert entrant.disk_bytes > 100_000_000
    assert {"init.py", "usr"} <= set(entrant.page["libc"])  # the machine's own disk once more
    assert not census.running(race.folder.name)


def test_without_an_app_nobody_runs():
    race = Race([AsProcess])
    with pytest.raises(LabError, match=r"nobody can run(.|\n)*run the cell that writes it"):
        asyncio.run(race.run())
    race.close()


def test_an_app_that_breaks_is_quoted():
    race = a_race(AsProcess)
    (race.folder / "app.py").write_text("raise SystemExit('no such word')")
    with pytest.raises(LabError, match=r"process: the app did not answer(.|\n)*no such word"):
        asyncio.run(race.run(1))
    race.close()


def test_an_environment_that_cannot_be_made_says_why(monkeypatch):
    monkeypatch.setattr(runners, "PYTHON", "/bin/ls")  # which knows no -m, and says so
    with contextlib.closing(runners.Bait()) as bait, pytest.raises(LabError, match="option"):
        runners.InEnvironment(bait).prepare()


def test_in_the_lab_vm_the_kernel_outside_has_a_row(ran, monkeypatch):
    assert ran.kernels().finding == "1 kernel answers in 2 places"
    monkeypatch.setenv("LAB_OUTER_KERNEL", "6.99-outer")
    monkeypatch.setenv("LAB_OUTER_BOOT_ID", "12345678-9abc")
    table = ran.kernels()
    assert table.rows[-1][:3] == ("outside of the Lab VM", "6.99-outer", "12345678")
    assert table.finding == "2 kernels answer in 3 places"


def test_what_cannot_run_here_says_why_and_is_not_started():
    class Elsewhere(AsProcess):
        name = "elsewhere"

        @classmethod
        def why_not(cls):
            return "it is far away"

        def _start(self, argument):
            raise AssertionError

    race = run(AsProcess, Elsewhere)
    assert list(race.ran) == ["process"]
    assert race.kernels().finding == "1 kernel answers in 1 place"
    assert race["elsewhere"].why_not == "it is far away"
    with pytest.raises(LabError, match=r"elsewhere: it has not run(.|\n)*it is far away"):
        race["elsewhere"].walls  # noqa: B018


def test_what_is_borrowed_is_counted_apart(ran):
    assert ran["process"].disk_bytes == len(the_app().encode())
    python = Path(PYTHON).stat().st_size + Path(json.__file__).stat().st_size
    assert python < ran["process"].borrowed_bytes < 300_000_000


def test_before_it_has_run_there_are_no_results():
    with pytest.raises(LabError, match="nothing has been started yet"):
        Race().ran  # noqa: B018
    with pytest.raises(LabError, match=r"'container' has not run(.|\n)*await race.run"):
        Race()["container"]
