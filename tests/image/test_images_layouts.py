"""Layouts that no program here writes, made by hand; the platforms and names in them."""

import bz2
import gzip
import json
import lzma
import struct
import subprocess

import pytest
import zstandard

from labsupport import Image
from labsupport.errors import LabError
from tests.image_making import (
    ARCHITECTURE,
    blob_name,
    digest,
    docker,
    docker_25,
    folder,
    hardlink,
    kaniko,
    listed,
    member,
    oci,
    pack,
    symlink,
    tar,
)

BASE = tar([folder("etc"), member("etc/motd", b"hello\n"), member("etc/secret", b"key\n" * 5000)])
NEXT = tar([member("etc/.wh.secret"), folder("app"), member("app/run", b"#!/bin/sh\n" * 90000)])
LAYERS = [BASE, NEXT]


def check(image):
    assert [layer.added for layer in image.layers] == [
        ("/etc", "/etc/motd", "/etc/secret"),
        ("/app", "/app/run"),
    ]
    assert image.layers[1].deleted == ("/etc/secret",)
    assert [layer.diff_id for layer in image.layers] == [digest(layer) for layer in LAYERS]
    assert [layer.created_by for layer in image.layers] == ["step 1", "step 2"]
    assert image.read("app/run") == b"#!/bin/sh\n" * 90000
    (lost,) = image.lost_files()
    assert (lost.path, lost.read()) == ("/etc/secret", b"key\n" * 5000)
    assert image.architecture == ARCHITECTURE


def seekable_gzip(layer):
    """As stargz has it: many gzip members, and an empty one with where they are."""
    pieces = [gzip.compress(layer[at : at + 1000], mtime=0) for at in range(0, len(layer), 1000)]
    extra = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % 12345
    footer = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(extra)) + extra
    return b"".join([*pieces, footer, b"\x01\x00\x00\xff\xff" + bytes(8)])


def seekable_zstd(layer):
    """As zstd:chunked has it: many frames, and skippable ones with a table of contents."""
    pieces = [zstandard.compress(layer[at : at + 1000]) for at in range(0, len(layer), 1000)]
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 100_000) + bytes(100_000)
    return b"".join([skippable, *pieces, skippable, skippable])


LAYOUTS = {
    "the least that docker loads": docker(LAYERS),
    "docker save of Docker 25": docker_25(LAYERS),
    "kaniko": kaniko(LAYERS),
    "gzip": docker_25(LAYERS, gzip.compress),
    "zstd": docker_25(LAYERS, zstandard.compress),
    "stargz": docker_25(LAYERS, seekable_gzip),
    "zstd:chunked": docker_25(LAYERS, seekable_zstd),
    "bzip2": docker_25(LAYERS, bz2.compress),
    "xz": docker_25(LAYERS, lzma.compress),
    "an OCI layout alone": oci(LAYERS),
}


PRESSES = [gzip.compress, zstandard.compress, bz2.compress, lzma.compress]


@pytest.mark.parametrize(
    ("name", "press"), [*((name, bytes) for name in LAYOUTS), *(("kaniko", it) for it in PRESSES)]
)
def test_a_layout_is_read_whole_or_compressed(name, press, opened):
    with opened(press(pack(LAYOUTS[name]))) as image:
        check(image)


def test_a_tar_of_a_folder_made_with_gnu_tar(tmp_path):
    """Its names begin with `./`, and files with several names are links."""
    where = tmp_path / "folder"
    for name, content in docker_25(LAYERS, gzip.compress).items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    some = next(path for path in sorted(where.glob("blobs/sha256/*")))
    (where / "aaa").hardlink_to(some)
    subprocess.run(["tar", "-C", where, "-cf", tmp_path / "it.tar", "."], check=True)

    with Image.open(tmp_path / "it.tar") as image:
        check(image)


def test_equal_layers_are_links_in_an_older_archive(opened):
    files = docker([BASE, BASE, NEXT])
    manifest = [{"Config": "config.json", "Layers": ["a/l.tar", "b/l.tar", "c/l.tar"]}]
    members = [
        member("a/l.tar", files["layer0.tar"]),
        symlink("b/l.tar", "../a/l.tar"),
        member("d/l.tar", files["layer2.tar"]),
        hardlink("c/l.tar", "d/l.tar"),
        member("config.json", files["config.json"]),
        member("manifest.json", json.dumps(manifest).encode()),
    ]
    with opened(tar(members)) as image:
        assert [layer.diff_id for layer in image.layers] == [digest(x) for x in (BASE, BASE, NEXT)]
        assert image.layers[1].changed == ("/etc/motd", "/etc/secret")
        assert not image.names


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress, lzma.compress])
def test_files_are_read_in_any_order(compress, opened):
    members = [member(f"{at}", f"{at}".encode() * 45000) for at in range(40)]

    with opened(docker_25([tar(members), tar(members[::-1])], compress)) as image:
        for at, number in zip([3, 30, 7, 7, 39, 0, 20, 19], [1, 1, 1, 2, 2, 1, 2, 2], strict=True):
            assert image.read(f"{at}", layer=number) == f"{at}".encode() * 45000


def test_of_several_images_one_must_be_named(opened):
    one, two = docker([BASE], tags=["one:1", "uno:1"]), docker([NEXT], tags=["two:latest"])
    files, manifests = {}, []
    for at, image in enumerate((one, two)):
        files |= {f"{at}-{name}": blob for name, blob in image.items()}
        (said,) = json.loads(image["manifest.json"])
        said |= {"Config": f"{at}-config.json", "Layers": [f"{at}-{x}" for x in said["Layers"]]}
        manifests.append(said)
    files["manifest.json"] = json.dumps(manifests).encode()

    assert opened(files, name="uno:1").names == opened(one).names == ("one:1", "uno:1")
    assert opened(files, name="two").layers[0].diff_id == digest(NEXT)
    with pytest.raises(LabError, match=r"2 images: one:1, two:latest, uno:1\n.*name='one:1'"):
        opened(files)
    with pytest.raises(LabError, match="did you mean 'one:1'"):
        opened(files, name="one:2")


def test_of_several_platforms_this_machines_is_taken(opened):
    """An index in the index, as BuildKit writes it, with an attestation, which is not an image."""
    theirs, ours = oci([NEXT], architecture="riscv64"), oci([BASE])
    attestation = oci([b"{}"], platform={"os": "unknown", "architecture": "unknown"})
    several = [each for files in (theirs, attestation, ours) for each in listed(files)]
    index = json.dumps({"schemaVersion": 2, "manifests": several}).encode()
    outer = {"digest": digest(index), "annotations": {"io.containerd.image.name": "two:1"}}
    files = {**theirs, **ours, **attestation, blob_name(digest(index)): index}
    files["index.json"] = json.dumps({"manifests": [outer]}).encode()

    image = opened(files, name="two:1")
    assert (image.architecture, image.layers[0].diff_id) == (ARCHITECTURE, digest(BASE))
    assert opened(files).digest == image.digest
    assert opened(theirs).architecture == "riscv64"


def test_what_is_odd_but_honest(opened):
    """Names as kaniko, buildpacks and others write them; links anywhere, as in every image."""
    image = opened([[
        folder("./opt/"), member("/opt/absolute", b"1"), member("opt/\udcff", b"2"),
        symlink("opt/outside", "../../../../../opt/./absolute"), symlink("opt/beside", "absolute"),
        hardlink("opt/again", "./opt/absolute"), member("opt/absolute", b"twice"),
    ]])  # fmt: skip
    assert image.read("/opt/outside") == image.read("opt/beside") == b"twice"
    assert image.read("opt/again") == b"1"
    assert image.read("/opt/\\xff") == b"2"


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_a_sparse_file_is_read_with_its_holes(form, compress, opened, tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        for at in range(0, 3_000_000, 600_000):
            file.seek(at)
            file.write(b"data" * 1024)
    how = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    argv = ["tar", *how, "--sparse", "-C", tmp_path, "-cf", tmp_path / "layer", "sparse"]
    subprocess.run(argv, check=True)

    layer = (tmp_path / "layer").read_bytes()
    assert len(layer) < 100_000
    image = opened(docker_25([layer], compress))
    assert image.tree()["/sparse"].size_bytes == image.size_bytes == 2_404_096
    assert image.read("sparse") == (tmp_path / "sparse").read_bytes()


@pytest.mark.parametrize(
    ("history", "made"),
    [
        ([{"created_by": "A"}, {"created_by": "B", "empty_layer": True}, {"created_by": "C"}],
         [1, None, 2]),
        ([{"created_by": "A"}], [None]),
        ([], []),
    ],
)  # fmt: skip
def test_the_history_is_matched_to_the_layers_or_not_at_all(history, made, opened):
    image = opened(docker(LAYERS, history=history))
    assert [step.layer.number if step.layer else None for step in image.history] == made
    assert [layer.created_by for layer in image.layers] == (["A", "C"] if 2 in made else ["", ""])


def test_an_image_without_layers(opened):
    image = opened([])
    assert (image.layers, image.size_bytes, image.wasted_bytes, image.efficiency) == ((), 0, 0, 1.0)


def test_a_hard_link_is_to_the_file_that_was_there_when_it_was_made(opened):
    """Docker's overlay refuses one to a lower layer's file; Podman's vfs takes it."""
    lower = [folder("bin"), member("bin/perl", b"perl")]
    for deleting in ([], [member("bin/.wh.perl")]):
        image = opened([lower, [hardlink("bin/perl5", "bin/perl"), *deleting]])
        assert image.read("/bin/perl5") == image.read("/bin/perl5", layer=2) == b"perl"
        assert image.wasted_bytes == 0
    image = opened([[member("a", b"old"), hardlink("b", "a"), member("a", b"new")]])
    assert (image.read("a"), image.read("b")) == (b"new", b"old")
