"""What a sandbox's programs are held by besides namespaces, as the notebook asks for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Group(Protocol):
    """A cgroup that programs can join: `labsupport.linux.cgroups.Cgroup` is one."""

    @property
    def procs_paths(self) -> tuple[str, ...]:
        """Its `cgroup.procs` files: one, or one for each hierarchy of version 1."""


class Programs(Protocol):
    """Seccomp filters to load: `labsupport.linux.seccomp.Filter` is one."""

    @property
    def programs(self) -> tuple[bytes, ...]:
        """Arrays of `struct sock_filter`, in the order of loading."""


@dataclass(frozen=True)
class Confinement:
    """A cgroup, the capabilities that are kept (None: all), seccomp filters."""

    cgroup: Group | None = None
    filter: Programs | None = None
    keep_caps: Collection[str] | None = None

    def order(self) -> dict[str, Any]:
        """Return it as plain data, for the sandbox's helper processes."""
        return {
            "cgroups": self.cgroup.procs_paths if self.cgroup else (),
            "filters": self.filter.programs if self.filter else (),
            "keep_caps": self._mask(),
        }

    def _mask(self) -> int | None:
        if self.keep_caps is None:
            return None
        from labsupport.linux.capabilities import capability_mask

        return capability_mask(self.keep_caps)

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command that drops capabilities and runs `argv`; no tool loads filters."""
        if self.keep_caps is None:
            return list(argv)
        kept = ",".join(["-all", *(f"+{_short(name)}" for name in sorted(self.keep_caps))])
        return ["setpriv", f"--bounding-set={kept}", "--inh-caps=-all", *argv]


def _short(name: str) -> str:
    return name.lower().removeprefix("cap_")
