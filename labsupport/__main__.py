"""`python -m labsupport COMMAND`, which is also what `./lab COMMAND` runs.

Each command lives in a module of its own, which is loaded only when the command is used. A command
whose module is not installed (the tests, outside of a checkout) is not offered.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from labsupport.errors import LabError, UnknownCommand

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Command:
    """A word after `./lab`: its usage, what it does, where it is."""

    name: str
    usage: str
    help: str
    home: str

    @property
    def is_here(self) -> bool:
        """Whether it can be offered: its module, or its folder in the checkout, is there."""
        if self.home.endswith("/"):
            return (CHECKOUT / self.home).is_dir() and any((CHECKOUT / self.home).glob("*.py"))
        return find_spec(self.home) is not None

    def run(self, arguments: Sequence[str]) -> int:
        """Run it and return its exit status."""
        if self.home.endswith("/"):
            return _IN_CHECKOUT[self.name](list(arguments))
        main: Callable[[Sequence[str]], int | None] = import_module(self.home).main
        return main(arguments) or 0


COMMANDS = [
    Command("open", "[NOTEBOOK]", "open the course in JupyterLab", "labsupport.opening"),
    Command("doctor", "[--json]", "what this machine can do, and why not", "labsupport.doctor"),
    Command("clean", "[--dry-run]", "remove what ended sessions left", "labsupport.ownership"),
    Command(
        "base", "[--check]", "make the base image of the tutorials' app", "labsupport.base.command"
    ),
    Command(
        "vm-disk",
        "[--check]",
        "make the disk of notebook 12's machine",
        "labsupport.vmdisk.command",
    ),
    Command("vm", "[-- PROGRAM …]", "a shell or program in the Lab VM", "labsupport.vm.command"),
    Command("kernels", "", "install the notebook kernels", "labsupport.vm.kernelspecs"),
    Command(
        "registry", "[--anew]", "fetch a registry's program", "labsupport.engine.registry_fetching"
    ),
    Command(
        "notebooks", "[NAME …]", "run notebooks and save their outputs", "labsupport.publishing"
    ),
    Command("progress", "[--export FILE]", "what you have done so far", "labsupport.course.export"),
    Command("recheck", "FILE …", "run handed-in answers once more", "labsupport.course.recheck"),
    Command("site", "[--output DIR]", "the notebooks as a static site", "labsupport.site"),
    Command("test", "[…]", "run all tests", "tests/"),
    Command("bench", "[NAME …]", "measure the numbers of the README", "benchmarks/"),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to the command it names; 2 is a fault in its use."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    try:
        status = _named(words[0]).run(words[1:])
        sys.stdout.flush()  # a reader that has gone is noticed here, not at the very end
        return status
    except UnknownCommand as error:
        print(f"lab: {error}\n\n{usage()}", file=sys.stderr)
        return 2
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # as in `./lab doctor | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def usage() -> str:
    """Write the help text, with the commands that are here."""
    here = [command for command in COMMANDS if command.is_here]
    width = max(len(f"{command.name} {command.usage}") for command in here)
    lines = [f"  {f'{c.name} {c.usage}':{width}}  {c.help}" for c in here]
    head = "usage: ./lab COMMAND …   (or: python -m labsupport COMMAND …)"
    foot = "Each command explains itself: ./lab COMMAND --help"
    return "\n".join([head, "", "commands:", *lines, "", foot])


def _named(word: str) -> Command:
    here = {command.name: command for command in COMMANDS if command.is_here}
    if word not in here:
        raise UnknownCommand(word, here)
    return here[word]


def _test(arguments: list[str]) -> int:
    argv = [sys.executable, "-m", "tests", *arguments]
    return subprocess.run(argv, cwd=CHECKOUT, check=False).returncode


def _bench(arguments: list[str]) -> int:
    """Run the benchmarks, or those named, one after another; 1 if any of them fails."""
    scripts = {path.stem: path for path in sorted((CHECKOUT / "benchmarks").glob("*.py"))}
    if {"-h", "--help"} & set(arguments):
        print(f"usage: ./lab bench [NAME …]\n\nnames: {', '.join(scripts)}")
        return 0
    for name in arguments:
        if name not in scripts:
            raise UnknownCommand(f"bench {name}", scripts)
    failed = 0
    for name in arguments or scripts:
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, str(scripts[name])], cwd=CHECKOUT, check=False)
        failed |= done.returncode != 0
    return int(failed)


_IN_CHECKOUT = {"test": _test, "bench": _bench}


if __name__ == "__main__":
    sys.exit(main())
