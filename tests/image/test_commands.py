"""What notebook 10 types into a shell can be pasted into a terminal."""

import os
import re
import subprocess

import nbformat
import pytest

from labsupport import trace
from labsupport.build.build import Build
from labsupport.course.catalogue import NOTEBOOKS
from labsupport.engine.command_line import engine_environment
from labsupport.sandbox.shell import run_in, script, split

LIKE_THE_NOTEBOOKS = """
FROM labsupport/busybox
RUN rm /etc/group
ENTRYPOINT ["echo"]
"""
CELLS = [
    cell.source.partition("\n")
    for cell in nbformat.read(NOTEBOOKS / "10_layers.ipynb", as_version=4).cells
    if cell.source.startswith("%%shell")
]


@pytest.fixture(scope="module")
def engine(engine):
    with pytest.MonkeyPatch.context() as patch:
        for name, text in engine_environment(engine.address).items():
            patch.setitem(trace.environment, name, text)
        yield engine


@pytest.mark.parametrize("cell", CELLS, ids=[line for line, _, _ in CELLS])
def test_what_is_printed_can_be_pasted_into_a_terminal(engine, cell):
    made = Build.run(engine, {"Dockerfile": LIKE_THE_NOTEBOOKS}, network="none")
    printed: list[bytes] = []
    lines = f"image={made.image_id}\n{cell[2]}"
    assert run_in(None, script(split(lines)), printed.append) == 0
    commands = [f"{line}\n" for line in lines.splitlines()]
    terminal = {**os.environ, **trace.environment}
    done = subprocess.run(
        ["bash", "-e"], input="".join(commands), env=terminal, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout
    assert words(done.stdout)[-1] in words(re.sub("\x1e.*?\x1f", "", b"".join(printed).decode()))


def words(table):
    """The words of each line without an image's age, which goes on and sets a column's width."""
    age = r"(Less than|About)? ?\w+ \w+ ago"
    return [re.sub(age, "", line).split() for line in table.splitlines()]
