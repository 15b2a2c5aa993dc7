"""Draw samples of pictures, to be looked at: `python -m tests.figure [NAME …] [--to FOLDER]`."""

import argparse
from pathlib import Path

from labsupport.figure import plot
from labsupport.figure.page import Page
from tests.figure.test_pictures import SAMPLES

parser = argparse.ArgumentParser(prog="python -m tests.figure")
parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SAMPLES))
parser.add_argument("--to", type=Path, default=Path("shots"), help="a folder (else shots)")
options = parser.parse_args()
options.to.mkdir(exist_ok=True)
for name in options.names or SAMPLES:
    drawn = SAMPLES[name]()[0]
    kind, picture = ("svg", drawn.svg()) if isinstance(drawn, Page) else ("png", plot.png(drawn))
    path = options.to / f"{name}.{kind}"
    path.write_bytes(picture)
    print(path)
