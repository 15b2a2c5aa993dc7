"""What comes of ENTRYPOINT and CMD, from data: the grid, and one start's list put together."""

import pytest

from labsupport.build import starts
from labsupport.build.container import Ran
from labsupport.build.starts import Start

SHELL = ("/bin/sh", "-c", "greet Hello")


def start(
    entrypoint, config, said, arguments=(), *, status=0, pid=1, cmd='CMD ["world"]', first=""
):
    argv = (*config[0], *(arguments or config[1]))
    errors = "" if pid else f"runc: exec: {said}: unknown"
    ran = Ran("docker run x", argv, said + "\n" if pid else "", errors, status, 0.5, "abc")
    return Start(entrypoint, cmd, arguments, config, ran, pid, first or ("greet" if pid else ""))


EXEC = 'ENTRYPOINT ["greet", "Hello"]'
LINE = "ENTRYPOINT greet Hello"
GREET = (("greet", "Hello"), ("world",))
STARTS = [
    start("", ((), ("world",)), '"world": not found', status=127, pid=0),
    start("", ((), ("world",)), '"you": not found', ("you",), status=127, pid=0),
    start(EXEC, GREET, "Hello world"),
    start(EXEC, GREET, "Hello you", ("you",)),
    start(LINE, (SHELL, ("world",)), "Hello", pid=7, first="sh"),
    start(LINE, (SHELL, ("world",)), "Hello", ("you",), pid=7, first="sh"),
]


@pytest.fixture
def texts():
    return [text.get_text() for text in starts.page(STARTS).axes.texts]


def test_the_finding_is_that_the_shell_swallows_the_rest():
    said = starts.finding(STARTS)
    assert said == "ENTRYPOINT in shell form swallows all the rest: “Hello”, 2 times"
    assert starts.finding(STARTS[:3]) == "3 ways to start a program; 2 fail"


def test_a_failure_shows_its_reason_and_its_status(texts):
    assert '"world": not found' in texts
    assert texts.count("✕ exit status 127") == 2


def test_what_it_said_and_who_is_pid_1_stand_in_the_cell(texts):
    assert "“Hello you”" in texts
    assert "greet is PID 1" in texts
    assert "greet is PID 7, PID 1 is sh" in texts


def test_the_grid_in_words_and_as_a_table():
    said = starts.words(STARTS)
    assert f'{EXEC}, CMD ["world"], argument you: greet Hello you is started' in said
    assert "No ENTRYPOINT" in said
    table = starts.table(STARTS)
    assert table[1][-2:] == (127, "nobody")


def test_each_word_that_was_started_is_traced_to_where_it_came_from():
    assert STARTS[3].origins() == [
        ("greet", "entrypoint"), ("Hello", "entrypoint"), ("you", "arguments"),
    ]  # fmt: skip
    assert [origin for _, origin in STARTS[2].origins()][-1] == "cmd"


@pytest.mark.parametrize(
    ("number", "finding"),
    [
        (0, "It fails: exit status 127"),
        (2, "CMD stands behind ENTRYPOINT"),
        (3, "Arguments take CMD's place"),
        (4, "The shell runs the word after -c, and nothing of the rest"),
    ],
)
def test_a_start_has_a_finding_that_its_picture_says(number, finding):
    start = STARTS[number]
    texts = [text.get_text() for text in starts.assembly(start).axes.texts]
    assert texts[0] == start.finding() == finding
    assert ("not used" in texts) == bool(start.arguments)
    assert start.table()[4][1] == list(start.ran.argv)
