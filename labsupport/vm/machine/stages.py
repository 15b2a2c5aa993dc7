"""How far a machine has got, read from what it says on its console."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAMES = ("firmware", "kernel", "first file system", "system", "ready for SSH")
"""What begins, in order; the last one is a moment."""
WHAT = {
    "firmware": "QEMU starts, SeaBIOS looks around, the kernel is loaded",
    "kernel": "Linux finds processors, memory and devices",
    "first file system": "drivers for the disk; the disk is mounted",
    "system": "systemd is PID 1 and starts services",
    "ready for SSH": "the SSH server greets",
}
# what the console says when a stage begins
_BEGINS = {
    "kernel": re.compile(r"Linux version \d"),
    "first file system": re.compile(r"Run /init as init process"),
    "system": re.compile(r"Welcome to .+!"),
}
_HOST_KEY = re.compile(r"-----BEGIN SSH HOST KEY-----\s+(ssh-\S+ \S+)")
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
    """Follows one start: `hear(text, seconds)` is told what the console said, and when."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {"firmware": 0.0}
        self.host_key = ""
        self._text = ""

    @property
    def text(self) -> str:
        """All that the console said, without colours and moving stars."""
        return _WAITING.sub("", self._text)

    def hear(self, data: str, seconds: float) -> None:
        """Take more of the console in."""
        self._text += _COLOURS.sub("", data)
        for name, sign in _BEGINS.items():
            if name not in self.began and sign.search(self._text):
                self.began[name] = seconds
        if not self.host_key and (found := _HOST_KEY.search(self._text)):
            self.host_key = found[1]

    def ready(self, seconds: float) -> None:
        """Note that the SSH server has greeted."""
        self.began.setdefault("ready for SSH", seconds)

    @property
    def is_ready(self) -> bool:
        """Whether one can log in."""
        return "ready for SSH" in self.began

    def stages(self, now: float) -> list[Stage]:
        """Return the stages that have begun; the last one lasts until now or until SSH is ready."""
        begun = [(name, self.began[name]) for name in NAMES if name in self.began]
        ends = [began for _, began in begun[1:]] + [now]
        found = [Stage(n, began, end) for (n, began), end in zip(begun, ends, strict=True)]
        return [each for each in found if each.name != NAMES[-1]]
