"""Classic BPF as seccomp uses it: decode, read and run a filter; seccomp(2), bpf(4) of BSD.

A filter is a program that the kernel runs at every system call. It sees `struct seccomp_data`: the
number, the architecture, where in the program the call was made, and six arguments. What it returns
is an action and 16 bits of data. It has an accumulator, an index register and 16 words of memory,
and only jumps forward, so it always ends.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from labsupport.errors import FilterRefused

# linux/bpf_common.h: an instruction's class, then what distinguishes those of a class
LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
IMM, ABS, MEM, LEN = 0x00, 0x20, 0x60, 0x80
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, XOR = (
    *(0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80),
    0xA0,
)
JA, JEQ, JGT, JGE, JSET = 0x00, 0x10, 0x20, 0x30, 0x40
K, X, A = 0x00, 0x08, 0x10
TAX, TXA = 0x00, 0x80

WORD = 0xFFFFFFFF
DATA_SIZE = 64  # bytes of struct seccomp_data
NUMBER, ARCHITECTURE, POINTER, ARGUMENTS = 0, 4, 8, 16  # offsets in it
INSTRUCTION = struct.Struct("=HBBI")
DATA = struct.Struct("=iIQ6Q")

SIGNS = {
    ADD: "+", SUB: "-", MUL: "*", DIV: "/", OR: "|", AND: "&", LSH: "<<", RSH: ">>", XOR: "^",
}  # fmt: skip
_JUMP_SIGNS = {JEQ: "==", JGT: ">", JGE: ">=", JSET: "&"}


class Instruction(NamedTuple):
    """`struct sock_filter`: an operation, how far to jump if true or false, and a constant."""

    code: int
    jt: int
    jf: int
    k: int


def decode(program: bytes) -> tuple[Instruction, ...]:
    """Take an array of `struct sock_filter` apart."""
    if not program or len(program) % INSTRUCTION.size:
        raise FilterRefused(
            f"{len(program)} bytes are no filter", "instructions of 8 bytes are expected"
        )
    return tuple(map(Instruction._make, INSTRUCTION.iter_unpack(program)))


def data(number: int, architecture: int, arguments: Sequence[int] = ()) -> bytes:
    """Return the `struct seccomp_data` of a call; missing arguments are 0."""
    six = [*(argument & 2**64 - 1 for argument in arguments), *[0] * 6][:6]
    return DATA.pack(number, architecture, 0, *six)


def run(program: Sequence[Instruction], call: bytes) -> int:
    """Run a filter on a `struct seccomp_data`; return its answer, of 32 bits.

    Raises:
        FilterRefused: it has an instruction that seccomp does not allow.

    """
    words = struct.unpack("=16I", call)
    accumulator = index = at = 0
    memory = [0] * 16
    while True:
        code, jt, jf, k = program[at]
        at += 1
        kind = code & 7
        if kind == JMP:
            if code & 0xF0 == JA:
                at += k
            else:
                at += jt if jumps(code, accumulator, index if code & X else k) else jf
        elif kind in (LD, LDX):
            value = _loaded(code, k, words, memory)
            accumulator, index = (value, index) if kind == LD else (accumulator, value)
        elif kind == RET:
            return accumulator if code & 0x18 == A else k
        elif kind == ALU:
            accumulator = calculated(code, accumulator, index if code & X else k)
        elif kind == ST:
            memory[k] = accumulator
        elif kind == STX:
            memory[k] = index
        elif code & 0xF8 == TXA:
            accumulator = index
        else:
            index = accumulator


def _loaded(code: int, k: int, words: Sequence[int], memory: Sequence[int]) -> int:
    mode = code & 0xE0
    if mode == ABS:
        return words[k >> 2]
    if mode == MEM:
        return memory[k]
    return DATA_SIZE if mode == LEN else k


def jumps(code: int, left: int, right: int) -> bool:
    """Whether a conditional jump is taken."""
    test = code & 0xF0
    if test == JEQ:
        return left == right
    if test == JGT:
        return left > right
    if test == JGE:
        return left >= right
    if test == JSET:
        return bool(left & right)
    raise FilterRefused("this is no filter", f"{code:#x} is no jump")


def calculated(code: int, left: int, right: int) -> int:
    """The result of an arithmetic instruction, of 32 bits."""
    sign = code & 0xF0
    shift = right if right < 32 else 32
    results = {
        ADD: left + right, SUB: left - right, MUL: left * right, OR: left | right,
        AND: left & right, XOR: left ^ right, LSH: left << shift, RSH: left >> shift, NEG: -left,
        DIV: left // right if right else 0,
    }  # fmt: skip
    if sign not in results:
        raise FilterRefused("this is no filter", f"{code:#x} is no arithmetic that seccomp allows")
    return results[sign] & WORD


def listing(program: Sequence[Instruction]) -> list[str]:
    """Write a filter down, an instruction a line; jumps name the line they lead to."""
    return [f"{at:4}  {_words(at, each)}" for at, each in enumerate(program)]


def _words(at: int, instruction: Instruction) -> str:
    code, _, _, k = instruction
    kind, sign, operand = code & 7, code & 0xF0, "X" if code & X else f"{k:#x}"
    if kind == JMP:
        return _jump(at + 1, instruction, operand)
    if kind in (LD, LDX):
        return f"{'A' if kind == LD else 'X'} = {_source(code, k)}"
    if kind == RET:
        return "return A" if code & 0x18 == A else f"return {k:#010x}"
    if kind == ALU:
        return "A = -A" if sign == NEG else f"A {SIGNS[sign]}= {operand}"
    if kind in (ST, STX):
        return f"M[{k}] = {'A' if kind == ST else 'X'}"
    return "A = X" if code & 0xF8 == TXA else "X = A"


def _jump(after: int, instruction: Instruction, operand: str) -> str:
    code, jt, jf, k = instruction
    sign = code & 0xF0
    if sign == JA:
        return f"goto {after + k}"
    return f"if A {_JUMP_SIGNS[sign]} {operand} goto {after + jt} else {after + jf}"


def _source(code: int, k: int) -> str:
    mode = code & 0xE0
    if mode == ABS:
        return field_name(k)
    return f"M[{k}]" if mode == MEM else str(DATA_SIZE if mode == LEN else f"{k:#x}")


def field_name(offset: int) -> str:
    """Name a word of `struct seccomp_data` by its offset."""
    if offset < POINTER:
        return "number" if offset == NUMBER else "architecture"
    half = "high" if offset & 4 else "low"
    if offset < ARGUMENTS:
        return f"{half} half of the instruction pointer"
    return f"{half} half of args[{(offset - ARGUMENTS) // 8}]"
