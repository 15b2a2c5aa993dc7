"""The lines for a terminal that do what a sandbox did: unshare(1) and nsenter(1)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from labsupport.linux.kinds import kinds
from labsupport.trace import command

_PIVOT = (
    'mount --rbind "$0" "$0"; mount -t tmpfs tmpfs "$0/dev"; '
    "for d in null zero full random urandom tty; "
    'do : > "$0/dev/$d"; mount --bind "/dev/$d" "$0/dev/$d"; done; '
    'mount -t proc proc "$0/proc"; cd "$0"; pivot_root . .; umount -l .; exec "$@"'
)


def unshare(
    new: Collection[str], argv: Sequence[str], rootfs: str | None, hostname: str | None
) -> str:
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
    return command(["unshare", *options, *inside])


def nsenter(new: Collection[str], target: int, argv: Sequence[str]) -> str:
    """Run `argv` in the namespaces of the process `target`."""
    return command(["nsenter", f"--target={target}", *_entries(new), *argv])


def fresh_pid(new: Collection[str], target: int, argv: Sequence[str]) -> str:
    """Run `argv` in the namespaces of `target`, but as PID 1 of a new PID namespace."""
    mount_proc = ["--mount-proc"] if "mount" in new else []
    inside = ["unshare", "--pid", "--fork", *mount_proc, *argv]
    return command(["nsenter", f"--target={target}", *_entries(set(new) - {"pid"}), *inside])


def _entries(new: Collection[str]) -> list[str]:
    options = [kind.option for kind in kinds(new)]
    if "user" in new:
        options.append("--preserve-credentials")
    return options
