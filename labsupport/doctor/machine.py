"""What can this machine do? Each capability is tried for real, and each "no" has a reason.

    machine = probe()
    machine.can("cgroup.memory")       # True or False
    machine.why_not("psi")             # a reason and a remedy, or None

The trying is done by `labsupport.doctor.tries` in a small process of its own; see there for how.
"""

from __future__ import annotations

import argparse
import functools
import html
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from labsupport.doctor import guest, qemu
from labsupport.doctor.runner import Outcome, outcome_of
from labsupport.doctor.tries import CAPABILITIES
from labsupport.errors import LabError, nearest
from labsupport.figure.table import Markup, html_table
from labsupport.kernel import refusals
from labsupport.kernel.mounts import version
from labsupport.ownership import marks

_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"


def text_table(machine: Machine, *, colour: bool = False, width: int = 100) -> str:
    """Write one line per capability; a "no" is followed by its reason and remedy."""
    green, red, plain = (_GREEN, _RED, _PLAIN) if colour else ("", "", "")
    names = max(map(len, CAPABILITIES))
    lines = [machine.headline(), f"{machine.finding()} ({_count(machine)})", ""]
    for name, what in CAPABILITIES.items():
        no = machine.refused.get(name)
        mark = f"{red}✗ no {plain}" if no else f"{green}✓ yes{plain}"
        lines.append(f"{mark}  {name:{names}}  {what.words}")
        if no:
            indent = " " * (names + 9)
            lines += _wrapped(no.reason, indent, width)
            lines += _wrapped(f"→ {no.remedy}", indent, width) if no.remedy else []
    return "\n".join(lines)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=f"{indent}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _count(machine: Machine) -> str:
    return f"{len(machine.found)} of {len(CAPABILITIES)} capabilities are here"


def _html_row(machine: Machine, name: str) -> tuple[str, ...]:
    words, no = html.escape(CAPABILITIES[name].words), machine.refused.get(name)
    head = Markup(f"{name}<small style='display:block;font-weight:normal'>{words}</small>")
    matters = ", ".join(matters_in(name))
    if no is None:
        return head, Markup("<b>✓&nbsp;yes</b>"), matters, machine.found.get(name, ""), ""
    return head, Markup("<b>✗&nbsp;no</b>"), matters, no.reason, no.remedy


def _html(machine: Machine, names: Iterable[str], caption: str = "") -> str:
    head = ("capability", "here?", "matters in", "why", "what to do")
    looks = ["background:rgba(213,94,0,.13)" if name in machine.refused else "" for name in names]
    return html_table(head, [_html_row(machine, name) for name in names], caption, looks=looks)


@functools.cache
def _marked() -> Mapping[str, tuple[str, ...]]:
    """The numbers of the notebooks whose cells say that they need it, by capability."""
    found: dict[str, list[str]] = {"kvm": ["12"]}  # which goes on without, but slowly
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        for name in chain.from_iterable(needs_of(path)):
            found.setdefault(name, []).append(path.name[:2])
    return {name: tuple(dict.fromkeys(numbers)) for name, numbers in found.items()}


def needs_of(notebook: Path) -> list[list[str]]:
    """Return the names that each `# needs:` line of a notebook's file has, in order."""
    return [line.replace(",", " ").split() for line in _MARKER.findall(notebook.read_text())]


_MARKER = re.compile(r'^\s*"# needs: ([^"\\]*)', re.MULTILINE)


def matters_in(name: str) -> tuple[str, ...]:
    """Return the numbers of the notebooks that need it ("05", "12")."""
    return _marked().get(name, ())


CORE = (
    *("ns.pid", "ns.mount", "ns.net", "ns.uts", "ns.ipc", "ns.user", "ns.cgroup"),
    *("cgroup.memory", "cgroup.cpu", "cgroup.pids", "net.admin", "overlay", "seccomp"),
)
"""What the core notebooks need; a place that lacks any of it is not chosen by itself."""

NEVER_IN_VM = frozenset({"kvm", "vm", "qemu", "bpf.trace"})
"""What no Lab VM has: it is a virtual machine itself, and User-Mode Linux has no tracepoints."""

NOT_IN_DEBIANS = frozenset({"ns.time", "seccomp.read", "psi", "nftables"})
"""What Debian's ready-made User-Mode Linux lacks, and our own build has."""


@dataclass(frozen=True)
class Refusal:
    """Why something cannot be done here, and what to do or type (may be empty)."""

    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason}. What to do: {self.remedy}" if self.remedy else self.reason


@dataclass(frozen=True)
class Machine:
    """What was found; it does not change. `probe(fresh=True)` looks again."""

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
    outer_release: str = ""
    """In the Lab VM, the release of the kernel that its own kernel runs on."""

    def can(self, name: str) -> bool:
        """Whether this machine can do it."""
        return self.why_not(name) is None

    def why_not(self, name: str) -> Refusal | None:
        """Return the reason and remedy, or None if this machine can do it."""
        if name not in CAPABILITIES:
            raise unknown(name)
        return self.refused.get(name)

    def missing(self, *names: str) -> dict[str, Refusal]:
        """Return the refusals among `names`."""
        return {name: no for name in names if (no := self.why_not(name))}

    def pretending(self, words: str) -> Machine:
        """Return this machine without what is named in `words` (LAB_PRETEND_MISSING)."""
        names = words.replace(",", " ").split()
        self.missing(*names)  # or one of them is misspelt
        gone = dict.fromkeys(names, Refusal("pretended missing", "unset LAB_PRETEND_MISSING"))
        found = {name: words for name, words in self.found.items() if name not in gone}
        return replace(self, found=found, refused={**self.refused, **gone})

    def notebooks_run_at(self, wanted: str = "auto") -> str:
        """Return the place that `LAB_PLACE=wanted` leads to from here: "host" or "vm".

        "auto" stays here if every core capability is here, or if no Lab VM can be started.
        """
        places = ("auto", "host", "vm")
        if wanted not in places:
            raise LabError(f"unknown place {wanted!r} in LAB_PLACE", nearest(wanted, places))
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

    def headline(self) -> str:
        """Say in one line what machine this is."""
        version = self.cgroup_version or "none"
        cgroups = {"none": "no cgroups", "hybrid": "cgroups v1 and v2 (hybrid)", 1: "cgroups v1",
                   2: "cgroups v2"}[version]  # fmt: skip
        where = {"host": "this machine", "vm": "the Lab VM", "image": "the course's image",
                 "page": "the page's machine"}  # fmt: skip
        outer = f" (outside: {self.outer_release})" if self.outer_release else ""
        return (
            f"{where[self.place]}: Linux {self.kernel_release} on {self.arch}{outer}, {cgroups}, "
            f"user {self.user}"
        )

    def __str__(self) -> str:
        return text_table(self)

    __repr__ = __str__

    def finding(self) -> str:
        """Say whether the notebooks will run, and which ones lack something."""
        lacking = [name for name in self.refused if matters_in(name)]
        if not lacking:
            return "All that the notebooks need is here"
        where = sorted({number for name in lacking for number in matters_in(name)})
        is_or_are = "is" if len(lacking) == 1 else "are"
        return f"{', '.join(lacking)} {is_or_are} missing, which matters in {', '.join(where)}"

    def _repr_html_(self) -> str:
        headline = self.headline()
        title = f"{headline[0].upper()}{headline[1:]}. {self.finding()}."
        lacking = [name for name in self.refused if matters_in(name)]
        short = _html(self, lacking, title) if lacking else f"<b>{html.escape(title)}</b>"
        return (
            f"{short}<details><summary>All that was tried: {_count(self)}</summary>"
            f"{_html(self, CAPABILITIES)}</details>"
        )


def unknown(name: str) -> LabError:
    """Say that this is not a capability, and which one may be meant."""
    return LabError(f"unknown capability {name!r}", nearest(name, CAPABILITIES))


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
    begin = time.monotonic()
    outcomes = _ask_the_helper()
    known = refusals.gather()
    found = {name: outcome["found"] for name, outcome in outcomes.items() if "found" in outcome}
    return Machine(
        place=_place(),
        kernel_release=os.uname().release,
        arch=os.uname().machine,
        cgroup_version=version(),
        user=_user(),
        found=found,
        refused={
            name: _way_out(name, _refusal(name, outcome, known), found.get("vm"))
            for name, outcome in outcomes.items()
            if name not in found
        },
        seconds=time.monotonic() - begin,
        outer_release=os.environ.get("LAB_OUTER_KERNEL", ""),
    )


def _refusal(name: str, outcome: Outcome, known: refusals.Facts) -> Refusal:
    if "reason" in outcome:
        return Refusal(outcome["reason"], outcome["remedy"])
    step, errno, tried = outcome["step"], outcome["errno"], CAPABILITIES[name]
    return Refusal(*refusals.explain(step, errno, known, tried.kinds, tried.option))


def _find_kernel() -> str:
    if _place() == "vm":
        raise LabError("this is the Lab VM already, and there is no VM in the VM")
    guest.check(guest.LEAST_MEMORY)
    return str(guest.find_kernel())


def _ask_the_helper() -> dict[str, Outcome]:
    """Try everything; the Lab VM's own checks come first, and may already refuse it."""
    vm = outcome_of(_find_kernel)
    known = {"qemu": outcome_of(qemu.check)} | ({} if "found" in vm else {"vm": vm})
    helper = subprocess.run(
        marks.lean("labsupport.doctor.tries", vm.get("found", ""), str(time.monotonic())),
        env=marks.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if helper.returncode:
        said = helper.stderr.strip().splitlines() or [f"exit status {helper.returncode}"]
        raise LabError("this machine could not be probed", said[-1], "please report this")
    return {**json.loads(helper.stdout), **known}


_PROGRAMS = {"engine": "dockerd", "engine.cli": "docker", "engine.builds": "docker",
             "net.admin": "ip", "nftables": "nft"}  # fmt: skip


def vm_offers(name: str, vm: str) -> bool:
    """Whether the Lab VM, described by `machine.found["vm"]`, can do what this machine cannot."""
    # it sees this machine's programs, so what is refused for a missing program is refused there too
    program = _PROGRAMS.get(name, "sh")
    lacking = NEVER_IN_VM | (NOT_IN_DEBIANS if vm.endswith("/linux.uml") else frozenset())
    never = {*lacking, "browser", "engine.compose", "registry"}
    return name not in never and shutil.which(program) is not None


def _way_out(name: str, no: Refusal, vm: str | None) -> Refusal:
    """Name the place that has it as a way out, where there is one."""
    if _place() == "page":  # where nothing can be installed
        return replace(no, remedy="open this notebook on a Linux machine or on Binder")
    if _place() == "vm" and name in NEVER_IN_VM - {"vm"}:
        return replace(no, remedy="choose the kernel “this machine”, if that one has it")
    if _place() == "vm" and name in NOT_IN_DEBIANS and "CONFIG_" in no.remedy:
        return replace(no, remedy=f"outside of the Lab VM: {guest.BUILD} (that kernel has it)")
    if vm is None or not vm_offers(name, vm):
        return no
    way_out = "choose the kernel “Lab VM” for this notebook"
    return replace(no, remedy=f"{no.remedy}; or {way_out}" if no.remedy else way_out)


def _place() -> str:
    if os.environ.get("LAB_IN_VM") == "1":
        return "vm"
    if os.environ.get("LAB_IN_PAGE") == "1":
        return "page"
    return "image" if os.environ.get("LAB_IN_IMAGE") == "1" else "host"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in containers run with a number that has no name
        return str(os.geteuid())


# `./lab doctor`: what this machine can do, and where notebooks would run.


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; the exit status is 0 whatever is missing."""
    parser = argparse.ArgumentParser(
        prog="./lab doctor",
        description="Try what this machine can do, and say why not and what helps.",
    )
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object")
    options = parser.parse_args(arguments)
    machine = probe(fresh=True)
    print(json.dumps(report(machine), indent=2) if options.json else page(machine))
    return 0


def report(machine: Machine) -> dict[str, object]:
    """Return `Machine.to_json()` with the place that notebooks would run in, and why."""
    wanted, vm = os.environ.get("LAB_PLACE", "auto"), machine.found.get("vm")
    return machine.to_json() | {
        "lab_place": wanted,
        "notebooks_run_at": machine.notebooks_run_at(wanted),
        "core_missing": sorted(machine.missing(*CORE)),
        "vm_would_add": sorted(name for name in machine.refused if vm and vm_offers(name, vm)),
    }


def page(machine: Machine) -> str:
    """Write the report for people, in colour on a terminal."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    table = text_table(machine, colour=colour, width=width)
    headline, _, lines = table.partition("\n")
    wanted = os.environ.get("LAB_PLACE", "auto")
    chosen = machine.notebooks_run_at(wanted)
    where = f"Notebooks would run {_PLACES[chosen]}: {_why(machine, wanted, chosen)}."
    return "\n".join([headline, where, lines, "", f"(tried in {machine.seconds:.2f} s)"])


_PLACES = {
    "host": "on this machine (LAB_PLACE=vm chooses the Lab VM)",
    "image": "in this image (LAB_PLACE=vm chooses the Lab VM)",
    "vm": "in the Lab VM",
}


def _why(machine: Machine, wanted: str, chosen: str) -> str:
    if machine.place == "vm":
        return "this is it"
    if wanted != "auto":
        return f"LAB_PLACE={wanted} asks for it"
    missing = machine.missing(*CORE)
    if not missing:
        return "all that the core notebooks need is here"
    lacks = f"this machine lacks {', '.join(missing)}"
    return lacks if chosen == "vm" else f"{lacks}, but no Lab VM can be started"
