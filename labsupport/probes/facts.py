"""What the kernel says about us and its rules: the grounds on which a refusal is explained."""

from __future__ import annotations

import grp
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

CAP_SYS_ADMIN = 21

SBIN = "/usr/sbin:/sbin"
"""Where system programs are; not on every user's PATH."""

_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")


@dataclass(frozen=True)
class Facts:
    """Read once per probing; see proc(5), sysctl user.* in namespaces(7), apparmor_parser(8)."""

    euid: int = 0
    capabilities: int = 0
    """The effective set, as the bits of `CapEff`."""
    seccomp: int = 0
    """0 none, 1 strict, 2 a filter."""
    in_container: bool = False
    in_vm: bool = False
    proc_masked: bool = False
    """Something is mounted over parts of /proc, as container engines do."""
    apparmor_restricts_userns: bool = False
    userns_clone: bool = True
    """Debian's own switch, kernel.unprivileged_userns_clone."""
    namespace_limits: dict[str, int] = field(default_factory=dict)
    """`user.max_KIND_namespaces` by kind: user, mnt, pid, …"""
    has_apt: bool = False
    has_sudo: bool = False
    has_systemd: bool = False
    has_systemd_run: bool = False

    @property
    def privileged(self) -> bool:
        """Whether namespaces can be made without a user namespace around them."""
        return bool(self.capabilities >> CAP_SYS_ADMIN & 1)

    def as_root(self, command: str) -> str:
        """Write a command so that this user can type it."""
        if self.euid == 0:
            return command
        return f"sudo {command}" if self.has_sudo else f"{command} (as root)"

    def install(self, package: str, program: str = "") -> str:
        """Say how a missing package is installed here; `package` is Debian's name."""
        if self.has_apt and self.in_vm:
            return f"outside of the Lab VM, as root: apt-get install {package}; then start it again"
        if self.has_apt:
            return self.as_root(f"apt-get install {package}")
        what = f"the program {program}" if program else f"what Debian calls {package}"
        return f"install {what} with this system's package manager"

    def start(self, service: str) -> str:
        """Say how a system service is started here."""
        command = f"systemctl start {service}" if self.has_systemd else f"service {service} start"
        return self.as_root(command)


def is_privileged() -> bool:
    """Whether this process has CAP_SYS_ADMIN right now; `Facts.privileged` was true before."""
    return bool(int(_status()["CapEff"], 16) >> CAP_SYS_ADMIN & 1)


def find_program(name: str) -> str | None:
    """Find a program on the PATH or where system programs are."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":" + SBIN)


def join_group(path: str) -> str:
    """Say how a user gets at a file whose group may use it."""
    group = grp.getgrgid(Path(path).stat().st_gid).gr_name
    if group == "root":
        return "run ./lab as root"
    return f'sudo usermod -aG {group} "$USER", then log in again (or: sg {group} -c ./lab)'


def gather() -> Facts:
    """Read the facts of this process and machine."""
    status = _status()
    return Facts(
        euid=os.geteuid(),
        capabilities=int(status.get("CapEff", "0"), 16),
        seccomp=int(status.get("Seccomp", "0")),
        in_container=any(Path(mark).exists() for mark in _CONTAINER_MARKS),
        in_vm=os.environ.get("LAB_IN_VM") == "1",
        proc_masked=_is_proc_masked(),
        apparmor_restricts_userns=_sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1",
        userns_clone=_sysctl("kernel/unprivileged_userns_clone") != "0",
        namespace_limits=_namespace_limits(),
        has_apt=shutil.which("apt-get") is not None,
        has_sudo=shutil.which("sudo") is not None,
        has_systemd=Path("/run/systemd/system").exists(),
        has_systemd_run=shutil.which("systemd-run") is not None
        and Path(f"/run/user/{os.getuid()}/systemd").exists(),
    )


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:  # this kernel does not have it
        return None


def _namespace_limits() -> dict[str, int]:
    kinds = ("user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time")
    values = {kind: _sysctl(f"user/max_{kind}_namespaces") for kind in kinds}
    return {kind: int(value) for kind, value in values.items() if value is not None}


def _is_proc_masked() -> bool:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    below = [line.split()[4] for line in mounts if line.split()[4].startswith("/proc/")]
    return any(point != "/proc/sys/fs/binfmt_misc" for point in below)
