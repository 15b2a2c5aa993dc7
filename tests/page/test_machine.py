"""The built page's machine in Node: `./lab page` first."""

import json

import pytest

from labsupport.page import build
from tests.page.test_browser import SITE

BUILT = SITE / "extensions/lab-page/static/machine"
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not BUILT.exists(), reason="./lab page has not been run"),
]
WHO = "from pathlib import Path\nprint(*Path('/run/labsupport/engine').glob('pid'))"
RUN = f"""
{WHO}
before = Path("/run/labsupport/engine/pid").read_text()
from labsupport import Engine
with Engine.connect():
    assert Path("/run/labsupport/engine/pid").read_text() == before, "another one was started"
"""
SAY = "import os; os.system('docker run --rm labsupport/busybox date --utc +%s > said')"
CLOSE = "import time; assert abs(time.time() - int(open('said').read())) < 60"


def run(folder, *sources):
    """Run cells in the machine of the page; return what became of each of them."""
    made = json.loads((BUILT / "machine.json").read_text())
    parts = {build.STATE: made["state"]["url"], build.ENGINE: made["engine"]["url"]}
    for name, at in {"v86": "v86", "files": "files", **parts}.items():
        (folder / name).symlink_to(BUILT / at)
    cells = [
        {"cell_type": "code", "id": str(number), "metadata": {}, "source": [source]}
        for number, source in enumerate(sources)
    ]
    (folder / "cells.ipynb").write_text(json.dumps({"cells": cells}, indent=1))
    return build.cells_of(folder, folder / "cells.ipynb")


def test_a_notebook_on_docker_has_an_engine_that_runs_already(tmp_path):
    done = run(tmp_path, f"# needs: engine\n{RUN}", SAY, CLOSE)
    assert [(cell["is"], cell.get("error")) for cell in done] == 3 * [("passed", None)]


ECHOES = "from ipywidgets.widgets import widget; print(widget.JUPYTER_WIDGETS_ECHO)"


def test_other_notebooks_have_no_engine_and_no_reader_is_told_what_they_moved(tmp_path):
    who, echoes = run(tmp_path, WHO, ECHOES)
    assert (who["is"], who["text"]) == ("passed", "\n")
    assert (echoes["is"], echoes["text"]) == ("passed", "False\n")


KNOWN = "from inspect import modulesbyfile; print(len(modulesbyfile) > 500)"
READ = "import linecache; print([name for name in linecache.cache if 'IPython' in name])"


def test_a_first_error_makes_ipython_look_up_nothing_and_read_nothing_of_its_own(tmp_path):
    known, failed, read = run(tmp_path, KNOWN, "1 / 0", READ)
    assert (known["text"], failed["is"], read["text"]) == ("True\n", "failed", "[]\n")


def test_a_notebook_is_on_docker_if_most_of_what_it_needs_is():
    asking = [path.name[:2] for path in build.NOTEBOOKS if build.asks_for_engine(path)]
    assert asking == ["09", "10", "11"]
