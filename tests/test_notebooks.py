"""What every notebook in git keeps to, whatever it teaches (no kernel is started)."""

import ast
import re
import subprocess
import sys
import textwrap

import nbformat
import pytest

import labsupport
from labsupport.course.catalogue import chapters
from labsupport.doctor.needs import uses
from tests.toys import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
NEEDY = re.compile(
    r"^(with |\w+ = )Sandbox\(|^(\w+=\$\(|\$become )?(docker|unshare|nsenter) ", re.MULTILINE
)
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [
        (number, cell)
        for number, cell in enumerate(cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


@each_notebook
def test_it_is_valid_and_was_saved_as_it_ran(path):
    """Where a cell was not run, nbval compares nothing, and readers on the web see nothing."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for number, cell in code_cells(path):
        assert cell.execution_count is not None, number
        if "raises-exception" not in cell.metadata.get("tags", []):
            assert not [each for each in cell.outputs if each.output_type == "error"], number


@each_notebook
def test_what_cannot_run_everywhere_is_skipped_where_it_cannot(path):
    """It says what it needs, or uses a name that a cell above, which says so, would have bound."""
    lost, bare = set(), []
    for _, cell in code_cells(path):
        loads, binds = uses(cell.source)
        is_skipped = cell.source.startswith("# needs:") or bool(loads & lost)
        lost = lost | binds if is_skipped else lost - binds
        if NEEDY.search(cell.source) and not is_skipped:
            bare.append(cell.id)
    assert bare == []


@each_notebook
def test_its_text_names_no_folder_of_its_author(path):
    # a machine's own user may be called student, as in notebook 12, or jovyan, as on Binder
    assert not re.search(r"/home/(?!student\b|jovyan\b)", path.read_text())
    # an image has a root, too, whose cache 10 looks at
    assert not re.search(r"/root/(?!\.cache\b|\.…)", path.read_text())


@each_notebook
def test_it_opens_and_closes_as_all_do(path):
    """A title with its number, one question, how long it takes; at the end, links that go on."""
    prose = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    first, last = prose[0], prose[-1]
    assert first.startswith(f"# {path.stem[:2]} · ")
    assert re.search(r"^\*\*.+\?\*\*$", first, re.MULTILINE)
    assert re.search(r"^\*About (an hour|\d+ minutes)", first, re.MULTILINE)
    assert re.match(r"## In this (notebook|course) we saw", last)
    place = NOTEBOOKS.index(path)
    for neighbour in (*NOTEBOOKS[max(place - 1, 0) : place], *NOTEBOOKS[place + 1 : place + 2]):
        assert f"({neighbour.name})" in last, f"no link to {neighbour.name}"


AS_PYTHON = """from typing import Any
display: Any
get_ipython: Any
{words}
Exercise: Any  # one of many, by its number
async def cells() -> None:
{cells}
"""
ALSO = "# mypy: allow-redefinition"
KEPT = re.compile(r"^%%shell.* as (\w+)", re.MULTILINE)
MAGIC = re.compile(r"^(\s*)[%!].*", re.MULTILINE)


class OurWords(ast.NodeTransformer):
    """Lets mypy see where our words come from: `labsupport` imports them when they are used."""

    def visit_ImportFrom(self, node):
        return ast.Pass() if node.module == "labsupport" else node

    def visit_Attribute(self, node):
        self.generic_visit(node)
        ours = isinstance(node.value, ast.Name) and node.value.id in {"lab", "labsupport"}
        return ast.Name(node.attr) if ours and node.attr in labsupport.__all__ else node


def as_python(path):
    """Write its cells as a function; what `%%shell` keeps is anything."""
    sources = [cell.source for _, cell in code_cells(path)]
    kept = {f"{name}: Any" for name in KEPT.findall("\n".join(sources))}
    python = [MAGIC.sub(r"\1pass", s) for s in sources if not re.search("^%%", s, re.MULTILINE)]
    words = [
        f"from {home} import {name}"
        for name, home in labsupport._HOME.items()
        if name != "Exercise"
    ]
    cells = textwrap.indent("\n".join([*sorted(kept), *python]), "    ")
    tree = ast.parse(AS_PYTHON.format(words="\n".join(words), cells=cells))
    return ast.unparse(OurWords().visit(tree))


def test_what_a_cell_asks_of_our_words_is_there(tmp_path):
    """Where a cell runs seldom, as those with a virtual machine, nobody else would notice."""
    for path in NOTEBOOKS:
        (tmp_path / f"nb{path.stem}.py").write_text(f"{ALSO}\n{as_python(path)}")
    argv = [sys.executable, "-m", "mypy", *tmp_path.glob("nb*.py")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=CHECKOUT, check=False)
    wrong = re.findall(r".*\[(?:attr-defined|call-arg|name-defined)\]", done.stdout)
    assert "checked 15 source files" in done.stdout, done.stdout + done.stderr
    assert wrong == []


def test_each_claim_of_the_lecture_is_shown_by_a_checked_cell():
    """C01 to C32; a cell that shows a claim has an assert, or the next ones have."""
    shown = {
        claim
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        for claim in cell.metadata.get("lecture", [])
    }
    assert shown == {f"C{number:02}" for number in range(1, 33)}


TEACHING = (CHECKOUT / "TEACHING.md").read_text()
NAMES = r"(?:\*[^*]+\*|`\w+-\w+`)"
PLACES = re.findall(rf"\b(\d\d), ({NAMES}(?:(?:, | and ){NAMES})*)", TEACHING)


@pytest.mark.parametrize(("number", "names"), PLACES)
def test_what_a_teacher_is_sent_to_is_there(number, names):
    """Headings in italics, and cells by their ids."""
    [path] = [path for path in NOTEBOOKS if path.stem.startswith(number)]
    cells = nbformat.read(path, as_version=4).cells
    there = {f"`{cell.id}`" for cell in cells}
    there |= {f"*{line.lstrip('# ')}*" for cell in cells for line in cell.source.splitlines()}
    assert set(re.findall(NAMES, names)) <= there


def test_each_plan_of_a_class_takes_75_minutes():
    plans = re.findall(r"^\| minutes \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEACHING, re.MULTILINE)
    minutes = [sum(int(row.split("|")[1]) for row in plan.splitlines()) for plan in plans]
    assert minutes == [75] * 4
    rows = [row.split("|")[2] for plan in plans for row in plan.splitlines()]
    assert all(re.fullmatch(rf" \d\d, {NAMES}.* | ", row) for row in rows)


def test_minutes_and_exercises_are_those_that_the_notebooks_name():
    hours, minutes = divmod(sum(chapter.minutes for chapter in chapters()), 60)
    exercises = sum(len(chapter.exercises) for chapter in chapters())
    for page in (TEACHING, (CHECKOUT / "README.md").read_text()):
        assert f"{hours} h {minutes} min" in page
        assert f"{exercises} exercises" in page
    told = dict(re.findall(r"^\| (\d\d) .*\| (\d+) \| \d+ \|$", TEACHING, re.MULTILINE))
    assert told == {chapter.number: str(chapter.minutes) for chapter in chapters()}
