"""Conditions on a call's arguments, as a person would write them.

A filter works on words of 32 bits, an argument has 64: tests of its two halves are one condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from labsupport.linux.filters import bpf
from labsupport.linux.filters.judging import Condition, Value, words_of

_SIGNS = {bpf.JEQ: ("==", "!="), bpf.JGT: (">", "<="), bpf.JGE: (">=", "<")}


def arguments_in(conditions: Iterable[Condition]) -> tuple[int, ...]:
    """Which arguments are tested, by their places from 0."""
    return tuple(sorted({place for each in conditions for place in _places(each)}))


def in_words(conditions: Sequence[Condition]) -> str:
    """Write conditions that hold together, without what follows from the others."""
    groups: dict[tuple[int, ...], list[Condition]] = {}
    for condition in conditions:
        groups.setdefault(_places(condition), []).append(condition)
    texts = [text for group in groups.values() for text in _about_one_argument(group)]
    return " and ".join(dict.fromkeys(texts)) or "always"


def _about_one_argument(conditions: Sequence[Condition]) -> Iterator[str]:
    high = _needed([c for c in conditions if _is_high(c)])
    low = _needed([c for c in conditions if not _is_high(c)])
    fixed = high[0].constant if len(high) == 1 and _is_equal(high[0]) else None
    if low and isinstance(fixed, int):
        yield from (_one(condition, above=fixed) for condition in low)
    else:
        yield from (_one(condition) for condition in (*high, *low))


def _needed(conditions: list[Condition]) -> list[Condition]:
    """An equality says all; what the value differs from, besides, follows from it."""
    return [c for c in conditions if _is_equal(c)] or conditions


def _one(condition: Condition, above: int | None = None) -> str:
    """Write a test; `above` is the value of the high half of the argument, if that is known."""
    value, sign, constant, holds = condition
    if above is not None and isinstance(constant, int):
        constant |= above << 32
    text = _text(value, whole=above is not None or _is_low_mask(value))
    if sign == bpf.JSET:
        return f"{text} & {_text(constant)} {'!=' if holds else '=='} 0"
    return f"{text} {_SIGNS[sign][not holds]} {_text(constant)}"


def _text(value: Value, *, whole: bool = False) -> str:
    if isinstance(value, int):
        return str(value) if value < 1024 else f"{value:#x}"
    if value[0] == "word":
        name = bpf.field_name(value[1])
        return name.removeprefix("low half of ") if whole else name
    _, sign, left, right = value
    return f"({_text(left, whole=whole)} {bpf.SIGNS[sign]} {_text(right, whole=whole)})"


def _places(condition: Condition) -> tuple[int, ...]:
    offsets = words_of(condition.value) | words_of(condition.constant)
    return tuple(sorted({(o - bpf.ARGUMENTS) // 8 for o in offsets if o >= bpf.ARGUMENTS}))


def _is_equal(condition: Condition) -> bool:
    return condition.sign == bpf.JEQ and condition.holds


def _is_low_mask(value: Value) -> bool:
    """Some bits of a low half are the same bits of the whole."""
    return isinstance(value, tuple) and value[:2] == ("alu", bpf.AND) and isinstance(value[3], int)


def _is_high(condition: Condition) -> bool:
    return all(offset & 4 for offset in words_of(condition.value))
