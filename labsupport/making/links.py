"""`./lab links`: write into the README what depends on where this repository is."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from labsupport.errors import LabError

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- links: ./lab links writes them -->", "<!-- end of links -->"
FIRST_PAGE = "lab/tree/notebooks/00_start_here.ipynb"
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,38})/(?!\.+$)(?!.*\.git$)([A-Za-z0-9._-]{1,100})")


def main(argv: Sequence[str]) -> int:
    """Write the clone command, Binder's and Codespaces' buttons and the page's address."""
    parser = argparse.ArgumentParser(prog="lab links", description=main.__doc__)
    parser.add_argument("repository", metavar="OWNER/REPOSITORY", help="as GitHub names it")
    parser.add_argument("--file", type=Path, default=README, help="(README.md of this copy)")
    options = parser.parse_args(argv)
    write(options.file, options.repository)
    print(f"{options.file.name} leads to {options.repository}. Binder works once that is public, "
          "the page once its Settings let GitHub Actions publish to Pages.")  # fmt: skip
    return 0


def write(path: Path, repository: str) -> None:
    """Replace the links in a file, and nothing else.

    Raises `LabError`: this does not name a repository, or the file has no place for links.
    """
    found = _NAME.fullmatch(repository)
    if not found:
        why, remedy = "it is not OWNER/REPOSITORY", "for example ./lab links ada/containers-live"
        raise LabError(f"no links can be made from {repository!r}", why, remedy)
    text = path.read_text() if path.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        why = f"it lacks the lines {BEGIN} and {END}" if text else "there is no such file"
        raise LabError(f"{path} was not changed", why, "git restore README.md brings them back")
    path.write_text(f"{before}{BEGIN}\n{links(*found.groups())}{END}{after}")


def links(owner: str, name: str) -> str:
    """Return the lines for a repository at GitHub."""
    here = f"{owner}/{name}"
    binder = f"https://mybinder.org/v2/gh/{here}/HEAD?urlpath={FIRST_PAGE}"
    return f"""\
[The page]({page(owner, name)}) ·
[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})
[![Open in Codespaces](https://github.com/codespaces/badge.svg)](https://codespaces.new/{here})

```sh
git clone https://github.com/{here}.git && cd {name} && ./lab
```
"""


def page(owner: str, name: str) -> str:
    """Return where GitHub Pages shows a repository's page."""
    site = f"{owner.lower()}.github.io"
    return f"https://{site}/" if name.lower() == site else f"https://{site}/{name}/"
