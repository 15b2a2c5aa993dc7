"""`./lab site`: the executed notebooks as a static site, to be read where nothing can be run.

Jupyter Book makes it, from the notebooks as they are saved: nothing is executed. Pictures keep
their text alternatives, each page has a button that opens it on Binder (if the repository is
known), and the first page and the table of contents are made from the notebooks themselves.
"""

import argparse
import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labsupport.course.catalogue import NOTEBOOKS, Chapter, chapters
from labsupport.errors import LabError
from labsupport.making import links

CHECKOUT = NOTEBOOKS.parent
STATIC = "_static"
MARKER = ".made-by-lab-site"
"""The file that tells a folder which may be replaced."""
PAGES = ("TEACHING.md", "CONTRIBUTING.md")
TITLE = "Containers, live"
NOT_LIVE = {"12", "14"}  # neither a virtual machine nor a tracepoint has room in the page
_BOOK = "from jupyter_book.cli.main import main; main()"
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")

# The bar holds only a second search field; the theme puts grey words on a grey ground in the
# dark, for outputs that cannot be dark, and ours can.
_NOTEBOOK = re.compile(r"(?<=href=')(\d\d_\w+)\.ipynb(?:#[\w=-]+)?(?=')")
_STYLE = """
.bd-header {display: none}
html[data-theme=dark] .bd-content div.cell_output :is(.text_html, img) {
  background-color: transparent !important; color: inherit !important; border-radius: 0;
  filter: none}
.open-live {background: #0072b2; color: #fff !important; font-weight: 600; padding: .4em 1em;
  border-radius: 8px; text-decoration: none !important}
"""
_SPHINX = {
    "html_show_copyright": False,
    "nb_merge_streams": True,
    "suppress_warnings": ["mystnb.unknown_mime_type", "misc.highlighting_failure"],
}


def main(argv: Sequence[str]) -> int:
    """Build the site."""
    parser = argparse.ArgumentParser(prog="lab site", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "site", help="folder (site)")
    told = "for launch buttons (else the remote `origin`, if on the web)"
    parser.add_argument("--repository", default=_origin(), metavar="URL", help=told)
    told = "where the folder of ./lab page is, for Open live (else the repository's GitHub Pages)"
    parser.add_argument("--page", metavar="URL", help=told)
    options = parser.parse_args(argv)
    build(options.output, options.repository, options.page)
    if not options.repository:
        print("no launch buttons: no repository is known (--repository URL)")
    print(f"{options.output / 'index.html'}")
    return 0


def build(output: Path, repository: str | None = None, page: str | None = None) -> None:
    """Build the site into a folder, which is replaced if it holds an earlier one.

    Raises `LabError`: the folder holds something else, Jupyter Book is not installed, or it failed,
    as it does where a link leads nowhere.
    """
    if output.exists() and not (output / MARKER).exists() and any(output.iterdir()):
        raise LabError(
            f"the site cannot be written to {output}", "it holds what is not an earlier site",
            "name an empty or a new folder with --output",
        )  # fmt: skip
    if find_spec("jupyter_book") is None:
        raise LabError(
            "the site cannot be built", "Jupyter Book is not installed",
            "./lab site (which installs it), or: pip install 'jupyter-book<2'",
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="lab-site-") as scratch:
        source = Path(scratch) / "source"
        github = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", repository or "")
        prepare(source, repository, page or (links.page(*github.groups()) if github else None))
        strict = ["--quiet", "--warningiserror", "--keep-going"]  # a dead link, say
        argv = [sys.executable, "-c", _BOOK, "build", *strict, str(source)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        made = source / "_build" / "html"
        if done.returncode or not (made / "index.html").exists():
            raise LabError("Jupyter Book failed", (done.stdout + done.stderr)[-1500:])
        (made / MARKER).touch()
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(made, output)


def prepare(source: Path, repository: str | None, page: str | None) -> None:
    """Write what Jupyter Book reads: pages, pictures, settings, table of contents."""
    (source / STATIC).mkdir(parents=True)
    (source / STATIC / "course.css").write_text(_STYLE)
    known = chapters()
    for chapter in known:
        notebook = json.loads((NOTEBOOKS / chapter.file).read_text())
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = _links("".join(cell["source"]), repository)
            for output in cell.get("outputs", []):
                _keep_words(output, source / STATIC)
        if page and chapter.number not in NOT_LIVE:
            _open_live(notebook["cells"][0], page, chapter.file)
        (source / chapter.file).write_text(json.dumps(notebook))
    pages = [name for name in PAGES if (CHECKOUT / name).exists()]
    for name in pages:
        (source / name).write_text(_links((CHECKOUT / name).read_text(), repository))
    (source / "index.md").write_text(_first_page(known))
    files = [{"file": each} for each in [*(chapter.file for chapter in known), *pages]]
    contents = {"format": "jb-book", "root": "index", "chapters": files}
    (source / "_toc.yml").write_text(json.dumps(contents))
    (source / "_config.yml").write_text(json.dumps(_settings(repository), indent=1))


def _open_live(cell: dict[str, Any], page: str, file: str) -> None:
    """Put a button below a chapter's title."""
    address = f"{page.rstrip('/')}/lab/index.html?path={file}"
    title, _, rest = cell["source"].partition("\n")
    button = f"<a class='open-live' href='{html.escape(address, quote=True)}'>Open live</a>"
    told = "on a Linux of your own in this browser's tab (40 MB, fetched once)"
    cell["source"] = f"{title}\n\n{button} {told}\n\n{rest.lstrip()}"


def _keep_words(output: dict[str, Any], folder: Path) -> None:
    """Show a picture with its text alternative; as a PNG alone it would be named by its digest."""
    data = output.get("data", {})
    if "text/html" in data:  # cells have no places of their own on a page
        data["text/html"] = _NOTEBOOK.sub(r"\1.html", "".join(data["text/html"]))
    facts = output.get("metadata", {}).get("image/png", {})
    if "image/png" not in data or "alt" not in facts:
        return
    png = base64.b64decode("".join(data["image/png"]))
    name = f"{hashlib.sha256(png).hexdigest()[:16]}.png"
    (folder / name).write_bytes(png)
    width = f" width='{facts['width']}'" if "width" in facts else ""
    alt = html.escape(facts["alt"], quote=True)
    style = "max-width:100%;height:auto;border-radius:6px;background:#fff"
    output["data"] = {
        "text/html": f"<img alt='{alt}'{width} style='{style}' src='{STATIC}/{name}'>"
    }


def _links(text: str, repository: str | None) -> str:
    """Point links to anything but a page to the repository, or make them words if it is unknown."""

    def replaced(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if urlsplit(target).scheme or target.startswith("#") or _is_page(target):
            return f"[{words}]({target.rpartition('/')[2]})" if _is_page(target) else match[0]
        if repository is None:
            return words
        path = target.removeprefix("../").removeprefix("./")
        return f"[{words}]({repository}/blob/main/{path})"

    return _LINK.sub(replaced, text)


def _is_page(target: str) -> bool:
    name = target.partition("#")[0].rpartition("/")[2]
    return name in PAGES or (name.endswith(".ipynb") and (NOTEBOOKS / name).exists())


def _first_page(known: Iterable[Chapter]) -> str:
    rows = "\n".join(
        f"| {c.number} | [{c.title}]({c.file}) | {c.asks} | {c.minutes or '-'} min | "
        f"{c.reading_minutes} min |"
        for c in known
    )
    return f"""# {TITLE}

A university lecture on containers, as experiments on a real Linux kernel. These pages show what
happened when the notebooks were last run, in a kernel of their own (the *Lab VM*): every number and
picture was read from the kernel or the engine. To run them yourself, use the buttons at the top of
each page, or `./lab` in a copy of the repository.

| | notebook | the question it answers | to work through | to read |
|---|---|---|---|---|
{rows}
"""


def _settings(repository: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "title": TITLE,
        "author": "",
        "logo": "",
        "execute": {"execute_notebooks": "off"},
        "only_build_toc_files": True,
        "html": {"use_repository_button": repository is not None, "home_page_in_navbar": True},
        "sphinx": {"config": _SPHINX},
    }
    if repository:
        settings["repository"] = {"url": repository, "path_to_book": "notebooks", "branch": "main"}
        settings["launch_buttons"] = {
            "binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab",
        }  # fmt: skip
    return settings


def _origin() -> str | None:
    """Return where this checkout comes from, if that is on the web."""
    argv = ["git", "-C", str(CHECKOUT), "remote", "get-url", "origin"]
    try:
        url = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:  # no git: a copy without its history
        return None
    return url.removesuffix(".git") if url.startswith("https://") and "@" not in url else None
