"""Building filters and judging every system call by reading them."""

import errno
import random

import pytest

from labsupport import Filter, capabilities, probe
from labsupport.errors import (
    FilterOnNotebook,
    FilterRefused,
    LibraryMissing,
    UncoveredArchitecture,
    UnknownErrno,
    UnknownSystemCall,
)
from labsupport.linux.filters import bpf, judging, libseccomp, syscall_table
from labsupport.linux.filters.bpf import Instruction
from labsupport.linux.filters.libseccomp import Rule
from labsupport.linux.filters.syscall_table import audit_arch, number_of
from labsupport.linux.filters.verdicts import action_of, answer, judge, strictest

ERRNO_EPERM = libseccomp.act_errno(errno.EPERM)


def filtered(*rules, default=libseccomp.SCMP_ACT_ALLOW):
    return Filter((libseccomp.build(default, rules),))


def test_a_denied_call_is_refused_and_all_others_are_allowed():
    denied = {
        v.name: v for v in Filter.deny(["mkdir", "mkdirat"]).verdicts() if v.kind != "allowed"
    }

    assert set(denied) == {"mkdir", "mkdirat"}
    assert {v.errno for v in denied.values()} == {"EPERM"}
    assert denied["mkdir"].reason == "refused with EPERM"


def test_the_errno_is_the_one_asked_for():
    assert Filter.deny(["mkdir"], errno="ENOSYS").verdict("mkdir").errno == "ENOSYS"


@pytest.mark.parametrize(("otherwise", "action"), [("EPERM", "errno"), ("kill", "kill")])
def test_an_allow_list_refuses_everything_else(otherwise, action):
    verdicts = Filter.allow(["read", "write"], otherwise=otherwise).verdicts()

    assert {v.name for v in verdicts if v.action == "allow"} == {"read", "write"}
    assert {v.action for v in verdicts if v.action != "allow"} == {action}


def test_the_table_is_this_kernels():
    numbers = syscall_table.numbers()

    assert len(numbers) > 300
    assert list(numbers.values()) == sorted(numbers.values())
    assert {"mkdir", "openat", "clone3", "reboot"} <= set(numbers)


def test_every_call_has_a_group():
    assert [n for n in syscall_table.numbers() if syscall_table.group_of(n) == "other"] == []


def test_an_unknown_call_is_named_with_the_nearest():
    with pytest.raises(UnknownSystemCall, match="did you mean 'mkdir'"):
        Filter.deny(["mkdirr"])
    with pytest.raises(UnknownSystemCall, match="man syscalls"):
        Filter.allow(["no_such_thing_at_all"])


def test_an_unknown_errno_is_named_with_the_nearest():
    with pytest.raises(UnknownErrno, match="did you mean 'EPERM'"):
        Filter.deny(["mkdir"], errno="EPREM")


def test_without_libseccomp_the_package_to_install_is_named(monkeypatch):
    def missing(_name, **_):
        raise OSError("cannot open shared object file")

    libseccomp._library.cache_clear()
    monkeypatch.setattr(libseccomp.ctypes, "CDLL", missing)
    try:
        with pytest.raises(LibraryMissing, match="apt-get install libseccomp2"):
            Filter.deny(["mkdir"])
    finally:
        libseccomp._library.cache_clear()


def test_an_architecture_without_a_table_says_so(monkeypatch):
    class Machine:
        machine = "riscv64"

    mine = Filter.deny(["mkdir"])
    monkeypatch.setattr(syscall_table.os, "uname", lambda: Machine)
    with pytest.raises(UncoveredArchitecture, match=r"riscv64 are not covered: .*aarch64, x86_64"):
        mine.verdict("mkdir")


def test_a_verdict_names_the_argument_it_depends_on():
    rule = Rule(ERRNO_EPERM, number_of("socket"), ((0, libseccomp.SCMP_CMP_EQ, 40),))
    verdict = filtered(rule).verdict("socket")

    assert verdict.depends_on_arguments == (0,)
    assert verdict.kind == "depends"
    assert verdict.action == "allow"  # socket(0, ...)
    assert verdict.reason == "refused with EPERM if args[0] == 40; allowed otherwise"


def test_two_arguments_and_a_mask():
    rule = Rule(
        ERRNO_EPERM, number_of("clone"),
        ((0, libseccomp.SCMP_CMP_MASKED_EQ, 0x10000000, 0x10000000),
         (3, libseccomp.SCMP_CMP_GT, 5)),
    )  # fmt: skip
    verdict = filtered(rule).verdict("clone")

    assert verdict.depends_on_arguments == (0, 3)
    assert "(args[0] & 0x10000000) == 0x10000000" in verdict.reason


def test_a_64_bit_value_is_one_condition():
    rule = Rule(ERRNO_EPERM, number_of("lseek"), ((1, libseccomp.SCMP_CMP_EQ, 0x1234567890),))

    assert "args[1] == 0x1234567890" in filtered(rule).verdict("lseek").reason


def test_a_test_that_makes_no_difference_is_no_dependence():
    low = bpf.ARGUMENTS
    program = [
        Instruction(bpf.LD | bpf.ABS, 0, 0, low),
        Instruction(bpf.JMP | bpf.JEQ, 0, 0, 7),
        Instruction(bpf.RET, 0, 0, 0x7FFF0000),
    ]
    assert judge([program], 0).depends_on_arguments == ()


def test_the_strictest_of_several_filters_counts_and_of_equals_the_newest():
    both = Filter((*Filter.deny(["mkdir"], "EACCES").programs, *Filter.deny(["mkdir"]).programs))
    kills = Filter((*both.programs, *Filter.deny(["mkdir"], "kill").programs))

    assert both.verdict("mkdir").errno == "EPERM"
    assert kills.verdict("mkdir").action == "kill"
    assert action_of(strictest([0x00000000, 0x80000000])) == ("kill", None)
    assert strictest([0x00000000, 0x80000000]) == 0x80000000  # the process before the thread


def test_no_filter_allows_everything():
    assert set(Filter(()).count()) == {"allowed"}


def test_one_program_only_where_there_is_one():
    assert Filter.deny(["mkdir"]).program == Filter.deny(["mkdir"]).programs[0]
    with pytest.raises(FilterRefused, match="not one"):
        _ = Filter(()).program


def test_the_notebooks_own_process_is_never_filtered():
    with pytest.raises(FilterOnNotebook, match="Sandbox\\(filter=filter\\)"):
        Filter.deny(["mkdir"]).load()
    assert capabilities().seccomp == "off" or probe().why_not("seccomp.read")


def test_a_filter_reads_as_lines():
    lines = Filter.deny(["mkdir"]).instructions()

    assert any(f"A == {number_of('mkdir'):#x}" in line for line in lines)
    assert lines[0].endswith("A = architecture")
    assert any(line.endswith("refused with EPERM") for line in lines)


def random_program(chance, length=24):
    """A valid filter of random instructions: loads, arithmetic, jumps forward, answers."""
    program = []
    for at in range(length - 1):
        left = length - at - 2
        kind = chance.choice(["load", "load", "alu", "jump", "jump", "move", "store"])
        k = chance.choice([0, 1, 5, 7, 40, 0xFF, 0x7E020000, bpf.WORD])
        match kind:
            case "load":
                code, k = bpf.LD | bpf.ABS, 4 * chance.randrange(16)
            case "alu":
                sign = chance.choice([bpf.ADD, bpf.AND, bpf.OR, bpf.RSH, bpf.XOR, bpf.SUB])
                code, k = bpf.ALU | sign, k % 32 if sign == bpf.RSH else k
            case "jump":
                sign = chance.choice([bpf.JEQ, bpf.JGT, bpf.JGE, bpf.JSET])
                code = bpf.JMP | sign | chance.choice([bpf.K, bpf.K, bpf.X])
                jumps = [chance.randrange(min(left, 5) + 1) for _ in range(2)]
                program.append(Instruction(code, *jumps, k))
                continue
            case "move":
                code, k = bpf.MISC | chance.choice([bpf.TAX, bpf.TXA]), 0
            case "store":
                code, k = chance.choice([bpf.ST, bpf.STX]), chance.randrange(16)
        program.append(Instruction(code, 0, 0, k))
        if chance.random() < 0.15:
            answer = chance.choice([0x7FFF0000, 0x00050001, 0x00050026])
            program[-1] = Instruction(bpf.RET, 0, 0, answer)
    program.append(Instruction(bpf.RET, 0, 0, 0x00050002))
    return program


@pytest.mark.parametrize("seed", range(150))
def test_walking_with_unknown_arguments_covers_every_run(seed):
    """Whatever the arguments are, the answer is that of one of the ways found."""
    chance = random.Random(seed)
    program = random_program(chance)
    ways = judging.paths(program, 5, audit_arch())
    answers = {way.answer for way in ways}
    for _ in range(60):
        arguments = [chance.choice([0, 1, 5, 40, 2**32 - 1, 2**63, chance.getrandbits(64)])
                     for _ in range(6)]  # fmt: skip
        assert answer([program], 5, arguments) in answers
    if len(answers) == 1:
        assert judge([program], 5).depends_on_arguments == ()
