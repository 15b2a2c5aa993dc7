"""A guest for the tests of one module, and a look at what guests leave on the host."""

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from labsupport.doctor.guest import LEAST_MEMORY, check, find_kernel
from labsupport.errors import LabError
from labsupport.vm.guest import LabVM
from tests import census
from tests.waiting import wait_until

_amounts = count(os.getpid() * 8 % 100_000 + 1)


@pytest.fixture(scope="session")
def vm_kernel() -> Path:
    """The kernel that guests run."""
    if os.environ.get("LAB_IN_VM") == "1":
        pytest.skip("needs a machine that is not a Lab VM itself")
    try:
        kernel = find_kernel()
        check(LEAST_MEMORY)
    except LabError as error:
        pytest.skip(f"needs the Lab VM: {error}")
    return kernel


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the host that is shared with `guest`."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def guest(vm_kernel: Path, shared: Path) -> Iterator[LabVM]:
    """A guest that only well-behaved tests use."""
    with LabVM.boot("256M", share=[shared]) as guest:
        yield guest


@pytest.fixture
def memory_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own for the guests' memory; nothing may be left in it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        monkeypatch.setenv("TMPDIR", name)
        yield folder
        left = [file for file in folder.iterdir() if file.suffix != ".json"]
        assert left == []  # except a connection file, which a killed Jupyter leaves


def sh(guest: LabVM, script: str) -> str:
    """Run lines of a shell, which must succeed; return what they print."""
    done = guest.run(["sh", "-euc", script])
    assert done.returncode == 0, f"{done}\n{guest.console[-500:]}"
    return done.stdout.strip()


class Marked:
    """An amount of memory that no other guest has, by which its processes can be told."""

    def __init__(self) -> None:
        self.kilobytes = (256 << 10) + next(_amounts)
        self.memory = f"{self.kilobytes}K"

    def processes(self) -> set[int]:
        """Every process of guests with this amount: keepers and User-Mode Linux's own."""
        return census.running(f"mem={self.kilobytes}K")

    def wait_until_gone(self) -> None:
        """Wait until none is left."""
        wait_until(lambda: not self.processes(), why=lambda: f"left: {self.processes()}")


@pytest.fixture
def marked() -> Iterator[Marked]:
    """A guest that can be told from all others; none of it may be left after the test."""
    mark = Marked()
    yield mark
    mark.wait_until_gone()
