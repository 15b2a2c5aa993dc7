"""A notebook that asks for this machine gets it from a real server, though all others do not."""

import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import nbformat
import pytest
from nbformat import v4

from tests import census
from tests.browser.lab import jupyterlab
from tests.waiting import wait_until

KERNELSPEC = Path(sys.prefix) / "share/jupyter/kernels/lab-host"


def start_kernel(server, notebook):
    """Open a notebook, as JupyterLab does; return its kernel's name, which is in a command line."""
    where = {"path": notebook.name, "name": notebook.name}
    asked = {**where, "type": "notebook", "kernel": {"name": "python3"}}
    url = f"{server.base}api/sessions?token={server.token}"
    request = Request(url, json.dumps(asked).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)["kernel"]["id"]


@pytest.mark.skipif(not KERNELSPEC.is_dir(), reason="needs the course's kernels: ./lab kernels")
def test_the_place_in_a_notebooks_metadata_is_where_it_runs(
    vm_kernel, marked, tmp_path, monkeypatch
):
    monkeypatch.setenv("LAB_PLACE", "vm")
    monkeypatch.setenv("LAB_MEMORY", marked.memory)
    here, anywhere = tmp_path / "here.ipynb", tmp_path / "anywhere.ipynb"
    nbformat.write(v4.new_notebook(metadata={"lab": {"place": "host"}}), here)
    nbformat.write(v4.new_notebook(), anywhere)
    with jupyterlab(tmp_path) as server:
        kernel = start_kernel(server, here)
        wait_until(lambda: census.running(kernel) & census.running("-m ipykernel_launcher"))
        assert not marked.processes()
        start_kernel(server, anywhere)
        wait_until(marked.processes)
