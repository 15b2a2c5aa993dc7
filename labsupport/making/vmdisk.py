"""`./lab vm-disk`: make the disk of the tutorial's virtual machine once, and keep it."""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.build.bases import a_file, a_link, pack
from labsupport.doctor import qemu as disks
from labsupport.errors import LabError
from labsupport.making import building
from labsupport.making.building import Progress

# The virtual machine's disk: a Debian as a cloud offers it. We add only what a cloud's agent does
# at the first start. Some services are left out: each takes half a second on a simulated processor.
# Docker is not installed: its packages lie on the disk, since the machine reaches no network.

SUITE = "trixie"
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools"),
    *("systemd-sysv", "udev", "kmod", "e2fsprogs", "procps", "iproute2", "util-linux"),
    *("openssh-server", "sudo", "ca-certificates"),
)
TO_INSTALL = "docker.io docker-cli docker-buildx"
MIRROR = "/srv/debian"
USER = "student"
FILES_SYSTEM_BYTES = 4 << 30

_AGENT = f"""\
#!/bin/sh
# What a cloud's agent (cloud-init) does as a machine starts: let in the key that was handed over,
# make a host key if there is none, and say it where the machine's owner can read it.
set -eu
dmesg --console-level emerg  # a message of the kernel's must not come in between
home=/home/{USER}
key=$(sed -n 's/.*lab\\.key=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
mkdir -p "$home/.ssh"
printf 'ssh-ed25519 %s lab\\n' "$key" >"$home/.ssh/authorized_keys"
chmod -R go= "$home/.ssh"
chown -R {USER}:{USER} "$home/.ssh"
host=/etc/ssh/ssh_host_ed25519_key
[ -e $host ] || ssh-keygen -q -t ed25519 -N '' -C '' -f $host
printf -- '-----BEGIN SSH HOST KEY-----\\n%s\\n-----END SSH HOST KEY-----\\n' \\
    "$(cut -d' ' -f-2 $host.pub)" >/dev/console
# a larger disk was asked for
[ "$(blockdev --getsize64 /dev/vda)" -le {FILES_SYSTEM_BYTES} ] || resize2fs /dev/vda
"""

_AGENT_UNIT = """\
[Unit]
Description=What is done at each start
DefaultDependencies=no
After=local-fs.target
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/agent
"""

FILES = {
    "etc/hostname": "lab-vm\n",
    "etc/hosts": "127.0.0.1 localhost lab-vm\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 0\n",
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\nvirtio_net\next4\n",
    "etc/systemd/network/ether.network": "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\n",
    "etc/systemd/system/agent.service": _AGENT_UNIT,
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\n",
    # no bus (D-Bus) is needed for a driver that writes into cgroupfs itself
    "etc/docker/daemon.json": '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}\n',
    "etc/ssh/sshd_config.d/lab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "KexAlgorithms curve25519-sha256\n"
        "PasswordAuthentication no\nPermitRootLogin no\nUsePAM no\nPrintMotd no\n"
    ),
    "etc/apt/sources.list.d/disk.list": f"deb [trusted=yes] file:{MIRROR} ./\n",
    "etc/sudoers.d/student": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
    "usr/local/sbin/agent": _AGENT,
}
MODES = {"etc/sudoers.d/student": 0o440, "usr/local/sbin/agent": 0o755}
_UNITS = "etc/systemd/system"
_STARTED = {
    "multi-user.target.wants/agent.service": f"/{_UNITS}/agent.service",
    "multi-user.target.wants/systemd-networkd.service": (
        "/lib/systemd/system/systemd-networkd.service"
    ),
}
_NOT_STARTED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "getty.target", "getty@tty1.service"),
    *("systemd-logind.service", "systemd-network-generator.service", "systemd-pstore.service"),
    *("modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service"),
    *("modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount"),
    *("dev-mqueue.mount", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount"),
    *("kmod-static-nodes.service", "systemd-modules-load.service", "systemd-udev-settle.service"),
)
LINKS = {f"{_UNITS}/{name}": target for name, target in _STARTED.items()} | {
    f"{_UNITS}/{name}": "/dev/null" for name in _NOT_STARTED
}
_DOWNLOAD = (
    'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; apt-get clean; '
    f"apt-get --yes --download-only --no-install-recommends install {TO_INSTALL}"
)
# apt takes a folder of packages as a mirror, once there is an index of them: see sources.list(5)
_INDEX = (
    "for deb in *.deb; do dpkg-deb --field $deb; echo Filename: ./$deb; "
    "echo Size: $(stat --format %s $deb); "
    'echo SHA256: $(sha256sum <$deb | cut -d" " -f1); echo; done >Packages'
)
IN_THE_ROOT = (
    f"useradd --create-home --shell /bin/bash --password '*' --groups sudo {USER}; "
    # nobody answers: a program that asks for a name must not wait for long
    "echo options timeout:1 attempts:1 >/etc/resolv.conf; "
    f"mkdir -p {MIRROR}; mv /var/cache/apt/archives/*.deb {MIRROR}; cd {MIRROR}; {_INDEX}; "
    "rm -rf /var/lib/apt/lists/* /etc/apt/sources.list /boot/*; apt-get clean; "
    "echo debconf debconf/frontend select Noninteractive | debconf-set-selections; "
    # mmdebstrap(1) keeps services from starting while it makes the disk
    "rm /usr/sbin/policy-rc.d; cd /usr/sbin; "
    "[ ! -e start-stop-daemon.REAL ] || mv start-stop-daemon.REAL start-stop-daemon; "
    "rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id; touch /etc/machine-id"
)
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")


@dataclass(frozen=True)
class Recipe:
    """What a disk holds: packages, files with their modes, links, and what is done when it does.

    `outside` and `inside` are shell lines; those outside have the new root's folder as `$1`.
    """

    name: str
    packages: Sequence[str]
    outside: str
    files: Mapping[str, str]
    modes: Mapping[str, int]
    links: Mapping[str, str]
    inside: str
    files_system_bytes: int


CLOUD = Recipe(
    disks.NAME, PACKAGES, _DOWNLOAD, FILES, MODES, LINKS, IN_THE_ROOT, FILES_SYSTEM_BYTES
)


def write_files(path: Path, recipe: Recipe) -> None:
    """Write a tar of the recipe's files and links, all of them root's."""
    members = {name: a_link(target) for name, target in recipe.links.items()}
    for name, text in recipe.files.items():
        members[name] = a_file(text.encode(), recipe.modes.get(name, 0o644))
    path.write_bytes(pack(members))


def recipe_hash(recipe: Recipe = CLOUD) -> str:
    """Return ten characters that change with the recipe."""
    parts: list[object] = [SUITE, recipe.packages, recipe.outside, recipe.files, recipe.links]
    parts += [recipe.inside, LEFT_OUT, recipe.files_system_bytes]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


# From Debian's packages to a disk image and its kernel, as any user.

TOOLS = ("mmdebstrap", "mke2fs", "qemu-img")
_STEPS = 270  # as of Debian 13
_APT = "sudo apt-get install mmdebstrap debian-archive-keyring e2fsprogs qemu-utils uidmap"


def require_tools() -> None:
    """Raise `LabError` unless all that makes a disk is installed."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if os.geteuid() != 0 and not shutil.which("newuidmap"):
        missing.append("newuidmap (which lets an ordinary user own files as root inside)")
    if missing:
        raise LabError("a disk cannot be made here", f"not found: {', '.join(missing)}", _APT)


def make(folder: Path, mirror: str = "", recipe: Recipe = CLOUD) -> tuple[Path, Path, Path]:
    """Make a Debian in the folder; return its disk (raw, sparse), kernel and first file system.

    Raises `LabError`.
    """
    disk, files = folder / "disk.raw", folder / "files.tar"
    write_files(files, recipe)
    descriptor = os.open(disk, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # root of the build's user namespace is not us, and opens this file as anybody may
        os.fchmod(descriptor, 0o666)
        os.ftruncate(descriptor, recipe.files_system_bytes)
        _debian(_options(recipe, files, folder, descriptor), folder, descriptor, mirror)
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    boot = folder / "boot"
    return disk, next(boot.glob("vmlinuz-*")), next(boot.glob("initrd.img-*"))


def _options(recipe: Recipe, files: Path, folder: Path, descriptor: int) -> list[str]:
    """Return mmdebstrap's options; hooks are run by a shell, with the new root's folder as `$1`.

    The disk is filled while that folder is there: outside, its owners would be other numbers. What
    is mounted in it (/proc, /dev) is not seen through a bind mount; who may not mount has not
    mounted that either.
    """
    fill = (
        'root="$1.bound"; mkdir "$root"; mount --bind "$1" "$root" 2>/dev/null || '
        '{ rmdir "$root"; root=$1; }; '
        f'mke2fs -q -F -t ext4 -E lazy_itable_init=0 -L lab -d "$root" /proc/self/fd/{descriptor}; '
        'status=$?; [ "$root" = "$1" ] || { umount "$root"; rmdir "$root"; }; exit $status'
    )
    return [
        *("--variant=apt", "--format=null", f"--include={','.join(recipe.packages)}"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        f"--essential-hook=tar-in {shlex.quote(str(files))} /",
        f"--customize-hook=copy-out /boot {shlex.quote(str(folder))}",
        f"--customize-hook={recipe.outside}",
        f'--customize-hook=chroot "$1" sh -ec {shlex.quote(recipe.inside)}',
        f"--customize-hook={fill}",
    ]


def _debian(options: Sequence[str], folder: Path, descriptor: int, mirror: str) -> None:
    # root of an ordinary user's build has no right to pass through that user's folders
    scratch = str(folder) if os.geteuid() == 0 else "/var/tmp"  # noqa: S108 (mmdebstrap makes a folder of its own there)
    environment = {**os.environ, "TMPDIR": scratch}
    target = (SUITE, Path(os.devnull), mirror)
    status, log = building.debian(options, target, _STEPS, folder, environment, [descriptor])
    if status:
        remedy = "connect to a network, and see the lines above"
        raise LabError(f"mmdebstrap ended with status {status}", log, remedy)


SPACE_BYTES = 3_000_000_000
_OTHER_FOLDER = "name a folder with space: TMPDIR=FOLDER ./lab vm-disk"
_FORETOLD = (
    "Makes a disk with Debian, its kernel and the packages of Docker, in one to three minutes. "
    "It takes 3 GB for a moment, 0.2 GB to keep."
)


def build(output: Path, mirror: str = "", *, again: bool = False, recipe: Recipe = CLOUD) -> Path:
    """Make the disk in the folder `output`, unless it is there already; return its folder.

    Needs a network, for Debian's packages, and `SPACE_BYTES` of a temporary folder.
    """
    folder = output / recipe.name
    output.mkdir(parents=True, exist_ok=True)
    with building.alone(output, "./lab vm-disk"):
        if is_current(folder, recipe) and not again:
            print(f"already there: {folder}")
            return folder
        print(_FORETOLD, flush=True)
        require_tools()
        with (
            building.scratch("disk", output, SPACE_BYTES, _OTHER_FOLDER) as scratch,
            building.staged("disk", folder) as staged,
        ):
            staged.mkdir()
            base = _make(scratch, staged, mirror, recipe)
            shutil.rmtree(folder, ignore_errors=True)
    size = (folder / disks.IMAGE).stat().st_size
    print(f"made: Debian with Linux {base.release} in {folder} ({size / 1e6:.0f} MB)")
    return folder


def is_current(folder: Path, recipe: Recipe = CLOUD) -> bool:
    """Whether the disk is there, and made by today's recipe."""
    found = disks.read_disk(folder)
    return found is not None and found.recipe == recipe_hash(recipe)


def main(argv: Sequence[str]) -> int:
    """`./lab vm-disk`: make the disk, or tell whether it is there."""
    chosen = building.parser("vm-disk", _FORETOLD, disks.SYSTEM_DISKS).parse_args(argv)
    folder = (chosen.output or disks.user_disks()) / disks.NAME
    if chosen.check:
        found = disks.read_disk(folder)
        size = found.size_bytes if found else 0
        return building.status_of(lambda: building.tell(folder, size, current=is_current(folder)))
    return building.status_of(
        lambda: build(folder.parent, chosen.mirror, again=chosen.again).exists()
    )


def _make(scratch: Path, staged: Path, mirror: str, recipe: Recipe) -> disks.BaseDisk:
    """Put the disk, its kernel and what is known of them into the folder `staged`."""
    raw, kernel, initrd = make(scratch, mirror, recipe)
    with Progress("writing the disk"):
        packed = ["convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd"]
        disks.run_tool(["qemu-img", *packed, str(raw), str(staged / disks.IMAGE)])
    shutil.copy(kernel, staged / disks.KERNEL)
    shutil.copy(initrd, staged / disks.INITRD)
    release = kernel.name.removeprefix("vmlinuz-")
    about = {"release": release, "recipe": recipe_hash(recipe)}
    (staged / disks.ABOUT).write_text(json.dumps(about))
    found = disks.read_disk(staged)
    assert found  # noqa: S101 (it has just been written)
    return found
