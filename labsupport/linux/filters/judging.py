"""What a filter says about a system call, whatever its arguments are.

A filter is walked with the number and the architecture known and the arguments unknown. Where a
jump depends on an argument, both ways are followed, and the conditions on each way are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from labsupport.errors import FilterTooComplex
from labsupport.linux.filters import bpf
from labsupport.linux.filters.bpf import Instruction

MOST_PATHS = 4096
_IF_EQUAL, _LOAD, _GOTO = bpf.JMP | bpf.JEQ, bpf.LD | bpf.ABS, bpf.JMP | bpf.JA
_OTHER_TESTS = (bpf.JMP | bpf.JGE, bpf.JMP | bpf.JGT, bpf.JMP | bpf.JSET)

Unknown: TypeAlias = tuple[Any, ...]
"""("word", offset), or ("alu", code, left, right): what is not known before the call is made."""
Value: TypeAlias = int | Unknown


class Condition(NamedTuple):
    """A test of an unknown value on the way through a filter, and how it came out."""

    value: Value
    sign: int
    """bpf.JEQ, JGT, JGE or JSET"""
    constant: Value
    holds: bool


class Path(NamedTuple):
    """A way through a filter: what must hold, and the answer at its end (32 bits)."""

    conditions: tuple[Condition, ...]
    answer: int


class _State(NamedTuple):
    at: int
    accumulator: Value
    x: Value
    memory: tuple[Value, ...]
    conditions: tuple[Condition, ...]
    bounds: dict[Unknown, tuple[int, int]]


def paths(program: Sequence[Instruction], number: int, architecture: int) -> list[Path]:
    """Return every way through a filter for one system call; there is only one for most.

    Raises:
        FilterTooComplex: there are more than `MOST_PATHS`.

    """
    known = (number & bpf.WORD, architecture)
    found: list[Path] = []
    waiting = [_State(*_prefix(program, known), 0, (0,) * 16, (), {})]
    while waiting:
        state = waiting.pop()
        ended = _walk(program, state, known)
        if isinstance(ended, Path):
            found.append(ended)
        else:
            waiting.extend(reversed(ended))
        if len(found) + len(waiting) > MOST_PATHS:
            raise FilterTooComplex(
                f"system call {number} has more than {MOST_PATHS} ways through this filter"
            )
    return found


def _prefix(program: Sequence[Instruction], known: tuple[int, int]) -> tuple[int, int]:
    """Go as far as only tests of the number and the architecture lead: nearly always to the end.

    Returns where that is, and the accumulator. It is what makes judging every call fast.
    """
    at = accumulator = 0
    while True:
        code, jt, jf, k = program[at]
        if code == _IF_EQUAL:
            at += 1 + (jt if accumulator == k else jf)
        elif code == _LOAD and k < bpf.POINTER:
            accumulator = known[k >> 2]
            at += 1
        elif code == _GOTO:
            at += 1 + k
        elif code in _OTHER_TESTS:
            at += 1 + (jt if bpf.jumps(code, accumulator, k) else jf)
        else:
            return at, accumulator


def _walk(
    program: Sequence[Instruction], state: _State, known: tuple[int, int]
) -> Path | list[_State]:
    """Go on until the answer, or until a jump whose outcome is open: then there are two states."""
    at, accumulator, index, memory, conditions, bounds = state
    while True:
        code, jt, jf, k = program[at]
        at += 1
        kind = code & 7
        if kind == bpf.JMP:
            if code & 0xF0 == bpf.JA:
                at += k
                continue
            right: Value = index if code & bpf.X else k
            taken = _outcome(code, accumulator, right, bounds)
            if taken is None:
                here = _State(at, accumulator, index, memory, conditions, bounds)
                return list(_both_ways(here, code, jt, jf, right))
            at += jt if taken else jf
        elif kind == bpf.LD:
            accumulator = _load(code, k, memory, known)
        elif kind == bpf.LDX:
            index = _load(code, k, memory, known)
        elif kind == bpf.RET:
            answer = accumulator if code & 0x18 == bpf.A else k
            if not isinstance(answer, int):
                raise FilterTooComplex("a filter answers with a number made of the arguments")
            return Path(conditions, answer)
        elif kind == bpf.ALU:
            accumulator = _calculate(code, accumulator, index if code & bpf.X else k)
        elif kind in (bpf.ST, bpf.STX):
            value = accumulator if kind == bpf.ST else index
            memory = (*memory[:k], value, *memory[k + 1 :])
        elif code & 0xF8 == bpf.TXA:
            accumulator = index
        else:
            index = accumulator


def _load(code: int, k: int, memory: tuple[Value, ...], known: tuple[int, int]) -> Value:
    mode = code & 0xE0
    if mode == bpf.ABS:
        return known[k >> 2] if k < bpf.POINTER else ("word", k)
    if mode == bpf.MEM:
        return memory[k]
    return bpf.DATA_SIZE if mode == bpf.LEN else k


def _calculate(code: int, left: Value, right: Value) -> Value:
    if isinstance(left, int) and isinstance(right, int):
        return bpf.calculated(code, left, right)
    return ("alu", code & 0xF0, left, right)


def _outcome(
    code: int, left: Value, right: Value, bounds: dict[Unknown, tuple[int, int]]
) -> bool | None:
    """Whether a jump is taken; None if that is open."""
    if not isinstance(right, int):
        return None
    if isinstance(left, int):
        return bpf.jumps(code, left, right)
    low, high = _range(left, bounds)
    sign = code & 0xF0
    if low == high:
        return bpf.jumps(code, low, right)
    if sign == bpf.JSET:
        return None
    # each of the other tests is monotone in a range: if both ends agree, so does all between
    if sign == bpf.JEQ:
        return None if low <= right <= high else False
    first, last = bpf.jumps(code, low, right), bpf.jumps(code, high, right)
    return first if first == last else None


def _range(value: Unknown, bounds: dict[Unknown, tuple[int, int]]) -> tuple[int, int]:
    if value in bounds:
        return bounds[value]
    if value[0] == "alu" and value[1] == bpf.AND and isinstance(value[3], int):
        return 0, value[3]
    return 0, bpf.WORD


def _both_ways(state: _State, code: int, jt: int, jf: int, right: Value) -> Iterator[_State]:
    left = state.accumulator
    for holds in (True, False):
        bounds = state.bounds
        if isinstance(left, tuple) and isinstance(right, int):
            narrowed = _narrowed(code & 0xF0, _range(left, bounds), right, holds)
            bounds = {**bounds, left: narrowed}
        condition = Condition(left, code & 0xF0, right, holds)
        yield state._replace(
            at=state.at + (jt if holds else jf),
            conditions=(*state.conditions, condition),
            bounds=bounds,
        )


def _narrowed(sign: int, among: tuple[int, int], constant: int, holds: bool) -> tuple[int, int]:
    """The range of a value after a test of it."""
    low, high = among
    if sign == bpf.JEQ:
        if holds:
            return constant, constant
        return low + (low == constant), high - (high == constant)
    if sign in (bpf.JGT, bpf.JGE):
        least = constant + (sign == bpf.JGT)
        return (max(low, least), high) if holds else (low, min(high, least - 1))
    return among


def words_of(value: Value) -> set[int]:
    """The offsets in `struct seccomp_data` that a value is made of."""
    if isinstance(value, int):
        return set()
    if value[0] == "word":
        return {value[1]}
    return {offset for part in value[2:] for offset in words_of(part)}
