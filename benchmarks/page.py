"""The page's machine, in Node: the size of its state, and the seconds of what a student does first.

    python benchmarks/page.py           (after ./lab page)

The machine computes about twenty times as slowly as the one that it runs on.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from labsupport.page import build

CELLS = {
    "the first cell": "%load_ext labsupport\nfrom labsupport import Cgroup, PidMap, Sandbox",
    "print(1)": "print(1)",
    "a sandbox with ps": "with Sandbox(new={'pid', 'mount'}) as box:\n    box.run(['ps', '-e'])",
    "the first map": "with Sandbox(new={'pid', 'mount'}) as box:\n    display(PidMap(box))",
    "a plot": "from matplotlib import pyplot\npyplot.plot([1, 2]);",
    "an OOM kill": (
        "with Cgroup(memory='16M') as group, Sandbox(cgroup=group) as box:\n"
        "    done = box.run(['python3', '-S', '-c', 'bytearray(1 << 25)'])\n"
        "assert done.returncode == -9"
    ),
}


def main() -> None:
    machine = build.build(build.CHECKOUT / "build/page")
    print(f"state                {(machine / build.STATE).stat().st_size / 1e6:6.1f} MB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.ipynb"
        cells = [
            {"cell_type": "code", "id": name, "metadata": {}, "source": source}
            for name, source in CELLS.items()
        ]
        path.write_text(json.dumps({"cells": cells}))
        for cell in build.cells_of(machine, path):
            failed = "" if cell["is"] == "passed" else f"   {cell['is']}: {cell.get('error')}"
            print(f"{cell['id']:20} {cell['seconds']:6.2f} s{failed}")


if __name__ == "__main__":
    sys.exit(main())
