"""The pictures of this room say what their data say."""

import pytest

from labsupport.errors import LabError
from labsupport.seccomp.guards import CAPABILITY, NAMESPACE, SECCOMP
from labsupport.seccomp.pictures import COULD, HAS, NO, Gates, capability_table
from labsupport.seccomp.syscall_table import GROUPS
from tests.figure import sheet
from tests.seccomp.samples import DENIED, FOUND, GATES, GRID, WHO, chain

TOTAL = len(GRID.verdicts)


def texts_of(page):
    return [text.strip() for text in sheet.texts(page)]


def test_capabilities_that_are_alike_share_a_row():
    table = capability_table(WHO)
    assert table.finding.startswith("Of 3 capabilities, notebook has 3, container has 1, ")
    assert table.rows[0] == ("how many", "3 of 3", "1 of 3", "0 of 3", "0 of 3")
    assert table.rows[3:] == (
        ("`CHOWN`", HAS, HAS, COULD, NO),
        ("`KILL`, `SYS_ADMIN`", HAS, NO, COULD, NO),
    )
    with pytest.raises(LabError, match="nobody to show"):
        capability_table({})


def test_only_the_first_closed_gate_is_crossed_out():
    texts = texts_of(GATES.page())
    assert texts.count("✕ EPERM") == 2  # seccomp for reboot, the capability for ptrace
    assert texts.count("EPERM") == 1  # the capability would have refused reboot, too
    assert texts.count("done") == 2
    assert {"reboot", "needs SYS_BOOT", "needs no capability"} <= set(texts)


def test_a_call_that_the_kernel_lacks_meets_no_gate():
    assert "swapon is not in this kernel." in GATES.words()
    assert "not in this kernel" in texts_of(GATES.page())
    assert texts_of(Gates(FOUND[3:]).page()).count("✕ EPERM") == 0


def test_the_capability_and_its_namespace_are_one_question():
    [both] = found = [chain("mount", "EPERM", CAPABILITY, NAMESPACE)]
    assert both.closed == (CAPABILITY, NAMESPACE)
    assert texts_of(Gates(found).page()).count("✕ EPERM") == 2
    assert "twice" not in Gates(found).finding()


def test_the_one_that_is_asked_first_comes_first():
    later = chain("mount", "EPERM", SECCOMP, CAPABILITY, first=False)
    assert later.closed == (CAPABILITY, SECCOMP)
    assert "mount is refused by capability with EPERM; seccomp would" in Gates([later]).words()


def test_each_call_is_a_square_and_what_is_refused_is_named():
    drawn = [look for shape, look in sheet.shapes(GRID.page()) if shape == "path"]
    assert sum(look["d"].count("z") for look in drawn) - 3 == TOTAL  # the key has three
    crosses = [look for look in drawn if "z" not in look["d"]]
    assert len(crosses) - 1 == len(DENIED)  # not by colour alone
    said = " ".join(texts_of(GRID.page()))
    assert all(name in said for name in [*DENIED, "socket (in part)", *GROUPS, "3 refused"])
    assert GRID.finding() == f"docker run: 3 of {TOTAL} calls refused, 1 in part"
