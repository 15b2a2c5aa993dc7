"""The technologies of the lecture and their neighbours, by layer: which are here, which run.

The table holds what this machine says: which programs are installed, the versions that they tell
of themselves, their processes now. What each is made of is not shown here, so it has a source.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from labsupport.figure.table import PlainTable
from labsupport.kernel.procfs import ProcessSnapshot, processes

SECONDS = 10
ENGINE, RUNTIME, MACHINE = "engine", "runtime", "machine"
LAYERS = {
    ENGINE: "keeps images, starts and watches containers",
    RUNTIME: "puts the walls around one program",
    MACHINE: "brings a kernel, where another one is wanted",
}
KERNEL = "namespaces, cgroups, seccomp, capabilities"


@dataclass(frozen=True)
class Technology:
    """One of them. `daemon` is the process that must run for it to work; "" if none must.

    `note` is for those that live elsewhere or have ended; `source` is a page about `made_of`.
    """

    name: str
    layer: str
    program: str
    daemon: str
    made_of: str
    source: str
    note: str = ""


ALL = (
    Technology("Docker", ENGINE, "dockerd", "dockerd", "dockerd, containerd, a shim for each "
               "container", "https://docs.docker.com/engine/"),
    Technology("containerd", ENGINE, "containerd", "containerd", "the daemon under Docker and "
               "Kubernetes", "https://containerd.io/"),
    Technology("Podman", ENGINE, "podman", "", "a command that leaves conmon for each container",
               "https://docs.podman.io/"),
    Technology("Incus", ENGINE, "incusd", "incusd", "LXC with a daemon, images and a network",
               "https://linuxcontainers.org/incus/"),
    Technology("rkt", ENGINE, "rkt", "", "a command without a daemon",
               "https://github.com/rkt/rkt/issues/4024", "ended in 2020"),
    Technology("runc", RUNTIME, "runc", "", "reads a config.json, starts the program, ends",
               "https://github.com/opencontainers/runtime-spec"),
    Technology("crun", RUNTIME, "crun", "", "the same, in C", "https://github.com/containers/crun"),
    Technology("LXC", RUNTIME, "lxc-start", "", "the same means of the kernel around an init",
               "https://linuxcontainers.org/lxc/security/"),
    Technology("systemd-nspawn", RUNTIME, "systemd-nspawn", "", "a folder started as a system",
               "man:systemd-nspawn(1)"),
    Technology("bubblewrap", RUNTIME, "bwrap", "", "namespaces around one program, for a user",
               "https://github.com/containers/bubblewrap"),
    Technology("Apptainer", RUNTIME, "apptainer", "", "an image that is one file, run as oneself",
               "https://apptainer.org/docs/"),
    Technology("gVisor", RUNTIME, "runsc", "", "a program that answers the system calls itself",
               "https://gvisor.dev/docs/"),
    Technology("Kata Containers", RUNTIME, "kata-runtime", "", "a small virtual machine for each "
               "container or pod", "https://katacontainers.io/"),
    Technology("QEMU", MACHINE, "qemu-system-x86_64", "", "a whole machine in one process",
               "https://www.qemu.org/docs/master/"),
    Technology("User-Mode Linux", MACHINE, "linux.uml", "", "a Linux kernel that is a process",
               "https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html"),
    Technology("Docker Desktop", MACHINE, "com.docker.backend", "", "a virtual machine with Docker "
               "in it", "https://docs.docker.com/desktop/features/vmm/", "macOS, Windows"),
    Technology("OrbStack", MACHINE, "orb", "", "one Linux virtual machine for all its guests",
               "https://docs.orbstack.dev/architecture", "macOS"),
    Technology("WSL 2", MACHINE, "wsl.exe", "", "a Linux kernel in a small Hyper-V machine",
               "https://learn.microsoft.com/windows/wsl/compare-versions", "Windows"),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A technology and what of it is on this machine: `path` is "" if it is not installed."""

    technology: Technology
    path: str
    version: str
    running: tuple[ProcessSnapshot, ...]

    @property
    def is_here(self) -> bool:
        return bool(self.path)

    @property
    def state(self) -> str:
        if not self.is_here:
            return self.technology.note or "not here"
        number = re.search(r"\d+\.\d+(\.\d+)?", self.version)
        runs = ", runs" if self.running else ""
        return f"✓ {number.group() if number else 'here'}{runs}"


def landscape() -> list[Found]:
    """Look for each technology: its program, its version, its processes now."""
    here = processes()
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda each: _find(each, here), ALL))


def _find(technology: Technology, here: Iterable[ProcessSnapshot]) -> Found:
    path = shutil.which(technology.program) or ""
    names = {technology.program[:15], technology.daemon[:15]} - {""}  # as comm is cut; proc(5)
    running = tuple(process for process in here if process.name in names)
    return Found(technology, path, _version(path) if path else "", running)


def _version(path: str) -> str:
    how: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run([path, "--version"], timeout=SECONDS, check=False, **how)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not tell its version ({type(error).__name__})"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0][:60] if lines else ""


def by_layer(found: Sequence[Found], kernel_release: str) -> PlainTable:
    """Return a row for each, linked to its source; the kernel lies above what brings one."""
    rows = [(_row(each), each.technology.source) for each in found]
    kernel = ("the kernel", KERNEL, f"✓ {kernel_release}", "", "what those above ask for walls")
    below = next(n for n, each in enumerate(found) if each.technology.layer == MACHINE)
    rows.insert(below, (kernel, ""))
    here = ", ".join(_some(sum(f.is_here for f in found if f.technology.layer == name), name)
                     for name in LAYERS)  # fmt: skip
    return PlainTable(
        f"What is here of each layer: {here}",
        ("technology", "layer", "on this machine", "its processes", "made of"),
        tuple(row for row, _ in rows),
        tuple(link if link.startswith("https:") else "" for _, link in rows),
    )


def _some(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _row(found: Found) -> tuple[str, ...]:
    each = found.technology
    running = ", ".join(f"PID {process.pids[-1]}" for process in found.running[:3])
    layer = f"{each.layer}: {LAYERS[each.layer]}"
    return each.name, layer, found.state, running or "none", each.made_of
