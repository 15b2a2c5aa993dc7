"""What notebook 10 types into a shell can be pasted into a terminal; and what a frontend knows."""

import os
import re
import subprocess

import nbformat
import pytest

from labsupport import trace
from labsupport.build.build import Build
from labsupport.course.catalogue import NOTEBOOKS
from labsupport.engine import command_line
from labsupport.engine.command_line import engine_environment
from labsupport.image import frontend
from labsupport.sandbox.shell import _runner, script, split

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
    assert _runner(None)(script(split(lines)), printed.append) == 0
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


def test_a_frontend_is_asked_line_by_line(engine):
    rows = frontend.tried(engine).rows
    if command_line.buildkit_command() is None:
        pytest.skip("needs a command docker that builds with BuildKit (docker-buildx)")
    verdicts = {line.split()[1]: (verdict, said) for line, verdict, said in rows}
    assert verdicts["--chmod=700"] == ("works", "/made is -rwx------")
    modern = int(engine.version.partition(".")[0]) >= 23
    assert (verdicts["--link"][0] == "works") is modern
    assert (verdicts["<<END"] == ("works", "/made is -rwx--x--x")) is modern
    assert modern or "unknown flag: link" in verdicts["--link"][1].lower()
