"""Capability sets by name, for this process and others."""

import os
import time
from pathlib import Path

import pytest

from labsupport import Sandbox, capabilities
from labsupport.errors import LabError
from labsupport.kernel.capabilities import capability_mask, decode, names
from labsupport.kernel.procfs import status


def test_the_names_are_the_kernels():
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())

    assert len(names()) == last + 1
    assert names()[0] == "CAP_CHOWN"
    assert names()[21] == "CAP_SYS_ADMIN"
    assert names()[40] == "CAP_CHECKPOINT_RESTORE"


def test_our_own_sets_are_what_proc_says():
    text = Path("/proc/self/status").read_text()
    effective = int(text.partition("CapEff:")[2].split()[0], 16)

    assert capability_mask(capabilities().effective) == effective
    assert capabilities(os.getpid()) == capabilities()


def test_no_new_privs_is_told():
    with Sandbox() as box:
        runs = box.start(["setpriv", "--no-new-privs", "sleep", "60"])
        while status(runs.pid).name != "sleep":
            time.sleep(0.01)
        assert capabilities(runs.pid).no_new_privs
    assert not capabilities().no_new_privs


def test_names_are_taken_as_people_write_them():
    one = capability_mask(["CAP_SYS_ADMIN"])

    assert one == 1 << 21
    assert capability_mask(["sys_admin"]) == capability_mask(["SYS_ADMIN"]) == one
    assert capability_mask("sys_admin") == one
    assert capability_mask([]) == 0
    assert decode(one | 1) == ["CAP_CHOWN", "CAP_SYS_ADMIN"]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(LabError, match="did you mean 'CAP_SYS_ADMIN'"):
        capability_mask(["SYS_ADMN"])


def test_what_is_newer_than_we_are_has_a_number():
    assert decode(1 << 60) == ["CAP_60"]
