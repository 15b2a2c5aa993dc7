"""The environment of programs in the guest: the host's, without what only the host has."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import platformdirs

# These name sockets, folders, users and processes of the host.
_THE_HOSTS = re.compile(
    r"HOME|USER|LOGNAME|MAIL|PWD|OLDPWD|TMPDIR|TEMP|TMP|DISPLAY|JPY_PARENT_PID|KERNEL_.*|SUDO_.*"
    r"|XDG_.*|DBUS_.*|SSH_.*|WAYLAND_.*|DOCKER_.*|CONTAINER_HOST|IPYTHONDIR|JUPYTER_RUNTIME_DIR"
)
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
FONTS = Path(sys.prefix) / "share" / "labsupport" / "matplotlib"


def guest_environment(host: Mapping[str, str]) -> dict[str, str]:
    """Return what programs in the guest find in their environment.

    `FONTS` is in the environment that the guest shares with the host, where `./lab kernels` has
    left the list of fonts: making it takes seconds. The guest writes to a copy, as everywhere.
    """
    kept = {key: value for key, value in host.items() if not _THE_HOSTS.fullmatch(key)}
    path = [folder for folder in host.get("PATH", "").split(":") if folder]
    path += [folder for folder in _SYSTEM_PATH if folder not in path]
    return {
        **kept,
        "PATH": ":".join(path),
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "LAB_PLACE": "vm",
        "LAB_IN_VM": "1",
        "LAB_BASES": host.get("LAB_BASES")
        or str(Path(platformdirs.user_cache_dir("labsupport")) / "bases"),
        "JPY_PARENT_PID": "1",  # never gone: it is the launcher that watches Jupyter
        "MPLCONFIGDIR": str(FONTS),
        "IPYTHONDIR": "/run/lab/ipython",
        "JUPYTER_RUNTIME_DIR": "/run/lab/jupyter",
    }
