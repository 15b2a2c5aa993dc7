"""What the virtual machine's disk is made of: a Debian as a cloud offers it.

Of ours is only what a cloud's own agent does at the first start. Some services are left out because
each costs half a second where the processor is simulated.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools"),
    *("systemd-sysv", "udev", "kmod", "e2fsprogs", "procps", "iproute2", "util-linux"),
    *("openssh-server", "sudo"),
    *("docker.io", "iptables", "ca-certificates"),
)
USER = "student"
FILES_SYSTEM_BYTES = 4 << 30

_FIRST_START = f"""\
#!/bin/sh
# What a cloud's agent (cloud-init) does at a machine's first start: let in the key that was handed
# over, make a host key, and say it where the machine's owner can read it.
set -eu
home=/home/{USER}
key=$(sed -n 's/.*lab\\.key=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
mkdir -p "$home/.ssh"
printf 'ssh-ed25519 %s lab\\n' "$key" >"$home/.ssh/authorized_keys"
chmod -R go= "$home/.ssh"
chown -R {USER}:{USER} "$home/.ssh"
ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
printf -- '-----BEGIN SSH HOST KEY-----\\n%s\\n-----END SSH HOST KEY-----\\n' \\
    "$(cat /etc/ssh/ssh_host_ed25519_key.pub)" >/dev/console
# a larger disk was asked for
[ "$(blockdev --getsize64 /dev/vda)" -le {FILES_SYSTEM_BYTES} ] || resize2fs /dev/vda
"""

_FIRST_START_UNIT = """\
[Unit]
Description=What is done at the first start
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
DefaultDependencies=no
After=local-fs.target
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/first-start
"""

FILES = {
    "etc/hostname": "lab-vm\n",
    "etc/hosts": "127.0.0.1 localhost lab-vm\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 0\n",
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\nvirtio_net\next4\n",
    "etc/systemd/network/ether.network": "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\n",
    "etc/systemd/system/first-start.service": _FIRST_START_UNIT,
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\n",
    # no bus (D-Bus) is needed for a driver that writes into cgroupfs itself
    "etc/docker/daemon.json": '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}\n',
    "etc/ssh/sshd_config.d/lab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "KexAlgorithms curve25519-sha256\n"
        "PasswordAuthentication no\nPermitRootLogin no\nUsePAM no\nPrintMotd no\n"
    ),
    "etc/sudoers.d/student": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
    "usr/local/sbin/first-start": _FIRST_START,
}
_MODES = {"etc/sudoers.d/student": 0o440, "usr/local/sbin/first-start": 0o755}
_UNITS = "etc/systemd/system"
_STARTED = {
    "multi-user.target.wants/first-start.service": f"/{_UNITS}/first-start.service",
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
IN_THE_ROOT = (
    f"useradd --create-home --shell /bin/bash --password '*' --groups docker,sudo {USER}; "
    "systemctl --quiet disable docker.service docker.socket containerd.service; "
    # nobody answers: whoever asks for a name must not wait for long
    "echo options timeout:1 attempts:1 >/etc/resolv.conf; "
    "apt-get clean; rm -rf /var/lib/apt/lists/*; "
    "rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id; touch /etc/machine-id"
)
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")


def write_files(path: Path) -> None:
    """Write a tar of `FILES` and `LINKS`, all of them root's."""
    with tarfile.open(path, "w") as tar:
        for name, text in FILES.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), _MODES.get(name, 0o644)
            tar.addfile(member, io.BytesIO(text.encode()))
        for name, target in LINKS.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)


def recipe_hash() -> str:
    """Return ten characters that change with the recipe."""
    parts = [SUITE, PACKAGES, FILES, LINKS, IN_THE_ROOT, LEFT_OUT, FILES_SYSTEM_BYTES]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
