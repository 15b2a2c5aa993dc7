"""The commands that do what a sandbox did: unshare(1) and nsenter(1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from labsupport.linux.kinds import kinds

_PIVOT = (
    'mount --rbind "$0" "$0"; mount -t tmpfs tmpfs "$0/dev"; '
    "for d in null zero full random urandom tty; "
    'do : > "$0/dev/$d"; mount --bind "/dev/$d" "$0/dev/$d"; done; '
    'mount -t proc proc "$0/proc"; cd "$0"; pivot_root . .; umount -l .; exec "$@"'
)

_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"'


def in_cgroup(procs_paths: Sequence[str], argv: list[str]) -> list[str]:
    """Run `argv` in a cgroup, given by its `cgroup.procs` files."""
    return ["sh", "-ec", _JOIN, "sh", *procs_paths, "--", *argv] if procs_paths else argv


def unshare(
    new: Collection[str],
    argv: Sequence[str],
    rootfs: str | None,
    hostname: str | None,
    uid: int | None = None,
    clock_offsets: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """Make the namespaces and run `argv` as the first program in them."""
    options = [kind.option for kind in kinds(new)]
    if "user" in new:
        options[options.index("--user")] = "--map-root-user"
    if "pid" in new:
        options += ["--fork", "--kill-child"]
        if "mount" in new and rootfs is None:
            options.append("--mount-proc")
    inside = list(argv) or ["sleep", "infinity"]
    if rootfs is not None:
        inside = ["sh", "-ec", _PIVOT, rootfs, *inside]
    if hostname is not None:
        inside = ["sh", "-ec", 'hostname "$0"; exec "$@"', hostname, *inside]
    options += [f"--{clock}={seconds}" for clock, seconds in clock_offsets.items()]
    who = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*who, "unshare", *options, *inside]


def nsenter(new: Collection[str], target: int, argv: Sequence[str]) -> list[str]:
    """Run `argv` in the namespaces of the process `target`."""
    return ["nsenter", f"--target={target}", *_entries(new), *argv]


def fresh_pid(new: Collection[str], target: int, argv: Sequence[str]) -> list[str]:
    """Run `argv` in the namespaces of `target`, but as PID 1 of a new PID namespace."""
    mount_proc = ["--mount-proc"] if "mount" in new else []
    inside = ["unshare", "--pid", "--fork", *mount_proc, *argv]
    return ["nsenter", f"--target={target}", *_entries(set(new) - {"pid"}), *inside]


def _entries(new: Collection[str]) -> list[str]:
    options = [kind.option for kind in kinds(new)]
    if "user" in new:
        options.append("--preserve-credentials")
    return options
