"""`# needs:` in a real IPython shell: a cell runs, is replaced as a whole, or is an error."""

import subprocess
import sys

import nbformat
import pytest
from IPython.utils.capture import capture_output
from nbformat import v4

import labsupport
from labsupport.doctor import needs
from labsupport.errors import LabError
from tests.toys import write_notebook


@pytest.fixture
def shell(ipython, monkeypatch):
    monkeypatch.setenv("LAB_PRETEND_MISSING", "psi")
    return ipython


def run(shell, cell, **known):
    with capture_output() as captured:
        result = shell.run_cell(cell, **known)
    return result, captured


def notice(captured):
    (output,) = captured.outputs
    return output.data


def test_a_cell_whose_needs_are_met_runs_untouched(shell):
    result, captured = run(shell, "# needs: seccomp\nanswer = 6 * 7\nanswer")
    assert result.result == 42
    assert captured.outputs == []
    assert "42" in captured.stdout
    result, _ = run(shell, "# needs: seccomp\nimport asyncio\nawait asyncio.sleep(0, 'slept')")
    assert result.result == "slept"
    result, _ = run(shell, "# needs: seccomp\n\n1 / 0")
    assert result.error_in_exec.__traceback__.tb_next.tb_lineno == 3


def test_a_cell_whose_needs_are_not_met_is_replaced_as_a_whole(shell):
    result, captured = run(shell, "\n# needs: seccomp, psi\nanswer = 1 / 0\nawait nothing")
    assert result.success
    assert "answer" not in shell.user_ns
    assert notice(captured)[needs.MIME] == {
        "missing": {"psi": "pretended missing. What to do: unset LAB_PRETEND_MISSING"}
    }
    for text in (notice(captured)["text/html"], notice(captured)["text/plain"]):
        for words in ("Not run here", "psi", "pretended missing", "unset LAB_PRETEND_MISSING"):
            assert words in text


def test_a_misspelt_name_is_an_error_of_its_cell(shell):
    result, _ = run(shell, "# needs: psy\nanswer = 42")
    assert isinstance(result.error_in_exec, LabError)
    assert "did you mean 'psi'" in str(result.error_in_exec)
    assert "answer" not in shell.user_ns


@pytest.mark.parametrize(
    "cell",
    [
        "x = 1\n# needs: psi\nx",
        "# this needs: psi to be said\n1",
        "'# needs: psi'",
        "#needs nothing",
    ],
)
def test_only_a_marker_on_the_first_line_counts(shell, cell):
    result, captured = run(shell, cell)
    assert result.success
    assert all(needs.MIME not in output.data for output in captured.outputs)


def test_loading_twice_shows_one_notice(shell):
    labsupport.load_ipython_extension(shell)
    _, captured = run(shell, "# needs: psi\n1 / 0")
    assert len(captured.outputs) == 1


def test_nothing_in_a_reason_becomes_markup_or_code():
    missing = {"psi": ("<script>'\"", "</div>")}
    html = needs.bundle(missing)["text/html"]
    assert "<script>" not in html
    assert html.count("</div>") == 1
    line = needs._call("bundle", missing)
    assert eval(line)[needs.MIME]["missing"]["psi"].startswith("<script>'\"")


def test_importing_it_loads_nothing_heavy():
    program = "import sys, labsupport.doctor.needs; print([*sys.modules])"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True)
    for heavy in ("IPython", "subprocess", "labsupport.doctor.machine", "matplotlib", "ctypes"):
        assert repr(heavy) not in loaded


# What follows from a skipped cell.


def skipped(captured):
    return [output.data[needs.MIME]["missing"] for output in captured.outputs]


def test_a_cell_that_uses_what_a_skipped_cell_would_have_made_is_skipped_with_it(shell):
    run(shell, "# needs: psi\nwith open('/dev/null') as box:\n    said = box.read()")
    _, captured = run(shell, "told = len(said)")
    assert list(skipped(captured)[0]) == ["psi"]
    assert "builds on said" in notice(captured)["text/plain"]
    _, captured = run(shell, "def f():\n    return told")  # what that would have made is lost, too
    assert list(skipped(captured)[0]) == ["psi"]
    assert "f" not in shell.user_ns


def test_a_name_that_is_bound_once_more_is_not_lost(shell):
    run(shell, "# needs: psi\nbox = 1\nother = 2")
    result, _ = run(shell, "box = 41\nbox += 1\nbox")
    assert result.result == 42
    result, _ = run(shell, "box")
    assert result.result == 42
    _, captured = run(shell, "other")
    assert skipped(captured)


def test_what_others_have_imported_is_not_lost(shell):
    run(shell, "import os\nfrom pathlib import Path")
    run(shell, "# needs: psi\nimport os\nfrom pathlib import Path\nfrom json import dumps")
    result, _ = run(shell, "os.fspath(Path('/'))")
    assert result.result == "/"
    _, captured = run(shell, "dumps(1)")
    assert skipped(captured)


def test_the_whole_notice_is_shown_once_for_cells_in_a_row(shell):
    full, quiet = "Not run here", "Not run either"
    said = [
        notice(run(shell, cell)[1])["text/plain"].split(":")[0]
        for cell in ("# needs: psi\na = 1", "a", "# needs: psi\n2", "a + 1")
    ]
    assert said == [full, quiet, quiet, quiet]
    run(shell, "1 + 1")
    assert full in notice(run(shell, "a")[1])["text/plain"]
    assert full in notice(run(shell, "a")[1])["text/plain"]  # the same one, run twice


@pytest.mark.parametrize(
    ("cell", "loads", "binds"),
    [
        ("x = y = f(x)\nx", {"f", "x"}, {"x", "y"}),
        ("for i in range(3):\n    a, b = i, i", {"range"}, {"i", "a", "b"}),
        ("def f(a):\n    return a + b", {"b"}, {"f"}),
        ("class A(B):\n    n = 1", {"B", "__name__"}, {"A"}),
        ("[i for i in j]", {"j"}, set()),
        ("import os.path as p\nawait q", {"q"}, {"p"}),
        ("!ls {folder}\nz = 1", {"get_ipython"}, {"z"}),
        ("not python at all", set(), set()),
        ("%%shell", set(), set()),
        ("%%shell in box.inner as said\nls $x", {"box"}, {"said"}),
        ("%%shell pid=web.pid n=len(all)\nkill $pid", {"web", "len", "all"}, set()),
        ("%%time\nx = y", set(), set()),
        ("# needs: ns.pid\n%%shell in box as said\nls", {"box"}, {"said"}),
        ('if "box" in globals():\n    box.close()\nother', {"globals", "other"}, set()),
    ],
)
def test_what_a_cell_uses(cell, loads, binds):
    assert needs.uses(cell) == (loads, binds)


def test_a_magic_below_the_marker_is_the_first_line(shell):
    shell.register_magic_function(
        lambda line, cell: (line, cell), magic_kind="cell", magic_name="shell"
    )
    result, _ = run(shell, "\n# needs: seccomp\n\n%%shell as said\nls\n")
    assert result.result == ("as said", "ls\n")
    run(shell, "# needs: psi\n%%shell as told\nls")
    _, captured = run(shell, "%%shell in told\nls")
    assert skipped(captured)


# What the cell has shown elsewhere.


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A folder of notebooks, in which a kernel starts; one was saved with a picture and words."""
    outputs = [
        v4.new_output("stream", text="\x1b[31m<b>8 processes</b>\n"),
        v4.new_output("display_data", {"image/png": "iVBORw0K", "text/plain": "a map's words"}),
        v4.new_output("display_data", {"text/html": "<p>", "text/plain": "a map's words"}),
    ]
    write_notebook(tmp_path / "01.ipynb", v4.new_code_cell("1", id="other"))
    write_notebook(tmp_path / "02.ipynb", v4.new_code_cell("2", id="pid-02", outputs=outputs))
    (tmp_path / "00.ipynb").write_text('no notebook: "pid-02"')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_was_seen_elsewhere_is_folded_below_the_notice(saved, shell):
    _, captured = run(shell, "# needs: psi\n2", cell_id="pid-02")
    shown = notice(captured)["text/html"]
    _, _, below = shown.partition("<details")
    assert "Seen elsewhere</summary>" in below
    assert "&lt;b&gt;8 processes&lt;/b&gt;\n</pre>" in below
    assert "<img alt='a map&#x27;s words'" in below
    assert "src='data:image/png;base64,iVBORw0K'" in below
    assert below.count("a map") == 1
    for unknown in ("other", "pid-03", None):
        _, captured = run(shell, "# needs: psi\n2", cell_id=unknown)
        assert "Seen elsewhere" not in notice(captured)["text/html"]


def test_a_notebook_that_was_saved_with_the_notice_still_shows_it(saved, shell):
    _, captured = run(shell, "# needs: psi\n2", cell_id="pid-02")
    output = v4.new_output("display_data", notice(captured))
    write_notebook(saved / "02.ipynb", v4.new_code_cell("2", id="pid-02", outputs=[output]))
    _, again = run(shell, "# needs: psi\n2", cell_id="pid-02")
    assert notice(again) == notice(captured)


def test_a_name_that_another_cell_makes_is_explained(shell, tmp_path):
    write_notebook(tmp_path / "toy.ipynb", "box = 1\nbox", "box + 1", "unknown + 1")
    first, second, third = nbformat.read(tmp_path / "toy.ipynb", as_version=4).cells
    needs._loaded(shell)[0]._folder = tmp_path
    for source, cell_id, words in (
        (second.source, second.id, "What to do: choose “Run All Above Selected Cell”"),
        (third.source, third.id, "Traceback"),
        (second.source, None, "Traceback"),
    ):
        result, captured = run(shell, source, cell_id=cell_id)
        assert isinstance(result.error_in_exec, NameError)
        assert words in captured.stdout
    assert shell.run_cell(first.source).result == 1


@pytest.mark.parametrize(
    ("number", "words"),
    [("ENOSPC", "free some space"), ("EROFS", "TMPDIR"), ("EMFILE", "ulimit"),
     ("ENOENT", "Traceback")],
)  # fmt: skip
def test_a_shortage_is_told_with_what_helps_and_no_traceback(shell, number, words):
    cell = f"import errno, os; raise OSError(errno.{number}, os.strerror(errno.{number}), '/tmp/x')"
    result, captured = run(shell, cell)
    assert isinstance(result.error_in_exec, OSError)
    assert words in captured.stdout
    assert ("Traceback" in captured.stdout) == (words == "Traceback")
    assert "/tmp/x" in captured.stdout
