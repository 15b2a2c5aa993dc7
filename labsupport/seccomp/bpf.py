"""Classic BPF as seccomp uses it: decode a filter, run it, write it down; seccomp(2).

A filter is a program that the kernel runs at every system call. It sees `struct seccomp_data`: the
number, the architecture, where in the program the call was made, and six arguments. What it returns
is an action and 16 bits of data. It has an accumulator, and only jumps forward, so it always ends.

It can be run with the arguments unknown, too. Where a jump depends on one, both ways are followed,
and the conditions on each way are kept: together they say what the filter does with any call.

Seccomp allows more instructions than are known here. These are the ones that libseccomp, and so the
engines, make filters of.
"""

import operator
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from labsupport.errors import LabError

# linux/bpf_common.h: load a word, keep some of its bits, go on elsewhere, test, answer
LOAD, AND, JUMP, RETURN = 0x20, 0x54, 0x05, 0x06
JEQ, JGT, JGE, JSET = 0x15, 0x25, 0x35, 0x45

WORD = 0xFFFFFFFF
NUMBER, ARCHITECTURE, POINTER, ARGUMENTS = 0, 4, 8, 16  # offsets in struct seccomp_data
INSTRUCTION = struct.Struct("=HBBI")
DATA = struct.Struct("=iIQ6Q")
MOST_PATHS = 4096

TESTS: dict[int, tuple[str, Callable[[int, int], Any]]] = {
    JEQ: ("==", operator.eq),
    JGT: (">", operator.gt),
    JGE: (">=", operator.ge),
    JSET: ("&", operator.and_),
}
_OPPOSITES = {JEQ: "!=", JGT: "<=", JGE: "<"}


class Instruction(NamedTuple):
    """`struct sock_filter`: an operation, how far to jump if true or false, and a constant."""

    code: int
    jt: int
    jf: int
    k: int


class Unknown(NamedTuple):
    """Some bits of a word of `struct seccomp_data` that is not known before the call is made."""

    offset: int
    mask: int = WORD


Value: TypeAlias = int | Unknown
Bounds: TypeAlias = Mapping[Unknown, tuple[int, int]]


class Condition(NamedTuple):
    """A test of an unknown value on the way through a filter, and how it came out."""

    value: Unknown
    sign: int
    """JEQ, JGT, JGE or JSET"""
    constant: int
    holds: bool


class Path(NamedTuple):
    """A way through a filter: what must hold, and the answer at its end (32 bits)."""

    conditions: tuple[Condition, ...]
    answer: int


class _State(NamedTuple):
    at: int
    accumulator: Value
    conditions: tuple[Condition, ...]
    bounds: Bounds


def decode(program: bytes) -> tuple[Instruction, ...]:
    """Decode an array of `struct sock_filter`."""
    if not program or len(program) % INSTRUCTION.size:
        raise LabError(
            f"{len(program)} bytes are not a filter", "instructions of 8 bytes are expected"
        )
    decoded = tuple(map(Instruction._make, INSTRUCTION.iter_unpack(program)))
    for at, each in enumerate(decoded):
        if each.code not in (LOAD, AND, JUMP, RETURN, *TESTS):
            why = f"its instruction {at} ({each.code:#x}) is none of those that libseccomp makes"
            raise LabError("this filter cannot be read here", why)
    return decoded


def run(
    program: Sequence[Instruction], number: int, architecture: int, arguments: Sequence[int]
) -> int:
    """Run a filter on a call; missing arguments are 0. Return its answer, of 32 bits."""
    six = [*(argument & 2**64 - 1 for argument in arguments), *[0] * 6][:6]
    call = struct.unpack("=16I", DATA.pack(number, architecture, 0, *six))
    return _explored(program, call)[0].answer


def paths(program: Sequence[Instruction], number: int, architecture: int) -> list[Path]:
    """Return every way through a filter for one system call; there is only one for most."""
    return _explored(program, (number & WORD, architecture))


def _explored(program: Sequence[Instruction], known: Sequence[int]) -> list[Path]:
    """Follow all ways; `known` are the first words of `struct seccomp_data`."""
    found: list[Path] = []
    waiting = [_State(0, 0, (), {})]
    while waiting:
        ended = _walk(program, waiting.pop(), known)
        if isinstance(ended, Path):
            found.append(ended)
        else:
            waiting.extend(reversed(ended))
        if len(found) + len(waiting) > MOST_PATHS:
            raise LabError(
                f"system call {known[0]} has more than {MOST_PATHS} ways through this filter"
            )
    return found


def _walk(
    program: Sequence[Instruction], state: _State, known: Sequence[int]
) -> Path | list[_State]:
    """Go on until the answer, or until a jump whose outcome is open: then there are two states."""
    at, value, conditions, bounds = state
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == JEQ and isinstance(value, int):  # nearly all of an engine's filter
            at += jt if value == k else jf
        elif code == LOAD:
            value = known[k >> 2] if k >> 2 < len(known) else Unknown(k)
        elif code == RETURN:
            return Path(conditions, k)
        elif code == JUMP:
            at += k
        elif code == AND:
            value = value & k if isinstance(value, int) else value._replace(mask=value.mask & k)
        elif isinstance(value, int):
            at += jt if TESTS[code][1](value, k) else jf
        elif (taken := _outcome(code, _range(value, bounds), k)) is not None:
            at += jt if taken else jf
        else:
            found = []
            for holds, by in ((True, jt), (False, jf)):
                among = {**bounds, value: _narrowed(code, _range(value, bounds), k, holds)}
                tested = (*conditions, Condition(value, code, k, holds))
                found.append(_State(at + by, value, tested, among))
            return found


def _outcome(sign: int, among: tuple[int, int], constant: int) -> bool | None:
    """Whether a jump is taken by a value in a range; None if that is open."""
    low, high = among
    test = TESTS[sign][1]
    if low == high:
        return bool(test(low, constant))
    if sign == JSET:
        return None
    # each of the other tests is monotone in a range: if both ends agree, so does all between
    if sign == JEQ:
        return None if low <= constant <= high else False
    first, last = test(low, constant), test(high, constant)
    return bool(first) if first == last else None


def _range(value: Unknown, bounds: Bounds) -> tuple[int, int]:
    return bounds.get(value, (0, value.mask))


def _narrowed(sign: int, among: tuple[int, int], constant: int, holds: bool) -> tuple[int, int]:
    """The range of a value after a test of it."""
    low, high = among
    if sign == JEQ:
        if holds:
            return constant, constant
        return low + (low == constant), high - (high == constant)
    if sign in (JGT, JGE):
        least = constant + (sign == JGT)
        return (max(low, least), high) if holds else (low, min(high, least - 1))
    return among


def listing(program: Sequence[Instruction]) -> list[str]:
    """Write a filter down, an instruction a line; jumps name the line they lead to."""
    return [f"{at:4}  {_words(at + 1, *each)}" for at, each in enumerate(program)]


def _words(after: int, code: int, jt: int, jf: int, k: int) -> str:
    if code in TESTS:
        return f"if A {TESTS[code][0]} {k:#x} goto {after + jt} else {after + jf}"
    return {
        JUMP: f"goto {after + k}",
        LOAD: f"A = {_field(k)}",
        AND: f"A &= {k:#x}",
        RETURN: f"return {k:#010x}",
    }[code]


def _field(offset: int) -> str:
    """Name a word of `struct seccomp_data` by its offset."""
    if offset < POINTER:
        return "number" if offset == NUMBER else "architecture"
    half = "high" if offset & 4 else "low"
    if offset < ARGUMENTS:
        return f"{half} half of the instruction pointer"
    return f"{half} half of args[{(offset - ARGUMENTS) // 8}]"


def arguments_in(conditions: Iterable[Condition]) -> tuple[int, ...]:
    """Which arguments are tested, by their places from 0."""
    offsets = {each.value.offset for each in conditions}
    return tuple(sorted({(each - ARGUMENTS) // 8 for each in offsets if each >= ARGUMENTS}))


def in_words(conditions: Sequence[Condition]) -> str:
    """Write conditions that hold together, without what follows from the others.

    A filter works on words of 32 bits, an argument has 64: tests of its two halves are one
    condition.
    """
    groups: dict[int, list[Condition]] = {}
    for condition in conditions:
        groups.setdefault(condition.value.offset // 8, []).append(condition)
    texts = [text for group in groups.values() for text in _about_one_argument(group)]
    return " and ".join(dict.fromkeys(texts)) or "always"


def _about_one_argument(conditions: Sequence[Condition]) -> Iterator[str]:
    high = _needed([each for each in conditions if each.value.offset & 4])
    low = _needed([each for each in conditions if not each.value.offset & 4])
    if low and len(high) == 1 and _is_equal(high[0]):
        yield from (_one(condition, above=high[0].constant) for condition in low)
    else:
        yield from (_one(condition) for condition in (*high, *low))


def _needed(conditions: list[Condition]) -> list[Condition]:
    """An equality says everything; what the value differs from follows from it."""
    return [each for each in conditions if _is_equal(each)] or conditions


def _one(condition: Condition, above: int | None = None) -> str:
    """Write a test; `above` is the value of the high half of the argument, if that is known."""
    value, sign, constant, holds = condition
    # some bits of a low half are the same bits of the whole
    whole = above is not None or value.mask != WORD
    text = _field(value.offset)
    text = text.removeprefix("low half of ") if whole else text
    if value.mask != WORD:
        text = f"({text} & {_number(value.mask)})"
    compared = _number(constant | (above or 0) << 32)
    if sign == JSET:
        return f"{text} & {compared} {'!=' if holds else '=='} 0"
    return f"{text} {TESTS[sign][0] if holds else _OPPOSITES[sign]} {compared}"


def _number(value: int) -> str:
    return str(value) if value < 1024 else f"{value:#x}"


def _is_equal(condition: Condition) -> bool:
    return condition.sign == JEQ and condition.holds
