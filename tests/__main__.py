"""The tests, stage by stage: `./lab test` comes here.

Each stage is a process of its own, and a failing one does not stop the next; the last lines sum
them up. Without `--all` it runs what every change must pass: each thing once, where it is most
likely to break. With `--all`, everything is tested in every place: also as an ordinary user, with
Podman, with Debian's kernel, and with every mutant.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from labsupport.build.bases import find_archive
from labsupport.doctor.guest import loses_registers, own_kernel
from labsupport.doctor.machine import NEVER_IN_VM, NOT_IN_DEBIANS
from labsupport.doctor.tries import CAPABILITIES
from labsupport.kernel import proc
from tests import podmans, selection
from tests.accounts import User, made_user
from tests.engines import demand, engine_for_notebooks
from tests.selection import ALL, thorough
from tests.toys import CHECKOUT, NBVAL, verdicts

NOTEBOOKS = CHECKOUT / "notebooks"
KINDS = ("lint", "unit", "user", "notebooks", "podman", "vm", "browser", "page")
EVERY_CHANGE = ("lint", "unit", "user", "notebooks", "vm", "browser")
DIFFERENT_FOR_A_USER = (
    *("doctor", "faults", "kernel", "mount", "net", "ownership", "pid", "sandbox", "users"),
)
"""The rooms whose tests an ordinary user runs, too, if not all tests are run."""
PYTEST = ("-m", "pytest", "-q", "-p", "tests.notebooks", "--durations=5", "--durations-min=5")
# A guest computes all the time. At the host, tests mostly wait: for the 8 s of a live view, for a
# container to end.
BOTH_CORES = ("-n", "2", "--dist", "loadfile")
MOSTLY_WAITING = ("-n", "3", "--dist", "loadfile")
IN_ORDER = "--no-loadscope-reorder"
AT_HOST = {"LAB_PLACE": "host"}
ELSEWHERE = {"browser"}  # tested at the host
ON_PODMAN = ("07", "08", "09", "10", "13")
DEBIANS_KERNEL = Path("/usr/bin/linux.uml")
FAREWELL_SECONDS = 60
CELL_SECONDS_IN_VM = 900  # 10 builds an image of 200 MB three times in a cell


@dataclass(frozen=True)
class Stage:
    """One command with a heading. With `report` it is pytest, and leaves a junit file there."""

    title: str
    argv: Sequence[str]
    report: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: User | None = None
    cwd: Path = CHECKOUT


class PythonOutOfReach(Exception):
    """The environment was made from a Python that is where only root can go."""

    def __str__(self) -> str:
        python = Path(sys.executable).resolve()
        return f"no user can execute {python}: remove .venv; LAB_PYTHON=/usr/bin/python3 ./lab test"


def summary(count: Counter[str]) -> str:
    """Say how many tests ended how."""
    return ", ".join(f"{count[word]} {word}" for word in ("passed", "failed", "skipped"))


def run(stage: Stage) -> Counter[str]:
    """Run a stage, its output going where ours goes, and count its tests."""
    print(f"\n==== {stage.title} ====", flush=True)
    argv = stage.user.command(stage.argv, stage.env) if stage.user else stage.argv
    env = None if stage.user else {**os.environ, **stage.env}
    with subprocess.Popen(argv, cwd=stage.cwd, env=env, stdin=subprocess.DEVNULL) as process:
        try:
            status = process.wait()
        except BaseException:  # Ctrl-C: let pytest end its kernels before we go
            for pid in (*proc.children(process.pid), process.pid):  # runuser passes none on
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            process.wait(timeout=FAREWELL_SECONDS)
            raise
    if stage.report is None:
        return Counter(failed=1) if status else Counter(passed=1)
    return _counted(stage.report, status)


def _counted(report: Path, status: int) -> Counter[str]:
    tests = verdicts(report).values() if report.exists() else ()
    count = Counter(test.outcome for each in tests for test in each)
    # 5 is "no tests were collected"; any other status than 0 and 1 is pytest's own trouble.
    if not report.exists() or (status not in {0, 5} and not count["failed"]):
        count["failed"] = 1
    return count


def lint() -> Iterator[Stage]:
    tools = {
        "ruff check": ("ruff", "check"),
        "ruff format": ("ruff", "format", "--check"),
        "mypy": ("mypy",),
    }
    for title, (module, *arguments) in tools.items():
        yield Stage(f"lint: {title}", [sys.executable, "-m", module, *arguments])


def unit(report: Path, extra: Sequence[str], python: str = sys.executable, **who) -> Stage:
    argv = [python, *PYTEST, *MOSTLY_WAITING, IN_ORDER, "-m", "not browser"]
    argv += [f"--junit-xml={report}", *extra]
    where = ["tests"]
    if who:  # breaking helpers once, as root, is enough
        argv.append("--ignore=tests/test_mutants.py")
        if not thorough():
            where = [f"tests/{room}" for room in DIFFERENT_FOR_A_USER]
    return Stage("unit tests" + _as(who), [*argv, *where], report, AT_HOST, **who)


def notebooks(
    report: Path, extra: Sequence[str], python: str = sys.executable,
    env: Mapping[str, str] = AT_HOST, **who,
) -> Stage:  # fmt: skip
    """Run the notebooks on this machine itself."""
    argv = [python, *PYTEST, *MOSTLY_WAITING, IN_ORDER, *NBVAL, f"--junit-xml={report}"]
    argv += [*extra, *selection.notebooks_at_host()]
    return Stage(f"notebooks{_as(who)}", argv, report, env, **who)


def notebooks_with_podman(report: Path, extra: Sequence[str], address: str) -> Stage:
    """Run the notebooks about images on this machine, with the other engine.

    It has a network of its own, so that nothing of the machine's is touched; it cannot reach a
    registry.
    """
    env = {**AT_HOST, "DOCKER_HOST": address, "LAB_PRETEND_MISSING": "registry"}
    env["LAB_MUST_HAVE"] = f"{os.environ.get('LAB_MUST_HAVE', '')} engine"
    found = [str(path) for number in ON_PODMAN for path in NOTEBOOKS.glob(f"{number}_*.ipynb")]
    argv = [sys.executable, *PYTEST, *MOSTLY_WAITING, *NBVAL, f"--junit-xml={report}"]
    return Stage("notebooks with Podman", [*argv, *extra, *found], report, env)


def notebooks_in_vm(
    kernel: Path, report: Path, extra: Sequence[str], python: str = sys.executable, **who
) -> Stage:
    """Run the notebooks in the Lab VM, with the given kernel."""
    nbval = [word for word in NBVAL if word != "--nbval-current-env"]
    nbval += ["--nbval-kernel-name=lab-vm", f"--nbval-cell-timeout={CELL_SECONDS_IN_VM}"]
    argv = [python, *PYTEST, *BOTH_CORES, IN_ORDER, *nbval]
    title = f"notebooks{_as(who)} in the Lab VM, {kernel.name}"
    env = {"LAB_MUST_HAVE": " ".join(must_have(kernel)), "LAB_KERNEL": str(kernel)}
    argv += [f"--junit-xml={report}", *extra, *selection.notebooks_in_vm()]
    return Stage(title, argv, report, env, **who)


def faults_in_vm() -> Stage:
    """Run the rounds of faults as root of the Lab VM, whose machine is as fresh as its kernel."""
    argv = [sys.executable, "-m", "labsupport", "vm", "--", sys.executable, *PYTEST, "tests/faults"]
    return Stage("rounds of faults in the Lab VM", argv)


def must_have(kernel: Path) -> list[str]:
    """Return what the Lab VM offers with this kernel: a skip for lack of it is a failure."""
    lacking = NEVER_IN_VM | ELSEWHERE
    if kernel == DEBIANS_KERNEL:
        lacking |= NOT_IN_DEBIANS
    return [name for name in CAPABILITIES if name not in lacking]


@contextmanager
def vm_kernels() -> Iterator[list[Path]]:
    """Find the Lab VM's kernels: our own as a copy that each user can read; all: Debian's, too."""
    has_debians = DEBIANS_KERNEL.exists() and not loses_registers(str(DEBIANS_KERNEL))
    found = [DEBIANS_KERNEL] if has_debians else []
    with tempfile.TemporaryDirectory(prefix="lab-kernel-") as folder:
        Path(folder).chmod(0o755)
        if own := own_kernel():
            found.append(Path(shutil.copy(own, folder)))
        yield (found if thorough() else found[-1:]) if has_vm() else []


@contextmanager
def app_base() -> Iterator[dict[str, str]]:
    """Copy the base of the tutorials' app, if it is here, to where each user can read it."""
    with tempfile.TemporaryDirectory(prefix="lab-bases-") as folder:
        Path(folder).chmod(0o755)
        archive = find_archive()
        if archive is None:
            yield {}
            return
        Path(shutil.copy(archive, folder)).chmod(0o644)
        yield {"LAB_BASES": folder}


def browser(report: Path, extra: Sequence[str], env: Mapping[str, str]) -> Stage:
    argv = [sys.executable, *PYTEST, *BOTH_CORES, "-m", "browser", f"--junit-xml={report}", *extra]
    return Stage("browser", [*argv, "tests/browser"], report, env)


def page(report: Path, extra: Sequence[str]) -> Iterator[Stage]:
    """Make the page and run the notebooks in its machine, then the page in browsers."""
    yield Stage("the page's notebooks, in Node", [str(CHECKOUT / "lab"), "page", "--run"])
    argv = [sys.executable, *PYTEST, "-m", "browser", f"--junit-xml={report}", *extra]
    yield Stage("page", [*argv, "tests/page"], report, AT_HOST)


def _as(who: Mapping[str, object]) -> str:
    user = who.get("user")
    return f" as the ordinary user {user.name}" if isinstance(user, User) else ""


@contextmanager
def place_for(user: User) -> Iterator[tuple[Path, str]]:
    """Find a checkout and a Python that an ordinary user can use: these here, or a copy of both."""
    python = sys.executable
    attempt = [python, "-c", "import tests, labsupport, pytest"]
    if user.run(attempt, cwd="/", env=_path(CHECKOUT)).returncode == 0:
        yield CHECKOUT, python
        return
    with tempfile.TemporaryDirectory(prefix="lab-copy-") as scratch:
        Path(scratch).chmod(0o755)
        copy = Path(scratch) / "course"
        print(f"{user.name} cannot read {CHECKOUT}: working on a copy in {copy}", flush=True)
        ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__")
        shutil.copytree(CHECKOUT, copy, symlinks=True, ignore=ignored)
        shutil.copytree(sys.prefix, copy / ".venv", symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", scratch], check=True)
        python = str(copy / ".venv" / "bin" / "python")
        if user.run([python, "-c", "import pytest"]).returncode:
            raise PythonOutOfReach
        yield copy, python


def _path(checkout: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(checkout)}


def stages_of_a_user(user: User, kinds: set[str], extra: Sequence[str]) -> Iterator[Stage]:
    """Yield what an ordinary user runs, in a place that they can read, and what they left."""
    with place_for(user) as (checkout, python), vm_kernels() as found:
        who = {"user": user, "cwd": checkout, "python": python}
        reports = user.home / "tmp"
        stages = []
        if "user" in kinds:
            stages.append(unit(reports / "user.xml", extra, **who))
        if "notebooks" in kinds and thorough():
            stages.append(notebooks(reports / "notebooks.xml", extra, **who))
        if "vm" in kinds:
            stages += [
                notebooks_in_vm(kernel, reports / f"{kernel.name}.xml", extra, **who)
                for kernel in found
            ]
        for stage in stages:
            yield replace(stage, env={**stage.env, **_path(checkout)})
    if left := remaining(user):
        yield Stage(f"these outlived the tests of {user.name}: {left}", ["false"])


def remaining(user: User, seconds: float = 5) -> list[tuple[int, str]]:
    """Return the processes of a user that are still there when they have had time to end."""
    end = time.monotonic() + seconds
    while (left := user.processes()) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def has_vm() -> bool:
    """Tell whether the Lab VM's kernelspec is installed in this environment."""
    return (Path(sys.prefix) / "share" / "jupyter" / "kernels" / "lab-vm").is_dir()


def all_stages(kinds: set[str], extra: Sequence[str], reports: Path) -> Iterator[Stage]:
    """Yield the stages one by one; what a stage needs is made for it and removed after it."""
    if "lint" in kinds:
        yield from lint()
    if "unit" in kinds:
        yield unit(reports / "unit.xml", extra)
    has_notebooks = any(NOTEBOOKS.glob("*.ipynb"))
    if "notebooks" in kinds and has_notebooks:
        # Each starts an engine of its own. In one that several share, BuildKit lets a build without
        # --no-cache join a step that another one builds with it, and no later step is cached.
        yield notebooks(reports / "notebooks.xml", extra, env={**AT_HOST, **demand()})
    if "podman" in kinds and not podmans.why_none():
        with podmans.podman("overlay") as address:
            yield notebooks_with_podman(reports / "podman.xml", extra, address)
    if os.geteuid() == 0 and kinds & {"user", "notebooks", "vm"}:
        with made_user() as user:
            try:
                yield from stages_of_a_user(user, kinds, extra)
            except PythonOutOfReach as error:
                yield Stage(str(error), ["false"])
    elif "vm" in kinds and has_notebooks:
        with vm_kernels() as found:
            for kernel in found:
                yield notebooks_in_vm(kernel, reports / f"{kernel.name}.xml", extra)
    if "vm" in kinds and thorough() and has_vm():
        yield faults_in_vm()
    if "browser" in kinds:
        with engine_for_notebooks() as engine:
            yield browser(reports / "browser.xml", extra, {**AT_HOST, **engine})
    if "page" in kinds:
        yield from page(reports / "page.xml", extra)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./lab test",
        description="Run what every change must pass. Other arguments go to pytest (-k WORD, -x).",
        epilog=selection.IN_WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=KINDS, help="may be given repeatedly")
    parser.add_argument("--all", action="store_true", help="every place, engine, kernel and mutant")
    options, extra = parser.parse_known_args()
    if options.all:
        os.environ[ALL] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A program whose parent ignores Ctrl-C, as a script's job in the background, would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    total, lines = Counter(), []
    with tempfile.TemporaryDirectory(prefix="lab-reports-") as reports, app_base() as base:
        os.environ.update(base)
        kinds = set(options.only or (KINDS if thorough() else EVERY_CHANGE))
        for stage in all_stages(kinds, extra, Path(reports)):
            started = time.monotonic()
            count = run(stage)
            total += count
            lines.append(f"{time.monotonic() - started:6.1f} s  {stage.title}: {summary(count)}")
    print("\n==== summary ====", *lines, summary(total), sep="\n", flush=True)
    return int(total["failed"] > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; what was made for the tests has been removed")
