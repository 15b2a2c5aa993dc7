"""User maps: arithmetic, and the same answers as the kernel's."""

import os
import subprocess
import sys

import pytest

from labsupport import Sandbox
from labsupport.errors import NamespaceRefused
from labsupport.kernel.procfs import IdMap
from labsupport.users.rootless import ordinary_uid

TWO_LINES = IdMap.parse("         0     100000        10\n      1000       1000          1\n")


@pytest.mark.parametrize(
    ("inside", "outside"),
    [(0, 100_000), (9, 100_009), (10, None), (999, None), (1000, 1000), (1001, None)],
)
def test_a_mapped_number_is_translated_up_to_the_ends_of_a_line(inside, outside):
    assert TWO_LINES.outside(inside) == outside


IN_A_GROUP = """
import os
from labsupport import Sandbox
os.setgroups([0, 6])
with Sandbox(new={"user"}, uid=%d) as box:
    print(open(f"/proc/{box.start(['sleep', '60']).pid}/status").read())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be in such a group")
def test_no_privileged_group_goes_along():
    code = IN_A_GROUP % ordinary_uid()
    status = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "Groups:\t \n" in status
    assert f"Uid:\t{ordinary_uid()}" in status


def test_the_steps_show_how_root_was_given_up():
    with Sandbox(new={"user", "uts", "mount"}, uid=ordinary_uid()) as mine:
        mine.run(["true"])
        shown = str(mine.shell())
    assert "unshare(CLONE_NEWUSER)" in shown
    if os.geteuid() == 0:
        uid = ordinary_uid()
        assert shown.index(f"setresuid({uid}, {uid}, {uid})") < shown.index("CLONE_NEWUSER")
        assert f"setpriv --reuid={uid} --regid={uid} --clear-groups unshare" in shown


def test_another_user_needs_a_user_namespace_and_root():
    if os.geteuid() == 0:
        with pytest.raises(NamespaceRefused, match="uid= needs a new user namespace"):
            Sandbox(new={"uts"}, uid=ordinary_uid())
    else:
        with pytest.raises(NamespaceRefused, match=r"another user.*only root.*\n.*uid="):
            Sandbox(new={"user"}, uid=os.geteuid() + 1)
