"""What has gone, what is new and what is still there, from data."""

from labsupport.engine.inventory import MINE, SOMEBODYS, THE_COURSES, Belongings, Thing


def thing(kind, key, whose, name="x"):
    return Thing(kind, key, name, whose, "Up 1 second")


OURS, THEIRS = thing("container", "1", MINE), thing("image", "2", SOMEBODYS)
BASE = thing("image", "3", THE_COURSES)


def test_what_has_gone_and_what_is_still_there():
    table = Belongings((OURS, THEIRS, BASE)).then(Belongings((THEIRS, BASE)))
    assert table.finding == "1 have gone, 1 of them this notebook's; 2 are still there"
    assert [row[-2:] for row in table.rows] == [("✓", "gone"), ("✓", "✓"), ("✓", "✓")]


def test_what_is_new_was_not_there_before():
    table = Belongings(()).then(Belongings((thing("image", "9", MINE, "<none>"),)))
    assert table.rows[0][-2:] == ("", "✓")
    assert "&lt;none&gt;" in table._repr_html_()
