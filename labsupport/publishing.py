"""`./lab notebooks`: run the notebooks and save them with their outputs, for those who only read.

They run in the Lab VM (where everything is there), unless a notebook asks for this machine in its
metadata, or another kernel is asked for here. A notebook
is saved only if every cell ran, none was skipped but for want of what no Lab VM has (time
namespaces: the notice stays, and says so), and no output holds a path of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from labsupport import stills
from labsupport.errors import NotFitToPublish, UnknownCommand
from labsupport.machine import NEVER_IN_VM
from labsupport.needs import MIME as SKIPPED

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
PRIVATE = re.compile(
    r"/home/(?!jovyan\b|student\b|user\b)[\w.-]+|/root/\w|/tmp/tmp\w{6,}|/Users/\w+"
)
KEPT_METADATA = ("kernelspec", "language_info", "lab")


def main(argv: list[str]) -> int:
    """Run the notebooks and save what happened."""
    parser = argparse.ArgumentParser(prog="lab notebooks", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="such as 02; all of them without any")
    parser.add_argument("--kernel", default="", help="kernelspec to run in (default: lab-vm)")
    options = parser.parse_args(argv)
    for path in _chosen(options.names):
        began = time.monotonic()
        print(f"{path.name} …", end=" ", flush=True)
        publish(path, options.kernel)
        print(f"{time.monotonic() - began:.1f} s, {path.stat().st_size // 1000} kB")
    return 0


def publish(path: Path, kernel: str = "") -> None:
    """Run one notebook from top to bottom, by default where it wants to be, and save it in place.

    Raises:
        NotFitToPublish: a cell failed or was skipped, or an output is not for everyone's eyes.

    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    kept = {key: notebook.metadata[key] for key in KEPT_METADATA if key in notebook.metadata}
    at_host = notebook.metadata.get("lab", {}).get("place") == "host"
    kernel = kernel or ("lab-host" if at_host else "lab-vm")
    may_lack = frozenset() if at_host else NEVER_IN_VM
    folder = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, kernel_name=kernel, timeout=300, resources=folder, record_timing=False
    )
    try:
        with tempfile.TemporaryDirectory(prefix="lab-progress-") as scratch:
            own = {"LAB_SHARPNESS": "1", "LAB_PROGRESS": f"{scratch}/progress.jsonl"}
            client.execute(env={**os.environ, **own})
    except CellExecutionError as error:
        raise NotFitToPublish(path.name, str(error)) from error
    notebook.metadata = nbformat.from_dict(kept)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            _tidy(path.name, number, cell, may_lack)
    nbformat.write(notebook, path)


def _tidy(name: str, number: int, cell: Any, may_lack: frozenset[str] = NEVER_IN_VM) -> None:
    """Leave the still picture where a live one was, and refuse what must not be published."""
    cell.outputs = [
        output for output in cell.outputs if output.output_type != "stream" or output.text
    ]
    for output in cell.outputs:
        data = output.get("data", {})
        if SKIPPED in data and not may_lack.issuperset(data[SKIPPED]["missing"]):
            raise NotFitToPublish(name, f"cell {number} was skipped: {data[SKIPPED]['missing']}")
        if WIDGET in data and len(data) > 1:
            del data[WIDGET]  # without its kernel it would show an error instead of the picture
    cell.outputs = [each for output in cell.outputs for each in stills.apart(output)]
    text = json.dumps(cell.outputs).replace(str(NOTEBOOKS.parent), "/root/here")
    if found := PRIVATE.search(text):
        raise NotFitToPublish(name, f"cell {number} shows a path of this machine: {found.group()}")


def _chosen(names: list[str]) -> list[Path]:
    paths = {path.stem: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}
    chosen = []
    for name in names:
        found = [
            path for stem, path in paths.items() if stem.startswith(name.removesuffix(".ipynb"))
        ]
        if not found:
            raise UnknownCommand(f"notebooks {name}", paths)
        chosen += found
    return chosen or list(paths.values())
