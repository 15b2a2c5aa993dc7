"""The row of lamps: what it says in words, and what it draws."""

import pytest

from labsupport.linux.workshop.breakouts import Light
from labsupport.linux.workshop.portrait import Difference
from labsupport.starting import Start, explained
from labsupport.views import lights as picture
from labsupport.views import startup, style
from labsupport.views.differences import Comparison

NAMES = ("mounts", "files", "host name")


def row(*held):
    return [
        Light(name, name, on, f"try {name}", f"evidence of {name}")
        for name, on in zip(NAMES, held, strict=True)
    ]


@pytest.mark.parametrize(
    ("held", "finding"),
    [
        ((False, False, False), "All 3 attempts break out"),
        ((True, False, False), "1 of 3 attempts are kept in"),
        ((True, True, True), "All 3 are kept in"),
    ],
)
def test_the_title_counts(held, finding):
    assert picture.finding(row(*held)) == finding


def test_what_changed_is_named_with_its_evidence():
    before, now = row(True, False, False), row(True, True, False)
    assert picture.finding(now, before).endswith("New: files")
    assert picture.told(now, before) == ["files:  try files  →  evidence of files"]
    assert picture.told(now, now) == []


def test_the_words_tell_of_every_lamp():
    words = picture.words(row(True, False, True))
    assert "mounts: held (evidence of mounts)" in words
    assert "files: broken out (evidence of files)" in words


def test_the_picture_shows_each_lamp_and_stays_on_the_page():
    now = row(True, False, True)
    height = picture.needed_height(now, row(False, False, True))
    figure = style.new_figure(picture.WIDTH, picture.WIDTH * height / picture.UNITS)
    axes = figure.add_axes((0, 0, 1, 1))
    picture.draw_lights(axes, now, row(False, False, True))
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("held") == 2
    assert texts.count("broken out") == 1
    figure.canvas.draw()
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.width, text


STARTS = [
    Start("by hand", (("Python starts", 0.02), ("the steps", 0.02), ("the program", 0.01))),
    Start("docker run", (("layers", 0.1), ("containerd, shim", 0.3), ("network", 0.1))),
]


def test_the_start_up_picture_compares_with_the_first():
    assert startup.finding(STARTS) == (
        "docker run takes 10.0 times as long; 60 % of it is containerd, shim"
    )
    assert ("docker run", "network", "100.0") in startup.table(STARTS)


def test_what_an_engine_adds_is_what_is_saved_without_it():
    def run(start):
        return Start("docker run, network x", (("create", 0.1), ("start", start), ("wait", 0.05)))

    parts = dict(explained(run(0.5), run(0.4), Start("runc", (("runc", 0.1),))).parts)
    assert parts["network"] == pytest.approx(0.1)
    assert parts["containerd, shim"] == pytest.approx(0.3)
    assert sum(parts.values()) == pytest.approx(0.65)


def test_a_comparison_counts_and_escapes():
    rows = [Difference("a<b", ("1", "2"), "x"), Difference("c", ("1", "1"), "y")]
    comparison = Comparison(["ours", "theirs"], rows)
    assert comparison.caption == "1 of 2 things differ between ours, theirs"
    assert "≠ a&lt;b" in comparison._repr_html_()
    assert "≠ a<b: ours: 1; theirs: 2 (x)" in repr(comparison)
