"""A Dockerfile with what its instructions did, from data."""

import pytest

from labsupport.build import anatomy
from labsupport.build.anatomy import Effect

FOUND = [
    Effect("FROM base", ("a",), {"Env": ("", '["PATH=/bin"]')}, ("/bin", "/bin/sh"), 2_000_000),
    Effect("ENV A=1", config={"Env": ('["PATH=/bin"]', '["PATH=/bin", "A=1"]')}),
    Effect("COPY many /many/", ("b",), {}, ("/many", *(f"/many/{n}" for n in range(9))), 90),
    Effect('ENTRYPOINT ["x"]', config={"Entrypoint": ("", '["x"]'), "Cmd": ('["sh"]', "")}),
]


@pytest.fixture
def texts():
    return [text.get_text() for text in anatomy.page(FOUND).axes.texts]


def test_the_finding_counts_layers_of_the_instructions_after_from():
    assert anatomy.finding(FOUND) == "3 instructions after FROM: 1 add a layer, 2 only write JSON"


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
    said = anatomy.words(FOUND)
    assert 'ENV A=1: no layer; Env: + "A=1".' in said
    assert "COPY many /many/: a layer of 90 B" in said
    table = anatomy.table(FOUND)
    assert [row[1] for row in table[1:]] == [1, 0, 1, 0]
