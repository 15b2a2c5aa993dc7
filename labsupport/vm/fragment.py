"""The configuration fragment of the Lab VM's kernel: its lines and hash, and what obeys it.

Kconfig drops a symbol without a word when something that it depends on is missing; so each line is
looked up in the result.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

FRAGMENT = Path(__file__).with_name("kernel.config")
_LINE = re.compile(r"(CONFIG_\w+=\S+|# CONFIG_\w+ is not set)\s*(# if there is one)?\s*")


@dataclass(frozen=True)
class Fragment:
    """Lines as a `.config` has them; `optional` are those that some kernel versions lack."""

    lines: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path = FRAGMENT) -> Fragment:
        """Read a fragment; a line that is neither a symbol nor a comment is a `ValueError`."""
        lines: list[str] = []
        optional: set[str] = set()
        for number, text in enumerate(path.read_text().splitlines(), 1):
            if match := _LINE.fullmatch(text):
                lines.append(match[1])
                if match[2]:
                    optional.add(match[1])
            elif text.strip() and not text.startswith("#"):
                raise ValueError(f"{path}:{number}: neither a symbol nor a comment: {text!r}")
        return cls(tuple(lines), frozenset(optional))

    @property
    def hash(self) -> str:
        """Ten hexadecimal digits that change with the symbols, not with comments or their order."""
        return hashlib.sha256("\n".join(sorted(self.lines)).encode()).hexdigest()[:10]

    def dropped(self, config: str) -> list[str]:
        """Which lines the finished `.config` (its text) does not have."""
        kept = set(config.splitlines())
        return [line for line in self.lines if not self._obeyed(line, kept)]

    def _obeyed(self, line: str, kept: set[str]) -> bool:
        # a symbol that does not exist at all is as good as one that is switched off
        switched_off = line.startswith("# ") and not any(
            other.startswith(line.split()[1] + "=") for other in kept
        )
        return line in kept or line in self.optional or switched_off
