"""The smallest program for an image, made without a compiler."""

from __future__ import annotations

import os
import struct

# The smallest of all asks the kernel for two things, `write` and `exit`, and needs nothing else: no
# library, no shell, no loader. So it shows what an image must hold (a program), and what comes from
# elsewhere (a kernel). elf(5), syscall(2).

BASE = 0x400000  # where the file is put in memory
_HEADER, _PROGRAM_HEADER = 64, 56  # sizes of Elf64_Ehdr and Elf64_Phdr
_MACHINES = {"x86_64": 62, "aarch64": 183}  # elf.h: EM_X86_64, EM_AARCH64


def hello_program(text: str, machine: str | None = None) -> bytes:
    """Return an executable file that writes `text` and ends.

    `machine` is `x86_64` or `aarch64`, by default what this machine is.
    """
    machine = machine or os.uname().machine
    said = text.encode()
    code = _code(machine, len(said))
    size = _HEADER + _PROGRAM_HEADER + len(code) + len(said)
    entry = BASE + _HEADER + _PROGRAM_HEADER
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bits, little-endian, version 1
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", identity, 2, _MACHINES[machine], 1, entry, _HEADER, 0, 0,
        _HEADER, _PROGRAM_HEADER, 1, 0, 0, 0,
    )  # fmt: skip
    load_readable_executable = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    return header + load_readable_executable + code + said


def _code(machine: str, length: int) -> bytes:
    """Return the instructions; the text follows them."""
    if machine == "aarch64":
        return struct.pack(
            "<8I",
            0xD2800020,                  # mov  x0, #1         standard output
            0x100000E1,                  # adr  x1, the text   seven instructions on
            0xD2800002 | length << 5,    # mov  x2, #length
            0xD2800808,                  # mov  x8, #64        write
            0xD4000001,                  # svc  #0
            0xD2800000,                  # mov  x0, #0
            0xD2800BA8,                  # mov  x8, #93        exit
            0xD4000001,                  # svc  #0
        )  # fmt: skip
    at = BASE + _HEADER + _PROGRAM_HEADER + 31
    return b"".join([
        b"\xb8\x01\x00\x00\x00",               # mov eax, 1       write
        b"\xbf\x01\x00\x00\x00",               # mov edi, 1       standard output
        b"\xbe" + struct.pack("<I", at),       # mov esi, the text
        b"\xba" + struct.pack("<I", length),   # mov edx, length
        b"\x0f\x05",                           # syscall
        b"\xb8\x3c\x00\x00\x00",               # mov eax, 60      exit
        b"\x31\xff",                           # xor edi, edi
        b"\x0f\x05",                           # syscall
    ])  # fmt: skip
