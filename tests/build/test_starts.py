"""Every form of ENTRYPOINT with every form of CMD, built and run (10 s)."""

import pytest

from labsupport.build.workbench import CMDS, ENTRYPOINTS, Workbench, outcomes, try_start
from labsupport.engine.client import Engine


@pytest.fixture
def bench(an_engine):
    with Engine.connect() as engine, Workbench(engine) as bench:
        yield bench


def test_what_is_started_is_entrypoint_and_then_cmd_or_arguments(bench):
    for arguments in ((), ("a b", "c")):
        start = try_start(bench, ENTRYPOINTS[1], CMDS[0], *arguments)
        assert start.ran.argv == ("greet", "Hello", *(arguments or ("world",)))


def test_who_is_pid_1_is_told_from_within(bench):
    assert try_start(bench, ENTRYPOINTS[1], CMDS[0]).first == "greet"
    assert try_start(bench, "ENTRYPOINT greet Hello || echo failed", CMDS[0]).first == "sh"


def test_the_table_says_what_was_started_and_why_it_failed(bench):
    found = [try_start(bench, ENTRYPOINTS[1], CMDS[0], "you"), try_start(bench, "", CMDS[0])]
    table = outcomes(found)
    assert table.finding == "2 ways to start a program; 1 fail"
    assert table.rows[0][2:] == ("you", "`greet Hello you`", "Hello you", "0", "greet")
    assert table.rows[1][0] == "none"
    assert '"world"' in table.rows[1][4]
    assert table.rows[1][5:] == ("127", "nobody")
