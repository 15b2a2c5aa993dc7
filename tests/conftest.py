"""What tests of several modules need: an ordinary user, and programs run with their rights."""

import os
import sys
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess

import pytest

from tests.users import User, made_user, me


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
