"""What `./lab notebooks` saves, and what it refuses."""

import base64
import io
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from PIL import Image

from labsupport.doctor.needs import bundle
from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.page import Page
from labsupport.making import publishing
from tests.toys import write_notebook


def skipped(*names):
    """Return a cell that was left out because of what is named."""
    output = v4.new_output("display_data", data=bundle(dict.fromkeys(names, ("no", ""))))
    return v4.new_code_cell("", outputs=[output])


def test_what_no_lab_vm_has_may_be_left_out():
    cell = skipped("kvm")
    publishing._tidy("05", 3, cell)
    assert cell.outputs


@pytest.mark.parametrize(
    ("names", "may_lack"),
    [(["engine"], []), (["kvm", "ns.uts"], []), (["qemu"], [frozenset()])],
    ids=["engine", "ns.uts", "on this machine"],
)
def test_anything_else_may_not(names, may_lack):
    with pytest.raises(LabError, match=rf"cell 3 was skipped.*{names[-1]}"):
        publishing._tidy("05", 3, skipped(*names), *may_lack)


@pytest.mark.parametrize("text", ["/home/somebody/x", f"#!{publishing.NOTEBOOKS}/x"])
def test_a_path_of_this_machine_is_refused(text):
    cell = v4.new_code_cell("", outputs=[v4.new_output("stream", text=text)])
    with pytest.raises(LabError, match="cell 3 shows a path"):
        publishing._tidy("05", 3, cell)


def png(width):
    file = io.BytesIO()
    Image.new("RGB", (width, 100), "white").save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("drawn", "width"),
    [(png(250), 250), (Page(50, "SVG", inches=2).svg(), 200)],
    ids=["PNG", "SVG"],
)
def test_a_picture_is_saved_once_with_its_words_and_its_table_below(drawn, width):
    data = style.bundle(drawn, 'three <boxes>, "PID 1"', [["PID"], [1]], 200)
    cell = v4.new_code_cell("", outputs=[v4.new_output("execute_result", data=data)])
    publishing._tidy("05", 3, cell)

    picture, words = cell.outputs
    assert set(picture.data) == {"image/png", "text/plain"}
    assert picture.metadata["image/png"] == {"alt": data["text/plain"], "width": 200}
    with Image.open(io.BytesIO(base64.b64decode(picture.data["image/png"]))) as image:
        assert image.width == width
    assert "base64" not in words.data["text/html"]
    assert "<td>1</td>" in words.data["text/html"]
    assert "three &lt;boxes&gt;, &quot;PID 1&quot;" in words.data["text/html"]
    v4.nbbase.validate(v4.new_notebook(cells=[cell]))


needs_kernels = pytest.mark.skipif(
    not (Path(sys.prefix) / "share/jupyter/kernels/lab-host").is_dir(),
    reason="needs the course's kernels: ./lab kernels",
)


@needs_kernels
def test_a_notebook_is_run_where_it_wants_to_be(tmp_path):
    path = write_notebook(tmp_path / "toy.ipynb", "import os; print(os.environ['LAB_PLACE'])")
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["lab"] = {"place": "host"}
    nbformat.write(notebook, path)
    publishing.publish(path)

    saved = nbformat.read(path, as_version=4)
    assert saved.cells[0].outputs[0].text == "host\n"
    assert saved.metadata["lab"] == {"place": "host"}


@needs_kernels
@pytest.mark.needs("vm")
def test_what_no_lab_vm_can_run_is_taken_from_a_run_on_this_machine(tmp_path):
    where = "import os; print(os.environ['LAB_PLACE'])"
    cells = ["%load_ext labsupport", where, f"# needs: vm\n{where}"]
    path = write_notebook(tmp_path / "toy.ipynb", *cells)
    publishing.publish(path)

    saved = nbformat.read(path, as_version=4).cells
    assert [cell.outputs[0].text for cell in saved[1:]] == ["vm\n", "host\n"]
