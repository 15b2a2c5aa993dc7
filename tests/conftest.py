"""What tests of several modules need: an ordinary user, an engine, a fair share of the cores."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess

import pytest
from IPython.core.interactiveshell import InteractiveShell
from xdist.scheduler.loadscope import LoadScopeScheduling

import labsupport
from labsupport import Sandbox, probe
from tests.accounts import User, made_user, me
from tests.fixtures_course import begun, pytest_configure, pytest_pyfunc_call  # noqa: F401
from tests.fixtures_engine import an_engine, engine, nobody, nowhere, private_engine  # noqa: F401
from tests.fixtures_vm import guest, marked, memory_folder, shared, vm_kernel  # noqa: F401
from tests.notebooks import skip_or_fail
from tests.selection import changed_rooms, thorough

LONGEST = (
    "tests/test_mutants.py", "course/test_every_exercise.py", "faults/test_faults.py",
    "build/test_builds.py", "vm/test_cgroups_v2.py", "vm/test_launcher.py",
    "image/test_exercises.py", "doctor/test_machine.py", "registry/test_exercises.py",
)  # fmt: skip
"""Where a file goes to one worker, these begin first: none of them is alone at the end."""


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let SIGINT end tests and their programs, which a shell's background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ordinary_user() -> Iterator[User]:
    """Return a user without privileges: one made for the run if this is root, else oneself."""
    if os.geteuid() != 0:
        yield me()
        return
    with made_user("labfixture") as user:
        yield user


@pytest.fixture(scope="session")
def as_user(ordinary_user: User) -> Callable[..., CompletedProcess[str]]:
    """Return `subprocess.run` with an ordinary user's rights (text captured, no check).

    Where they cannot reach this checkout, `./lab test` runs these tests as that user in a copy.
    """
    if ordinary_user.run([sys.executable, "-c", "import labsupport"], cwd="/").returncode:
        pytest.skip("needs a checkout and a Python that an ordinary user can read")
    return ordinary_user.run


@pytest.fixture
def ipython() -> Iterator[InteractiveShell]:
    """An IPython that has loaded our extension, as a notebook's first cell does."""
    shell = InteractiveShell.instance()
    labsupport.load_ipython_extension(shell)
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def pair() -> Iterator[tuple[Sandbox, Sandbox]]:
    """Two sandboxes with a cable and addresses of one network."""
    with Sandbox(new={"net"}) as left, Sandbox(new={"net"}) as right:
        left.net.connect(right)
        left.net.set_up("eth0", "10.0.0.1/24")
        right.net.set_up("eth0", "10.0.0.2/24")
        yield left, right


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run tests that are coroutines (`pytest.mark.anyio`) with asyncio, as Jupyter does."""
    return "asyncio"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked with `needs` of something that this machine lacks."""
    names = [name for marker in item.iter_markers("needs") for name in marker.args]
    if names and (lacking := probe().missing(*names)):
        skip_or_fail(lacking)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest files, and leave out what is for `--all`.

    That stays where its room has changed, or where it is asked for by its name.
    """
    items.sort(key=_place)
    if thorough() or any("::" in argument for argument in config.args):
        return
    left_out = [item for item in items if _is_thorough(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _place(item: pytest.Item) -> int:
    file = f"{item.path.parent.name}/{item.path.name}"
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def _is_thorough(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("thorough")
    return marker is not None and not {item.path.parent.name, *marker.args} & changed_rooms()


class ByFileOrNotebook(LoadScopeScheduling):
    """Files go to one core each; tests of all notebooks, or exercises, are dealt out by these."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, case = nodeid.partition("::")
        notebook = re.search(r"\[(\d\d)[_.]", case)
        return f"{file}::{notebook[1]}" if notebook else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    if config.getvalue("dist") != "loadfile":
        return None
    return ByFileOrNotebook(config, log)
