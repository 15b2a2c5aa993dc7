"""Layouts that no program here writes, made by hand; the platforms and names in them."""

import dataclasses
import gzip
import json
import struct
import subprocess
import tarfile

import pytest
import zstandard

from labsupport import Image
from labsupport.engine.image.oci import machine
from labsupport.errors import NoSuchImage, SeveralImages
from tests.image_making import (
    ARCHITECTURE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    blob_name,
    digest,
    docker,
    docker_25,
    folder,
    hardlink,
    index,
    kaniko,
    lay_out,
    layout,
    member,
    oci,
    pack,
    put,
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
    "OCI, plain": oci(LAYERS),
    "OCI, gzip": oci(LAYERS, gzip.compress, "+gzip"),
    "OCI, zstd": oci(LAYERS, zstandard.compress, "+zstd"),
    "OCI, stargz": oci(LAYERS, seekable_gzip, "+gzip"),
    "OCI, zstd:chunked": oci(LAYERS, seekable_zstd, "+zstd"),
    "OCI, compressed though it does not say so": oci(LAYERS, gzip.compress),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("form", ["archive", "folder", "archive.gz", "archive.zst"])
def test_a_layout_is_read_as_an_archive_and_as_a_folder(name, form, tmp_path):
    path = tmp_path / form
    if form == "folder":
        lay_out(LAYOUTS[name], path)
    else:
        pressed = {"archive.gz": gzip.compress, "archive.zst": zstandard.compress}.get(form, bytes)
        path.write_bytes(pressed(pack(LAYOUTS[name])))

    with Image.open(path) as image:
        check(image)


def test_a_tar_of_a_folder_made_with_gnu_tar(tmp_path):
    """Its names begin with `./`, and files with several names are links."""
    where = lay_out(oci(LAYERS, gzip.compress, "+gzip"), tmp_path / "folder")
    some = next(path for path in sorted(where.glob("blobs/sha256/*")))
    (where / "aaa").hardlink_to(some)
    subprocess.run(["tar", "-C", where, "-cf", tmp_path / "it.tar", "."], check=True)

    with Image.open(tmp_path / "it.tar") as image:
        check(image)


def test_equal_layers_are_links_in_an_older_archive(tmp_path):
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
    (tmp_path / "it.tar").write_bytes(tar(members))

    with Image.open(tmp_path / "it.tar") as image:
        assert [layer.diff_id for layer in image.layers] == [digest(x) for x in (BASE, BASE, NEXT)]
        assert image.layers[1].changed == ("/etc/motd", "/etc/secret")
        assert not image.names


def two_platforms(*, attested=False, without=()):
    """An index of images for two kinds of machine, as BuildKit writes it."""
    blobs, descriptors = {}, []
    for architecture in ("riscv64", ARCHITECTURE):
        made = oci([BASE], architecture=architecture)
        (found,) = json.loads(made["index.json"])["manifests"]
        descriptors.append(found)
        if architecture not in without:
            blobs |= {name: blob for name, blob in made.items() if name.startswith("blobs/")}
    if attested:
        statement = put(blobs, b"{}", "application/vnd.in-toto+json")
        said = json.dumps({"mediaType": MANIFEST_TYPE, "config": statement, "layers": [statement]})
        notes = {"vnd.docker.reference.type": "attestation-manifest"}
        nowhere = {"os": "unknown", "architecture": "unknown"}
        descriptors.append(
            put(blobs, said.encode(), MANIFEST_TYPE, platform=nowhere, annotations=notes)
        )
    notes = {"io.containerd.image.name": "docker.io/library/two:1"}
    return layout(blobs, [put(blobs, index(descriptors), INDEX_TYPE, annotations=notes)])


@pytest.mark.parametrize("attested", [False, True])
def test_of_several_platforms_this_machines_is_taken(attested, tmp_path):
    path = lay_out(two_platforms(attested=attested), tmp_path)

    assert Image.open(path).architecture == ARCHITECTURE
    assert Image.open(path).names == ("docker.io/library/two:1",)
    assert Image.open(path, platform="linux/riscv64").architecture == "riscv64"
    with pytest.raises(NoSuchImage, match=f"linux/riscv64.*\n.*platform='linux/{ARCHITECTURE}'|.*"):
        Image.open(path, platform="linux/s390x")


def test_one_that_was_saved_without_its_content_is_not_there(tmp_path):
    path = lay_out(two_platforms(without=[ARCHITECTURE]), tmp_path)

    assert Image.open(path).architecture == "riscv64"
    with pytest.raises(NoSuchImage, match="it has: linux/riscv64"):
        Image.open(path, platform=machine())


def test_an_attestation_is_no_image(tmp_path):
    """Of two manifests one is about the other, so nothing is to be chosen."""
    files = two_platforms(attested=True, without=[ARCHITECTURE])

    assert Image.open(lay_out(files, tmp_path)).architecture == "riscv64"


def test_a_variant_of_the_platform_will_do(tmp_path):
    blobs, descriptors = {}, []
    for architecture, variant in (("riscv64", "rv"), (ARCHITECTURE, "v8")):
        made = oci([BASE], architecture=architecture)
        (found,) = json.loads(made["index.json"])["manifests"]
        found["platform"]["variant"] = variant
        descriptors.append(found)
        blobs |= {name: blob for name, blob in made.items() if name.startswith("blobs/")}
    path = lay_out(layout(blobs, descriptors), tmp_path)

    assert Image.open(path).architecture == ARCHITECTURE
    assert Image.open(path, platform="linux/riscv64/rv").architecture == "riscv64"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_files_are_read_in_any_order(compress, tmp_path):
    members = [member(f"{at}", f"{at}".encode() * 45000) for at in range(40)]
    path = lay_out(oci([tar(members), tar(members[::-1])], compress), tmp_path)

    with Image.open(path) as image:
        for at, number in zip([3, 30, 7, 7, 39, 0, 20, 19], [1, 1, 1, 2, 2, 1, 2, 2], strict=True):
            assert image.read(f"{at}", layer=number) == f"{at}".encode() * 45000


def test_of_several_images_one_must_be_named(tmp_path):
    one, two = docker([BASE], tags=["one:1", "uno:1"]), docker([NEXT], tags=["two:latest"])
    files = {
        f"{at}-{name}": blob for at, image in enumerate((one, two)) for name, blob in image.items()
    }
    manifests = []
    for at, image in enumerate((one, two)):
        (said,) = json.loads(image["manifest.json"])
        said |= {"Config": f"{at}-config.json", "Layers": [f"{at}-{x}" for x in said["Layers"]]}
        manifests.append(said)
    (tmp_path / "it.tar").write_bytes(
        pack({**files, "manifest.json": json.dumps(manifests).encode()})
    )

    assert Image.open(tmp_path / "it.tar", name="uno:1").names == ("one:1", "uno:1")
    assert Image.open(tmp_path / "it.tar", name="two").layers[0].diff_id == digest(NEXT)
    with pytest.raises(SeveralImages, match=r"3 images: one:1, two:latest, uno:1\n.*name='one:1'"):
        Image.open(tmp_path / "it.tar")
    with pytest.raises(NoSuchImage, match="did you mean 'one:1'"):
        Image.open(tmp_path / "it.tar", name="one:2")


def test_what_is_odd_but_honest(tmp_path):
    """Names as kaniko, buildpacks and others write them; links anywhere, as in every image."""
    layer = tar(
        [
            folder("/"),
            folder("./opt/"),
            member("/opt/absolute", b"1"),
            symlink("opt/outside", "../../../../../opt/absolute"),
            symlink("opt/host", "/opt/./absolute"),
            symlink("opt/beside", "absolute"),
            member("opt/named", b"5"),
            hardlink("opt/again", "./opt/named"),
            member("implied/folder/file", b"2"),
            member("opt/" + "long" * 100, b"3"),
            member("opt/\udcff", b"4"),
            member(".wh..wh.aufs"),
            member("opt/absolute", b"twice"),
            member("opt/fifo", type=tarfile.FIFOTYPE),
            member("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        ]
    )
    (tmp_path / "it.tar").write_bytes(pack(docker([layer])))

    image = Image.open(tmp_path / "it.tar")
    assert image.read("/opt/outside") == image.read("/opt/host") == b"twice"
    assert image.read("/opt/beside") == b"twice"
    assert image.read("opt/again") == b"5"
    assert image.tree()["/implied/folder"].kind == "folder"
    assert "/implied/folder" not in image.layers[0].files
    assert image.read("/opt/\\xff") == b"4"
    assert image.tree()["/opt/fifo"].kind == "fifo"
    assert image.tree()["/dev/null"].kind == "character device"
    assert "/.wh..wh.aufs" not in image.tree()
    assert "/" in image.tree()


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_a_sparse_file_is_read_with_its_holes(form, tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        for at in range(0, 3_000_000, 600_000):
            file.seek(at)
            file.write(b"data" * 1024)
        file.truncate(4_000_000)
    how = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    subprocess.run(
        ["tar", *how, "--sparse", "-C", tmp_path, "-cf", tmp_path / "layer", "sparse"], check=True
    )
    layer = (tmp_path / "layer").read_bytes()
    (tmp_path / "it.tar").write_bytes(pack(docker([layer])))

    image = Image.open(tmp_path / "it.tar")
    assert len(layer) < 200_000
    assert image.tree()["/sparse"].size_bytes == image.size_bytes == 4_000_000
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
def test_the_history_is_matched_to_the_layers_or_not_at_all(history, made, tmp_path):
    (tmp_path / "it.tar").write_bytes(pack(docker(LAYERS, history=history)))

    image = Image.open(tmp_path / "it.tar")
    assert [step.layer.number if step.layer else None for step in image.history] == made
    assert [layer.created_by for layer in image.layers] == (["A", "C"] if 2 in made else ["", ""])


def test_a_layer_that_is_nothing(tmp_path):
    (tmp_path / "it.tar").write_bytes(pack(docker([b"", bytes(1024), BASE])))

    image = Image.open(tmp_path / "it.tar")
    assert [len(layer.files) for layer in image.layers] == [0, 0, 3]
    assert image.efficiency == 1.0
    assert dataclasses.astuple(image.tree()["/etc/motd"])[:3] == ("/etc/motd", "file", 6)


def test_an_image_without_layers(tmp_path):
    (tmp_path / "it.tar").write_bytes(pack(docker([])))

    image = Image.open(tmp_path / "it.tar")
    assert (image.layers, image.size_bytes, image.wasted_bytes, image.efficiency) == ((), 0, 0, 1.0)


def test_the_blobs_of_these_tests_are_named_by_their_content():
    files = oci(LAYERS)

    for name, blob in files.items():
        assert name in ("oci-layout", "index.json", blob_name(digest(blob)))
