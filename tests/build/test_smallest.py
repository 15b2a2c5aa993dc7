"""Programs made byte by byte, run by this kernel."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from labsupport.build.bases import busybox_layer, hello_program
from labsupport.errors import LabError

native = pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"), reason="needs x86_64 or aarch64"
)

on_x86_64 = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="needs x86_64, which runs i386's programs, too"
)


def written(path, *arguments):
    path.write_bytes(hello_program(*arguments))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("text", ["Hello\n", "", "Grüße " * 50 + "\n"])
@pytest.mark.parametrize(
    "machine",
    [pytest.param((), marks=native), pytest.param(("i686",), marks=on_x86_64)],
    ids=["this", "i686"],
)
def test_it_says_its_text_and_ends(tmp_path, text, machine):
    program = written(tmp_path / "hello", text, *machine)
    done = subprocess.run([program], capture_output=True, timeout=60, check=True)
    assert (done.stdout.decode(), done.stderr) == (text, b"")
    assert not machine or program.read_bytes()[4] == 1  # ELFCLASS32


def test_an_aarch64_program_has_the_instructions_of_one():
    # checked once by running it in qemu-aarch64; the text is found by its distance from `adr`
    program = hello_program("Hi\n", "aarch64")
    assert program[18:20] == (183).to_bytes(2, "little")
    adr = int.from_bytes(program[124:128], "little")
    distance = ((adr >> 5 & 0x7FFFF) << 2) | adr >> 29 & 3
    assert program[124 + distance :] == b"Hi\n"


@on_x86_64
@pytest.mark.parametrize("machine", ["x86_64", "i686"])
def test_a_static_busybox_of_32_or_64_bits_makes_the_base_image(tmp_path, monkeypatch, machine):
    written(tmp_path / "busybox", "bin/sh\n", machine)  # what `busybox --list-full` would say
    monkeypatch.setenv("PATH", str(tmp_path))

    with tarfile.open(fileobj=io.BytesIO(busybox_layer())) as layer:
        assert layer.getmember("bin/sh").linkname == "busybox"


def test_a_script_or_a_program_with_a_loader_is_no_static_busybox(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    busybox = tmp_path / "busybox"
    for content in (b"#!/bin/sh\n", Path(sys.executable).resolve().read_bytes()):
        busybox.write_bytes(content)
        busybox.chmod(0o755)
        with pytest.raises(LabError, match="needs shared libraries"):
            busybox_layer()
