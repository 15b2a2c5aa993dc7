"""Reading a filter and trying every call under it agree."""

import sys

import pytest

from labsupport import Filter
from labsupport.errors import TimedOut
from labsupport.ownership import marks
from labsupport.seccomp import filter as libseccomp
from labsupport.seccomp import prober, verdicts
from labsupport.seccomp.bpf import decode
from labsupport.seccomp.syscall_table import BYPASS_SECCOMP, number_of, numbers
from labsupport.seccomp.verdicts import action_of, answer, judged, samples
from tests import census
from tests.seccomp.samples import MASKED, MORE, NOT, filtered

FILTERS = {
    "none": Filter(()),
    "deny": Filter.deny(["mkdir", "reboot", "mount"]),
    "deny with 0": filtered((libseccomp.act_errno(0), "mkdir")),
    "kill": Filter.deny(["mkdir"], "kill"),
    "trap": filtered((0x00030000, "mkdir")),
    "log": filtered((0x7FFC0000, "mkdir")),
    "almost nothing": Filter.allow(["read", "write"]),
    "two": Filter((*Filter.deny(["mkdir"], "EACCES").programs,
                   *Filter.deny(["mkdir", "rmdir"]).programs)),
    "arguments": filtered(
        (libseccomp.SCMP_ACT_ALLOW, "socket", (0, NOT, 40)),
        (libseccomp.SCMP_ACT_ALLOW, "clone", (0, MASKED, 0x7E020000, 0)),
        (libseccomp.SCMP_ACT_ALLOW, "lseek", (1, MORE, 0x1234567890)),
        default=libseccomp.act_errno(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_both_ways_agree_for_every_system_call(name):
    agreement = FILTERS[name].agreement()

    assert agreement.disagreements == ()
    assert agreement.calls == len(set(numbers()) - BYPASS_SECCOMP)


def test_a_wrong_reading_is_found_out():
    """The comparison can fail: here it judges by a filter other than the one that was tried."""
    tried = verdicts.try_calls(FILTERS["deny"].programs, verdicts.every_call())
    other = [decode(*Filter.deny(["mkdir", "reboot"]).programs)]

    assert [each.name for each in judged(other, tried).disagreements] == ["mount"]


def test_nothing_is_really_done(tmp_path):
    """exit_group, kill and the like would end the child; pause would never end."""
    calls = [(number_of(name), (0,) * 5) for name in ("exit_group", "pause", "getpid")]

    assert [t.action for t in verdicts.try_calls((), calls)] == ["allow"] * 3


def test_a_machine_of_32_bits_tries_calls_and_makes_none():
    """Its registers cut the mark; the page's machine really made exit(2) instead of trying it."""
    in_registers = [value & 0xFFFFFFFF for value in (0, 0, 0, 0, 0, prober.MARK)]
    answered = answer([decode(prober._REFUSE_MARKED)], 1, in_registers)

    assert action_of(answered) != ("allow", None)


def test_samples_lie_on_all_sides_of_a_test():
    programs = [decode(*FILTERS["arguments"].programs)]
    values = {arguments[0] for _, arguments in samples(programs, number_of("socket"))}

    assert {39, 40, 41, 40 << 32} <= values
    assert len(samples(programs, number_of("read"))) == 1


def test_trying_works_without_privileges(as_user):
    code = "from labsupport import Filter; print(Filter.deny(['mkdir']).agreement())"
    done = as_user([sys.executable, "-c", code], cwd="/")

    assert "agree on all" in done.stdout, done.stderr


def test_no_process_is_left():
    FILTERS["kill"].agreement()
    assert not census.running("prober") & census.owned_by(marks.mark())


def test_a_wait_for_verdicts_has_an_end_in_words(monkeypatch):
    monkeypatch.setattr(verdicts, "SECONDS", 0.001)
    with pytest.raises(TimedOut, match=r"tried: there was no answer within 0\.001 s"):
        verdicts.try_calls([], [(number_of("getpid"), (0,) * 5)])
