"""A temporary folder for another user to write in.

It lies in a folder of our own, which carries our mark: so it is ours to remove, whatever the other
user puts there, and is found when this process has been killed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from labsupport import ownership


class FolderOf:
    """A folder that belongs to user `uid`, until `close()` or the end of a `with` block."""

    def __init__(self, uid: int) -> None:
        self._ours = tempfile.TemporaryDirectory(prefix=ownership.prefix("folder"))
        Path(self._ours.name).chmod(0o711)
        self.path = Path(self._ours.name) / "files"
        self.path.mkdir(mode=0o755)
        os.chown(self.path, uid, -1)

    def close(self) -> None:
        """Remove it with all that is in it; may be called twice."""
        self._ours.cleanup()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<folder {self.path} of user {self.path.stat().st_uid}>"
