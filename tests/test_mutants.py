"""A broken helper turns its notebook red (about 4 s for each mutant)."""

import pytest

from labsupport import probe
from tests.mutants import MUTANTS, MutantNotApplied, is_caught
from tests.notebooks import skip_or_fail
from tests.selection import is_for_every_change
from tests.toys import CHECKOUT, write_notebook

BREAK_SUM = "import builtins\nbuiltins.sum = lambda numbers: 99"


@pytest.mark.mutant
@pytest.mark.parametrize(
    ("notebook", "mutant"),
    [
        pytest.param(
            notebook,
            mutant,
            id=f"{notebook}-{mutant.broken}",
            marks=() if is_for_every_change(notebook, position) else pytest.mark.thorough,
        )
        for notebook, mutants in MUTANTS.items()
        for position, mutant in enumerate(mutants)
    ],
)
def test_a_broken_helper_turns_its_notebook_red(notebook, mutant, tmp_path, request):
    needs = mutant.needs.split()
    if "engine" in needs:
        request.getfixturevalue("an_engine")
    if needs and (missing := probe(fresh="engine" in needs).missing(*needs)):
        skip_or_fail(missing)
    path = CHECKOUT / "notebooks" / notebook
    assert is_caught(path, mutant.code, tmp_path, mutant.cell_seconds), (
        f"{notebook} does not notice: {mutant.broken}"
    )


@pytest.mark.parametrize(
    ("cell", "catches"), [("assert sum([1, 2]) == 3", True), ("print(sum([1, 2]))", False)]
)
def test_a_notebook_that_asserts_catches_a_mutant_and_one_that_prints_does_not(
    tmp_path, cell, catches
):
    notebook = write_notebook(tmp_path / "toy.ipynb", cell)
    assert is_caught(notebook, BREAK_SUM, tmp_path / "mutant") is catches


def test_a_mutant_that_breaks_nothing_is_told(tmp_path):
    notebook = write_notebook(tmp_path / "asserts.ipynb", "assert sum([1, 2]) == 3")
    with pytest.raises(MutantNotApplied):
        is_caught(notebook, "import no_such_module", tmp_path / "mutant")
