"""A container's own layer: what the engine says of it, and where it lies on the disk."""

import shutil

import pytest

from labsupport.engine.client import Engine
from labsupport.engine.held import HeldContainer
from labsupport.engine.images import Image
from labsupport.engine.step_archive import archive, copy, remove
from labsupport.engine.stored import stored_bytes
from labsupport.engine.toys import LIBRARY_BYTES, TOYS, toy_base
from labsupport.errors import LayersOutOfReach, MissingCapability, NotAnOverlay
from labsupport.linux import installed as module
from labsupport.linux.installed import installed
from labsupport.linux.overlay_mounts import overlay_of
from labsupport.linux.sandbox import Sandbox
from labsupport.views.writable import Changes
from labsupport.writable_layer import WritableLayer
from tests.engine.help import said_by
from tests.engines import why_none

needs_engine = pytest.mark.skipif(bool(why_none()), reason=why_none() or "an engine is there")
WORK = (
    "echo mine > /var/note; echo '# more' >> /etc/passwd; rm /etc/group; rm -r /root; mkdir /root"
)


@pytest.fixture(scope="module")
def engine():
    with Engine.start_private() as engine:
        yield engine


@pytest.fixture
def box(engine):
    with HeldContainer(engine) as box:
        box.exec(["sh", "-c", WORK])
        yield box


@needs_engine
def test_the_engine_and_the_disk_tell_the_same(box):
    own = WritableLayer.of(box)
    assert own.changes["/var/note"] == "added"
    assert own.changes["/etc/passwd"] == "changed"
    assert own.changes["/etc/group"] == "deleted"
    assert own.folder is not None, own.why
    assert (own.folder / "var/note").read_text() == "mine\n"
    assert str(own.folder) == box.container.attrs["GraphDriver"]["Data"]["UpperDir"]


@needs_engine
def test_each_name_lies_where_it_was_written(box):
    own = WritableLayer.of(box)
    stack, names = own.look("/bin/busybox"), own.names()
    where = {path: names.get(stack.lies_in(path)) for path in stack.paths()}
    assert where == {
        "bin/busybox": "image layer 1",
        "etc/group": None,
        "etc/passwd": "the container's",
        "root": "the container's",
        "var/note": "the container's",
    }
    assert stack.layer("upper").entries["root"].kind == "opaque"
    assert "init (mount points)" in names.values()


@needs_engine
def test_containers_of_one_image_share_all_but_their_own_layer(engine, box):
    with HeldContainer(engine) as twin:
        one, other = WritableLayer.of(box), WritableLayer.of(twin)
        assert other.changes == {}
        assert one.folder != other.folder
        assert one.lowers[-1] == other.lowers[-1]


@needs_engine
def test_it_goes_with_its_container(engine):
    with HeldContainer(engine) as box:
        box.exec(["touch", "/note"])
        folder = WritableLayer.of(box).folder
        assert folder.exists()
    assert not folder.exists()


@needs_engine
def test_files_that_the_engine_mounts_are_not_taken_for_written_ones(engine):
    with HeldContainer(engine) as box:
        assert overlay_of(box.pid).covered >= {"etc/hosts", "etc/hostname", "proc"}
        assert overlay_of(box.pid).written() == []


def test_another_file_system_is_no_overlay():
    with Sandbox(new={"mount"}) as box:
        box.run(["mount", "-t", "tmpfs", "mine", "/mnt"])
        with pytest.raises(NotAnOverlay, match="tmpfs is mounted there"):
            overlay_of(box.holder_pid, "/mnt")


@needs_engine
def test_what_cannot_be_seen_is_said_and_the_engine_is_asked(box, monkeypatch):
    def refuse(pid):
        raise NotAnOverlay(pid, "/", "vfs")

    monkeypatch.setattr("labsupport.writable_layer.overlay_of", refuse)
    own = WritableLayer.of(box)
    assert own.folder is None
    assert "vfs is mounted there" in repr(Changes(own))
    assert "/var/note" in Changes(own)._repr_html_()
    with pytest.raises(LayersOutOfReach, match="vfs"):
        own.look()


@needs_engine
def test_shared_layers_are_stored_once(engine):
    engine.base_image()
    before = stored_bytes(engine)
    toy_base(engine)
    toys = sum(len(text) for text in TOYS.values())
    assert stored_bytes(engine) - before == toys


@needs_engine
def test_the_toys_image_is_made_once_and_works(engine):
    name = toy_base(engine)
    made = engine.client.images.get(name).id
    assert toy_base(engine) == name
    assert engine.client.images.get(name).id == made
    script = (
        "apt-get update && apt-get install -y build-essential pipenv"
        " && echo one > /Pipfile && pipenv sync && wc -c < /venv/one"
    )
    said = said_by(engine.client, name, ["sh", "-c", script])
    assert int(said) == LIBRARY_BYTES


@needs_engine
@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("apt-get install git", "apt-get update first"),
        ("apt-get update && apt-get install emacs", "Unable to locate package emacs"),
        ("pipenv sync", "pipenv is not installed"),
        ("apt-get update && apt-get install pipenv && pipenv sync", "no compiler"),
    ],
)
def test_the_toys_fail_as_the_real_ones_would(engine, script, why):
    script = f"({script}) || echo failed"
    said = said_by(engine.client, toy_base(engine), ["sh", "-c", script])
    assert why in said.decode()
    assert said.endswith(b"failed\n")


def test_an_archive_of_steps_deletes_by_whiteouts(tmp_path):
    steps = [copy("etc/secret", "token"), remove("etc/secret")]
    (tmp_path / "image.tar").write_bytes(archive("a:b", steps))
    with Image.open(tmp_path / "image.tar") as image:
        (lost,) = image.lost_files()
        assert (lost.path, lost.read()) == ("/etc/secret", b"token")
        assert [layer.verified for layer in image.layers] == [True] * 3


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="needs dpkg")
def test_what_is_installed_is_counted_by_the_package_manager():
    found = installed()
    assert found.manager == "dpkg-query"
    assert 0 < found.base_packages < found.packages
    assert 10_000_000 < found.base_bytes < found.size_bytes


def test_without_a_package_manager_it_is_said(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(MissingCapability, match="dpkg or rpm"):
        installed()
