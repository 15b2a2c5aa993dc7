"""Why did the kernel refuse a namespace? Errno and this machine's settings, in words."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
CLONE_SWITCH = Path("/proc/sys/kernel/unprivileged_userns_clone")
LAB_VM = "or run the notebook in the Lab VM (kernel “Lab VM”), where you are root"


def explain(error: Mapping[str, Any], new: Iterable[str]) -> tuple[str, str]:
    """Return (why, remedy) for a failed step, as the zygote reports it."""
    number, text = error["errno"], error["text"]
    if number == errno.ENOSPC:
        return _limit_reached(new, text)
    if number in (errno.EPERM, errno.EACCES):
        return _forbidden(text)
    if number == errno.EINVAL:
        return (
            f"{text}: this kernel lacks one of {sorted(new)}",
            "see which with ./lab doctor",
        )
    return text, "see what this machine can do with ./lab doctor"


def _limit_reached(new: Iterable[str], text: str) -> tuple[str, str]:
    for name in new:
        limit = Path(f"/proc/sys/user/max_{'mnt' if name == 'mount' else name}_namespaces")
        if limit.exists() and limit.read_text().strip() == "0":
            return f"{limit} is 0", f"as root: echo 10000 > {limit}; {LAB_VM}"
    return text, "close sandboxes that are no longer used (restart other notebooks)"


def _forbidden(text: str) -> tuple[str, str]:
    for switch, forbids, allow in ((APPARMOR, "1", "0"), (CLONE_SWITCH, "0", "1")):
        if switch.exists() and switch.read_text().strip() == forbids:
            name = f"kernel.{switch.name}"
            return (
                f"{text}: {name} is {forbids}, which forbids ordinary users new namespaces",
                f"sudo sysctl -w {name}={allow}; {LAB_VM}",
            )
    return (
        f"{text}: a container's seccomp filter or another security policy forbids it",
        f"see which with ./lab doctor; {LAB_VM}",
    )
