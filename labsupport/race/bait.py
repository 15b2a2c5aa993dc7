"""What the app tries to get at: a file to be read, one to be changed, a process to be ended.

Whether it got at them is not taken from its words alone: the host looks afterwards.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from labsupport import ownership

_UNTOUCHED = "untouched"


class Bait:
    """A folder of our own and a process beside it; both go with `close()`, or with this process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=ownership.prefix("race")))
        self.secret = secrets.token_hex(8)
        self.token = f"victim-{secrets.token_hex(6)}"
        (self.folder / "secret.txt").write_text(self.secret)
        self._note = self.folder / "note.txt"
        self._victim: subprocess.Popen[bytes] | None = None

    def lay(self) -> str:
        """Set all of it out afresh; return the app's argument."""
        self._end_victim()
        self._note.write_text(_UNTOUCHED)
        # it ends with its input, that is with us at the latest
        argv = ["sh", "-c", f"read line # {self.token}"]
        self._victim = subprocess.Popen(argv, stdin=subprocess.PIPE)
        return json.dumps(
            {
                "secret": str(self.folder / "secret.txt"),
                "note": str(self._note),
                "token": self.token,
                "pid": self._victim.pid,
            }
        )

    def is_changed(self) -> bool:
        """Whether the file has been changed, as this machine sees it."""
        return self._note.read_text() != _UNTOUCHED

    def is_ended(self, expected: bool) -> bool:
        """Whether the process has ended; a moment is given to one that is expected to."""
        if self._victim is None:
            return False
        if expected:
            with suppress(subprocess.TimeoutExpired):
                self._victim.wait(2)
        return self._victim.poll() is not None

    def close(self) -> None:
        """Remove all of it; may be called twice."""
        self._end_victim()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_victim(self) -> None:
        if self._victim:
            self._victim.communicate()
            self._victim = None
