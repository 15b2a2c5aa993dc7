"""Wasted bytes and efficiency, counted by hand; and what deleted files still give away."""

import pytest

from tests.image_making import folder, hardlink, member, symlink


def test_a_file_that_is_in_two_layers(opened):
    image = opened([
        [member("etc/site", bytes(2000)), member("etc/once", bytes(3000))],
        [member("etc/site", bytes(5000)), member("other", bytes(10_000))],
    ])  # fmt: skip

    assert image.size_bytes == 20_000
    assert image.hidden == {(1, "/etc/site"): 2}
    assert (image.wasted_bytes, image.efficiency) == (2000, 0.9)
    assert not image.lost_files()  # it was replaced, not deleted


@pytest.mark.parametrize(
    "deleting",
    [
        [member(".wh.d")],
        [folder("d"), member("d/.wh..wh..opq")],
        [folder("d"), member("d/.wh.e"), member("d/.wh.b")],
        [member("d", b"")],
    ],
)
def test_the_files_of_a_folder_that_is_deleted(deleting, opened):
    files = [folder("d"), folder("d/e"), member("d/e/a", bytes(60)), member("d/b", bytes(40))]
    image = opened([[*files, member("kept", bytes(100))], deleting])

    assert image.hidden == {(1, "/d/e/a"): 2, (1, "/d/b"): 2}
    assert (image.wasted_bytes, image.efficiency) == (100, 0.5)
    assert [file.path for file in image.lost_files()] == ["/d/b", "/d/e/a"]


def test_bytes_that_another_name_still_shows_are_not_wasted(opened):
    linked = [member("a", bytes(100)), hardlink("b", "a"), hardlink("c", "b")]

    assert opened([linked, [member("a", bytes(50))]]).wasted_bytes == 0
    assert opened([linked, [member("a", bytes(50)), member(".wh.b")]]).read("c") == bytes(100)
    image = opened([linked, [member("a", bytes(50)), member(".wh.b"), symlink("c", "a")]])
    assert (image.wasted_bytes, image.read("c")) == (100, bytes(50))


def test_what_is_deleted_and_made_again(opened):
    image = opened([
        [folder("d"), member("d/x", b"first"), member("e", b"old")],
        [member(".wh.d"), member("d/y", b"second"), member(".wh.e")],
        [member("e", b"new")],
    ])  # fmt: skip

    assert image.layers[1].deleted == ("/d/x", "/e")  # the folder itself is there again
    assert image.layers[1].added == ("/d/y",)
    assert image.layers[2].added == ("/e",)
    assert image.tree()["/d"].kind == "folder"
    assert image.wasted_bytes == len(b"first" + b"old")
    assert [(file.path, file.read()) for file in image.lost_files()] == [
        ("/d/x", b"first"),
        ("/e", b"old"),
    ]


@pytest.mark.parametrize("instead", [symlink("a", "b"), folder("a"), member("a/b", b"1")])
def test_a_file_in_whose_place_is_something_else(instead, opened):
    image = opened([[member("a", b"secret")], [instead]])

    (lost,) = image.lost_files()
    assert (lost.path, lost.read(), lost.removed_in.number) == ("/a", b"secret", 2)
    assert image.wasted_bytes == 6


def test_links_and_folders_waste_nothing(opened):
    layer = [folder("d"), member("d/a", b"1"), symlink("d/s", "a"), hardlink("d/h", "d/a")]

    image = opened([layer, [folder("d"), symlink("d/s", "a")]])
    assert (image.hidden, image.wasted_bytes, image.efficiency) == ({}, 0, 1.0)
    assert image.layers[1].changed == ("/d/s",)
    assert not image.lost_files()


def test_a_folder_is_changed_by_its_mode_or_owner_alone(opened):
    image = opened([
        [folder("a"), folder("b"), folder("c"), folder("d")],
        [folder("a", mode=0o700), folder("b", uid=7), folder("c", gid=7), folder("d", mtime=7)],
    ])  # fmt: skip

    assert image.layers[1].changed == ("/a", "/b", "/c")
