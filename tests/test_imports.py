"""Imports go one way, and nothing heavy is loaded before it is used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toys import CHECKOUT

PACKAGE = CHECKOUT / "labsupport"
FILES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN = {
    "linux": {"engine", "vm", "views", "course"},
    "engine": {"linux", "vm", "views", "course"},
    "vm": {"engine", "views", "course"},
    "views": {"course"},
    "errors.py": {"linux", "engine", "vm", "views", "course"},
    "trace.py": {"linux", "engine", "vm", "views", "course"},
    "ownership.py": {"linux", "engine", "vm", "views", "course"},
}
DRAWING = {"ctypes", "subprocess", "fcntl", "socket"}
HEAVY = {"matplotlib", "ipywidgets", "docker", "numpy", "IPython", "pyroute2", "nbformat"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_imports_go_one_way(part):
    files = [path for path in FILES if path.relative_to(PACKAGE).parts[0] == part]
    assert files
    wrong = {
        (str(path.relative_to(PACKAGE)), name)
        for path in files
        for name in imported(path)
        if name.startswith("labsupport.") and name.split(".")[1] in FORBIDDEN[part]
    }
    assert wrong == set()


def test_views_make_no_system_calls():
    wrong = {
        (path.name, name)
        for path in FILES
        for name in imported(path)
        if path.parent.name == "views" and name in DRAWING
    }
    assert wrong == set()


@pytest.mark.parametrize(
    "statement",
    [
        "import labsupport",
        "from labsupport import Sandbox, processes, probe",
        "import labsupport.needs",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    program = f"{statement}\nimport sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_zygote_stays_small():
    """What it loads is copied by each fork, and each sandbox waits for that."""
    large = {"typing", "dataclasses", "enum", "contextlib", "socket", "signal", "inspect", "re"}
    program = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import labsupport.linux.zygote; "
        f"print(*sorted({large!r} & set(sys.modules)))"
    )
    argv = [sys.executable, "-I", "-S", "-c", program]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split() == []


def test_every_public_word_is_there():
    import labsupport

    assert {name: getattr(labsupport, name) for name in labsupport.__all__}
    with pytest.raises(AttributeError):
        labsupport.no_such_word  # noqa: B018
