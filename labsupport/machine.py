"""What can this machine do? Each capability is tried for real, and each "no" has a reason.

    machine = probe()
    machine.can("cgroup.memory")       # True or False
    machine.why_not("psi")             # a reason and a remedy, or None
    machine.require("ns.pid")          # or MissingCapability

The trying is done by `labsupport.probes` in a small process of its own; see there for how.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport.errors import (
    LabError,
    MissingCapability,
    ProbeFailed,
    UnknownCapability,
    UnknownPlace,
)

if TYPE_CHECKING:
    from labsupport.probes.children import Outcome

CAPABILITIES = {
    "ns.pid": "PID namespaces: processes numbered from 1",
    "ns.mount": "mount namespaces: an own tree of file systems",
    "ns.net": "network namespaces: own links and ports",
    "ns.uts": "UTS namespaces: an own host name",
    "ns.ipc": "IPC namespaces: own message queues",
    "ns.user": "user namespaces: root inside, nobody outside",
    "ns.cgroup": "cgroup namespaces: an own root of the tree",
    "ns.time": "time namespaces: own clocks",
    "cgroup.memory": "limits on memory",
    "cgroup.cpu": "limits on CPU time",
    "cgroup.pids": "limits on the number of processes",
    "cgroup.io": "limits on disk traffic",
    "psi": "pressure: how long work waits for CPU, memory, disks",
    "net.admin": "making links between networks (veth)",
    "nftables": "packet filters (nft)",
    "overlay": "layered file systems (overlayfs)",
    "seccomp": "filtering system calls (seccomp)",
    "seccomp.read": "reading the filter of a live process",
    "engine": "a container engine (Docker or Podman)",
    "engine.cli": "the command docker, as typed in a terminal",
    "registry": "a private image registry",
    "vm": "the Lab VM (User-Mode Linux)",
    "kvm": "hardware virtualisation (KVM)",
    "qemu": "a virtual machine with a disk of its own (QEMU)",
    "browser": "a browser for the tests (Chromium)",
}
"""Every name after `# needs:`, with what it means in plain words."""

CORE = (
    *("ns.pid", "ns.mount", "ns.net", "ns.uts", "ns.ipc", "ns.user", "ns.cgroup"),
    *("cgroup.memory", "cgroup.cpu", "cgroup.pids", "net.admin", "overlay", "seccomp"),
)
"""What the core notebooks need; a place that lacks any of it is not chosen by itself."""

NEVER_IN_VM = frozenset({"ns.time", "kvm", "vm", "qemu"})
"""What no Lab VM has: time namespaces are not on its architecture, and it is a VM itself."""

NOT_IN_DEBIANS = frozenset({"seccomp.read", "psi", "nftables"})
"""What Debian's ready-made User-Mode Linux lacks, and our own build has."""

_HELPER = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from labsupport.probes.runner import main; main()"
)
_HELPER_SECONDS = 20


@dataclass(frozen=True)
class Refusal:
    """Why something cannot be done here, and what to do or type (may be empty)."""

    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason}. What to do: {self.remedy}" if self.remedy else self.reason


@dataclass(frozen=True)
class Row:
    """One line of the table: a capability in plain words, what was found or why not."""

    name: str
    words: str
    found: str
    refusal: Refusal | None


@dataclass(frozen=True)
class Machine:
    """What was found; it does not change any more. `probe(fresh=True)` looks again."""

    place: str
    """Where this Python runs: "host", "vm" (the Lab VM) or "image" (the course's image)."""
    kernel_release: str
    arch: str
    cgroup_version: int | str | None
    """By where memory, cpu, pids and io are: 1, 2, "hybrid" if on both, None if nowhere."""
    user: str
    found: Mapping[str, str]
    """What is there, by capability, with a few words on what was seen."""
    refused: Mapping[str, Refusal]
    seconds: float = 0.0
    """How long the probing took."""

    def can(self, name: str) -> bool:
        """Whether this machine can do it."""
        return self.why_not(name) is None

    def why_not(self, name: str) -> Refusal | None:
        """Return the reason and remedy, or None if this machine can do it."""
        if name not in CAPABILITIES:
            raise UnknownCapability(name, CAPABILITIES)
        return self.refused.get(name)

    def missing(self, *names: str) -> dict[str, Refusal]:
        """Return the refusals among `names`."""
        return {name: no for name in names if (no := self.why_not(name))}

    def require(self, *names: str) -> None:
        """Raise `MissingCapability` for the first of `names` that is not there."""
        for name, no in self.missing(*names).items():
            raise MissingCapability(name, no.reason, no.remedy)

    def pretending(self, words: str) -> Machine:
        """Return this machine without what is named in `words` (LAB_PRETEND_MISSING)."""
        names = words.replace(",", " ").split()
        for name in names:
            if name not in CAPABILITIES:
                raise UnknownCapability(name, CAPABILITIES)
        gone = dict.fromkeys(names, Refusal("pretended missing", "unset LAB_PRETEND_MISSING"))
        found = {name: words for name, words in self.found.items() if name not in gone}
        return replace(self, found=found, refused={**self.refused, **gone})

    def notebooks_run_at(self, wanted: str = "auto") -> str:
        """Return the place that `LAB_PLACE=wanted` leads to from here: "host" or "vm".

        "auto" stays here if every core capability is here, or if no Lab VM can be started.
        """
        if wanted not in ("auto", "host", "vm"):
            raise UnknownPlace(wanted, ("auto", "host", "vm"))
        if self.place == "vm" or wanted == "host":
            return self.place
        if wanted == "vm" or (self.missing(*CORE) and self.can("vm")):
            return "vm"
        return self.place

    def to_json(self) -> dict[str, object]:
        """Return plain data: the schema of `./lab doctor --json`, version 1."""
        return {
            "schema": 1,
            "place": self.place,
            "kernel_release": self.kernel_release,
            "arch": self.arch,
            "cgroup_version": self.cgroup_version,
            "user": self.user,
            "probe_seconds": round(self.seconds, 3),
            "capabilities": {
                name: {"can": True, "found": self.found[name]}
                if name in self.found
                else {"can": False, **vars(self.refused[name])}
                for name in CAPABILITIES
            },
        }

    def rows(self) -> list[Row]:
        """Return the table, in the order of `CAPABILITIES`."""
        return [
            Row(name, words, self.found.get(name, ""), self.refused.get(name))
            for name, words in CAPABILITIES.items()
        ]

    def headline(self) -> str:
        """Say in one line what machine this is."""
        cgroups = {
            None: "no cgroups",
            "hybrid": "cgroups v1 and v2 (hybrid)",
            1: "cgroups v1",
            2: "cgroups v2",
        }[self.cgroup_version]
        where = {"host": "this machine", "vm": "the Lab VM", "image": "the course's image"}
        return (
            f"{where[self.place]}: Linux {self.kernel_release} on {self.arch}, {cgroups}, "
            f"user {self.user}"
        )

    def __str__(self) -> str:
        from labsupport.views.machine_table import text_table

        return text_table(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from labsupport.views.machine_table import html_table

        return html_table(self)


_known: Machine | None = None


def probe(*, fresh: bool = False) -> Machine:
    """Try everything once, and remember it in this process; `fresh=True` tries it all again.

    `LAB_PRETEND_MISSING="ns.pid, psi"` makes these come out as missing.
    """
    global _known  # noqa: PLW0603 (the cache)
    if _known is None or fresh:
        _known = _probe()
    pretended = os.environ.get("LAB_PRETEND_MISSING", "")
    return _known.pretending(pretended) if pretended.strip() else _known


def _probe() -> Machine:
    from labsupport.probes import cgroups, facts
    from labsupport.probes.reasons import explain

    begin = time.monotonic()
    outcomes = _ask_the_helper()
    known = facts.gather()
    refused = {}
    for name, outcome in outcomes.items():
        if "step" in outcome:
            refused[name] = Refusal(*explain(name, outcome["step"], outcome["errno"], known))
        elif "reason" in outcome:
            refused[name] = Refusal(outcome["reason"], outcome["remedy"])
    found = {name: outcome["found"] for name, outcome in outcomes.items() if "found" in outcome}
    return Machine(
        place=_place(),
        kernel_release=os.uname().release,
        arch=os.uname().machine,
        cgroup_version=cgroups.version(),
        user=_user(),
        found=found,
        refused={name: _way_out(name, no, found.get("vm")) for name, no in refused.items()},
        seconds=time.monotonic() - begin,
    )


def _ask_the_helper() -> dict[str, Outcome]:
    """Have everything tried; the Lab VM's own checks come first, and may already say no to it."""
    kernel, folder, no = _vm_parts()
    package_home = str(Path(__file__).parents[1])
    helper = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _HELPER, package_home, kernel, folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_HELPER_SECONDS,
    )
    if helper.returncode:
        said = helper.stderr.strip().splitlines() or [f"exit status {helper.returncode}"]
        raise ProbeFailed("this machine could not be probed", said[-1], "please report this")
    outcomes = dict(json.loads(helper.stdout))
    if no:
        outcomes["vm"] = {"reason": no.reason, "remedy": no.remedy}
    return outcomes | {"qemu": _qemu()}


def _qemu() -> Outcome:
    """Look for what a virtual machine needs; nothing is started."""
    from labsupport.vm.machine import requirements

    try:
        return {"found": requirements.check()}
    except LabError as no:
        return {"reason": f"{no.what}: {no.why}" if no.why else no.what, "remedy": no.remedy}


def _vm_parts() -> tuple[str, str, Refusal | None]:
    """Return the kernel that the Lab VM would boot and the folder its memory would be in."""
    from labsupport.vm import kernels, uml

    if _place() == "vm":
        return "", "", None
    try:
        kernel = kernels.find_kernel()
        uml.check(uml.LEAST_MEMORY)
        return str(kernel), uml.memory_folder(uml.LEAST_MEMORY), None
    except LabError as no:
        return "", "", Refusal(f"{no.what}: {no.why}" if no.why else no.what, no.remedy)


def vm_offers(name: str, vm: str) -> bool:
    """Whether the Lab VM, described by `machine.found["vm"]`, can do what this machine cannot.

    It sees this machine's programs, so what is refused for a missing program is refused there too.
    """
    from labsupport.probes import facts

    program = {"engine": "dockerd", "engine.cli": "docker", "nftables": "nft"}.get(name, "sh")
    lacking = NEVER_IN_VM | (NOT_IN_DEBIANS if vm.endswith("/linux.uml") else frozenset())
    return name not in {*lacking, "browser", "registry"} and facts.find_program(program) is not None


def _way_out(name: str, no: Refusal, vm: str | None) -> Refusal:
    """Name the place that has it as a way out, where there is one."""
    from labsupport.probes.vm import BUILD

    if _place() == "vm" and name in NEVER_IN_VM - {"vm"}:
        return replace(no, remedy="choose the kernel “this machine”, if that one has it")
    if _place() == "vm" and name in NOT_IN_DEBIANS and "CONFIG_" in no.remedy:
        return replace(no, remedy=f"outside of the Lab VM: {BUILD} (that kernel has it)")
    if vm is None or not vm_offers(name, vm):
        return no
    way_out = "choose the kernel “Lab VM” for this notebook"
    return replace(no, remedy=f"{no.remedy}; or {way_out}" if no.remedy else way_out)


def _place() -> str:
    if os.environ.get("LAB_IN_VM") == "1":
        return "vm"
    return "image" if os.environ.get("LAB_IN_IMAGE") == "1" else "host"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in containers run with a number that has no name
        return str(os.geteuid())
