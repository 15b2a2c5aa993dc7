"""A laptop's disk: Debian 13 as its installer leaves it, with the course's system packages."""

import shlex
import tomllib
from pathlib import Path

from labsupport.doctor import qemu
from labsupport.making import vmdisk
from labsupport.making.vmdisk import LINKS, Recipe
from tests.toys import CHECKOUT

NAME = "laptop-trixie"
VENV = "/opt/venv"
DEV = ("pytest>=8", "pytest-xdist>=3.5")
COURSE = CHECKOUT / "binder" / "apt.txt"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""Those of this machine's own: a company's proxy may stand between us and the package index."""

_KERNEL = "linux-image-cloud-amd64"
_LAPTOPS = ("linux-image-amd64", "dbus-user-session", "libpam-systemd", "apparmor", "login", "git")
_PYTHON = ("python3", "python3-venv")
_STARTED = ("systemd-logind", "dev-", "sys-kernel", "kmod-", "modprobe@", "systemd-modules")
_SSH = vmdisk.FILES["etc/ssh/sshd_config.d/lab.conf"].replace("UsePAM no", "UsePAM yes")
_TAKEN = ("etc/fstab", "etc/initramfs-tools", "etc/systemd", "etc/sudoers.d", "usr/local")
_FILES = {name: text for name, text in vmdisk.FILES.items() if name.startswith(_TAKEN)} | {
    "etc/hostname": "laptop\n",
    "etc/hosts": "127.0.0.1 localhost laptop\n",
    "etc/ssh/sshd_config.d/lab.conf": _SSH,
}


def recipe() -> Recipe:
    """Return what the disk holds, with the Python packages that the course needs today."""
    names = [line.partition("#")[0].strip() for line in COURSE.read_text().splitlines()]
    packages = [name for name in vmdisk.PACKAGES if name != _KERNEL] + [*_LAPTOPS, *_PYTHON]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    links = {name: to for name, to in LINKS.items() if not Path(name).name.startswith(_STARTED)}
    script = "; ".join(
        [
            "useradd --create-home --shell /bin/bash --groups sudo student",
            "useradd --create-home --shell /bin/bash visitor; chmod 700 /home/*",
            "systemctl disable docker.service containerd.service",  # its socket starts it
            "systemctl set-default multi-user.target; systemctl mask systemd-journal-flush.service",
            f"update-ca-certificates; python3 -m venv {VENV}",
            shlex.join([f"{VENV}/bin/pip", "install", *project["dependencies"], *DEV]),
            "rm -rf /root/.cache /boot/* /etc/ssh/ssh_host_* /usr/sbin/policy-rc.d; apt-get clean",
            "cd /usr/sbin; mv start-stop-daemon.REAL start-stop-daemon || true",
            "echo nameserver 10.0.2.3 >/etc/resolv.conf; : >/etc/machine-id",
        ]
    )
    certificates = [f'cp {file} "$1{CERTIFICATES}"' for file in sorted(CERTIFICATES.glob("*.crt"))]
    included = [*packages, *filter(None, names)]
    outside = "; ".join(["true", *certificates])
    return Recipe(
        NAME, included, outside, _FILES, vmdisk.MODES, links, script, files_system_bytes=12 << 30
    )


def made() -> qemu.BaseDisk:
    """Return the disk, made once and kept in the user's cache. Raises `LabError`."""
    found = qemu.read_disk(vmdisk.build(qemu.user_disks(), recipe=recipe()))
    assert found
    return found
