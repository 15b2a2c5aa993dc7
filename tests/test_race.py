"""The race: what each entrant is found to isolate, on real kernels; and that nothing is left."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from labsupport import Race, probe, processes
from labsupport.errors import RaceNotRun
from labsupport.race.elsewhere import InContainer, InLabVM
from labsupport.race.on_the_host import AsProcess, InEnvironment, InSandbox
from labsupport.views.wish_matrix import walls
from tests.toys import CHECKOUT


def run(*kinds, rounds=1):
    race = Race(kinds)
    asyncio.run(race.run(rounds))
    race.close()
    return race


def skip_unless_here(kind):
    if why := kind.why_not():
        pytest.skip(f"needs {', '.join(kind.needs)}: {why}")


def folders():
    return set(Path(tempfile.gettempdir()).glob(f"labsupport-race-{os.getpid()}-*"))


@pytest.mark.parametrize("kind", [AsProcess, InEnvironment])
def test_no_wall_holds_around_an_ordinary_process(kind):
    entrant = run(kind)[kind.name]
    assert walls(entrant.got) == (False,) * 6
    assert entrant.page["kernel"] == os.uname().release


def test_an_environment_is_one_of_its_own_and_takes_its_files():
    race = run(AsProcess, InEnvironment)
    assert race["process"].disk_bytes == 0
    assert 1000 < race["virtual environment"].disk_bytes < 1_000_000


def test_all_walls_but_the_kernel_hold_around_a_sandbox():
    skip_unless_here(InSandbox)
    race = run(InSandbox)
    assert walls(race["our sandbox"].got) == (True,) * 5 + (False,)
    assert race["our sandbox"].page["pid"] == 1


def test_all_walls_but_the_kernel_hold_around_a_container(request):
    if os.geteuid() == 0:
        request.getfixturevalue("an_engine")
    probe(fresh=True)  # an earlier test may have asked when there was none
    skip_unless_here(InContainer)
    entrant = run(InContainer)["container"]
    assert walls(entrant.got) == (True,) * 5 + (False,)
    assert entrant.page["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert entrant.disk_bytes > 10_000_000


def test_the_lab_vm_reads_what_it_is_given_and_changes_nothing():
    skip_unless_here(InLabVM)
    race = run(InLabVM)
    entrant = race["Lab VM"]
    assert walls(entrant.got) == (False, True, True, True, True, True)
    assert entrant.page["boot_id"] != race.boot_id
    assert entrant.memory_bytes > 20_000_000
    assert "another kernel: Lab VM" in race.kernels().finding


def test_every_start_counts_and_the_table_has_a_row_for_each():
    race = run(AsProcess, InEnvironment, rounds=3)
    assert [len(each.starts) for each in race.ran.values()] == [3, 3]
    assert [row[0] for row in race.kernels().rows] == ["process", "virtual environment"]


@pytest.mark.parametrize(("told", "starts"), [((1, 30, 30), 3), ((30, 1, 1), 1)])
def test_the_first_start_decides_whether_there_are_more(told, starts):
    class Moody(AsProcess):
        def start(self):
            super().start()
            return told[len(race["process"].starts)]

    race = Race([Moody])
    asyncio.run(race.run(3))
    race.close()
    assert race["process"].starts == told[:starts]


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
    assert race["elsewhere"].why_not == "it is far away"


def test_before_it_has_run_there_are_no_results():
    with pytest.raises(RaceNotRun):
        Race().ran  # noqa: B018


def test_stop_ends_it_after_the_present_start():
    race = Race([AsProcess, InEnvironment])

    async def stopped():
        running = asyncio.create_task(race.run(50))
        while not race.entrants or not race["process"].starts:
            await asyncio.sleep(0.02)
        race._picture.stopping = True
        await running

    asyncio.run(stopped())
    race.close()
    assert 0 < len(race["process"].starts) < 50


def test_nothing_is_left():
    run(AsProcess, InEnvironment)
    assert folders() == set()
    assert not [each for each in processes() if "victim-" in each.command]


def test_nothing_is_left_after_kill_9():
    program = (
        "import asyncio\nfrom labsupport.race.measuring import Race\n"
        "from labsupport.race.on_the_host import AsProcess, InEnvironment, InSandbox\n"
        "asyncio.run(Race([AsProcess, InEnvironment, InSandbox]).run(1000))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT) as racing:
        pattern = f"labsupport-race-{racing.pid}-*"
        temporary = Path(tempfile.gettempdir())
        until = time.monotonic() + 30
        while not list(temporary.glob(f"{pattern}/venv/bin/python")):
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1)
        racing.send_signal(signal.SIGKILL)
    token = f"labsupport-race-{racing.pid}-"
    until = time.monotonic() + 10
    while left := [each for each in processes() if token in each.command]:
        assert time.monotonic() < until, left
        time.sleep(0.05)
    swept = [sys.executable, "-m", "labsupport", "clean"]
    subprocess.run(swept, cwd=CHECKOUT, check=True, capture_output=True, timeout=60)
    assert not list(temporary.glob(pattern))
