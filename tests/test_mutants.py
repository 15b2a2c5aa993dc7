"""A broken helper turns its notebook red (about 4 s for each mutant)."""

import pytest

from labsupport import probe
from tests.mutants import MUTANTS, MutantNotApplied, is_caught
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
        pytest.skip("; ".join(f"needs {name}: {no.reason}" for name, no in missing.items()))
    path = CHECKOUT / "notebooks" / notebook
    assert is_caught(path, mutant.code, tmp_path, mutant.cell_seconds), (
        f"{notebook} does not notice: {mutant.broken}"
    )


def test_a_notebook_that_asserts_catches_a_mutant(tmp_path):
    notebook = write_notebook(
        tmp_path / "asserts.ipynb", "total = sum([1, 2])", "assert total == 3"
    )
    assert is_caught(notebook, BREAK_SUM, tmp_path / "mutant")


def test_a_notebook_that_only_prints_does_not(tmp_path):
    notebook = write_notebook(tmp_path / "prints.ipynb", "print(sum([1, 2]))")
    assert not is_caught(notebook, BREAK_SUM, tmp_path / "mutant")


def test_a_mutant_that_breaks_nothing_is_told(tmp_path):
    notebook = write_notebook(tmp_path / "asserts.ipynb", "assert sum([1, 2]) == 3")
    with pytest.raises(MutantNotApplied):
        is_caught(notebook, "import no_such_module", tmp_path / "mutant")
