"""What `./lab notebooks` saves, and what it refuses."""

import pytest
from nbformat import v4

from labsupport import publishing
from labsupport.errors import NotFitToPublish
from labsupport.needs import bundle


def skipped(*names):
    """Return a cell that was left out because of what is named."""
    output = v4.new_output("display_data", data=bundle(dict.fromkeys(names, ("no", ""))))
    return v4.new_code_cell("", outputs=[output])


def test_what_no_lab_vm_has_may_be_left_out():
    cell = skipped("ns.time")
    publishing._tidy("05", 3, cell)
    assert cell.outputs


@pytest.mark.parametrize("names", [("engine",), ("ns.time", "ns.uts")])
def test_anything_else_may_not(names):
    with pytest.raises(NotFitToPublish, match=r"cell 3 was skipped.*(engine|ns\.uts)"):
        publishing._tidy("05", 3, skipped(*names))


def test_a_path_of_this_machine_is_refused():
    cell = v4.new_code_cell("", outputs=[v4.new_output("stream", text="/home/somebody/x")])
    with pytest.raises(NotFitToPublish, match="cell 3 shows a path"):
        publishing._tidy("05", 3, cell)
