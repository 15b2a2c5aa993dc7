"""Images made by real programs, read by us, and compared with what those programs and tar say."""

import io
import os
import resource
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from labsupport import Image
from labsupport.errors import LabError
from tests.image_making import docker, folder, hardlink, member, symlink, tar

DOCKERFILE = b"""
FROM labsupport/busybox
RUN mkdir -p /d/e /app && echo secret > /etc/secret && echo 1 > /d/a && echo 2 > /d/e/b \
    && head -c 300000 /dev/urandom > /app/big && ln /app/big /app/hard && ln -s big /app/soft \
    && touch "/app/a name of its own" && chown 7:8 /app/big && chmod 4755 /app/big
ENV A=1
RUN rm -r /etc/secret /d && mkdir /d && echo new > /d/n
RUN chmod 700 /app && rm /app/soft && mkdir /app/soft
RUN echo x >> /app/big
"""
ENGINES_OWN = {"/.dockerenv", "/dev", "/proc", "/sys"}
ENGINES_OWN |= {f"/etc/{name}" for name in ("hostname", "hosts", "mtab", "resolv.conf")}
KINDS = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.REGTYPE: "file",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
}
FILE_D = [folder("d"), member("d/x", b"1"), member("d/y", b"22")]
LIB = [folder("usr"), folder("usr/lib"), member("usr/lib/a", b"a"), symlink("lib", "usr/lib")]
TAKEN = {
    "behind a link of its layer": [[*LIB, symlink("l", "../../lib"), member("lib/x", b"1"),
                                    member("l/y", b"2"), hardlink("z", "lib/x")]],
    "behind an absolute link": [[folder("usr"), symlink("lib", "/usr"), member("lib/x", b"1")]],
    "a folder over a link": [LIB, [folder("lib"), member("lib/x", b"1")]],
    "in a folder that is a link below": [LIB, [member("lib/x", b"1")]],
    "dots that stay inside": [[member("run/_main/../other/x", b"1")]],
    "dots after a link": [[folder("a"), symlink("l", "a"), member("l/../x", b"1")]],
    "a file in place of a folder that is not named": [[member("d/x", b"1"), member("d", b"2")]],
    "hard links": [[folder("d"), member("d/a", b"x"), symlink("l", "d"), hardlink("h", "/l/a"),
                    hardlink("again", "h")]],
    "a hard link to a link": [[member("a", b"x"), symlink("s", "a"), hardlink("z", "s")]],
    "a hard link whose target is replaced above": [
        [member("a", b"old"), hardlink("h", "a")], [member("a", b"new")]],
    "a whiteout behind a link of its layer": [FILE_D, [folder("d"), symlink("l", "d"),
                                                       member("l/.wh.x")]],
    "a whiteout behind a lower layer's link": [[*FILE_D, symlink("l", "d")], [member("l/.wh.x")]],
    "an opaque folder, said at last": [FILE_D, [folder("d"), member("d/x", b"2"),
                                                member("d/.wh..wh..opq")]],
    "what aufs notes": [[member(".wh..wh.aufs"), member("a", b"1")]],
    "long names, GNU": [tar([member("l" * 200 + "/" + "n" * 200, b"1")], tarfile.GNU_FORMAT)],
    "long names, PAX": [[member("l" * 200 + "/" + "n" * 200, b"1")]],
    "odd names": [[member("a\nb", b"1"), member("a\\b", b"2"), member("c/", b"3")]],
    "devices": [[member("p", type=tarfile.FIFOTYPE),
                 member("c", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
                 member("b", type=tarfile.BLKTYPE, devmajor=7)]],
    "the root": [[folder("./", mode=0o755), member("./a", b"1")]],
    "empty layers": [b"", bytes(1024), [member("a", b"1")]],
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(engine):
    engine.client.images.build(
        fileobj=io.BytesIO(DOCKERFILE), tag="made:1", network_mode="none", rm=True
    )
    return engine


@pytest.fixture(scope="module")
def saved(engine, tmp_path_factory):
    """The image as `docker save` writes it."""
    path = tmp_path_factory.mktemp("saved") / "docker.tar"
    with path.open("wb") as file:
        file.writelines(engine.client.images.get("made:1").save(named=True))
    return path


@pytest.fixture
def saved_for_podman(engine, saved):
    if engine.image_store == "containerd":
        pytest.skip("needs the classic store: Podman 4 cannot save what containerd's has packed")
    return saved


@pytest.fixture(scope="module")
def image(engine):
    with Image.of(engine, "made:1") as image:
        yield image


def inside(image):
    """What is in an image, apart from what it is called and how it is stored."""
    return (
        [(layer.diff_id, layer.added, layer.changed, layer.deleted) for layer in image.layers],
        [(step.created_by, step.empty) for step in image.history],
        dict(image.tree()),
        image.hidden,
    )


def test_it_is_what_the_engine_says_it_is(engine, image):
    said = engine.client.images.get("made:1")

    # containerd's store identifies an image by its manifest, the classic one by its configuration
    assert (image.digest == said.id) == (engine.image_store == "classic")
    assert image.names == ("made:1",)
    assert image.architecture == said.attrs["Architecture"]
    assert image.config["config"]["Env"] == said.attrs["Config"]["Env"]
    assert [layer.diff_id for layer in image.layers] == said.attrs["RootFS"]["Layers"]
    packed = [layer.digest != layer.diff_id for layer in image.layers]
    assert any(packed) == (engine.image_store == "containerd")


def exported(engine, name):
    """What `docker export` shows of a container: kind, mode, owner, and a link's target or text."""
    container = engine.client.containers.create(name, ["true"])
    with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as files:
        container.remove()
        return {
            f"/{found.name}": seen(
                files, files.getmember(found.linkname if found.islnk() else found.name)
            )
            for found in files
            if not any(f"/{found.name}/".startswith(f"{path}/") for path in ENGINES_OWN)
        }


def seen(files, found):
    text = files.extractfile(found).read() if found.isreg() else found.linkname
    return KINDS[found.type], found.mode & 0o7777, found.uid, found.gid, text


def told(image):
    """The same, told by us."""
    return {
        path: (
            "file" if entry.is_file else entry.kind, entry.mode, entry.uid, entry.gid,
            image.read(path) if entry.is_file else entry.target,
        )
        for path, entry in image.tree().items()
    }  # fmt: skip


def test_the_tree_is_what_the_engine_exports_of_a_container(engine, image):
    assert told(image) == exported(engine, "made:1")
    # the link was broken when one of its names was written to, so it is two files since
    assert image.tree()["/app/hard"].target == "/app/big"
    assert len(image.read("/app/hard")) == len(image.read("/app/big")) - 2 == 300_000


@pytest.mark.parametrize("name", TAKEN)
def test_what_an_engine_takes_is_shown_as_it_shows_it(name, engine, opened, tmp_path):
    image = opened(docker([x if isinstance(x, bytes) else tar(x) for x in TAKEN[name]], tags=()))
    with (tmp_path / "it.tar").open("rb") as file:
        [loaded] = engine.client.images.load(file)
    theirs = exported(engine, loaded.id)
    engine.client.images.remove(loaded.id, force=True)
    ours = told(image)
    assert {path: ours[path] for path in ours.keys() - {"/"}} == {
        path: theirs[path] for path in theirs.keys() - {"/etc"}
    }


def test_what_each_layer_did(image):
    base, made, removed, replaced, grown = image.layers

    assert "/bin/busybox" in base.added
    assert {"/app", "/app/big", "/app/hard", "/app/soft", "/d/e/b", "/etc/secret"} < {*made.added}
    assert not made.changed  # /etc has a new time alone
    assert removed.added == ("/d/n",)
    assert removed.deleted == ("/d/a", "/d/e", "/d/e/b", "/etc/secret")
    assert replaced.changed == ("/app", "/app/soft")
    assert grown.changed == ("/app/big",)
    assert grown.files["/app/big"].size_bytes == 300002


def test_one_can_read_of_each_layer(image):
    assert image.read("etc/secret", layer=2) == b"secret\n"
    assert len(image.read("/app/big", layer=image.layers[1])) == 300000
    assert image.read("/app/big") == image.read("/app/big", layer=2) + b"x\n"
    for path, layer, words in (
        ("/etc/secret", None, r"no file '/etc/secret' in the image"),
        ("/etc/passwords", None, "did you mean '/etc/passwd'"),
        ("big", None, "did you mean '/app/big'"),
        ("/etc/secret", 9, "layers 1 to 5"),
        ("/app", None, "it is a folder"),
    ):
        with pytest.raises(LabError, match=words):
            image.read(path, layer)


def test_an_unknown_name_is_named_with_those_that_are_there(engine):
    with pytest.raises(LabError, match="did you mean 'made:1'"):
        Image.of(engine, "made:2")


def test_of_leaves_one_file_without_a_name_and_that_until_it_is_closed(
    engine, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def kept():
        files = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        links = [os.readlink(file) for file in files if file.is_symlink()]
        return [link for link in links if link.startswith(str(tmp_path))]

    image = Image.of(engine, "made:1")
    (only,) = kept()
    assert only.endswith("(deleted)")
    assert not list(tmp_path.iterdir())
    image.close()
    assert not kept()
    with pytest.raises(LabError, match="has been closed"):
        image.read("/app/big")


def test_no_room_for_the_archive_is_said(engine):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(LabError, match=r"File too large\n.*TMPDIR"):
            Image.of(engine, "made:1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def storage():
    """Options that give podman a storage of its own, by a name that is short enough.

    Podman takes 50 characters, and pytest's folders are longer.
    """
    where = Path(tempfile.mkdtemp(prefix="labimages-"))
    yield [f"--root={where}/root", f"--runroot={where}/run", "--storage-driver=vfs"]
    shutil.rmtree(where)


@pytest.mark.skipif(not shutil.which("podman"), reason="needs podman (apt-get install podman)")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_podman_saves(form, saved_for_podman, image, storage, tmp_path):
    for argv in (
        ["load", "--quiet", "--input", saved_for_podman],
        ["save", f"--format={form}", f"--output={tmp_path / 'it'}", "made:1"],
    ):
        subprocess.run(["podman", *storage, *argv], capture_output=True, check=True)
    with Image.open(tmp_path / "it") as same:
        assert inside(same) == inside(image)
        # newer engines save the name with its registry, and Podman takes that
        assert same.names in (("localhost/made:1",), ("docker.io/library/made:1",))
        assert [file.read() for file in same.lost_files()] == [b"1\n", b"2\n", b"secret\n"]
