"""A container's own layer: what the engine says of it, and where it lies on the disk."""

import pytest

from labsupport.build.bases import base_image, make_image
from labsupport.build.container import Container
from labsupport.errors import LabError
from labsupport.image.writable import WritableLayer, stored_bytes
from labsupport.mount.overlay import overlay_of
from labsupport.sandbox.sandbox import Sandbox

WORK = (
    "echo mine > /var/note; echo '# more' >> /etc/passwd; rm /etc/group; rm -r /root; mkdir /root"
)


@pytest.fixture
def box(engine):
    with Container(engine) as box:
        box.exec(["sh", "-c", WORK])
        yield box


def test_each_name_lies_where_it_was_written(box):
    own = WritableLayer.of(box)
    stack, names = own.look("/bin/busybox"), own.names()
    where = {path: names.get(stack.lies_in(path)) for path in stack.paths()}
    assert where == {
        "bin/busybox": "image layer 1", "etc/group": None, "etc/passwd": "the container's",
        "root": "the container's", "var/note": "the container's",
    }  # fmt: skip
    assert stack.layer("upper").entries["root"].kind == "opaque"
    assert "init (mount points)" in names.values()


def test_files_that_the_engine_mounts_are_not_taken_for_written_ones(engine):
    with Container(engine) as box:
        assert overlay_of(box.pid).covered >= {"etc/hosts", "etc/hostname", "proc"}
        assert overlay_of(box.pid).written() == []


def test_another_file_system_is_not_an_overlay():
    with Sandbox(new={"mount"}) as box:
        box.run(["mount", "-t", "tmpfs", "mine", "/mnt"])
        with pytest.raises(LabError, match="tmpfs is mounted there"):
            overlay_of(box.holder_pid, "/mnt")


def test_what_cannot_be_seen_is_said_and_the_engine_is_asked(box, monkeypatch):
    def refuse(pid):
        raise LabError(f"process {pid} has no overlay", "vfs is mounted there")

    monkeypatch.setattr("labsupport.image.writable.overlay_of", refuse)
    own = WritableLayer.of(box)
    assert own.folder is None
    assert "vfs is mounted there" in own.table.finding
    assert ("added", "/var/note") in own.table.rows
    with pytest.raises(LabError, match=r"layers cannot be seen.*vfs"):
        own.look()


def test_shared_layers_are_stored_once(engine):
    base_image(engine)
    before = stored_bytes(engine)
    make_image(engine, "labsupport/note:latest", {"/note": (b"mine\n", 0o644)}, on_busybox=True)
    assert stored_bytes(engine) - before == len("mine\n")
