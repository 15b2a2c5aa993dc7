"""What the notebooks on Docker print after `$` does the same in a terminal (minutes)."""

import pytest

from labsupport import probe
from tests.notebooks import skip_or_fail
from tests.toys import CHECKOUT, run_nbval, verdicts

# Runs in the notebook's kernel: each cell of lines is typed, and then what it printed is pasted
# into a shell that knows nothing but what the notebook says is to be exported.
PASTE = r"""
import contextlib, io, os, re, subprocess
from labsupport import trace
from labsupport.sandbox import shell

class Paste:
    typed, exports = shell.run_cell, []
    complains = re.compile("not found|no such|unknown|unable|invalid|usage:|required|denied", re.I)

    def complaints(text):
        lines = filter(Paste.complains.search, text.splitlines())
        return {re.sub("[0-9a-f]{6,}|[0-9]+", "…", line) for line in lines}

    def run_cell(line, cell):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            Paste.typed(line, cell)
        said = printed.getvalue()
        Paste.exports += re.findall("^export .*", said, re.MULTILINE)
        lines = [each[2:] for each in said.splitlines() if each.startswith(("$ ", "> "))]
        known = {"HOME": Paste.home, "PATH": trace.environment.get("PATH", os.environ["PATH"])}
        done = subprocess.run(
            ["bash"], input="\n".join([*Paste.exports, *lines]), env=known, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        new = Paste.complaints(done.stdout) - Paste.complaints(said)
        assert not done.returncode and not new, f"pasted, it says:\n{done.stdout}"
        open(Paste.told, "a").write("\n".join([*lines, ""]))

shell.run_cell = Paste.run_cell
"""


@pytest.mark.thorough
@pytest.mark.parametrize("number", ["09", "11"])
def test_what_is_printed_can_be_pasted(number, tmp_path, an_engine):
    if missing := probe(fresh=True).missing("engine", "engine.cli", "registry"):
        skip_or_fail(missing)
    startup, pasted, report = (tmp_path / name for name in ("ipython", "pasted", "report.xml"))
    folder = startup / "profile_default" / "startup"
    folder.mkdir(parents=True)
    (folder / "paste.py").write_text(
        f"{PASTE}\nPaste.home, Paste.told = {str(tmp_path)!r}, {str(pasted)!r}\n"
    )
    [notebook] = (CHECKOUT / "notebooks").glob(f"{number}_*.ipynb")
    run = run_nbval(
        notebook, report=report, arguments=["--nbval-cell-timeout=600"],
        env={"IPYTHONDIR": str(startup)}, seconds=1800,
    )  # fmt: skip
    failed = [each.message for each in verdicts(report)[notebook.stem] if each.outcome == "failed"]
    assert not failed, failed[0] or run.stdout
    assert pasted.read_text().count("docker ") > 10
