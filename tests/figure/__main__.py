"""Draw samples of pictures, to be looked at: `python -m tests.figure [NAME …] [--to FOLDER]`."""

import argparse
from pathlib import Path

from tests.figure.test_pictures import SAMPLES

parser = argparse.ArgumentParser(prog="python -m tests.figure")
parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SAMPLES))
parser.add_argument("--to", type=Path, default=Path("shots"), help="a folder (else shots)")
options = parser.parse_args()
options.to.mkdir(exist_ok=True)
for name in options.names or SAMPLES:
    path = options.to / f"{name}.svg"
    path.write_bytes(SAMPLES[name]()[0].svg())
    print(path)
