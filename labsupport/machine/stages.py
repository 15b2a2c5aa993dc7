"""How far a machine has got, read from what it says on its console."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

WHAT = {
    "shutdown": "systemd ends what runs, and has the machine reset",
    "firmware": "QEMU starts, SeaBIOS looks around, the kernel is loaded",
    "kernel": "Linux finds processors, memory and devices",
    "first file system": "drivers for the disk; the disk is mounted",
    "system": "systemd is PID 1 and starts services",
    "ready for SSH": "the SSH server listens",
}
"""What begins, in order; the last one is a moment."""
# what the console says when a stage begins
_BEGINS = {
    "firmware": re.compile(r"SeaBIOS"),
    "kernel": re.compile(r"Linux version \d"),
    "first file system": re.compile(r"Run /init as init process"),
    "system": re.compile(r"Welcome to .+!"),
    "ready for SSH": re.compile(r"Started .*ssh\.service"),
}
_HOST_KEY = re.compile(r"^(ssh-ed25519 [A-Za-z0-9+/]{68})(?: .*)?$", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[cM]|\x1b[()][0-9A-B]|\r")
_WAITING = re.compile(r"^\[[ *]+\] .*\n", re.MULTILINE)  # systemd's moving stars


@dataclass(frozen=True)
class Stage:
    """A stretch of a start, in seconds since the machine was switched on."""

    name: str
    began_seconds: float
    ended_seconds: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_seconds - self.began_seconds


class Progress:
    """Follows one start: `hear(data, seconds)` is told what the console said, and when.

    What it says comes in pieces, which may end within a key, a colour or a letter: only lines that
    have ended are looked at.
    """

    def __init__(self, first: str = "firmware") -> None:
        self.began: dict[str, float] = {first: 0.0}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = self._rest = ""

    @property
    def text(self) -> str:
        """All that the console said, without colours and moving stars."""
        return _WAITING.sub("", self._text + _COLOURS.sub("", self._rest))

    @property
    def host_key(self) -> str:
        """The last whole key that the console told; empty before."""
        found: list[str] = _HOST_KEY.findall(self._text)
        return found[-1] if found else ""

    def hear(self, data: bytes, seconds: float) -> None:
        """Take more of the console in."""
        lines, end, self._rest = (self._rest + self._decoder.decode(data)).rpartition("\n")
        self._text += _COLOURS.sub("", lines + end)
        for name, sign in _BEGINS.items():
            if name not in self.began and sign.search(self._text):
                self.began[name] = seconds

    @property
    def is_ready(self) -> bool:
        """Whether the machine accepts logins, and has said by which key it is known."""
        return "ready for SSH" in self.began and bool(self.host_key)

    @property
    def names(self) -> list[str]:
        """Return the stages that a start has which began like this one."""
        names = list(WHAT)
        return names[names.index(next(iter(self.began))) : -1]

    def stages(self, now: float) -> list[Stage]:
        """Return the stages that have begun; the last one lasts until now or until SSH is ready."""
        begun = [(name, self.began[name]) for name in WHAT if name in self.began]
        ends = [began for _, began in begun[1:]] + [now]
        found = [Stage(n, began, end) for (n, began), end in zip(begun, ends, strict=True)]
        return [each for each in found if each.name in self.names]
