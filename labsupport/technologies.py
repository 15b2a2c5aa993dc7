"""The technologies of the lecture and their neighbours: which are on this machine, and running.

What each is made of is common knowledge, with a date; what is here is read from this machine: the
program, the version that it tells of itself, and its processes in /proc.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labsupport.linux.procfs import ProcessSnapshot, processes
from labsupport.views.plain_table import PlainTable

WRITTEN = "November 2026"
SECONDS = 10
PATH_OF_ROOT = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Technology:
    """One of them. `daemon` names the process that must run for it to work; "" if none does."""

    name: str
    program: str
    kind: str
    made_of: str
    daemon: str
    today: str
    version: tuple[str, ...] = ("--version",)


CONTAINER = "containers"
SYSTEM = "system containers"
RUNTIME = "runtime"
SANDBOX = "sandbox"
VIRTUAL = "virtual machines"
FOREIGN = "elsewhere"

ALL = (
    Technology("Docker", "dockerd", CONTAINER,
               "client → `dockerd` → `containerd` → a shim for each container → `runc`", "dockerd",
               "the one most people mean; also rootless"),
    Technology("Podman", "podman", CONTAINER,
               "a command that forks: `conmon` for each container → `crun` or `runc`", "",
               "no daemon, rootless by default; takes the same images and commands"),
    Technology("containerd", "containerd", CONTAINER, "the daemon under Docker and Kubernetes",
               "containerd", "used by itself with `nerdctl`"),
    Technology("runc", "runc", RUNTIME,
               "the nine steps of notebook 08, from a `config.json`; then it is gone", "",
               "the reference for the OCI runtime specification"),
    Technology("crun", "crun", RUNTIME, "the same in C, smaller and quicker to start", "",
               "what Podman takes by default"),
    Technology("gVisor", "runsc", RUNTIME,
               "system calls are answered by a kernel of its own that is an ordinary program", "",
               "for strangers' code; slower calls"),
    Technology("Kata Containers", "kata-runtime", RUNTIME,
               "each container is a small virtual machine", "",
               "for strangers' code; needs virtualisation", ("--version",)),
    Technology("LXC", "lxc-start", SYSTEM,
               "namespaces, cgroups, seccomp and AppArmor as everywhere; an init runs inside", "",
               "alive; “less isolation” than Docker is not so: the kernel's means are the same"),
    Technology("Incus", "incusd", SYSTEM, "LXC with a daemon, images and a network", "incusd",
               "the community's successor of LXD", ("--version",)),
    Technology("systemd-nspawn", "systemd-nspawn", SYSTEM,
               "a folder started with namespaces around; an init may run inside", "",
               "comes with systemd"),
    Technology("bubblewrap", "bwrap", SANDBOX,
               "namespaces and a filter around one program, as a user", "",
               "under Flatpak and its desktop programs"),
    Technology("Apptainer", "apptainer", SANDBOX,
               "an image that is one file, run as the user who asks", "",
               "on clusters for science (it was Singularity)"),
    Technology("QEMU", "qemu-system-x86_64", VIRTUAL,
               "a whole machine in a process, with its own kernel; notebook 12", "",
               "the one under most others; quick with KVM"),
    Technology("User-Mode Linux", "linux.uml", VIRTUAL,
               "a Linux kernel that is an ordinary process; the Lab VM", "",
               "in the kernel since 2003, without virtualisation"),
    Technology("rkt", "rkt", CONTAINER, "was CoreOS's answer to Docker, without a daemon", "",
               "ended in February 2020"),
    Technology("Docker Desktop", "com.docker.backend", FOREIGN,
               "a Linux virtual machine with Docker in it", "com.docker.backend",
               "macOS (Apple's Virtualization framework; HyperKit is history) and Windows (WSL 2)"),
    Technology("OrbStack", "orb", FOREIGN, "Linux virtual machines, tuned for macOS", "",
               "macOS only; another Docker Desktop, not another container"),
    Technology("WSL 2", "wsl.exe", FOREIGN,
               "a real Linux kernel in a small Hyper-V machine; no call is translated", "",
               "Windows; only WSL 1 translated calls"),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A technology and what of it is on this machine: `path` "" if it is not installed."""

    technology: Technology
    path: str
    version: str
    running: tuple[ProcessSnapshot, ...]

    @property
    def is_here(self) -> bool:
        """Whether its program is installed."""
        return bool(self.path)


def landscape() -> list[Found]:
    """Look for each technology: its program, its version, its processes now."""
    here = processes()
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda each: _find(each, here), ALL))


def show(found: Iterable[Found]) -> PlainTable:
    """Return a table of them."""
    found = list(found)
    here = [each for each in found if each.is_here]
    names = ", ".join(each.technology.name for each in here)
    return PlainTable(
        f"{len(here)} of {len(found)} are on this machine: {names}",
        ("technology", "kind", "here", "runs now", "made of", f"today ({WRITTEN})"),
        tuple(_row(each) for each in found),
    )


def _find(technology: Technology, here: Iterable[ProcessSnapshot]) -> Found:
    path = shutil.which(technology.program) or shutil.which(technology.program, path=PATH_OF_ROOT)
    names = {technology.program[:15], technology.daemon[:15]} - {""}  # as comm is cut; proc(5)
    running = tuple(process for process in here if process.name in names)
    return Found(technology, path or "", _version(path, technology) if path else "", running)


def _version(path: str, technology: Technology) -> str:
    try:
        argv = [path, *technology.version]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not tell its version ({type(error).__name__})"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0][:60] if lines else "installed"


def _row(found: Found) -> tuple[str, ...]:
    each = found.technology
    running = ", ".join(f"PID {process.pids[-1]}" for process in found.running[:3])
    daemon = running or ("no" if each.daemon else "needs no daemon" if found.is_here else "-")
    here = f"✓ {found.version}" if found.is_here else "not here"
    return (each.name, each.kind, here, daemon, each.made_of, each.today)
