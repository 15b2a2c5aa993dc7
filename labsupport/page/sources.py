"""What the machine of `./lab page` is made of: each package with its licence and its source.

What the page ships is free software of others, and most of it asks for just that.
"""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from labsupport.making.kernel_wheel import ARCHIVE

_LICENCE = re.compile(r"^License: *(\S.*)$", re.MULTILINE)
_HEAD = """<!DOCTYPE html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>What this page is made of</title><style>body {font: 16px/1.5 sans-serif; max-width: 60em;
margin: auto; padding: 1em} td, th {text-align: left; padding: .1em 1em .1em 0}</style>
<h1>What this page is made of</h1>
<p>The machine of this page is free software. Its source is at Debian's archive, in the version that
is named here; the command <code>./lab page</code> of the course makes all of it again. Debian's
licence texts are in <a href="copyright.txt">copyright.txt</a>, and Linux was configured by
<a href="linux.config">linux.config</a>.</p>
<table><tr><th>what<th>version<th>licence<th>source</tr>"""


class Part(NamedTuple):
    """Something that is shipped, and where its source is."""

    name: str
    version: str
    licence: str
    source: str


def write(machine: Path, root: Path, bz_image: Path) -> None:
    """Write `sources/` in the machine's folder; `root` is the guest's, unpacked."""
    folder = machine / "sources"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(bz_image.with_suffix(".config"), folder / "linux.config")
    texts = sorted((root / "usr/share/doc").glob("*/copyright"))
    with (folder / "copyright.txt").open("w") as out:
        for path in texts:
            text = path.read_text(errors="replace")
            out.write(f"{'=' * 20} {path.parent.name}\n\n{text}\n\n")
    shutil.copyfile(machine / "node_modules/v86/LICENSE", folder / "v86.txt")
    parts = [_linux(bz_image), _seabios(), _v86(machine), *_debian(root), *_python(root)]
    rows = "\n".join(map(_row, parts))
    (folder / "index.html").write_text(f"{_HEAD}\n{rows}\n</table></html>\n")


def _row(part: Part) -> str:
    name, version, licence = (html.escape(text) for text in part[:3])
    source = html.escape(part.source)
    link = f'<a href="{source}">source</a>' if source.startswith("https:") else source
    return f"<tr><td>{name}<td>{version}<td>{licence}<td>{link}</tr>"


def _linux(bz_image: Path) -> Part:
    return Part("Linux", bz_image.name.split("-")[1], "GPL-2.0", f"{ARCHIVE}/linux/")


def _seabios() -> Part:
    argv = ["dpkg-query", "--show", "--showformat=${Version}", "seabios"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    version = done.stdout or "unknown"
    return Part("SeaBIOS", version, "LGPL-3", f"{ARCHIVE}/seabios/{version}/")


def _v86(machine: Path) -> Part:
    about = json.loads((machine / "node_modules/v86/package.json").read_text())
    return Part("v86", about["version"], "BSD-2-Clause (v86.txt)", "npm")


def _debian(root: Path) -> Iterator[Part]:
    """Yield the source packages of what dpkg has installed."""
    seen = set()
    for paragraph in (root / "var/lib/dpkg/status").read_text().strip().split("\n\n"):
        about = HeaderParser().parsestr(paragraph)
        source, _, version = about.get("Source", about["Package"]).partition(" ")
        version = version.strip("()") or about["Version"]
        if source not in seen:
            seen.add(source)
            licence = _licences(root / f"usr/share/doc/{about['Package']}/copyright")
            yield Part(source, version, licence, f"{ARCHIVE}/{source}/{version}/")


def _licences(path: Path) -> str:
    found = _LICENCE.findall(path.read_text(errors="replace")) if path.exists() else []
    return ", ".join(sorted(set(found))[:6]) or "see copyright.txt"


def _python(root: Path) -> Iterator[Part]:
    for path in sorted((root / "opt/lab/packages").glob("*.dist-info/METADATA")):
        about = HeaderParser().parsestr(path.read_text(errors="replace"))
        licence = about.get("License-Expression") or about.get("License") or "see its source"
        yield Part(about["Name"], about["Version"], licence.partition("\n")[0][:60], "PyPI")
