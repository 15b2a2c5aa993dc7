"""The C modules below `signal` and `socket`, for the helper processes of sandboxes.

What those add (enums, selectors) would be a third of such a process's memory, which each fork
copies.
"""

from __future__ import annotations

__all__ = ["signal", "socket"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
else:
    import _signal as signal
    import _socket as socket
