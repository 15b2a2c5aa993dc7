"""Programs made byte by byte, run by this kernel."""

import os
import subprocess

import pytest

from labsupport.build.bases import hello_program

native = pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"), reason="needs x86_64 or aarch64"
)


def written(path, *arguments):
    path.write_bytes(hello_program(*arguments))
    path.chmod(0o755)
    return path


@native
@pytest.mark.parametrize("text", ["Hello\n", "", "Grüße " * 50 + "\n"])
def test_it_says_its_text_and_ends(tmp_path, text):
    program = written(tmp_path / "hello", text)
    done = subprocess.run([program], capture_output=True, timeout=10, check=True)
    assert done.stdout.decode() == text
    assert done.stderr == b""


def test_it_is_small():
    assert all(len(hello_program("Hi\n", name)) < 200 for name in ("x86_64", "aarch64"))


def test_an_aarch64_program_has_the_instructions_of_one():
    # checked once by running it in qemu-aarch64; the text is found by its distance from `adr`
    program = hello_program("Hi\n", "aarch64")
    assert program[18:20] == (183).to_bytes(2, "little")
    adr = int.from_bytes(program[124:128], "little")
    distance = ((adr >> 5 & 0x7FFFF) << 2) | adr >> 29 & 3
    assert program[124 + distance :] == b"Hi\n"
