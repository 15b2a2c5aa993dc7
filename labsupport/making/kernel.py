"""Build the Lab VM's own kernel from the distribution's source, and keep it.

Not every distribution packages User-Mode Linux, and our own build has what theirs lack (PSI,
nftables, reading of live seccomp filters) and starts six times faster. This command
makes it, in the user's cache folder or where `--output` says. The binary is GPL-2.0: whoever
passes it on, as a wheel or in an image, also offers its source.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from labsupport.doctor.guest import SYSTEM_KERNELS, is_kernel, user_kernels
from labsupport.errors import LabError
from labsupport.making import building
from labsupport.making.building import Progress

# The configuration fragment of the Lab VM's kernel. Kconfig silently drops a symbol when something
# that it depends on is missing, so each line is looked up in the result.

FRAGMENT = Path(__file__).with_name("kernel.config")
_LINE = re.compile(r"(CONFIG_\w+=\S+|# CONFIG_\w+ is not set)\s*(# if there is one)?\s*")


@dataclass(frozen=True)
class Fragment:
    """Lines as a `.config` has them; `optional` are those that some kernel versions lack."""

    lines: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path = FRAGMENT) -> Fragment:
        """Read a fragment; a line that is neither a symbol nor a comment is a `ValueError`."""
        lines: list[str] = []
        optional: set[str] = set()
        for number, text in enumerate(path.read_text().splitlines(), 1):
            if match := _LINE.fullmatch(text):
                lines.append(match[1])
                if match[2]:
                    optional.add(match[1])
            elif text.strip() and not text.startswith("#"):
                raise ValueError(f"{path}:{number}: neither a symbol nor a comment: {text!r}")
        return cls(tuple(lines), frozenset(optional))

    @property
    def hash(self) -> str:
        """Ten hexadecimal digits that change with the symbols, not with comments or their order."""
        return hashlib.sha256("\n".join(sorted(self.lines)).encode()).hexdigest()[:10]

    def dropped(self, config: str) -> list[str]:
        """Which lines the finished `.config` (its text) does not have."""
        kept = set(config.splitlines())
        # a symbol that does not exist at all is as good as one that is switched off
        there = {line.partition("=")[0] for line in kept}
        off = {each for each in self.lines if each[0] == "#" and each.split()[1] not in there}
        return [line for line in self.lines if line not in kept | self.optional | off]


# Lines of the kernel's source that we change before we build it, each with its reason. A mend whose
# lines are not in the source is left out: that version does not have the bug.


class Mend(NamedTuple):
    """Replace `old` by `new` in a file of the source."""

    file: str
    old: str
    new: str


# A process killed inside fork(2) leaves an address space copied in part, with a mark where copying
# stopped. exit_mmap() knows the mark; User-Mode Linux flushes its TLB there, takes the mark for a
# mapping, and panics: each fork bomb that is killed would end the guest (seen with 6.12).
STOP_AT_THE_MARK = Mend(
    "arch/um/kernel/tlb.c",
    """	for_each_vma(vmi, vma)
		um_tlb_mark_sync(mm, vma->vm_start, vma->vm_end);
""",
    """	for_each_vma(vmi, vma) {
		if (xa_is_zero(vma))
			break;
		um_tlb_mark_sync(mm, vma->vm_start, vma->vm_end);
	}
""",
)
# The kernel offers time namespaces only where its vDSO knows them, since the C library asks there
# for the time. User-Mode Linux's vDSO makes system calls (arch/x86/um/vdso), so nothing is lacking.
OFFER_TIME_NAMESPACES = Mend(
    "init/Kconfig",
    """	bool "TIME namespace"
	depends on GENERIC_VDSO_TIME_NS
""",
    """	bool "TIME namespace"
	depends on GENERIC_VDSO_TIME_NS || UML
""",
)
LEAVE_VDSO_DATA = Mend(
    "kernel/time/namespace.c",
    """	vdata = arch_get_vdso_data(page_address(ns->vvar_page));

	for (i = 0; i < CS_BASES; i++)
		timens_setup_vdso_data(&vdata[i], ns);
""",
    """	if (IS_ENABLED(CONFIG_UML))
		goto out;
	vdata = page_address(ns->vvar_page);

	for (i = 0; i < CS_BASES; i++)
		timens_setup_vdso_data(&vdata[i], ns);
""",
)
# What asks the hardware for the time cannot be compiled for User-Mode Linux.
LEAVE_THE_HARDWARE = Mend(
    "kernel/time/namespace.c",
    "#include <vdso/datapage.h>\n",
    """#ifdef CONFIG_UML
#define __ASM_VDSO_GETTIMEOFDAY_H
#define __ASM_VDSO_PROCESSOR_H
#endif
#include <vdso/datapage.h>
""",
)
JOIN_NO_VDSO = Mend(
    "kernel/time/namespace.c",
    "	vdso_join_timens(tsk, ns);\n",
    "	if (!IS_ENABLED(CONFIG_UML))\n		vdso_join_timens(tsk, ns);\n",
)
# User-Mode Linux keeps 2,696 bytes of a program's floating-point registers, and hands as many back.
# A CPU with AMX has 11,008, and its kernel takes all of them or none (EFAULT): PID 1 dies at its
# first instruction. What is missing are the registers of AMX, which nobody has used: zeros will do.
# The host takes as many bytes as it knows. Linux 6.13 asks it for the size (commit 3f17fed21491).
HAND_BACK_ALL_REGISTERS = Mend(
    "arch/x86/um/os-Linux/registers.c",
    """		iov.iov_base = fp_regs;
		iov.iov_len = FP_SIZE * sizeof(unsigned long);
		if (ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov) < 0)
""",
    """		static char all[16384];

		__builtin_memcpy(all, fp_regs, FP_SIZE * sizeof(unsigned long));
		iov.iov_base = all;
		iov.iov_len = sizeof(all);
		if (ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov) < 0)
""",
)
Mends = tuple[tuple[Mend, ...], ...]
MENDS: Mends = (
    (STOP_AT_THE_MARK,),
    (HAND_BACK_ALL_REGISTERS,),
    (OFFER_TIME_NAMESPACES, LEAVE_THE_HARDWARE, LEAVE_VDSO_DATA, JOIN_NO_VDSO),
)
"""Those of a group belong together: all of them are made, or none."""


def recipe_hash(fragment: Fragment, mends: Mends = MENDS) -> str:
    """Ten hexadecimal digits that change with the configuration's symbols and with the mends."""
    text = "".join(part for group in mends for mend in group for part in mend)
    return hashlib.sha256(f"{fragment.hash}{text}".encode()).hexdigest()[:10]


def apply(source: Path, mends: Mends = MENDS) -> list[Mend]:
    """Change the files of an unpacked source; return the mends that applied."""
    files = {mend.file: source / mend.file for group in mends for mend in group}
    texts = {name: file.read_text() for name, file in files.items() if file.is_file()}
    made: list[Mend] = []
    for group in mends:
        if all(texts.get(mend.file, "").count(mend.old) == 1 for mend in group):
            made += group
    for mend in made:
        files[mend.file].write_text(files[mend.file].read_text().replace(mend.old, mend.new))
    return made


UML = ("ARCH=um",)
SOURCES = Path("/usr/src")
SPACE_BYTES = 900_000_000
# files that one build compiles: 6.1 with our fragment; others differ a little
FILES_TO_COMPILE = 1_240

_ARCHIVE = re.compile(r"linux-(?:source-)?(\d+(?:\.\d+)*)\.tar\.\w+")
_TOOLS = ("gcc", "make", "flex", "bison", "bc", "strip", "tar")
_APT = "sudo apt-get install linux-source gcc libc6-dev make flex bison bc libelf-dev"
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


def find_source(folder: Path = SOURCES) -> Path:
    """Find the newest kernel source that the distribution has installed."""
    found = [
        (tuple(map(int, match[1].split("."))), path.resolve())
        for pattern in ("linux-source-*.tar.*", "linux-source-*/linux-source-*.tar.*")
        for path in folder.glob(pattern)
        if (match := _ARCHIVE.fullmatch(path.name))
    ]
    if not found:
        remedy = (
            f"{_APT} (on Debian 12 linux-source-6.12: it starts programs twice as fast as 6.1), "
            "then start this again; elsewhere give the archive of a kernel's source: "
            "./lab vm build-kernel --source linux-6.12.tar.xz"
        )
        raise LabError("no kernel source", f"there is no {folder}/linux-source-*.tar.*", remedy)
    return max(found)[1]


def source_version(archive: Path) -> str:
    """Read the version, such as `6.1.192`, from the Makefile in an archive."""
    done = read_member(archive, "Makefile")
    parts = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", done.stdout, re.MULTILINE))
    if len(parts) < 3:
        why = done.stderr.strip().splitlines()[-1:] or ["there is no kernel's Makefile in it"]
        raise LabError(f"{archive} is not an archive of a kernel's source", why[0], "see --source")
    return ".".join(parts[name] for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def read_member(archive: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Read a file of a source from its archive; `stderr` says why where `stdout` is empty."""
    argv = ["tar", "--extract", "--to-stdout", "--occurrence=1", "--wildcards"]
    argv += ["--no-wildcards-match-slash", f"--file={archive}", f"*/{name}"]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, preexec_fn=building.ends_with_us()
    )


def require_tools() -> None:
    """Raise `LabError` unless all that a kernel is built with is installed."""
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    header = ["gcc", "-E", "-x", "c", "-include", "libelf.h", os.devnull]
    if not missing and subprocess.run(header, capture_output=True, check=False).returncode:
        missing = ["libelf.h"]
    if missing:
        install = _DNF if shutil.which("dnf") and not shutil.which("apt-get") else _APT
        why, remedy = f"not found: {', '.join(missing)}", f"{install}, then start this again"
        raise LabError("a kernel cannot be built here", why, remedy)


def build(output: Path, source: Path | None = None, *, jobs: int = 0, again: bool = False) -> Path:
    """Build a kernel into the folder `output`, unless it is there already; return its path.

    Takes five minutes on two cores and `SPACE_BYTES` of a temporary folder, which is removed
    whatever happens. `source` is an archive (tar), by default what `find_source` finds; `jobs` is
    the number of compilers at once, by default one per CPU that this process may use.
    """
    fragment = Fragment.read()
    archive = source or find_source()
    version = source_version(archive)
    kernel = output / f"linux-{version}-{recipe_hash(fragment)}"
    if is_kernel(kernel) and not again:
        print(f"already there: {kernel}")
        return kernel
    require_tools()
    output.mkdir(parents=True, exist_ok=True)
    with building.scratch("kernel", output, SPACE_BYTES, _OTHER_FOLDER) as folder:
        with Progress(f"unpacking {archive.name}"):
            unpack(archive, folder)
            apply(folder)
        with Progress("configuring"):
            configure(folder, fragment, archive.name)
        with Progress(f"compiling Linux {version}", FILES_TO_COMPILE) as progress:
            jobs = jobs or len(os.sched_getaffinity(0))
            run([*make("linux"), f"--jobs={jobs}"], folder, progress)
        with building.staged("kernel", kernel) as staged:  # it has to say its version first
            run(["strip", "--strip-all", "-o", str(staged), "linux"], folder)
            staged.chmod(0o755)
            run([str(staged), "--version"], folder)
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
    output = chosen.output or user_kernels()
    return building.status_of(
        lambda: build(output, chosen.source, jobs=chosen.jobs, again=chosen.again).exists()
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack what is needed of a kernel's source."""
    left = [f"--exclude={pattern}" for pattern in _LEFT_PACKED]
    argv = ["tar", "--extract", f"--file={archive}", "--strip-components=1"]
    run([*argv, "--no-same-owner", *left], folder)


def configure(
    folder: Path, fragment: Fragment, source: str, platform: Sequence[str] = UML,
    begin: str = "x86_64_defconfig",
) -> None:  # fmt: skip
    """Lay a fragment over the configuration `begin`. Raises `LabError`: a line was dropped."""
    run(make(begin, platform), folder)
    config = folder / ".config"
    with config.open("a") as file:
        file.write("\n".join(fragment.lines) + "\n")
    run(make("olddefconfig", platform), folder)
    if dropped := fragment.dropped(config.read_text()):
        raise LabError(
            "the kernel would lack what the course needs",
            f"{source} did not accept {', '.join(dropped)}",
            "use the source of another kernel version (--source), or, if the symbol has gone from "
            'it for good, mark its line in kernel.config with "# if there is one"',
        )


def make(target: str, platform: Sequence[str] = UML) -> list[str]:
    """Return the command that makes a target for a platform."""
    return ["make", *platform, "KBUILD_BUILD_USER=labsupport", "KBUILD_BUILD_HOST=lab", target]


def run(argv: Sequence[str], folder: Path, progress: Progress | None = None) -> None:
    """Run one step, and count the files that it compiles. Raises `LabError`."""

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
        what = f"{Path(argv[0]).name} ended with status {status}"
        remedy = "try the source of another kernel version (--source), or run it with --jobs 1"
        remedy += " to see the first error last"
        raise LabError(what, f"the last lines were\n{log}", remedy)
