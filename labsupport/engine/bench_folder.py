"""The folder of a workbench: what builds copy into their images lies here."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from labsupport import ownership


class BenchFolder:
    """A folder that carries its owner in its name; `remove_folder()` in the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=ownership.prefix("bench")))

    def write(self, name: str, content: str | bytes, *, executable: bool = False) -> Path:
        """Write a file into the folder that builds can copy from; return where it lies."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if executable else 0o644)
        return path

    def write_archive(self, name: str, files: Mapping[str, str]) -> Path:
        """Pack some files into an archive for builds to copy; gzipped if it is called `….gz`."""
        with io.BytesIO() as packed:
            mode: Literal["w:gz", "w"] = "w:gz" if name.endswith(".gz") else "w"
            with tarfile.open(fileobj=packed, mode=mode) as tar:
                for path, text in files.items():
                    member = tarfile.TarInfo(path)
                    member.size = len(text.encode())
                    tar.addfile(member, io.BytesIO(text.encode()))
            return self.write(name, packed.getvalue())

    def remove_folder(self) -> None:
        """Remove it with all that is in it; may be called twice."""
        shutil.rmtree(self.folder, ignore_errors=True)
