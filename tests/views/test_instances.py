"""Containers on their image, from data."""

import pytest

from labsupport.instances import Instance
from labsupport.views import instances, style


def made(name, pid, written, *changes, pids=(1, 1)):
    return Instance(
        name, name[:3], "sha256:" + "a" * 64, pid, pids, "/x/y/z/diff", written, changes
    )


ANN = made("ann", 11, {"/note": 5}, ("added", "/note"))
BOB = made("bob", 12, {}, ("deleted", "/bin/ls"), ("changed", "/bin"))
CLEO = made("cleo", 13, {})


@pytest.fixture
def texts():
    figure = style.new_figure(instances.WIDTH, instances.WIDTH * instances.needed_height() / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    instances.draw_instances(axes, [ANN, BOB, CLEO], "three", 2)
    figure.canvas.draw()
    return [text.get_text() for text in axes.texts]


def test_the_finding_counts_what_differs():
    found = instances.finding([ANN, BOB, CLEO])
    assert found == "One image, 3 containers: 3 processes, 3 different writable layers"
    assert instances.finding([CLEO, made("dora", 14, {})]).endswith("nothing different yet")


def test_each_container_shows_its_number_and_what_it_wrote(texts):
    for word in ("ann", "PID 12", "inside: PID 1", "/note  5 B", "/bin/ls deleted", "nothing yet"):
        assert word in texts
    assert "aaaaaaaaaaaa: 2 layers, read-only, shared by all" in texts


def test_long_lists_and_paths_are_cut():
    many = made("ann", 11, {f"/{'deep/' * 9}{number}": 1 for number in range(9)})
    lines = instances._lines(many)
    assert lines[-1] == "and 5 more"
    assert max(map(len, lines)) < 32


def test_where_nothing_could_be_read_the_engines_word_stands():
    unseen = made("ann", 11, None, ("added", "/note"), pids=())
    assert instances._lines(unseen) == ["/note added"]
    assert instances.table([unseen])[1][4] == "?"


def test_words_and_table_say_all_of_it():
    said = instances.words([ANN, BOB, CLEO], "three", 1)
    assert "ann (PID 11, 1 inside) wrote /note  5 B." in said
    assert said.endswith("the image three, read-only: 1 layer.")
    table = instances.table([ANN, BOB])
    assert table[2][-1] == "deleted /bin/ls, changed /bin"
