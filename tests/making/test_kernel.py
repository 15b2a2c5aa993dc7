"""The build of the Lab VM's own kernel.

The fast tests (2 s) build a stand-in: an archive with a Makefile that has the kernel's targets and
compiles ten lines of C. The real thing takes five minutes and runs with LAB_BUILD_KERNEL=1.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from labsupport.doctor import guest
from labsupport.errors import LabError
from labsupport.making import kernel as builder
from labsupport.making.kernel import Fragment, Mend, apply
from labsupport.page import build as page
from tests.waiting import is_alive, wait_until

needs_compiler = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("make") and Path("/usr/include/libelf.h").exists()),
    reason="needs gcc, make and libelf-dev",
)
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 1
SUBLEVEL = 7
x86_64_defconfig:
\techo '# CONFIG_MODULES is not set' > .config
olddefconfig:
\t{olddefconfig}
linux:
\t@for i in 1 2 3 4 5 6 7 8 9 10; do echo "  CC      file$$i.o"; done
\t{compile}
"""
COMPILE = r"""echo 'int main(void) { return 0; }' | gcc -x c -o linux -"""


@pytest.fixture
def scratch(scratch, tmp_path, monkeypatch):
    """The stand-in needs no parser generators, and its .config knows one symbol."""
    monkeypatch.setattr(builder, "_TOOLS", ("gcc", "make", "strip", "tar"))
    (tmp_path / "kernel.config").write_text("# CONFIG_MODULES is not set\nCONFIG_PSI=y\n")
    one = Fragment.read(tmp_path / "kernel.config")
    monkeypatch.setattr(Fragment, "read", lambda: one)
    return scratch


def source(folder, olddefconfig="true", compile=COMPILE):  # noqa: A002
    text = MAKEFILE.format(olddefconfig=olddefconfig, compile=compile).encode()
    path = folder / "linux-6.1.7.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        member = tarfile.TarInfo("linux-6.1.7/Makefile")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return path


def elf(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF\x02\x01" + bytes(58))
    path.chmod(0o755)
    return path


def test_the_hash_follows_symbols_and_mends_and_not_the_prose(tmp_path):
    first, second, third = (tmp_path / name for name in "abc")
    first.write_text("# why\nCONFIG_A=y\nCONFIG_B=y\n")
    second.write_text("CONFIG_B=y\n\n# another reason\nCONFIG_A=y  # if there is one\n")
    third.write_text("CONFIG_A=y\n")

    assert Fragment.read(first).hash == Fragment.read(second).hash != Fragment.read(third).hash
    fragment = Fragment.read()
    assert builder.recipe_hash(fragment) != builder.recipe_hash(fragment, mends=())


@pytest.mark.parametrize(
    "mend", [mend for group in (*builder.MENDS, *page.MENDS) for mend in group]
)
def test_a_mend_changes_its_lines_once_and_leaves_another_version_alone(mend, tmp_path):
    mends = ((mend,),)
    file = tmp_path / mend.file
    assert apply(tmp_path, mends) == []  # no such file
    file.parent.mkdir(parents=True)
    file.write_text(f"before\n{mend.old}after\n")

    assert apply(tmp_path, mends) == [mend]
    assert file.read_text() == f"before\n{mend.new}after\n"
    if mend.old not in mend.new:
        assert apply(tmp_path, mends) == []  # it is mended


def test_mends_that_belong_together_are_made_together(tmp_path):
    first, second = Mend("a", "one", "1"), Mend("b", "two", "2")
    mends = ((first, second),)
    (tmp_path / "a").write_text("one")
    assert apply(tmp_path, mends) == []
    assert (tmp_path / "a").read_text() == "one"

    (tmp_path / "b").write_text("two")
    assert apply(tmp_path, mends) == [first, second]
    assert (tmp_path / "a").read_text() + (tmp_path / "b").read_text() == "12"


def test_a_misspelt_line_is_refused(tmp_path):
    (tmp_path / "f").write_text("CONFIG_A\n")

    with pytest.raises(ValueError, match="f:1: neither a symbol nor a comment: 'CONFIG_A'"):
        Fragment.read(tmp_path / "f")


def test_dropped_symbols_are_found(tmp_path):
    (tmp_path / "f").write_text(
        "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y  # if there is one\n"
        "# CONFIG_D is not set\n# CONFIG_E is not set\n"
    )

    dropped = Fragment.read(tmp_path / "f").dropped("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_E=y")

    assert dropped == ["CONFIG_B=y", "# CONFIG_E is not set"]


def test_missing_tools_are_all_named_with_the_command_that_brings_them(
    tmp_path, scratch, monkeypatch
):
    (tmp_path / "bin").mkdir()
    for tool in ("tar", "xz"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(LabError, match=r"gcc, make, strip(.|\n)*apt-get install linux-source gcc"):
        builder.build(tmp_path / "out", source(tmp_path))
    assert not (tmp_path / "out").exists()


def test_without_a_source_the_package_is_named(tmp_path):
    with pytest.raises(LabError, match=r"apt-get install linux-source(.|\n)*--source"):
        builder.find_source(tmp_path)


def test_the_newest_source_is_taken(tmp_path):
    for version in ("5.15", "6.1", "6.12"):
        (tmp_path / f"linux-source-{version}.tar.xz").touch()
    nested = tmp_path / "linux-source-6.8.0" / "linux-source-6.8.0.tar.bz2"
    nested.parent.mkdir()
    nested.touch()

    assert builder.find_source(tmp_path).name == "linux-source-6.12.tar.xz"


def test_what_is_no_source_is_refused(tmp_path, scratch):
    (tmp_path / "linux-6.1.tar").write_text("not an archive")

    with pytest.raises(LabError, match="is not an archive of a kernel's source"):
        builder.build(tmp_path / "out", tmp_path / "linux-6.1.tar")


@needs_compiler
def test_the_kernel_is_built_once_and_nothing_else_is_left(tmp_path, scratch, monkeypatch, capsys):
    archive = source(tmp_path)
    kernel = builder.build(tmp_path / "out", archive)

    assert kernel.name == f"linux-6.1.7-{builder.recipe_hash(Fragment.read())}"
    assert subprocess.run([kernel], check=False).returncode == 0
    assert list((tmp_path / "out").iterdir()) == [kernel]
    assert guest.own_kernel([tmp_path / "out"]) == kernel

    before = kernel.stat()
    assert builder.build(tmp_path / "out", archive) == kernel
    assert kernel.stat().st_mtime_ns == before.st_mtime_ns
    assert "already there" in capsys.readouterr().out


@needs_compiler
@pytest.mark.parametrize(
    ("step", "broken", "words"),
    [
        ("olddefconfig", "sed -i /PSI/d .config", "CONFIG_PSI=y"),
        ("compile", COMPILE.replace(")", ""), "make ended with status 2.*error: "),
        ("compile", COMPILE.replace("0", "7"), "ended with status 7"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(
    tmp_path, scratch, step, broken, words, capsys
):
    with pytest.raises(LabError, match=rf"(?s){words}"):
        builder.build(tmp_path / "out", source(tmp_path, **{step: broken}))
    assert list((tmp_path / "out").iterdir()) == []
    assert ("compiling Linux 6.1.7: stopped after" in capsys.readouterr().out) == ("make" in words)


@needs_compiler
def test_too_little_space_is_said_before_anything_is_unpacked(tmp_path, scratch, monkeypatch):
    monkeypatch.setattr(builder, "SPACE_BYTES", 1 << 60)

    with pytest.raises(LabError, match=r"GB are needed(.|\n)*TMPDIR=FOLDER"):
        builder.build(tmp_path / "out", source(tmp_path))


@needs_compiler
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_build_leaves_nothing(tmp_path, scratch, number):
    marker = tmp_path / "compiler.pid"
    archive = source(tmp_path, compile=f"echo $$$$ > {marker}; exec sleep 60")
    child = _start_build(tmp_path, archive, scratch)
    compiler = int(wait_until(lambda: marker.exists() and marker.read_text().strip()))
    child.send_signal(number)
    child.wait(60)

    wait_until(lambda: not is_alive(compiler))
    assert list((tmp_path / "out").iterdir()) == []
    if number == signal.SIGKILL:  # nobody could clean up: the next build does
        (left,) = scratch.iterdir()
        os.utime(left, (0, 0))
        builder.build(tmp_path / "out", source(tmp_path))
    else:
        assert child.returncode == 130


def test_a_build_that_is_stopped_while_it_looks_into_the_archive_leaves_nothing(tmp_path, scratch):
    os.mkfifo(archive := tmp_path / "linux-6.1.tar")  # tar waits for its other end
    child = _start_build(tmp_path, archive, scratch)
    tar = int(wait_until(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text))
    child.terminate()
    child.wait(60)

    wait_until(lambda: not is_alive(tar))


def _start_build(tmp_path, archive, scratch):
    program = (
        "import sys, pathlib\n"
        "from labsupport.making import kernel as build\n"
        "from labsupport.making.kernel import Fragment\n"
        f"one = Fragment.read(pathlib.Path({str(tmp_path / 'kernel.config')!r}))\n"
        "Fragment.read = lambda: one\n"
        "build._TOOLS = ('gcc', 'make', 'strip', 'tar')\n"
        "sys.exit(build.main(sys.argv[1:]))\n"
    )
    argv = [sys.executable, "-c", program, "--source", str(archive)]
    argv += ["--output", str(tmp_path / "out")]
    return subprocess.Popen(
        argv, env={**os.environ, "TMPDIR": str(scratch)}, stdout=subprocess.DEVNULL
    )


def test_the_kernel_that_was_built_last_is_used(tmp_path):
    user, system = tmp_path / "user", tmp_path / "system"
    last = elf(system / "linux-6.1.10-0123456789")
    earlier = elf(user / "linux-6.12.9-0123456789")
    os.utime(earlier, (1, 1))
    elf(user / ".linux-6.13.1-0123456789")  # half-written
    (user / "linux-6.14.1-0123456789").write_text("#!/bin/sh")

    assert guest.own_kernel([user, system]) == last
    last.unlink()
    assert guest.own_kernel([user, system]) == earlier
    earlier.chmod(0o644)
    assert guest.own_kernel([user, system, tmp_path / "nothing"]) is None


@pytest.mark.skipif(
    os.environ.get("LAB_BUILD_KERNEL") != "1", reason="takes five minutes: LAB_BUILD_KERNEL=1"
)
def test_the_real_kernel_has_what_it_was_built_for(tmp_path):
    kernel = builder.build(tmp_path)

    done = subprocess.run([kernel, "--showconfig"], capture_output=True, text=True, check=True)
    assert Fragment.read().dropped(done.stdout) == []
    assert kernel.stat().st_size < 12e6
