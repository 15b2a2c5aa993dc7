"""Layers by hand: notebook 10 says what the kernel writes; here is who may, and what is refused."""

import sys
from unittest.mock import Mock

import pytest

from labsupport.errors import LabError, NotMounted
from labsupport.mount.overlay import Overlay

pytestmark = pytest.mark.needs("overlay")
LAYERS = {"base": {"etc/motd": "Hello\n"}}


@pytest.fixture
def overlay():
    with Overlay(LAYERS) as made:
        yield made


def test_what_is_not_mounted_cannot_be_looked_at(overlay):
    overlay.unmount()
    with pytest.raises(NotMounted):
        overlay.look()


def test_a_refused_mount_leaves_no_sandbox(monkeypatch):
    overlay = Overlay(LAYERS)
    monkeypatch.setattr(Overlay, "mount", Mock(side_effect=LabError("no", "no", "no")))
    with pytest.raises(LabError, match="no"):
        overlay.open()
    with pytest.raises(LabError, match="not open"):
        _ = overlay.box.holder_pid


ORDINARY = """
import os, sys
from labsupport.mount import overlay as module
if sys.argv[1] == "on disk":
    module._takes_user_attributes = lambda folder: False
with module.Overlay({"base": {"a": "1", "d/b": "2"}, "app": {"c": "3"}}) as made:
    assert "user" in made.box.new
    made.run(["rm", "a"]), made.run(["rm", "-r", "d"]), made.run(["mkdir", "d"])
    made.run(["tee", "-a", "c"], input="4")
    stack = made.look()
    print(*map(stack.lies_in, ["a", "d/b", "c"]), stack.layer("upper").entries["d"].kind)
left = [name for name in os.listdir(os.environ["TMPDIR"]) if "overlay" in name]
assert not left, left
"""


@pytest.mark.parametrize("where", ["in memory", "on disk"])
def test_an_ordinary_user_can_do_it_all(as_user, where):
    done = as_user([sys.executable, "-c", ORDINARY, where], cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "None None upper opaque\n"
