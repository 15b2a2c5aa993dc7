"""Sizes for a projector: what is drawn afterwards, what is refused, how it is undone."""

import pytest

from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.figure.style import present


@pytest.fixture(autouse=True)
def ordinary_size_afterwards():
    yield
    style._scale = 1.0


@pytest.mark.parametrize(("asked", "times"), [((), 1.4), ((True,), 1.4), ((2,), 2), ((False,), 1)])
def test_pictures_and_their_words_are_drawn_so_large(asked, times):
    present(*asked)
    assert style.size("body") == pytest.approx(times * style.SIZES["body"])
    assert style.new_figure(5, 2).get_figheight() == pytest.approx(times * 2)


def test_it_is_undone(capsys):
    present()
    assert "1.4 times as large; present(False) undoes it" in capsys.readouterr().out
    present(False)
    assert "ordinary size" in capsys.readouterr().out
    assert style.size("body") == style.SIZES["body"]


@pytest.mark.parametrize("scale", [0, -1, 0.4, 30])
def test_sizes_that_nobody_could_read_are_refused_and_change_nothing(scale):
    present(1.5)
    with pytest.raises(LabError, match=r"between 0\.5 and 3"):
        present(scale)
    assert style.size("body") == pytest.approx(1.5 * style.SIZES["body"])
