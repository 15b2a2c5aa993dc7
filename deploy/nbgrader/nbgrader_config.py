"""nbgrader for this course: it collects one file from each student and grades it by our re-check.

Grading runs nothing that a student wrote, but in the Lab VM: the notebook is the released one, and
no program that was handed in beside it is copied.
"""

import os
from pathlib import Path

import nbformat
from nbconvert.preprocessors import Preprocessor
from traitlets import Bool

HAND_IN = "my_containers_course.json"


class AsReleased(Preprocessor):
    """Take the notebook that was released in place of the one that was handed in."""

    enabled = Bool(True).tag(config=True)

    def preprocess(self, nb, resources):
        told = resources["nbgrader"]
        path = Path("release", told["assignment"], f"{told['notebook']}.ipynb")
        return nbformat.read(path, as_version=4), resources


os.environ["LAB_PLACE"] = "host"  # each answer gets a Lab VM of its own, and none fits into another
c = get_config()  # noqa: F821 (nbgrader defines it)
c.CourseDirectory.course_id = "containers"
c.CourseDirectory.ignore = [".*", "*.py*", "*.so*", "__pycache__"]  # what Python could import
c.Autograde.sanitize_preprocessors = [
    AsReleased,
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.ExecutePreprocessor.timeout = 600
