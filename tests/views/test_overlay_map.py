"""The picture of layers: what it says is what the layers hold."""

from labsupport.linux.layer_folders import Entry, LayerFolder, Stack
from labsupport.views import overlay_map, style


def layer(name, *entries, writable=False):
    return LayerFolder(name, {entry.path: entry for entry in entries}, writable)


STACK = Stack(
    layers=(
        layer("upper", Entry("a", "whiteout"), Entry("d", "opaque"), writable=True),
        layer("base", Entry("a", "file", 5, "x"), Entry("b", "file", 1500, "y"),
              Entry("d", "folder"), Entry("d/e", "file", 3, "z")),
    ),
    merged=layer("merged", Entry("b", "file", 1500, "y"), Entry("d", "folder")),
)  # fmt: skip
PATHS = ["a", "b", "d", "d/e"]


def test_the_title_counts_what_is_seen_and_what_is_hidden():
    said = overlay_map.finding(STACK, PATHS)
    assert said == "2 names are seen: 1 in upper, 1 in base; 2 hidden"


def test_the_words_tell_of_every_name():
    said = overlay_map.words(STACK, PATHS)
    assert "a: not to be seen (upper has deleted; base has 5 B)." in said
    assert "b: lies in base." in said


def test_a_cell_is_filled_only_in_the_layer_that_is_seen():
    top, upper, base = overlay_map.rows(STACK, PATHS)
    assert [cell is not None for cell in top.cells] == [False, True, True, False]
    assert [bool(cell and cell.seen) for cell in upper.cells] == [False, False, True, False]
    assert [bool(cell and cell.seen) for cell in base.cells] == [False, True, False, False]


def test_the_table_has_a_row_for_each_name():
    table = overlay_map.table(STACK, PATHS, {"upper": "the container's"})
    assert table[0] == ("name", "lies in", "the container's", "base")
    assert table[1] == ("a", "", "deleted", "5 B")


def test_everything_is_on_the_page():
    shown = overlay_map.rows(STACK, PATHS)
    figure = style.new_figure(9.2, 9.2 * overlay_map.needed_height(shown) / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    overlay_map.draw_overlay(axes, shown, PATHS, "a title")
    figure.canvas.draw()
    page = figure.bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text.get_text()
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text.get_text()
