"""Layers by hand: what the kernel writes into the upper folder, and leaves alone below."""

import os
import stat
import sys
from unittest.mock import Mock

import pytest

from labsupport.errors import LabError, NotMounted
from labsupport.mount.overlay import OPAQUE, Overlay, is_opaque

pytestmark = pytest.mark.needs("overlay")
LAYERS = {
    "base": {"etc/motd": "Hello\n", "srv/photos/a.jpg": "a", "var/log": "x" * 100_000},
    "app": {"etc/motd": "Hello from the app\n", "srv/app.py": "print()\n"},
}


@pytest.fixture
def overlay():
    with Overlay(LAYERS) as made:
        yield made


def content(overlay, layer, path):
    return (overlay.folder(layer) / path).read_text()


def test_the_uppermost_of_two_files_is_seen(overlay):
    stack = overlay.look()
    assert overlay.run(["cat", "etc/motd"]).stdout == "Hello from the app\n"
    assert stack.lies_in("etc/motd") == "app"
    assert stack.lies_in("srv/photos/a.jpg") == "base"
    assert stack.layer("upper").entries == {}


def test_one_more_byte_copies_the_whole_file_up(overlay):
    overlay.run(["tee", "-a", "var/log"], input="y")
    stack = overlay.look()
    assert stack.layer("upper").size_bytes == 100_001
    assert stack.lies_in("var/log") == "upper"
    assert content(overlay, "base", "var/log") == "x" * 100_000


def test_a_deleted_name_is_a_device_0_0_above_files_that_stay(overlay):
    overlay.run(["rm", "etc/motd"])
    mark = (overlay.folder("upper") / "etc/motd").lstat()
    assert stat.S_ISCHR(mark.st_mode)
    assert mark.st_rdev == 0
    stack = overlay.look()
    assert stack.layer("upper").entries["etc/motd"].kind == "whiteout"
    assert stack.lies_in("etc/motd") is None
    assert content(overlay, "base", "etc/motd") == "Hello\n"


def test_a_folder_made_again_is_opaque(overlay):
    overlay.run(["rm", "-r", "srv/photos"])
    overlay.run(["mkdir", "srv/photos"])
    folder = overlay.folder("upper") / "srv/photos"
    assert is_opaque(folder)
    assert set(os.listxattr(folder)) & set(OPAQUE)
    assert overlay.look().lies_in("srv/photos/a.jpg") is None


def test_what_is_not_mounted_cannot_be_looked_at(overlay):
    overlay.unmount()
    with pytest.raises(NotMounted):
        overlay.look()


def test_a_file_that_is_in_no_layer_is_told(overlay):
    stack = overlay.look()
    (overlay.folder("app") / "srv/app.py").write_text("changed below the mount\n")
    later = overlay.look()
    assert stack.lies_in("srv/app.py") == "app"
    object.__setattr__(later, "merged", stack.merged)
    with pytest.raises(LookupError, match="lies in no layer"):
        later.lies_in("srv/app.py")


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
