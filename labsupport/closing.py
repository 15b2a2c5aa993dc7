"""`with thing:` for whatever has a `close()`."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """What a `with` statement opens, it closes; a subclass says how, and may be closed twice."""

    def close(self) -> None:
        """Take it down."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
