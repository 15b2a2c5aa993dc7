"""The names that a notebook uses; each is imported when it is first used, not earlier."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself is not loaded: helper processes import this package, too
    from typing import Any

    from IPython.core.interactiveshell import InteractiveShell


def _make_environment_ordinary() -> None:
    """Take text for UTF-8, have a home, and find system programs, here and in what we start.

    A locale may be an older one; a user may be a number without a name, whose home is then `/`, as
    container engines have it; Debian's PATH for users names no folder with `chroot` or `nft`.
    """
    import _locale
    import os

    if _locale.nl_langinfo(_locale.CODESET) != "UTF-8":
        os.environ["LC_ALL"] = "C.UTF-8"
        _locale.setlocale(_locale.LC_CTYPE, "C.UTF-8")
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = "/"
    path = os.environ.get("PATH", os.defpath).split(":")
    path += [folder for folder in ("/usr/local/sbin", "/usr/sbin", "/sbin") if folder not in path]
    os.environ["PATH"] = ":".join(path)


_make_environment_ordinary()
_HOME = {
    "BootConsole": "labsupport.machine.boot_console",
    "Build": "labsupport.build.build",
    "Cgroup": "labsupport.cgroup.group",
    "CgroupConsole": "labsupport.cgroup.console",
    "Chain": "labsupport.engine.chain",
    "Container": "labsupport.build.container",
    "ContainerLights": "labsupport.handmade.breakouts",
    "CourseMap": "labsupport.course.course_map",
    "Disk": "labsupport.cgroup.dangers",
    "Drive": "labsupport.mount.mounting",
    "Engine": "labsupport.engine.client",
    "Exercise": "labsupport.course.exercises",
    "Filter": "labsupport.seccomp.filter",
    "Image": "labsupport.image.image",
    "LabVM": "labsupport.vm.guest",
    "LayerExplorer": "labsupport.image.layer_explorer",
    "MountMap": "labsupport.mount.mount_map",
    "NamespaceTable": "labsupport.users.namespaces",
    "Neighbour": "labsupport.cgroup.neighbour",
    "NetworkMap": "labsupport.net.network_map",
    "Overlay": "labsupport.mount.overlay",
    "PidMap": "labsupport.pid.pidmap",
    "Race": "labsupport.race.race",
    "Registry": "labsupport.registry.registry",
    "Sandbox": "labsupport.sandbox.sandbox",
    "Terminal": "labsupport.sandbox.terminal",
    "VirtualMachine": "labsupport.machine.virtual",
    "Workbench": "labsupport.build.workbench",
    "Workshop": "labsupport.handmade.workshop",
    "WritableLayer": "labsupport.image.writable",
    "capabilities": "labsupport.kernel.capabilities",
    "mounts": "labsupport.kernel.mounts",
    "namespaces": "labsupport.kernel.procfs",
    "predict": "labsupport.course.predictions",
    "probe": "labsupport.doctor.machine",
    "processes": "labsupport.kernel.procfs",
    "record": "labsupport.seccomp.recording",
    "who_said_no": "labsupport.seccomp.guards",
}
__all__ = sorted(_HOME)  # noqa: PLE0605 (the words are the keys above)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'labsupport' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext labsupport`: obey `# needs:` comments, note what is run, know `%%shell`."""
    from labsupport.course import progress
    from labsupport.doctor import needs
    from labsupport.sandbox import shell as magic

    needs.load(shell)
    progress.load(shell)
    magic.load(shell)
