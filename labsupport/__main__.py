"""`python -m labsupport COMMAND`, which is also what `./lab COMMAND` runs.

Each command is a module, which is loaded only when the command is used. A command whose module is
not installed (the tests, outside of a checkout) is not offered.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from labsupport.errors import LabError, nearest

CHECKOUT = Path(__file__).parents[1]


class Command(NamedTuple):
    """A word after `./lab`: its usage, what it does, its module or its folder in the checkout."""

    name: str
    usage: str
    help: str
    home: str

    @property
    def is_here(self) -> bool:
        """Whether it can be offered."""
        if self.home.endswith("/"):
            return any((CHECKOUT / self.home).glob("*.py"))
        return find_spec(f"labsupport.{self.home}") is not None

    def run(self, arguments: Sequence[str]) -> int:
        if self.home.endswith("/"):
            return _IN_CHECKOUT[self.name](list(arguments))
        module = import_module(f"labsupport.{self.home}")
        main: Callable[[Sequence[str]], int | None] = module.main
        return main(arguments) or 0


COMMANDS = [
    Command("open", "[NOTEBOOK]", "open the course in JupyterLab", "course.opening"),
    Command("doctor", "[--json]", "what this machine can do, and why not", "doctor.machine"),
    Command("clean", "[--dry-run]", "remove what ended sessions left", "ownership.marks"),
    Command("base", "[--check]", "make the base image of the tutorials' app", "making.base"),
    Command("vm-disk", "[--check]", "make the disk of notebook 12's machine", "making.vmdisk"),
    Command("vm", "[-- PROGRAM …]", "a shell or program in the Lab VM", "vm.command"),
    Command("kernels", "", "install the notebook kernels", "vm.kernelspecs"),
    Command("registry", "[--again]", "fetch a registry's program", "registry.fetching"),
    Command("notebooks", "[NAME …]", "run notebooks and save their outputs", "making.publishing"),
    Command("progress", "[--export FILE]", "what you have done so far", "course.course_map"),
    Command("recheck", "FILE …", "run handed-in answers once more", "making.recheck"),
    Command("site", "[--output DIR]", "the notebooks as a static site", "making.site"),
    Command("page", "[--serve]", "the course with a Linux in the browser", "page.build"),
    Command("links", "OWNER/REPOSITORY", "write this copy's address into README", "making.links"),
    Command("test", "[…]", "run all tests", "tests/"),
    Command("bench", "[NAME …]", "measure the numbers of docs/speed.md", "benchmarks/"),
]
FOR_THE_VM = {  # ./lab vm --help tells of them
    "build-kernel": Command("vm build-kernel", "", "", "making.kernel"),
    "kernel-wheel": Command("vm kernel-wheel", "", "", "making.kernel_wheel"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to the command it names; 2 means wrong usage."""
    # what the terminal cannot show becomes a question mark
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    here = {command.name: command for command in COMMANDS if command.is_here}
    if words[0] not in here:
        return _unknown(words[0], here)
    command, rest = here[words[0]], words[1:]
    if words[0] == "vm" and rest and rest[0] in FOR_THE_VM:
        command, rest = FOR_THE_VM[rest[0]], rest[1:]
    try:
        status = command.run(rest)
        sys.stdout.flush()  # a reader that has gone is noticed here, not at the very end
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # as in `./lab doctor | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    return status


def usage() -> str:
    """Write the help text, with the commands that are here."""
    here = [command for command in COMMANDS if command.is_here]
    width = max(len(f"{command.name} {command.usage}") for command in here)
    lines = [f"  {f'{c.name} {c.usage}':{width}}  {c.help}" for c in here]
    head = "usage: ./lab COMMAND …   (or: python -m labsupport COMMAND …)"
    foot = "Each command explains itself: ./lab COMMAND --help"
    return "\n".join([head, "", "commands:", *lines, "", foot])


def _unknown(word: str, known: Iterable[str]) -> int:
    print(f"lab: unknown command {word!r}: {nearest(word, known)}\n\n{usage()}", file=sys.stderr)
    return 2


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
            return _unknown(f"bench {name}", scripts)
    failed = 0
    for name in arguments or scripts:
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, str(scripts[name])], cwd=CHECKOUT, check=False)
        failed |= done.returncode != 0
    return int(failed)


_IN_CHECKOUT = {"test": _test, "bench": _bench}


if __name__ == "__main__":
    sys.exit(main())
