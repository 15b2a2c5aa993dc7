"""Kernel modules: a distribution's kernel keeps overlayfs and more in files.

Our own kernel has everything built in, and then nothing happens here.
"""

from __future__ import annotations

import errno
import os

from labsupport.linux import syscalls

# What a container needs; the kernel asks for them by itself where modprobe(8) is installed.
CONTAINERS = (
    "veth",
    "bridge",
    "br_netfilter",
    "ip_tables",
    "iptable_filter",
    "iptable_nat",
    "xt_conntrack",
    "xt_MASQUERADE",
    "xt_addrtype",
    "nf_tables",
)


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
    load("loop", "virtio_blk")  # nobody asks for them: their device nodes come with them
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
