"""Layouts that no program here writes, made by hand."""

import dataclasses
import gzip
import json
import struct
import subprocess

import pytest
import zstandard

from labsupport import Image
from tests.image_making import (
    digest,
    docker,
    docker_25,
    folder,
    hardlink,
    member,
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


def stargz(layer):
    """Many gzip members."""
    return b"".join(gzip.compress(layer[at : at + 1000]) for at in range(0, len(layer), 1000))


def zstd_chunked(layer):
    """Many frames, and a skippable one with a table of contents."""
    pieces = [zstandard.compress(layer[at : at + 1000]) for at in range(0, len(layer), 1000)]
    return b"".join([*pieces, b"\x50\x2a\x4d\x18", struct.pack("<I", 100_000), bytes(100_000)])


LAYOUTS = {
    "the least that docker loads": docker(LAYERS),
    "docker save of Docker 25": docker_25(LAYERS),
    "gzip": docker_25(LAYERS, gzip.compress),
    "zstd": docker_25(LAYERS, zstandard.compress),
    "stargz": docker_25(LAYERS, stargz),
    "zstd:chunked": docker_25(LAYERS, zstd_chunked),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read(name, opened):
    with opened(LAYOUTS[name]) as image:
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


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_files_are_read_in_any_order(compress, opened):
    members = [member(f"{at}", f"{at}".encode() * 45000) for at in range(40)]

    with opened(docker_25([tar(members), tar(members[::-1])], compress)) as image:
        for at, number in zip([3, 30, 7, 7, 39, 0, 20, 19], [1, 1, 1, 2, 2, 1, 2, 2], strict=True):
            assert image.read(f"{at}", layer=number) == f"{at}".encode() * 45000


def test_what_is_odd_but_honest(opened):
    """Names as kaniko, buildpacks and others write them; links anywhere, as in every image."""
    image = opened([
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
        ]
    ])  # fmt: skip

    assert image.read("/opt/outside") == image.read("/opt/host") == b"twice"
    assert image.read("/opt/beside") == b"twice"
    assert image.read("opt/again") == b"5"
    assert image.tree()["/implied/folder"].kind == "folder"
    assert "/implied/folder" not in image.layers[0].files
    assert image.read("/opt/\\xff") == b"4"
    assert "/.wh..wh.aufs" not in image.tree()
    assert "/" in image.tree()


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


def test_a_layer_that_is_nothing(opened):
    image = opened([b"", bytes(1024), BASE])
    assert [len(layer.files) for layer in image.layers] == [0, 0, 3]
    assert image.efficiency == 1.0
    assert dataclasses.astuple(image.tree()["/etc/motd"])[:3] == ("/etc/motd", "file", 6)


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
