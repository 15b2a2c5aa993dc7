"""Layers as bars: what is hidden, shared, cached; the same in words, in a table, on the page."""

import pytest

from labsupport.build.build import Build, BuildStep
from labsupport.build.log import instruction, keyword
from labsupport.errors import LabError
from labsupport.figure.table import amount
from labsupport.image.layer_explorer import History, finding, towers
from tests.image.samples import BASE, MINE, OTHER, TOOLS, image_of


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


def test_what_a_later_layer_deletes_or_replaces_is_hidden():
    (tower,) = towers({"mine": MINE})
    assert [bar.hidden_bytes for bar in tower.bars] == [0, 7000, 0]
    counts = [(bar.added, bar.changed, bar.deleted) for bar in tower.bars]
    assert counts == [(1, 0, 0), (2, 0, 0), (0, 1, 1)]
    assert [bar.said for bar in tower.bars[1:]] == ["7 kB, 7 kB wasted", "1 kB, deletes 1"]


def test_layers_are_shared_only_with_all_below_them():
    moved = image_of(TOOLS, BASE)
    one, other = towers({"mine": MINE, "other": OTHER})
    assert [bar.shared for bar in one.bars] == [True, True, False]
    assert finding([one, other]) == "2 layers are in both, 9 kB stored once"
    one, other = towers({"mine": MINE, "moved": moved})
    assert finding([one, other]) == "They share no layer"


def test_cache_hits_are_those_of_the_build():
    steps = (
        BuildStep(1, 4, "FROM base"),
        BuildStep(2, 4, "RUN make", cached=True),
        BuildStep(3, 4, "COPY app /app"),
        BuildStep(4, 4, 'CMD ["sh"]', cached=True),
    )
    (tower,) = towers({"other": OTHER}, {"other": Build(steps)})
    assert [bar.cached for bar in tower.bars] == [None, True, False]


@pytest.mark.parametrize("text", ["", "[]", '{"history": [{"created_by": "CMD", "size": "big"}]}'])
def test_what_is_no_history_is_told(tmp_path, text):
    (tmp_path / "history.json").write_text(text)
    with pytest.raises(LabError, match="holds no history"):
        History.printed("mine", tmp_path / "history.json")


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (155_000, "155 kB"), (6_660_000, "6.66 MB"),
     (999_999, "1 MB"), (483_415_032, "483 MB"), (2e12, "2 TB")],
)  # fmt: skip
def test_amounts_have_three_digits(number, written):
    assert amount(number) == written
