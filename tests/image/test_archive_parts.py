"""Archives taken apart, made here."""

import gzip
import json
import tarfile

import pytest

from labsupport.image.unpacked import kind_of, look, unpacked
from tests.image_making import member, symlink, tar


def packed(files):
    members = (member(name, content) for name, content in files.items())
    return tar([*members, symlink("link", "target")], tarfile.USTAR_FORMAT)


LAYER = packed({"bin/hello": b"\x7fELF\x02rest", "note": b"words"})
IMAGE = packed(
    {"manifest.json": json.dumps([{"Layers": ["layer.tar"]}]).encode(), "layer.tar": LAYER}
)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (LAYER, "tar"),
        (b"\x7fELF\x02", "program"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b'{"a": 1}', "JSON"),
        (b"[]", "JSON"),
        (b"12", "text"),
        (b"words", "text"),
        (b"", "text"),
        (b"\xff\xfe\x00", "other"),
        (bytes(32769) + b"CD001" + bytes(2000), "ISO image"),
    ],
)
def test_bytes_tell_what_a_file_is(content, kind):
    assert kind_of(content) == kind


def test_an_archive_in_an_archive_is_looked_into(tmp_path):
    (tmp_path / "image.tar").write_bytes(IMAGE)
    parts = unpacked(tmp_path / "image.tar")
    assert (parts.name, parts.kind, parts.size_bytes) == ("image.tar", "tar", len(IMAGE))
    assert {"tar", "JSON", "program", "text", "link"} == parts.kinds
    assert [part.name for part in parts.parts[:2]] == ["manifest.json", "layer.tar"]
    assert "│  ├─ bin/hello  (program, 9 bytes)" in repr(parts)


def test_a_compressed_layer_is_told_with_the_size_it_has():
    small = gzip.compress(LAYER, mtime=0)
    part = look("layer.tar.gz", small)
    assert (part.kind, part.size_bytes) == ("tar", len(small))
    assert part.parts[0].name == "bin/hello"


def test_a_long_archive_is_cut(tmp_path):
    many = look("many.tar", packed({f"file{number}": b"" for number in range(30)}))
    assert repr(many).splitlines()[-1] == "└─ and 23 more"
    assert len(many.parts) == 31


def test_digests_in_names_are_cut():
    digest = "0123456789abcdef" * 4
    assert "0123456789…/layer.tar" in repr(look("a.tar", packed({f"{digest}/layer.tar": b"x"})))
