"""Who said no: each guard before a privileged call is found by experiment."""

import sys
import time

import pytest

from labsupport import Filter, capabilities
from labsupport.errors import TrialFailed, UnknownSystemCall
from labsupport.linux.capabilities import capability_mask
from labsupport.linux.filters import guards
from labsupport.linux.filters.guards import CALL, CAPABILITY, NAMESPACE, NEEDS, SECCOMP, who_said_no

NOTHING = Filter(())
ALL = capabilities().permitted
CAN = {need for need in NEEDS.values() if need} <= set(ALL)
needs_root = pytest.mark.skipif(
    not CAN or "CAP_SYS_ADMIN" not in capabilities().effective,
    reason="needs root's capabilities in the initial user namespace",
)


def closed(calls=tuple(NEEDS), **options):
    return {each.call: each.closed for each in who_said_no(calls, **options)}


@needs_root
def test_with_everything_open_only_the_arguments_are_refused():
    found = who_said_no(filter=NOTHING, keep=ALL)

    assert {each.call: each.closed for each in found} == dict.fromkeys(NEEDS, ())
    outcomes = {each.call: each.errno for each in found}
    assert outcomes["reboot"] == outcomes["mount"] == outcomes["clock_settime"] == "EINVAL"
    assert outcomes["swapon"] == "ENOENT"
    assert outcomes["unshare"] == outcomes["ptrace"] == ""
    assert [gate.errno for gate in found[0].gates if gate.closed] == ["EINVAL"]
    assert found[0].gates[-1].guard == CALL


@needs_root
def test_seccomp_alone():
    found = who_said_no(["reboot", "keyctl"], filter=Filter.deny(["reboot"], "EACCES"), keep=ALL)

    assert [each.closed for each in found] == [(SECCOMP,), ()]
    assert found[0].errno == "EACCES"


@needs_root
def test_the_capability_alone():
    without = ALL - {"CAP_SYS_BOOT"}
    assert closed(["reboot", "mount"], filter=NOTHING, keep=without) == {
        "reboot": (CAPABILITY,), "mount": (),
    }  # fmt: skip


@needs_root
def test_a_capability_in_a_user_namespace_of_ones_own():
    """It opens what belongs to that namespace, and nothing that belongs to the machine."""
    found = closed(filter=NOTHING, keep=ALL, own_user_namespace=True)

    assert found["unshare"] == ()
    for name in ("reboot", "mount", "clock_settime", "swapon", "ptrace"):
        assert found[name] == (NAMESPACE,), name


@needs_root
def test_guarded_twice():
    both = who_said_no(["reboot"], filter=Filter.deny(["reboot"]), keep=["CAP_CHOWN"])[0]

    assert both.closed == (SECCOMP, CAPABILITY)
    assert repr(both) == "<reboot: EPERM; seccomp said no, and capability would too>"
    assert {attempt.guard: attempt.errno for attempt in both.attempts} == {
        "everything": "EPERM", "nothing": "EINVAL", SECCOMP: "EPERM", CAPABILITY: "EPERM",
        NAMESPACE: "EINVAL",
    }  # fmt: skip
    assert both.gates[1].by == "CAP_SYS_BOOT is missing"


@needs_root
def test_a_filter_that_kills():
    [found] = who_said_no(["mount"], filter=Filter.deny(["mount"], "kill"), keep=ALL)

    assert found.errno == "killed"
    assert found.closed == (SECCOMP,)


@needs_root
def test_the_machine_is_as_before():
    names, clock = open_mounts(), time.time()
    began = time.monotonic()
    who_said_no(filter=NOTHING, keep=ALL)

    assert abs((time.time() - clock) - (time.monotonic() - began)) < 0.5
    assert open_mounts() == names


def open_mounts():
    with open("/proc/self/mounts") as file, open("/proc/swaps") as swaps:
        return file.read(), swaps.read()


def test_a_call_that_has_no_harmless_arguments_here():
    with pytest.raises(UnknownSystemCall, match="mount"):
        who_said_no(["umount"], filter=NOTHING)


def test_without_privileges_the_gates_cannot_be_opened(as_user):
    code = (
        "from labsupport import Filter\n"
        "from labsupport.linux.filters.guards import who_said_no\n"
        "who_said_no(filter=Filter(()))\n"
    )
    done = as_user([sys.executable, "-c", code], cwd="/")
    assert "TrialFailed" in done.stderr
    assert "lacks CAP_SYS_ADMIN" in done.stderr


def test_a_capability_that_is_missing_is_named(monkeypatch):
    class Poor:
        effective = frozenset({"CAP_CHOWN"})

    monkeypatch.setattr(guards, "capabilities", lambda: Poor)
    with pytest.raises(TrialFailed, match="lacks CAP_SYS_BOOT"):
        who_said_no(["reboot"], filter=NOTHING)
    assert capability_mask(["CAP_CHOWN"]) == 1
