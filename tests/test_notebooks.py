"""What every notebook in git keeps to, whatever it teaches (no kernel is started)."""

from pathlib import Path

import nbformat
import pytest

from tests.toys import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[tuple[int, nbformat.NotebookNode]]:
    cells = nbformat.read(path, as_version=4).cells
    return [
        (number, cell)
        for number, cell in enumerate(cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


@each_notebook
def test_it_is_a_valid_notebook(path):
    nbformat.validate(nbformat.read(path, as_version=4))


@each_notebook
def test_every_cell_was_run_before_it_was_saved(path):
    """Otherwise nbval compares nothing there, and readers on the web see nothing."""
    assert [number for number, cell in code_cells(path) if cell.execution_count is None] == []


@each_notebook
def test_no_cell_was_saved_with_an_error_that_it_does_not_expect(path):
    failed = [
        number
        for number, cell in code_cells(path)
        if "raises-exception" not in cell.metadata.get("tags", [])
        and any(output.output_type == "error" for output in cell.outputs)
    ]
    assert failed == []


@each_notebook
def test_it_opens_with_the_ordinary_python_kernel(path):
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"


@each_notebook
def test_its_text_names_no_folder_of_its_author(path):
    assert "/home/" not in path.read_text()
    assert "/root/" not in path.read_text()
