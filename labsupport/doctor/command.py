"""`./lab doctor`: what this machine can do, where notebooks would run, what elsewhere would add."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence

from labsupport.doctor.guest import OWN
from labsupport.doctor.machine import (
    CORE,
    NEVER_IN_VM,
    NOT_IN_DEBIANS,
    Machine,
    probe,
    text_table,
    vm_offers,
)
from labsupport.doctor.tries import CAPABILITIES


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
    wanted = os.environ.get("LAB_PLACE", "auto")
    return machine.to_json() | {
        "lab_place": wanted,
        "notebooks_run_at": machine.notebooks_run_at(wanted),
        "core_missing": sorted(machine.missing(*CORE)),
        "vm_would_add": sorted(vm_would_add(machine)),
    }


def vm_would_add(machine: Machine) -> list[str]:
    """Return what is missing here and would be there in the Lab VM, if one can be started."""
    vm = machine.found.get("vm")
    return [name for name in CAPABILITIES if name in machine.refused and vm and vm_offers(name, vm)]


def page(machine: Machine) -> str:
    """Write the report for people, in colour on a terminal."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    table = text_table(machine, colour=colour, width=width)
    headline, _, lines = table.partition("\n")
    where, *rest = places(machine)  # before what is missing here, which may be there
    return "\n".join([headline, where, lines, "", *rest, f"(tried in {machine.seconds:.2f} s)"])


def places(machine: Machine) -> list[str]:
    """Say where notebooks would run from here, and what the other place would offer."""
    wanted = os.environ.get("LAB_PLACE", "auto")
    chosen = machine.notebooks_run_at(wanted)
    lines = [f"Notebooks would run {_PLACES[chosen]}: {_why(machine, wanted, chosen)}."]
    if machine.place == "vm":
        return lines
    if not machine.can("vm"):
        return [*lines, "The Lab VM cannot be started here (see vm above)."]
    gained, lost = vm_would_add(machine), _lost_in_vm(machine)
    gain = f"would add {', '.join(gained)}" if gained else "would add nothing that is missing here"
    lines.append(f"The Lab VM ({machine.found['vm']}) {gain}; it has no {', '.join(lost)}.")
    if NOT_IN_DEBIANS & set(lost):
        lines.append(
            f"The course's own kernel would add {', '.join(sorted(NOT_IN_DEBIANS))} to it, and "
            f"starts faster: {OWN}."
        )
    return lines


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


def _lost_in_vm(machine: Machine) -> list[str]:
    is_debians = machine.found["vm"].endswith("/linux.uml")
    lost = NEVER_IN_VM | (NOT_IN_DEBIANS if is_debians else frozenset())
    return [name for name in CAPABILITIES if name in lost - {"vm"}]
