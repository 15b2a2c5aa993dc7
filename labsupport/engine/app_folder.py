"""The tutorials' app in a folder of one's own, where its files may be changed."""

from __future__ import annotations

import html
import shutil
import tempfile
from pathlib import Path

from labsupport import ownership
from labsupport.closing import Closing
from labsupport.errors import AppMissing, TextMissing

APP = "simple_translate"
COURSE = Path(__file__).parents[2] / "notebooks" / "apps"


class AppFolder(Closing):
    """`app = AppFolder()`: a copy of the translator; `app.path` is the folder.

    It ends with `close()`, or with the notebook: the next start removes what is left.

    Raises:
        AppMissing: the course's own copy is not there.

    """

    def __init__(self, source: Path | None = None) -> None:
        source = source or COURSE / APP
        if not source.is_dir():
            raise AppMissing(
                "the tutorials' app is not here",
                f"there is no folder {source}",
                "use a checkout of the course: git clone …",
            )
        self._folder = Path(tempfile.mkdtemp(prefix=ownership.prefix("app")))
        self.path = self._folder / source.name
        shutil.copytree(source, self.path, ignore=shutil.ignore_patterns("__pycache__"))

    def change(self, file: str, old: str, new: str) -> str:
        """Change a piece of text in a file that has it once; return the line as it is now.

        Raises:
            TextMissing: it is not there, or several times.

        """
        path = self.path / file
        text = path.read_text()
        if text.count(old) != 1:
            raise TextMissing(
                f"{file} was not changed",
                f"it has {old!r} {text.count(old)} times",
                "look into the file, and name a piece of text that it has once",
            )
        path.write_text(text.replace(old, new))
        return next(line for line in path.read_text().splitlines() if new in line).strip()

    @property
    def files(self) -> dict[str, int]:
        """Its files by name, with their sizes in bytes."""
        return {path.name: path.stat().st_size for path in sorted(self.path.iterdir())}

    def close(self) -> None:
        """Remove the folder; may be called twice."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __repr__(self) -> str:
        lines = (f"{size:>7,} B  {name}" for name, size in self.files.items())
        return "\n".join([f"{self.path.name}/", *lines])

    def _repr_html_(self) -> str:
        parts = [f"<pre style='margin:0'>{html.escape(repr(self))}</pre>"]
        for name in ("Dockerfile", "cli.py"):
            text = html.escape((self.path / name).read_text())
            parts.append(f"<details><summary>{name}</summary><pre>{text}</pre></details>")
        return "".join(parts)
