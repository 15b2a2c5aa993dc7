"""The guest's first process: make the machine, then serve the line until the host says goodbye.

The root is the host's file system, read-only, under a layer in memory that takes every write. An
error ends this process, and with it the guest; the traceback is on the guest's console.
"""

import errno
import fcntl
import os
import socket
import struct

from labsupport.kernel import syscalls
from labsupport.kernel.syscalls import MNT_DETACH, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID
from labsupport.vm.inside import agent

# Kernel modules: a distribution's kernel keeps overlayfs and more in files. Our own kernel has
# everything built in, so nothing is loaded.

# What a container needs; the kernel asks for them by itself where modprobe(8) is installed.
CONTAINERS = (
    "veth", "bridge", "br_netfilter", "ip_tables", "iptable_filter", "iptable_nat", "xt_conntrack",
    "xt_MASQUERADE", "xt_addrtype", "nf_tables",
)  # fmt: skip


def folder() -> str | None:
    """Where this kernel's modules are; Debian has a place of its own for User-Mode Linux."""
    release = os.uname().release
    for place in (f"/usr/lib/uml/modules/{release}", f"/lib/modules/{release}"):
        if os.path.exists(f"{place}/modules.dep"):
            return place
    return None


def load(*names: str) -> None:
    """Load modules with all that they depend on; names of what is built in are passed over."""
    place = folder()
    if not place:
        return
    needs = _dependencies(place)
    for name in names:
        for file in needs.get(name, ()):
            _insert(f"{place}/{file}")


def offer() -> None:
    """Put the modules where the kernel's own loader, modprobe(8), looks for them."""
    place = folder()
    if not place:
        return
    usual = f"/lib/modules/{os.uname().release}"
    if place != usual:
        os.makedirs("/lib/modules", exist_ok=True)
        os.symlink(place, usual)
    load("loop")  # nobody asks for it: its device nodes come with it
    with open("/proc/sys/kernel/modprobe") as file:
        loader = file.read().strip()
    if not os.access(loader, os.X_OK):
        load(*CONTAINERS)


def _dependencies(place: str) -> dict[str, list[str]]:
    """Read modules.dep(5): for each module its files, in the order to load them in."""
    found = {}
    with open(f"{place}/modules.dep") as file:
        for line in file:
            path, _, others = line.partition(":")
            name = path.rpartition("/")[2].partition(".")[0].replace("-", "_")
            found[name] = [*reversed(others.split()), path]
    return found


def _insert(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.finit_module(fd)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.close(fd)


HOSTNAME = "lab"
CGROUP = "/sys/fs/cgroup"
_SAFE = MS_NOSUID | MS_NODEV | MS_NOEXEC
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40
_FDS = (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2"))


def main(_args: list[str]) -> int:
    """Run as process 1; the serial line's device is in the environment, as `LAB_LINE`."""
    make_root()
    mount_the_rest()
    # every controller may be used in the groups that notebooks will make
    with open(f"{CGROUP}/cgroup.controllers") as file:
        wanted = " ".join(f"+{name}" for name in file.read().split())
    _write(f"{CGROUP}/cgroup.subtree_control", wanted)
    syscalls.sethostname(HOSTNAME)  # which is looked up without a network
    _write("/etc/hosts", f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost ip6-localhost\n")
    request = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)  # the loopback is up; netdevice(7)
    agent.serve(os.environ["LAB_LINE"])
    syscalls.power_off()
    return 0


def make_root() -> None:
    """Pivot to a copy-on-write view of the root: overlay(lower = `/`, upper = memory)."""
    syscalls.mount("proc", "/proc", "proc", _SAFE)
    load("overlay")
    syscalls.mount("upper", "/run", "tmpfs", 0, "mode=755")
    for folder in ("upper", "work", "root"):
        os.mkdir(f"/run/{folder}")
    layers = "lowerdir=/,upperdir=/run/upper,workdir=/run/work"
    syscalls.mount("overlay", "/run/root", "overlay", 0, layers)
    for folder in ("dev", "proc"):
        syscalls.mount(f"/{folder}", f"/run/root/{folder}", None, MS_MOVE)
    os.chdir("/run/root")
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", MNT_DETACH)
    os.chdir("/")


def mount_the_rest() -> None:
    """Mount what every Linux machine has. The host's `/tmp` stays: the course may be there."""
    mount("sysfs", "/sys", "sysfs", _SAFE)
    mount("cgroup2", CGROUP, "cgroup2", _SAFE, "nsdelegate")
    mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666")
    mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV)  # noqa: S108 (that is its name)
    with open("/proc/filesystems") as file:
        known = file.read().split()
    if "mqueue" in known:
        mount("mqueue", "/dev/mqueue", "mqueue", _SAFE)
    for name, fd in _FDS:
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(f"/proc/self/fd{fd}", f"/dev/{name}")
    for folder in ("/run/lock", "/run/lab"):
        os.makedirs(folder, exist_ok=True)
    try:
        os.listdir("/root")
    except OSError:  # the host's rules hold below the guest's, whose root does not know them
        mount("root", "/root", "tmpfs", MS_NOSUID, "mode=700")
    offer()


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str | None = None) -> None:
    """Mount on a folder, which is made if need be."""
    os.makedirs(target, exist_ok=True)
    syscalls.mount(source, target, fstype, flags, data)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
