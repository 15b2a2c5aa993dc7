"""Imports go one way, and nothing heavy is loaded before it is used."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.toys import CHECKOUT

PACKAGE = CHECKOUT / "labsupport"
GROUND = {"errors", "trace", "kernel", "ownership", "figure"}
"""What every room may import; `figure` and `ownership` are built on the others."""
NEEDS = {
    "figure": set(),
    "ownership": set(),
    "kernel": set(),
    "sandbox": set(),
    "doctor": set(),
    "course": {"doctor", "vm"},
    "pid": {"sandbox", "course"},
    "mount": {"sandbox", "course"},
    "net": {"sandbox", "course"},
    "users": {"sandbox", "course", "engine"},
    "cgroup": {"sandbox", "course", "net"},
    "seccomp": {"sandbox", "course"},
    "ebpf": {"sandbox", "course"},
    "handmade": {"sandbox", "course", "cgroup", "net", "seccomp", "engine"},
    "engine": {"doctor"},
    "build": {"engine", "course", "sandbox"},
    "image": {"engine", "build", "mount", "course"},
    "registry": {"engine", "build", "course", "doctor"},
    "machine": {"sandbox", "course", "doctor", "build"},
    "race": {"sandbox", "course", "doctor", "engine", "build", "vm"},
    "recap": {"sandbox", "course", "doctor", "engine", "build", "cgroup", "vm"},
    "vm": {"doctor"},
    "page": {"sandbox", "course", "doctor", "engine", "build", "making"},
    "making": {"build", "course", "doctor", "engine", "vm"},
}
"""Which other rooms a room may import."""
HEAVY = {"matplotlib", "ipywidgets", "docker", "numpy", "IPython", "pyroute2", "nbformat"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_is_named():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert rooms == set(NEEDS)


@pytest.mark.parametrize("room", sorted(NEEDS))
def test_a_room_imports_what_it_names_and_no_more(room):
    found = {
        name.split(".")[1]
        for path in (PACKAGE / room).rglob("*.py")
        for name in imported(path)
        if name.startswith("labsupport.")
    }
    assert found - GROUND - {room} == NEEDS[room]


def test_the_rooms_stand_in_no_circle():
    TopologicalSorter(NEEDS).prepare()  # or CycleError, which names the circle


@pytest.mark.parametrize(
    "statement",
    [
        "import labsupport",
        "from labsupport import Sandbox, processes, probe",
        "import labsupport.doctor.needs",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    program = f"{statement}\nimport sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_zygote_stays_small():
    """Each fork copies what it loads, and each sandbox waits for that."""
    large = {"typing", "dataclasses", "enum", "contextlib", "socket", "signal", "inspect", "re"}
    program = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import labsupport.sandbox.holder; "
        f"print(*sorted({large!r} & set(sys.modules)))"
    )
    argv = [sys.executable, "-I", "-S", "-c", program]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split() == []


def test_the_page_of_words_says_what_their_docstrings_say():
    """In a process of its own: here, tests stand in for some methods."""
    program = "import runpy; print(runpy.run_path('docs/words.py')['page'](), end='')"
    argv = [sys.executable, "-c", program]
    now = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    told = "a word has changed: .venv/bin/python docs/words.py"
    assert now == (CHECKOUT / "docs/words.md").read_text(), told
