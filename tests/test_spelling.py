"""Words: no common misspelling anywhere, and British English in what is read as prose."""

import json
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files

import pytest

from tests.toys import CHECKOUT

DICTIONARIES = files("codespell_lib") / "data"
# American spellings that are names here: Dockerfile keys, CSS, matplotlib, licences
NAMES = {"license", "program", "programs", "disk", "disks", "tire", "check", "checks", "story",
         "practice", "practices", "meter", "meters", "inquiry", "draft", "jail", "mold", "gray",
         "color", "colors", "center", "analog", "dialog", "dialogs", "curb", "ax", "plow", "czar",
         "routing", "writable"}  # fmt: skip
CODE = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|<[^>]*>|https?://\S+", re.DOTALL)


NOTEBOOKS = sorted(path.name for path in (CHECKOUT / "notebooks").glob("*.ipynb"))
PAGES = sorted(path.name for path in CHECKOUT.glob("*.md"))
FOLDERS = ("labsupport", "tests", "benchmarks", "binder", "deploy", "docs", "lab", *PAGES,
           "notebooks/apps")  # fmt: skip
NO_MISTAKES = "ser,te,cas,fo,ro,ist,nd,anothers,debians,froms,knwon"


def test_nothing_is_misspelt():
    ours = [name for name in FOLDERS if (CHECKOUT / name).exists()]
    argv = [sys.executable, "-m", "codespell_lib",
            "--skip=*/xterm/*,*.pyc,*/node_modules/*,*/package-lock.json",
            f"--ignore-words-list={NO_MISTAKES}", *ours]  # fmt: skip
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_no_notebook_is_misspelt(tmp_path):
    for name in NOTEBOOKS:
        (tmp_path / name).write_text(CODE.sub(" ", prose(name)))
    argv = [sys.executable, "-m", "codespell_lib", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize("name", [*NOTEBOOKS, *PAGES])
def test_prose_is_british(name):
    words = set(re.findall(r"[a-z]+", CODE.sub(" ", prose(name)).lower()))
    assert sorted(words & american()) == []


def prose(name):
    if name in PAGES:
        return (CHECKOUT / name).read_text()
    cells = json.loads((CHECKOUT / "notebooks" / name).read_text())["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


@cache
def american():
    lines = (DICTIONARIES / "dictionary_en-GB_to_en-US.txt").read_text().splitlines()
    return {line.partition("->")[2].strip(" ,") for line in lines} - NAMES
