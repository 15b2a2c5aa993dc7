"""A Dockerfile with what its instructions did, from data."""

import pytest

from labsupport.engine.anatomy import Effect
from labsupport.views import dockerfile_effects as effects
from labsupport.views import style


def effect(number, instruction, layers=(), config=None, added=(), size=0):
    return Effect(number, instruction, tuple(layers), config or {}, tuple(added), (), (), size)


FOUND = [
    effect(1, "FROM base", ["a"], {"Env": ("", '["PATH=/bin"]')}, ["/bin", "/bin/sh"], 2_000_000),
    effect(2, "ENV A=1", config={"Env": ('["PATH=/bin"]', '["PATH=/bin", "A=1"]')}),
    effect(3, "COPY many /many/", ["b"], {}, ["/many", *(f"/many/{n}" for n in range(9))], 90),
    effect(4, 'ENTRYPOINT ["x"]', config={"Entrypoint": ("", '["x"]'), "Cmd": ('["sh"]', "")}),
]


@pytest.fixture
def texts():
    high = effects.needed_height(FOUND)
    figure = style.new_figure(effects.WIDTH, effects.WIDTH * high / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    effects.draw_effects(axes, FOUND)
    figure.canvas.draw()
    drawn = [text.get_text() for text in axes.texts]
    rightmost = max(text.get_window_extent().x1 for text in axes.texts)
    assert rightmost <= figure.bbox.x1
    return drawn


def test_the_finding_counts_layers_of_the_instructions_after_from():
    assert effects.finding(FOUND) == "3 instructions after FROM: 1 add a layer, 2 only write JSON"


def test_layers_are_numbered_from_the_base_on(texts):
    assert "layer 1: 2 MB" in texts
    assert "layer 2: 90 B" in texts
    assert texts.count("none") == 2
    assert any(text.startswith("2 layers in all") for text in texts)


def test_of_a_list_that_grew_only_the_rest_is_shown(texts):
    assert 'Env: + "A=1"' in texts


def test_what_is_gone_is_said(texts):
    assert 'Cmd: ["sh"] is gone' in texts


def test_of_many_files_some_are_named_and_the_rest_counted(texts):
    assert "/many/0" in texts
    assert "and 7 more" in texts
    assert "/many" not in texts  # the folder of those named


def test_words_and_table_say_all_of_it():
    said = effects.words(FOUND)
    assert 'ENV A=1: no layer; Env: + "A=1".' in said
    assert "COPY many /many/: a layer of 90 B" in said
    table = effects.table(FOUND)
    assert [row[1] for row in table[1:]] == [1, 0, 1, 0]
