"""What can go wrong, one class per cause: what failed, what was found, what to do about it.

A notebook shows the message alone (no traceback); nbval still sees a failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself is not loaded: helper processes import this module, too
    from typing import Any


class LabError(Exception):
    """The base of all: `what` failed, because of `why`; the `remedy` is a thing to do or type."""

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        self.what, self.why, self.remedy = what, why, remedy
        super().__init__(what, why, remedy)

    def __str__(self) -> str:
        lines = [f"{self.what}: {self.why}" if self.why else self.what]
        if self.remedy:
            lines.append(f"What to do: {self.remedy}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the message instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def mistaken(value: object, wanted: str, example: str = "") -> LabError:
    """Return the error for a value that is not what was wanted: "a sandbox", "a text"."""
    return LabError(f"{value!r} is not {wanted}", remedy=example)


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known words, with the closest one first if there is one."""
    known = sorted(known)
    close = get_close_matches(str(name), known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "known: " + ", ".join(known)


class MissingCapability(LabError):
    """This machine cannot do what was asked for."""

    def __init__(self, capability: str, why: str, remedy: str = "") -> None:
        super().__init__(f"this needs {capability}", why, remedy)


class NamespaceRefused(LabError):
    """The kernel did not make, join or fill the namespaces that a sandbox asked for."""


class ProgramNotFound(LabError):
    """There is no such program, or it cannot be executed."""


class TimedOut(LabError):
    """Something took longer than it is allowed to; what was started has been ended."""


class ProcessGone(LabError):
    """The process that was asked about has ended."""


class EngineDown(LabError):
    """No container engine answers at the place where one was looked for."""


class NotMounted(LabError):
    """A path was taken for a mount point, but nothing is mounted there."""

    def __init__(self, path: str, lies_on: str) -> None:
        self.path = path
        super().__init__(
            f"nothing is mounted at {path}",
            f"it is an ordinary path on what is mounted at {lies_on}",
            "see where something is mounted with mounts(of=...)",
        )


class MissingController(LabError):
    """A limit needs a cgroup controller that groups here do not have."""


class CgroupRefused(LabError):
    """The kernel refused to make or change a control group; the message says why."""


class CgroupClosed(LabError):
    """A control group was asked for something before it was made, or after it was removed."""


class LimitBelowUsage(LabError):
    """A limit was to be set below what is in use, and the kernel could not free the difference."""


class InternalProcesses(LabError):
    """cgroup v2: a group has processes, or hands controllers such as memory down, never both."""

    def __init__(self, group: object, first_try: str = "") -> None:
        self.group = group
        super().__init__(
            f"the kernel answered EBUSY in {group}",
            "in cgroup v2 a group (except the root) has either processes of its own or groups "
            "below it that get controllers such as memory by its cgroup.subtree_control, "
            "never both",
            (f"{first_try}; or " if first_try else "")
            + "give the processes a group of their own, beside the limited ones: "
            f"mkdir {group}/programs; echo PID > {group}/programs/cgroup.procs; then try again",
        )


class RuntimeMissing(LabError):
    """There is no OCI runtime such as runc on this machine."""


class StepFailed(LabError):
    """A step of a container that is built by hand failed; `step` is its name, `errno` the error."""

    def __init__(self, step: str, errno: int, what: str, why: str, remedy: str) -> None:
        self.step, self.errno = step, errno
        super().__init__(what, why, remedy)


class NetworkRefused(LabError):
    """The kernel did not make or change a link, an address, a route or a queue."""


class NoAnswer(LabError):
    """Nobody answered at an address and port; `why` is the kernel's word for it."""


class ProgressNotKept(LabError):
    """The file that holds the student's progress cannot be written."""


class ProgressUnreadable(LabError):
    """A file that should hold progress, or an export of it, holds something else."""


class BuildFailed(LabError):
    """A build ended in an error; the message says in which step, if the builder did."""

    def __init__(
        self, why: str, step: Any = None, *, what: str = "the build failed", remedy: str = ""
    ) -> None:
        at = f" in step {step.name}, {step.instruction}" if step else ""
        super().__init__(f"{what}{at}", why, remedy)


class StoreChanged(BuildFailed):
    """An image that the builder was looking at has been removed by somebody else meanwhile."""

    def __init__(self, why: str, step: Any = None) -> None:
        what = "another program removed an image during the build"
        super().__init__(why, step, what=what, remedy="build again")


class BadLayer(LabError):
    """A layer is not a tar archive that the engines would accept."""


class AppBaseMissing(LabError):
    """The base image of the tutorials' app has not been made on this machine."""

    def __init__(self, why: str) -> None:
        super().__init__("the base image of the app is missing", why, "./lab base (half a minute)")
