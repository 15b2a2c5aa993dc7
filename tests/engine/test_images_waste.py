"""Wasted bytes and efficiency, counted by hand; and what deleted files still give away."""

import pytest

from labsupport import Image
from tests.image_making import docker, folder, hardlink, member, pack, symlink, tar


@pytest.fixture
def image_of(tmp_path):
    """Open an image whose layers have these members."""

    def image_of(*layers):
        (tmp_path / "it.tar").write_bytes(pack(docker([tar(layer) for layer in layers])))
        return Image.open(tmp_path / "it.tar")

    return image_of


def test_a_file_that_is_in_two_layers(image_of):
    image = image_of(
        [member("etc/site", bytes(2000)), member("etc/once", bytes(3000))],
        [member("etc/site", bytes(5000)), member("other", bytes(10_000))],
    )

    assert image.size_bytes == 20_000
    assert image.wasted == (("/etc/site", 7000, 2),)
    assert image.wasted_bytes == 7000
    assert image.efficiency == (2000 + 3000 + 10_000) / 20_000  # 0.75, as dive's own tests have it


def test_a_file_that_is_deleted(image_of):
    image = image_of([member("kept", bytes(300)), member("gone", bytes(100))], [member(".wh.gone")])

    assert image.wasted == (("/gone", 100, 2),)
    assert image.efficiency == 300 / 400


def test_the_files_of_a_folder_that_is_deleted(image_of):
    """Dive alone overlooks them."""
    files = [folder("d"), folder("d/e"), member("d/e/a", bytes(60)), member("d/b", bytes(40))]
    for deleting in (
        [member(".wh.d")],
        [folder("d"), member("d/.wh..wh..opq")],
        [folder("d"), member("d/.wh.e"), member("d/.wh.b")],
        [member("d", b"")],
    ):
        image = image_of([*files, member("kept", bytes(100))], deleting)
        assert image.wasted == (("/d/e/a", 60, 2), ("/d/b", 40, 2))
        assert image.efficiency == 0.5
        assert [file.path for file in image.lost_files()] == ["/d/b", "/d/e/a"]


def test_what_is_deleted_and_made_anew(image_of):
    image = image_of(
        [folder("d"), member("d/x", b"first"), member("e", b"old")],
        [member(".wh.d"), member("d/y", b"second"), member(".wh.e")],
        [member("e", b"new")],
    )

    assert image.layers[1].deleted == ("/d/x", "/e")  # the folder itself is there again
    assert image.layers[1].added == ("/d/y",)
    assert image.layers[2].added == ("/e",)
    assert image.tree()["/d"].kind == "folder"
    assert image.wasted == (("/e", 6, 3), ("/d/x", 5, 2))
    assert [(file.path, file.read()) for file in image.lost_files()] == [
        ("/d/x", b"first"),
        ("/e", b"old"),
    ]


@pytest.mark.parametrize("instead", [symlink("a", "b"), folder("a"), member("a/b", b"1")])
def test_a_file_in_whose_place_is_something_else(instead, image_of):
    image = image_of([member("a", b"secret")], [instead])

    (lost,) = image.lost_files()
    assert (lost.path, lost.read(), lost.removed_in.number) == ("/a", b"secret", 2)
    assert image.wasted == (("/a", 6, 2),)


def test_links_and_folders_waste_nothing(image_of):
    layer = [folder("d"), member("d/a", b"1"), symlink("d/s", "a"), hardlink("d/h", "d/a")]
    again = [folder("d"), symlink("d/s", "a")]

    image = image_of(layer, again)
    assert image.wasted == ()
    assert image.efficiency == 1.0
    assert image.layers[1].changed == ("/d/s",)
    assert not image.lost_files()


def test_a_folder_is_changed_by_its_mode_or_owner_alone(image_of):
    image = image_of(
        [folder("a"), folder("b"), folder("c"), folder("d")],
        [folder("a", mode=0o700), folder("b", uid=7), folder("c", gid=7), folder("d", mtime=7)],
    )

    assert image.layers[1].changed == ("/a", "/b", "/c")
