"""Run one of our modules in a Python that must start fast: `python -I -S lean.py MODULE [ARG…]`.

Helper processes run in that way. Without site packages the package is found by this file's own
place. These modules (all but the doctor's) import no `typing` and no `dataclasses`, which would
take 20 ms on a host and 0.1 s in a guest.
"""

import importlib
import os
import sys


def main() -> None:
    """Call `main(args)` of the module that is named."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.insert(0, os.path.dirname(package))
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))


if __name__ == "__main__":
    main()
