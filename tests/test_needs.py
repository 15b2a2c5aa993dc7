"""`# needs:` in a real IPython shell: a cell runs, is replaced as a whole, or is an error."""

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import labsupport
from labsupport import needs
from labsupport.errors import UnknownCapability


@pytest.fixture
def shell(monkeypatch):
    monkeypatch.setenv("LAB_PRETEND_MISSING", "psi")
    shell = InteractiveShell.instance()
    labsupport.load_ipython_extension(shell)
    yield shell
    labsupport.unload_ipython_extension(shell)
    InteractiveShell.clear_instance()


def run(shell, cell):
    with capture_output() as captured:
        result = shell.run_cell(cell)
    return result, captured


def notice(captured):
    (output,) = captured.outputs
    return output.data


def test_a_cell_whose_needs_are_met_runs_untouched(shell):
    result, captured = run(shell, "# needs: seccomp\nanswer = 6 * 7\nanswer")
    assert result.result == 42
    assert captured.outputs == []
    assert "42" in captured.stdout


def test_a_cell_whose_needs_are_not_met_is_replaced_as_a_whole(shell):
    result, captured = run(shell, "\n# needs: seccomp, psi\nanswer = 1 / 0\nawait nothing")
    assert result.success
    assert "answer" not in shell.user_ns
    assert notice(captured)[needs.MIME] == {
        "missing": {"psi": "pretended missing. What to do: unset LAB_PRETEND_MISSING"}
    }


def test_the_notice_tells_people_what_is_missing_why_and_what_to_do(shell):
    _, captured = run(shell, "# needs: psi\n1 / 0")
    for text in (notice(captured)["text/html"], notice(captured)["text/plain"]):
        for words in ("Not run here", "psi", "pretended missing", "unset LAB_PRETEND_MISSING"):
            assert words in text


def test_a_misspelt_name_is_an_error_of_its_cell(shell):
    result, _ = run(shell, "# needs: psy\nanswer = 42")
    assert isinstance(result.error_in_exec, UnknownCapability)
    assert "did you mean 'psi'" in str(result.error_in_exec)
    assert "answer" not in shell.user_ns


def test_a_line_number_is_that_of_the_cell(shell):
    result, _ = run(shell, "# needs: seccomp\n\n1 / 0")
    assert result.error_in_exec.__traceback__.tb_next.tb_lineno == 3


def test_top_level_await_goes_on_working(shell):
    shell.run_cell("import asyncio")
    result, _ = run(shell, "# needs: seccomp\nawait asyncio.sleep(0, 'slept')")
    assert result.result == "slept"


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


def test_loading_twice_shows_one_notice_and_unloading_ends_it(shell):
    labsupport.load_ipython_extension(shell)
    _, captured = run(shell, "# needs: psi\n1 / 0")
    assert len(captured.outputs) == 1
    labsupport.unload_ipython_extension(shell)
    result, _ = run(shell, "# needs: psi\nanswer = 42\nanswer")
    assert result.result == 42


def test_nothing_in_a_reason_becomes_markup_or_code():
    missing = {"psi": ("<script>'\"", "</div>")}
    html = needs.bundle(missing)["text/html"]
    assert "<script>" not in html
    assert html.count("</div>") == 1
    line = needs._call("bundle", missing)
    assert eval(line)[needs.MIME]["missing"]["psi"].startswith("<script>'\"")


def test_importing_it_loads_nothing_heavy():
    program = "import sys, labsupport.needs; print([*sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    for heavy in ("IPython", "subprocess", "labsupport.machine", "matplotlib", "ctypes"):
        assert repr(heavy) not in loaded.stdout
