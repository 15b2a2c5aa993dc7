"""The syscall grid: every call once, in its place, by verdict; and the bars of counts."""

import pytest

from labsupport import Filter, SyscallGrid
from labsupport.linux.filters import libseccomp
from labsupport.linux.filters.libseccomp import Rule
from labsupport.linux.filters.syscall_groups import GROUPS
from labsupport.linux.filters.syscall_table import number_of
from labsupport.views import style
from labsupport.views import syscall_grid as grid

DENIED = ["mount", "reboot", "keyctl"]


@pytest.fixture(scope="module")
def verdicts():
    rules = [Rule(libseccomp.act_errno(1), number_of(name)) for name in DENIED]
    rules.append(
        Rule(libseccomp.act_errno(1), number_of("socket"), ((0, libseccomp.SCMP_CMP_EQ, 40),))
    )
    return Filter((libseccomp.build(libseccomp.SCMP_ACT_ALLOW, rules),)).verdicts()


def drawn(verdicts, title="title"):
    axes = style.new_figure().add_axes((0, 0, 1, 1))
    grid.draw_grid(axes, verdicts, title)
    return axes


def test_the_title_says_how_many_are_refused(verdicts):
    said = grid.finding(verdicts, "A container")
    assert said == f"A container: 3 of {len(verdicts)} system calls are refused, 1 in part"
    free = grid.finding(Filter(()).verdicts(), "This notebook")
    assert free == f"This notebook: none of {len(verdicts)} system calls is refused"


def test_every_call_has_one_place_of_its_own(verdicts):
    places = grid.places(verdicts)
    assert len(places) == len(set(places.values())) == len(verdicts)
    high = grid.needed_height(verdicts)
    for left, top in places.values():
        assert grid.LEFT <= left <= 92
        assert grid.TOP <= top <= high - grid.TALLY


def test_a_call_has_the_same_place_whatever_the_verdicts(verdicts):
    assert grid.places(verdicts) == grid.places(Filter(()).verdicts())


def test_squares_are_drawn_by_kind(verdicts):
    sizes = [len(each.get_paths()) for each in drawn(verdicts).collections]
    assert len(verdicts) - 4 in sizes  # allowed
    assert sizes.count(3) == 1  # refused
    assert 6 in sizes  # two strokes through each of them: not by colour alone


def test_groups_are_labelled_with_what_is_refused(verdicts):
    texts = [text.get_text() for text in drawn(verdicts, "The finding").texts]
    assert set(GROUPS) <= set(texts)
    assert "The finding" in texts
    assert any(text.startswith("1 of ") for text in texts)
    assert "3 refused" in texts


def test_the_words_and_the_table_say_all(verdicts):
    said = grid.words(verdicts, "A container")
    assert all(name in said for name in [*DENIED, "in part socket"])
    rows = grid.table({"A container": verdicts})
    assert rows[0] == ("number", "system call", "about", "A container")
    assert (number_of("mount"), "mount", "mounts, namespaces", "refused with EPERM") in rows
    assert len(rows) == 1 + 4 + 1
    assert rows[-1] == ("", f"{len(verdicts) - 4} others", "", "allowed")


def test_labels_lie_within_the_figure(verdicts):
    axes = drawn(verdicts, grid.finding(verdicts, "A default container"))
    figure = axes.figure
    figure.canvas.draw()
    width = figure.get_figwidth() * figure.dpi
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0, text.get_text()
        assert box.x1 <= width, text.get_text()


def test_bars_carry_their_numbers(verdicts):
    axes = style.new_figure().add_axes((0.2, 0.2, 0.7, 0.7))
    grid.draw_counts(axes, {"notebook": Filter(()).verdicts(), "container": verdicts}, "How many")
    texts = [text.get_text().strip() for text in axes.texts]
    assert texts == [f"0 of {len(verdicts)}", f"3 of {len(verdicts)} (+ 1 in part)"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["notebook", "container"]


def test_verdicts_of_several_processes_are_shown_together(verdicts, monkeypatch):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: outputs.append(data))
    SyscallGrid({"this notebook": Filter(()).verdicts(), "A container": verdicts}).show()
    [output] = outputs
    assert "A container: 3 of" in output["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in output


def test_verdicts_that_do_not_belong_together_are_refused(verdicts):
    with pytest.raises(ValueError, match="same system calls"):
        SyscallGrid({"one": verdicts, "two": verdicts[1:]})
