"""Build the Lab VM's own kernel from the distribution's source, keep it, and find it again.

Not every distribution packages User-Mode Linux, and our own build has what theirs lack (PSI,
nftables, reading of live seccomp filters) and starts six times faster. The binary is GPL-2 and
is never shipped: this command makes it, in the user's cache folder or where `--output` says.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import platformdirs

from labsupport import building
from labsupport.errors import (
    BuildToolMissing,
    KernelBuildFailed,
    KernelOptionDropped,
    KernelSourceMissing,
    LabError,
    NoSpace,
)
from labsupport.vm import mends
from labsupport.vm.fragment import Fragment
from labsupport.vm.progress import Progress

SYSTEM_KERNELS = Path("/usr/local/lib/labsupport/kernels")
SOURCES = Path("/usr/src")
SPACE_BYTES = 900_000_000
# files that one build compiles: 6.1 with our fragment; others differ a little
FILES_TO_COMPILE = 1_240

_NAME = re.compile(r"linux-(\d+(?:\.\d+)+)-([0-9a-f]{10})")
_ARCHIVE = re.compile(r"linux-(?:source-)?(\d+(?:\.\d+)*)\.tar\.\w+")
_ELF_X86_64 = b"\x7fELF\x02\x01"
_TOOLS = ("gcc", "make", "flex", "bison", "bc", "strip", "tar")
_APT = "sudo apt-get install gcc make flex bison bc libelf-dev"
_OTHER_FOLDER = "name a folder with space: TMPDIR=FOLDER ./lab vm build-kernel"
_DNF = "sudo dnf install gcc make flex bison bc elfutils-libelf-devel"
# what other architectures and devices are compiled from; their Kconfig files are needed
_LEFT_PACKED = (
    "*/Documentation/*/*",
    "*/sound/*.[ch]",
    *(f"*/drivers/{name}/*.[ch]" for name in ("gpu", "media", "staging", "infiniband")),
    *(f"*/drivers/net/{name}/*.[ch]" for name in ("ethernet", "wireless")),
    *(f"*/arch/{name}*/*.[chS]" for name in ("arm", "powerpc", "mips")),
    *("*/tools/testing/*", "*/tools/perf/*", "*.dts", "*.dtsi"),
)


def user_kernels() -> Path:
    """Where this user's kernels are kept."""
    return Path(platformdirs.user_cache_dir("labsupport")) / "kernels"


def cached_kernel(folders: Sequence[Path] | None = None) -> Path | None:
    """Find the newest kernel of our own, or None; one built by today's recipe goes first."""
    if platform.machine() != "x86_64":
        return None
    wanted = mends.recipe_hash(Fragment.read())
    found = [
        (match[2] == wanted, _numbers(match[1]), -place, path)
        for place, folder in enumerate(folders or (user_kernels(), SYSTEM_KERNELS))
        for path in folder.glob("linux-*")
        if (match := _NAME.fullmatch(path.name)) and is_kernel(path)
    ]
    return max(found)[-1] if found else None


def is_kernel(path: Path) -> bool:
    """Whether this is a program for x86-64 that this user can execute."""
    if not os.access(path, os.R_OK | os.X_OK) or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_ELF_X86_64)) == _ELF_X86_64


def find_source(folder: Path = SOURCES) -> Path:
    """Find the newest kernel source that the distribution has installed."""
    found = [
        (_numbers(match[1]), path.resolve())
        for pattern in ("linux-source-*.tar.*", "linux-source-*/linux-source-*.tar.*")
        for path in folder.glob(pattern)
        if (match := _ARCHIVE.fullmatch(path.name))
    ]
    if not found:
        raise KernelSourceMissing(
            "no kernel source",
            f"there is no {folder}/linux-source-*.tar.*",
            "sudo apt-get install linux-source (on Debian 12 linux-source-6.12: it starts programs "
            "twice as fast as 6.1); elsewhere give the archive of a kernel's source: "
            "./lab vm build-kernel --source linux-6.12.tar.xz",
        )
    return max(found)[1]


def source_version(archive: Path) -> str:
    """Read the version, such as `6.1.192`, from the Makefile in an archive."""
    argv = ["tar", "--extract", "--to-stdout", "--occurrence=1", "--wildcards"]
    argv += ["--no-wildcards-match-slash", f"--file={archive}", "*/Makefile"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    parts = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", done.stdout, re.MULTILINE))
    if len(parts) < 3:
        why = done.stderr.strip().splitlines()[-1:] or ["there is no kernel's Makefile in it"]
        raise KernelSourceMissing(
            f"{archive} is no archive of a kernel's source", why[0], "see --source"
        )
    return ".".join(parts[name] for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def require_tools() -> None:
    """Raise `BuildToolMissing` unless all that a kernel is built with is installed."""
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if not missing and not _has_header("libelf.h"):
        missing = ["libelf.h"]
    if missing:
        raise BuildToolMissing(
            "a kernel cannot be built here",
            f"not found: {', '.join(missing)}",
            _DNF if shutil.which("dnf") and not shutil.which("apt-get") else _APT,
        )


def build(output: Path, source: Path | None = None, *, jobs: int = 0, again: bool = False) -> Path:
    """Build a kernel into the folder `output`, unless it is there already; return its path.

    Takes five minutes on two cores and `SPACE_BYTES` of a temporary folder, which is removed
    whatever happens. `source` is an archive (tar), by default what `find_source` finds; `jobs` is
    the number of compilers at once, by default one per CPU that this process may use.
    """
    fragment = Fragment.read()
    archive = source or find_source()
    version = source_version(archive)
    kernel = output / f"linux-{version}-{mends.recipe_hash(fragment)}"
    if is_kernel(kernel) and not again:
        print(f"already there: {kernel}")
        return kernel
    require_tools()
    output.mkdir(parents=True, exist_ok=True)
    with building.scratch("kernel", output, SPACE_BYTES, _OTHER_FOLDER) as folder:
        with Progress(f"unpacking {archive.name}"):
            _unpack(archive, folder)
            mends.apply(folder)
        with Progress("configuring"):
            _configure(folder, fragment, archive.name)
        with Progress(f"compiling Linux {version}", FILES_TO_COMPILE) as progress:
            _compile(folder, jobs or len(os.sched_getaffinity(0)), progress)
        _install(folder / "linux", kernel)
    print(f"built: {kernel} ({kernel.stat().st_size / 1e6:.1f} MB)")
    return kernel


def main(argv: Sequence[str]) -> int:
    """`./lab vm build-kernel`: build the Lab VM's own kernel."""
    parser = argparse.ArgumentParser(
        prog="lab vm build-kernel",
        description="Build the Lab VM's own kernel from the distribution's linux-source package "
        "(about five minutes on two cores). It is kept and used from then on.",
    )
    parser.add_argument("--output", type=Path, help=f"folder for it (for all: {SYSTEM_KERNELS})")
    parser.add_argument("--source", type=Path, help="archive of a kernel's source")
    parser.add_argument("--jobs", type=int, default=0, help="compilers at once (one per CPU)")
    parser.add_argument("--again", action="store_true", help="build even if it is there already")
    chosen = parser.parse_args(argv)
    try:
        build(chosen.output or user_kernels(), chosen.source, jobs=chosen.jobs, again=chosen.again)
    except LabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing is left behind", file=sys.stderr)
        return 130
    return 0


def _unpack(archive: Path, folder: Path) -> None:
    left = [f"--exclude={pattern}" for pattern in _LEFT_PACKED]
    argv = ["tar", "--extract", f"--file={archive}", "--strip-components=1"]
    _run([*argv, "--no-same-owner", *left], folder)


def _configure(folder: Path, fragment: Fragment, source: str) -> None:
    _run(_make("x86_64_defconfig"), folder)
    config = folder / ".config"
    with config.open("a") as file:
        file.write("\n".join(fragment.lines) + "\n")
    _run(_make("olddefconfig"), folder)
    if dropped := fragment.dropped(config.read_text()):
        raise KernelOptionDropped(dropped, source)


def _compile(folder: Path, jobs: int, progress: Progress) -> None:
    _run([*_make("linux"), f"--jobs={jobs}"], folder, progress)


def _install(built: Path, kernel: Path) -> None:
    """Strip it, ask it for its version, and only then give it its name."""
    fd, name = tempfile.mkstemp(prefix=".linux-", dir=kernel.parent)
    os.close(fd)
    staged = Path(name)
    try:
        _run(["strip", "--strip-all", "-o", str(staged), str(built)], built.parent)
        staged.chmod(0o755)
        _run([str(staged), "--version"], built.parent)
        staged.replace(kernel)
    finally:
        staged.unlink(missing_ok=True)


def _make(target: str) -> list[str]:
    return ["make", "ARCH=um", "KBUILD_BUILD_USER=labsupport", "KBUILD_BUILD_HOST=lab", target]


def _run(argv: Sequence[str], folder: Path, progress: Progress | None = None) -> None:
    """Run one step, and count the files that it compiles. Raises `KernelBuildFailed`."""

    def heard(line: str) -> None:
        if progress and line.startswith(("  CC ", "  AS ")):
            progress.step()

    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ARCH", "CROSS_COMPILE", "MAKEFLAGS", "MFLAGS", "SUBARCH")
    }
    status, log = building.run(argv, folder, environment, heard)
    if status:
        _explain(argv, folder, status, log)


def _explain(argv: Sequence[str], folder: Path, status: int, log: str) -> NoReturn:
    if "No space left on device" in log:
        raise NoSpace(
            f"{argv[0]} ran out of space",
            f"{folder.parent} is full",
            _OTHER_FOLDER,
        )
    raise KernelBuildFailed(
        f"{Path(argv[0]).name} ended with status {status}",
        log,
        "try the source of another kernel version (--source), or run it with --jobs 1 to see the "
        "first error last",
    )


def _has_header(name: str) -> bool:
    argv = ["gcc", "-E", "-x", "c", "-include", name, os.devnull]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
