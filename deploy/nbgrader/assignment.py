#!/usr/bin/env python3
"""Write an assignment of nbgrader whose cells run handed-in answers once more.

python deploy/nbgrader/assignment.py source/namespaces 02.1 02.2 03.1
"""

import argparse
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TASK = """# Hand in

Solve {names} in the course's notebooks. Then, in a terminal:

    ./lab progress --export my_containers_course.json

Put that file beside this notebook, and submit. There is nothing to run or to write here: your
teacher's machine runs your answers once more."""
GRADED = "from labsupport.making.recheck import mark\n\nmark({})"


def notebook(exercises: list[str], *, here: bool = False) -> nbformat.NotebookNode:
    """Return a notebook with a graded cell for each exercise."""
    cells = [new_markdown_cell(TASK.format(names=", ".join(exercises)))]
    for name in exercises:
        source = (
            f"from labsupport.making.recheck import mark\n\nmark({name!r}{', here=True' * here})"
        )
        graded = {
            "grade": True, "grade_id": f"exercise-{name.replace('.', '-')}", "points": 1,
            "locked": True, "solution": False, "task": False, "schema_version": 3,
        }  # fmt: skip
        cells.append(new_code_cell(source, metadata={"nbgrader": graded}))
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": spec})


def main() -> None:
    """Write hand_in.ipynb into the assignment's folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="such as source/namespaces")
    parser.add_argument("exercises", nargs="+", metavar="EXERCISE", help="such as 02.1")
    parser.add_argument("--here", action="store_true", help="answers run as you, in no Lab VM")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / "hand_in.ipynb"
    nbformat.write(notebook(chosen.exercises, here=chosen.here), path)
    print(path)


if __name__ == "__main__":
    main()
