"""Reading a filter and trying every call under it are two ways, and they agree."""

import os
import sys

import pytest

from labsupport import Filter, status
from labsupport.errors import ProcessGone, TrialFailed
from labsupport.linux.filters import attempts, libseccomp
from labsupport.linux.filters.agreement import judged, samples
from labsupport.linux.filters.bpf import decode
from labsupport.linux.filters.libseccomp import Rule
from labsupport.linux.filters.syscall_table import BYPASS_SECCOMP, number_of, numbers
from labsupport.linux.procfs import command

FILTERS = {
    "none": Filter(()),
    "deny": Filter.deny(["mkdir", "reboot", "mount"]),
    "deny with 0": Filter((libseccomp.build(
        libseccomp.SCMP_ACT_ALLOW, [Rule(libseccomp.act_errno(0), number_of("mkdir"))]),)),
    "kill": Filter.deny(["mkdir"], "kill"),
    "trap": Filter((libseccomp.build(
        libseccomp.SCMP_ACT_ALLOW, [Rule(0x00030000, number_of("mkdir"))]),)),
    "log": Filter((libseccomp.build(
        libseccomp.SCMP_ACT_ALLOW, [Rule(libseccomp.SCMP_ACT_LOG, number_of("mkdir"))]),)),
    "almost nothing": Filter.allow(["read", "write"]),
    "two": Filter((*Filter.deny(["mkdir"], "EACCES").programs,
                   *Filter.deny(["mkdir", "rmdir"]).programs)),
    "arguments": Filter((libseccomp.build(libseccomp.act_errno(1), [
        Rule(libseccomp.SCMP_ACT_ALLOW, number_of("socket"), ((0, libseccomp.SCMP_CMP_NE, 40),)),
        Rule(libseccomp.SCMP_ACT_ALLOW, number_of("clone"),
             ((0, libseccomp.SCMP_CMP_MASKED_EQ, 0x7E020000, 0),)),
        Rule(libseccomp.SCMP_ACT_ALLOW, number_of("lseek"),
             ((1, libseccomp.SCMP_CMP_GT, 0x1234567890),)),
    ]),)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_both_ways_agree_for_every_system_call(name):
    agreement = FILTERS[name].agreement()

    assert agreement.disagreements == ()
    assert agreement.calls == len(set(numbers()) - BYPASS_SECCOMP)


def test_trying_shows_what_was_refused():
    trials = {t.name: t for t in attempts.try_calls(
        FILTERS["deny"].programs, attempts.every_call())}  # fmt: skip

    refused = {name for name, trial in trials.items() if trial.action != "allow"}
    assert refused == {"mkdir", "reboot", "mount"}
    assert trials["mkdir"].errno == "EPERM"


def test_a_wrong_reading_is_found_out():
    """The comparison can fail: judged by another filter than the one that was tried."""
    tried = attempts.try_calls(FILTERS["deny"].programs, attempts.every_call())
    other = [decode(Filter.deny(["mkdir", "reboot"]).program)]

    assert [each.trial.name for each in judged(other, tried).disagreements] == ["mount"]


def test_nothing_is_really_done(tmp_path):
    """exit_group, kill and the like would end the child; pause would never end."""
    calls = [(number_of(name), (0,) * 5) for name in ("exit_group", "pause", "getpid")]

    assert [t.action for t in attempts.try_calls((), calls)] == ["allow"] * 3


def test_samples_lie_on_all_sides_of_a_test():
    programs = [decode(FILTERS["arguments"].program)]
    values = {arguments[0] for _, arguments in samples(programs, number_of("socket"))}

    assert {39, 40, 41, 40 << 32} <= values
    assert len(samples(programs, number_of("read"))) == 1


def test_trying_works_without_privileges(as_user):
    code = "from labsupport import Filter; print(Filter.deny(['mkdir']).agreement())"
    done = as_user([sys.executable, "-c", code], cwd="/")

    assert "agree on all" in done.stdout, done.stderr


def test_a_program_that_is_no_filter():
    with pytest.raises(TrialFailed, match="ended"):
        attempts.try_calls([b"\xff" * 8], attempts.every_call())


def test_no_process_is_left():
    before = {int(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    FILTERS["kill"].agreement()
    mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in before]
    children = [pid for pid in mine if _parent(pid) in (os.getpid(), 1) and "prober" in _words(pid)]
    assert children == []


def _parent(pid):
    try:
        return status(int(pid)).parent_pid
    except ProcessGone:
        return 0


def _words(pid):
    try:
        return command(int(pid))
    except ProcessGone:
        return ""
