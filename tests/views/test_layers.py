"""Layers as bars: what is hidden, shared, cached; the same in words, in a table, on the page."""

import json

import pytest

from labsupport.engine.builds import Build, BuildStep
from labsupport.engine.image.entries import Entry, Layer, Step
from labsupport.errors import NotAHistory, UnknownLayer
from labsupport.views import histories, layer_bars, layers, style
from labsupport.views.amounts import amount
from labsupport.views.instructions import instruction, is_ours, keyword
from labsupport.views.layer_explorer import LayerExplorer, as_data


class Picture:
    """As much of an image as the views look at."""

    def __init__(self, *made, name="mine"):
        self.names, self.digest = (name,), "sha256:0"
        self.layers = tuple(layer for _, layer in made if layer)
        self.history = tuple(Step(None, by, "", layer is None, layer) for by, layer in made)
        self.size_bytes = sum(layer.size_bytes for layer in self.layers)
        self.wasted_bytes, self.efficiency = 0, 1.0


def layer(number, key, by, files=(), changed=(), deleted=()):
    entries = {path: Entry(path, "file", size) for path, size in files}
    added = tuple(path for path in entries if path not in changed)
    size = sum(entry.size_bytes for entry in entries.values())
    return by, Layer(
        number=number, digest=key, diff_id=key, size_bytes=size, blob_bytes=size, created_by=by,
        files=entries, added=added, changed=changed, deleted=deleted, verified=True,
    )  # fmt: skip


BASE = layer(1, "sha256:1", "ADD rootfs.tar /", [("/bin/sh", 2000)])
TOOLS = layer(2, "sha256:2", "/bin/sh -c make", [("/cache", 6000), ("/lib", 1000)])
RM = layer(
    3, "sha256:3", "/bin/sh -c rm /cache; touch /lib", [("/lib", 1000)], ("/lib",), ("/cache",)
)
COPY = layer(3, "sha256:4", "/bin/sh -c #(nop) COPY file:0123456789abcdef in /app ", [("/app", 10)])
CMD = ('/bin/sh -c #(nop)  CMD ["sh"]', None)
OURS = ("/bin/sh -c #(nop)  LABEL org.labsupport.owner=1:2", None)
MINE, OTHER = Picture(BASE, OURS, TOOLS, RM, CMD), Picture(BASE, TOOLS, COPY, CMD, name="other")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("/bin/sh -c #(nop) COPY file:0123456789abcdef in /app ", "COPY file:012345… in /app"),
        ("/bin/sh -c make && make install", "RUN make && make install"),
        ("RUN /bin/sh -c pipenv sync # buildkit", "RUN pipenv sync"),
        ("|2 A=1 B=2 /bin/sh -c make", "RUN make"),
        ('CMD ["sh"]', 'CMD ["sh"]'),
    ],
)
def test_each_builders_words_become_an_instruction(written, read):
    assert instruction(written) == read
    assert keyword(written) == read.split()[0]


def test_our_own_label_is_known():
    assert is_ours(OURS[0])
    assert not is_ours("LABEL maintainer=me")


def test_what_a_later_layer_deletes_or_replaces_is_hidden():
    (tower,) = layers.towers({"mine": MINE})
    assert [bar.hidden_bytes for bar in tower.bars] == [0, 7000, 0]
    hidden = {file.path: file.hidden_by for file in tower.bars[1].files}
    assert hidden == {"/cache": 3, "/lib": 3}
    deleted = [file for file in tower.bars[2].files if file.what == "deleted"]
    assert [(file.path, file.size_bytes) for file in deleted] == [("/cache", 6000)]


def test_layers_are_shared_only_with_all_below_them():
    moved = Picture(TOOLS, BASE)
    one, other = layers.towers({"mine": MINE, "other": OTHER})
    assert [bar.shared for bar in one.bars] == [True, True, False]
    assert layers.finding([one, other]) == "2 layers are in both, 9 kB stored once"
    one, other = layers.towers({"mine": MINE, "moved": moved})
    assert layers.finding([one, other]) == "They share no layer"


def test_cache_hits_are_those_of_the_build():
    steps = (
        BuildStep(1, 4, "FROM base"),
        BuildStep(2, 4, "RUN make", cached=True),
        BuildStep(3, 4, "COPY app /app"),
        BuildStep(4, 4, 'CMD ["sh"]', cached=True),
    )
    (tower,) = layers.towers({"other": OTHER}, {"other": Build(steps)})
    assert [bar.cached for bar in tower.bars] == [None, True, False]


def test_title_words_and_table_say_the_same():
    shown = layers.towers({"mine": MINE})
    assert layers.finding(shown) == "7 kB of 10 kB are deleted, and still there"
    tidy = layers.towers({"other": OTHER})
    assert layers.finding(tidy) == "78 % of 9.01 kB are in layer 2"
    assert "2 RUN make, 7 kB, 7 kB wasted" in layers.words(shown)
    assert layers.table(shown)[1][:5] == ("mine", 3, "RUN rm /cache; touch /lib", "1 kB", "0 B")


def test_everything_is_on_the_page():
    for shown in (
        layers.towers({"mine": MINE}),
        layers.towers({"mine": MINE, "other": OTHER}),
    ):
        _assert_inside(layer_bars.figure_of(shown))
    mine = histories.of_image("mine", MINE)
    figure = style.new_figure(9.2, 9.2 * histories.shares_height([mine, mine]) / 100)
    histories.draw_shares(figure.add_axes((0, 0, 1, 1)), [mine, mine])
    _assert_inside(figure)


def _assert_inside(figure):
    figure.canvas.draw()
    page = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text.get_text()
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text.get_text()


def test_the_widget_gets_plain_data_and_the_largest_files_first():
    data = as_data(layers.towers({"mine": MINE, "other": OTHER}))
    assert json.loads(json.dumps(data)) == data
    uppermost, tools, base = data["towers"][0]["bars"]
    assert [uppermost["number"], tools["number"], base["number"]] == [3, 2, 1]
    assert [file["path"] for file in tools["files"]] == ["/cache", "/lib"]
    assert (tools["hidden"], tools["shared"]) == (7000, True)


def test_a_huge_layer_is_cut_and_says_so():
    many = layer(1, "sha256:9", "ADD all /", [(f"/{number}", number) for number in range(1000)])
    (bar,) = as_data(layers.towers({"many": Picture(many)}))["towers"][0]["bars"]
    assert (len(bar["files"]), bar["more"], bar["files"][0]["path"]) == (200, 800, "/999")


def test_a_layer_is_chosen_by_number_and_image():
    explorer = LayerExplorer({"mine": MINE, "other": OTHER})
    assert explorer.selected is None
    assert explorer.select(3, "other") is OTHER.layers[2]
    assert explorer.selected is OTHER.layers[2]
    with pytest.raises(UnknownLayer, match="there are: 1, 2, 3"):
        explorer.select(4)
    with pytest.raises(UnknownLayer, match="shown are mine, other"):
        explorer.select(1, "another")


def test_three_images_are_too_many():
    with pytest.raises(ValueError, match="one image or two"):
        LayerExplorer({"a": MINE, "b": MINE, "c": MINE})


def test_a_history_tells_what_made_no_layer():
    mine = histories.of_image("mine", MINE)
    assert [line.layer for line in mine.lines] == [1, 2, 3, None]
    assert histories.made(mine) == "4 instructions made 3 layers"
    assert round(mine.share(mine.largest)) == 70


def test_the_lectures_table_adds_up_to_what_its_listing_says():
    lecture = histories.of_table("the lecture's", "notebooks/data/lecture_history.json")
    assert amount(lecture.size_bytes) == "483 MB"
    assert round(lecture.share(lecture.largest)) == 68
    assert lecture.largest.instruction.startswith("RUN set -ex; apt-get update")
    assert len(lecture.lines) == 21


@pytest.mark.parametrize("text", ["", "[]", '{"history": [{"created_by": "CMD", "size": "big"}]}'])
def test_what_is_no_history_is_told(tmp_path, text):
    (tmp_path / "history.json").write_text(text)
    with pytest.raises(NotAHistory, match="holds no history"):
        histories.of_table("mine", tmp_path / "history.json")


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (155_000, "155 kB"), (6_660_000, "6.66 MB"),
     (999_999, "1 MB"), (483_415_032, "483 MB"), (2e12, "2 TB")],
)  # fmt: skip
def test_amounts_have_three_digits(number, written):
    assert amount(number) == written
