"""Tests of `labsupport`, the notebooks and the course's commands: `./lab test --help`."""

import sys

# jsonschema, which nbformat needs, would build a grammar of addresses: a second of each start
sys.modules["rfc3987_syntax"] = None
