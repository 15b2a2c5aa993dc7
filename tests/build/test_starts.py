"""Every form of ENTRYPOINT with every form of CMD, built and run (10 s)."""

import pytest

from labsupport.build.starts import CMDS, ENTRYPOINTS, StartConsole, try_start
from labsupport.build.workbench import Workbench
from labsupport.engine.client import Engine
from labsupport.errors import TimedOut


@pytest.fixture
def bench(an_engine):
    with Engine.connect() as engine, Workbench(engine) as bench:
        yield bench


def test_what_is_started_is_entrypoint_and_then_cmd_or_arguments(bench):
    for arguments in ((), ("a b", "c")):
        start = try_start(bench, ENTRYPOINTS[1], CMDS[0], *arguments)
        entrypoint, cmd = start.config
        assert start.ran.argv == (*entrypoint, *(arguments or cmd))


def test_who_is_pid_1_is_told_from_within(bench):
    direct = try_start(bench, ENTRYPOINTS[1], CMDS[0])
    assert (direct.pid, direct.first) == (1, "greet")
    behind = try_start(bench, "ENTRYPOINT greet Hello || echo failed", CMDS[0])
    assert behind.pid > 1
    assert behind.first == "sh"


def test_the_console_runs_what_was_typed_as_words(bench):
    console = StartConsole(bench)
    assert console.run(ENTRYPOINTS[1], CMDS[0], "'a  b' c").said == "Hello a  b c"
    assert console.run("", CMDS[0], "greet $HOME; reboot").said == "$HOME; reboot"
    assert console.last.ran.argv == ("greet", "$HOME;", "reboot")
    with pytest.raises(ValueError, match="quotation"):
        console.run("", CMDS[0], "it's")


def test_the_console_does_not_wait_for_ever(bench, monkeypatch):
    monkeypatch.setattr("labsupport.build.starts.PATIENCE_SECONDS", 1)
    with pytest.raises(TimedOut):
        StartConsole(bench).run("", CMDS[0], "sleep 1000")
    assert not [each for each in bench.things() if each.startswith("container")]


def test_the_console_shows_what_came_of_a_press(bench):
    console = StartConsole(bench)
    console.show()
    before = console.picture.png
    console.entrypoint.value, console.typed.value = ENTRYPOINTS[2], "you"
    console.button.click()
    assert console.picture.png != before
    assert "“Hello" in console.picture.alt
    assert console.picture.status == "The shell runs the word after -c, and nothing of the rest"
    console.typed.value = "it's"
    console.button.click()
    assert "quotation" in console.picture.status
    assert not console.button.disabled
