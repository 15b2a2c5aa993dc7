"""The landscape tells what is here."""

from labsupport.recap.landscape import ALL, RUNTIME, Technology, _find, by_layer, landscape


def test_the_landscape_finds_what_is_here_and_only_that():
    found = {each.technology.name: each for each in landscape()}
    assert len(found) == len(ALL)
    assert found["WSL 2"].state == "Windows"
    shell = _find(Technology("a shell", RUNTIME, "bash", "", "", ""), ())
    assert shell.is_here
    assert shell.state.startswith("✓ 5")


def test_what_no_cell_shows_has_a_source():
    assert all(each.source.startswith(("https://", "man:")) for each in ALL)
    told = by_layer(landscape(), "6.12")
    assert len(told.rows) == len(told.links) == len(ALL) + 1
    assert {row[0]: row[2] for row in told.rows}["rkt"] == "ended in 2020"
