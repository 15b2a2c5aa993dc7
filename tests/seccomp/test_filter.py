"""Building filters and judging every system call by reading them."""

import errno
import random
import struct

import pytest

from labsupport import Filter
from labsupport.errors import LabError
from labsupport.seccomp import bpf
from labsupport.seccomp import filter as libseccomp
from labsupport.seccomp.bpf import Instruction
from labsupport.seccomp.syscall_table import audit_arch, number_of
from labsupport.seccomp.verdicts import action_of, answer, judge, strictest
from tests.seccomp.samples import EQUAL, MASKED, MORE, filtered

ERRNO_EPERM = libseccomp.act_errno(errno.EPERM)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("mkdirr", "EPERM", "did you mean 'mkdir'"),
        ("no_such_thing_at_all", "EPERM", "man syscalls"),
        ("mkdir", "EPREM", "did you mean 'EPERM'"),
        ("mkdir", 9999, "no error '9999'"),
        (83, "EPERM", "no system call '83'"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name, error, said):
    with pytest.raises(LabError, match=said):
        Filter.deny([name], error)


@pytest.mark.parametrize(
    ("name", "conditions", "reason"),
    [
        ("socket", [(0, EQUAL, 40)], "refused with EPERM if args[0] == 40; allowed otherwise"),
        ("clone", [(0, MASKED, 3, 3), (3, MORE, 5)], "(args[0] & 3) == 3"),
        ("lseek", [(1, EQUAL, 0x1234567890)], "args[1] == 0x1234567890"),
    ],
    ids=["one", "two-and-a-mask", "64-bits-are-one-condition"],
)
def test_a_verdict_says_which_arguments_it_depends_on(name, conditions, reason):
    verdict = filtered((ERRNO_EPERM, name, *conditions)).verdict(name)

    assert verdict.depends_on_arguments == tuple(place for place, *_ in conditions)
    assert (verdict.kind, verdict.action) == ("depends", "allow")  # as for arguments of 0
    assert reason in verdict.reason


def test_a_program_that_libseccomp_would_not_write_is_refused():
    multiplied = struct.pack("=HBBIHBBI", 0x24, 0, 0, 5, bpf.RETURN, 0, 0, 0)
    with pytest.raises(LabError, match=r"instruction 0 \(0x24\)"):
        Filter((multiplied,)).verdicts()


def test_the_strictest_of_several_filters_counts_and_of_equals_the_newest():
    both = Filter((*Filter.deny(["mkdir"], "EACCES").programs, *Filter.deny(["mkdir"]).programs))
    kills = Filter((*both.programs, *Filter.deny(["mkdir"], "kill").programs))

    assert both.verdict("mkdir").errno == "EPERM"
    assert kills.verdict("mkdir").action == "kill"
    assert action_of(strictest([0x00000000, 0x80000000])) == ("kill", None)
    assert strictest([0x00000000, 0x80000000]) == 0x80000000  # the process before the thread


def test_a_filter_reads_as_lines():
    lines = Filter.deny(["mkdir"]).instructions()

    assert any(f"A == {number_of('mkdir'):#x}" in line for line in lines)
    assert lines[0].endswith("A = architecture")
    assert any(line.endswith("refused with EPERM") for line in lines)
    assert lines[-1].endswith("return 0x00000000  the thread is killed")


def random_program(chance, length=24):
    """A valid filter of random instructions: loads, masks, jumps forward, answers."""
    program = []
    for at in range(length - 1):
        left = length - at - 2
        kind = chance.choice(["load", "load", "mask", "jump", "jump", "answer"])
        k, jumps = chance.choice([0, 1, 5, 7, 40, 0xFF, 0x7E020000, bpf.WORD]), [0, 0]
        match kind:
            case "load":
                code, k = bpf.LOAD, 4 * chance.randrange(16)
            case "mask":
                code = bpf.AND
            case "jump":
                code = chance.choice([bpf.JEQ, bpf.JGT, bpf.JGE, bpf.JSET])
                jumps = [chance.randrange(min(left, 5) + 1) for _ in range(2)]
            case "answer":
                code, k = bpf.JUMP, chance.randrange(min(left, 3) + 1)
                if chance.random() < 0.5:
                    code, k = bpf.RETURN, chance.choice([0x7FFF0000, 0x00050001, 0x00050026])
        program.append(Instruction(code, *jumps, k))
    program.append(Instruction(bpf.RETURN, 0, 0, 0x00050002))
    return program


@pytest.mark.parametrize("seed", range(150))
def test_walking_with_unknown_arguments_covers_every_run(seed):
    """Whatever the arguments are, the answer is that of one of the ways found."""
    chance = random.Random(seed)
    program = random_program(chance)
    ways = bpf.paths(program, 5, audit_arch())
    answers = {way.answer for way in ways}
    for _ in range(60):
        arguments = [chance.choice([0, 1, 5, 40, 2**32 - 1, 2**63, chance.getrandbits(64)])
                     for _ in range(6)]  # fmt: skip
        assert answer([program], 5, arguments) in answers
    if len(answers) == 1:
        assert judge([program], 5).depends_on_arguments == ()
