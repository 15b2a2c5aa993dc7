"""Run one of our modules in a Python that must start fast: `python -I -S lean.py MODULE [ARG…]`.

The guest's first process and the keeper of each guest are such. Importing `typing`, `dataclasses`
and `inspect`, as the package and `labsupport.trace` do, takes 20 ms on a host and 0.1 s in a guest:
here the package is bare, and nothing is traced.
"""

from __future__ import annotations

import importlib
import os
import sys


def main() -> None:
    """Make a bare package `labsupport`, and call `main(args)` of the module that is named."""
    module = type(sys)
    here = os.path.dirname(os.path.abspath(__file__))
    package, trace = module("labsupport"), module("labsupport.trace")
    package.__path__ = [os.path.dirname(here)]
    trace.note = lambda call: None  # type: ignore[attr-defined]
    package.trace = trace  # type: ignore[attr-defined]
    sys.modules["labsupport"], sys.modules["labsupport.trace"] = package, trace
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))


if __name__ == "__main__":
    main()
