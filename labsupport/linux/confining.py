"""What a forked child puts on before it is a program: its cgroup, capabilities, seccomp filter."""

from __future__ import annotations

import os

from labsupport.linux import syscalls as sc
from labsupport.linux.messages import Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def open_groups(paths: Sequence[str]) -> list[int]:
    """Open the `cgroup.procs` files, while they can be reached: a pivot_root may hide them."""
    with Stage("open the cgroup"):
        return [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in paths]


def join_groups(groups: Iterable[int], paths: Sequence[str]) -> None:
    """Move the calling process into the cgroups; cgroups(7)."""
    for fd, path in zip(groups, paths, strict=True):
        sc.note(f'write("{path}", "0")')
        with Stage("join the cgroup"):
            os.write(fd, b"0")


def enter_cgroup_namespace(groups: list[int], paths: Sequence[str]) -> None:
    """Enter a cgroup namespace whose root is the given cgroup; cgroup_namespaces(7).

    Its root is where the process is that makes it. So a child joins the cgroup and makes it: the
    holder itself must not be counted there.
    """
    ready, tell = os.pipe2(os.O_CLOEXEC)
    wait, release = os.pipe2(os.O_CLOEXEC)
    with Stage("make the cgroup namespace"):
        pid, pidfd = sc.clone3()
        if pid == 0:
            os.close(release)
            _make_cgroup_namespace(groups, paths, tell)
            os.read(wait, 1)
            os._exit(0)
        os.close(tell)
        try:
            if not os.read(ready, 1):
                raise PermissionError(1, "the cgroup could not be joined or its namespace made")
            sc.setns(pidfd, sc.CLONE_NEWCGROUP)
        finally:
            for fd in (ready, wait, release, pidfd):
                os.close(fd)
            os.waitpid(pid, 0)


def _make_cgroup_namespace(groups: list[int], paths: Sequence[str], tell: int) -> None:
    try:
        join_groups(groups, paths)
        sc.unshare(sc.CLONE_NEWCGROUP)
        os.write(tell, b"!")
    finally:
        os.close(tell)


def bound_capabilities(kept: int) -> None:
    """Let the next execve leave no capability but `kept` (a bit mask); capabilities(7).

    The bounding set caps what root gains by execve, so what is effective may stay until then:
    loading a seccomp filter takes CAP_SYS_ADMIN.
    """
    with Stage("drop capabilities"):
        sc.drop_from_bounding_set(kept)
        effective, permitted, _ = sc.capget()
        sc.capset(effective, permitted, 0)


def load_filters(programs: Iterable[bytes]) -> None:
    """Put the calling process under seccomp filters, for good."""
    for program in programs:
        with Stage("load the seccomp filter"):
            sc.seccomp_set_filter(program)
