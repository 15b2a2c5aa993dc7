"""`%%shell`: command lines in a cell, as they are typed in a terminal."""

import contextlib
import os
import signal
import subprocess
import threading
import time

import pytest

from labsupport.errors import LabError
from labsupport.kernel import proc
from labsupport.sandbox import shell as shell_magic
from labsupport.sandbox.shell import Teller, split, wishes


@pytest.fixture
def typed(ipython, capsys):
    """Run the lines of a cell; return all that it printed."""

    def run(lines, line=""):
        ipython.run_cell_magic("shell", line, lines)
        return capsys.readouterr().out

    return run


def test_each_line_is_printed_and_run(typed):
    assert typed("echo one\n\ncd /\npwd") == "$ echo one\none\n$ cd /\n$ pwd\n/\n"


def test_lines_that_belong_together_are_one_command(typed):
    lines = "for i in 1 2; do\n  echo $i\ndone\ncat <<X\na 'b\nX\necho a \\\n  b\necho 'c\nd'"
    assert [command.count("\n") for command in split(lines)] == [2, 2, 1, 1]
    assert typed(lines).startswith(
        "$ for i in 1 2; do\n>   echo $i\n> done\n1\n2\n$ cat <<X\n> a 'b"
    )


def test_what_is_printed_can_be_pasted_into_a_terminal(typed):
    printed = typed(
        "x='a  b'\necho \"$x\" | tr a c\nif true; then\n  echo d\nfi\n! false\nprintf e"
    )
    pasted = "".join(
        f"{line[2:]}\n" for line in printed.splitlines() if line.startswith(("$ ", "> "))
    )
    done = subprocess.run(["bash"], input=pasted, capture_output=True, text=True, check=True)
    said = [line for line in printed.splitlines() if not line.startswith(("$ ", "> "))]
    assert done.stdout.splitlines() == said == ["c  b", "d", "e"]


def test_the_first_line_that_fails_ends_the_cell(typed, capsys):
    with pytest.raises(LabError, match=r"this line failed: ls /nowhere.* status 2"):
        typed("echo one\nls /nowhere\necho two")
    printed = capsys.readouterr().out
    assert "one\n" in printed
    assert "cannot access" in printed
    assert "two" not in printed


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("nosuchprogram", "no such program"),
        ("if true", "status 2"),
        ("exit 3", "status 3"),
        ("! true", "status 1"),
    ],
)
def test_a_failure_says_which_line_and_why(typed, lines, why):
    with pytest.raises(LabError, match=f"this line failed: {lines}.*{why}"):
        typed(f"true\n{lines}")


@pytest.mark.parametrize("line", ["inn box", "in", "as", "in a in b", "as 5"])
def test_a_line_that_says_something_else_is_refused(line):
    with pytest.raises(LabError, match="%%shell"):
        wishes(line)


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ("\n\n", "", "nothing to run"),
        ("ls", "in 5", "neither a sandbox nor a container"),
        ("ls", "in nobody", "'nobody' is not defined\nWhat to do: run the cells above"),
        ("ls", "a=nobody.pid", "'nobody' is not defined\nWhat to do: run the cells above"),
    ],
)
def test_nothing_to_run_and_nowhere_to_run_it_are_refused(typed, lines, line, words):
    with pytest.raises(LabError, match=words):
        typed(lines, line)


def test_values_of_python_come_in_as_lines(typed, ipython):
    ipython.user_ns["words"] = "it's two"
    assert typed("echo $w", "w=words") == "$ w='it'\"'\"'s two'\n$ echo $w\nit's two\n"


def test_every_split_of_the_output_is_told_alike(capsys):
    data = "\x1e0\x1fä€\x1e1\x1f\x1e\x1e12".encode()
    for cut in range(len(data) + 1):
        teller = Teller(["one", "two"])
        teller.hear(data[:cut])
        teller.hear(data[cut:])
        teller.end()
        assert capsys.readouterr().out == "$ one\nä€\n$ two\n\x1e\x1e12"
        assert (teller.said, teller.running) == ("ä€\x1e\x1e12", "two")


def test_what_runs_in_the_background_ends_with_the_cell(typed):
    printed = typed("sleep 1000 &\necho $!\nsetsid sleep 1000 &\necho $!")
    pids = [int(line) for line in printed.splitlines() if line.isdigit()]
    assert len(pids) == 2
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_an_interrupt_ends_what_runs(typed, capsys, tmp_path):
    def interrupt():
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = set(proc.children())
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        typed(f"echo begun\ntouch {tmp_path}/begun\nsleep 1000")
    assert "begun" in capsys.readouterr().out
    with contextlib.suppress(ChildProcessError):
        assert set(proc.children()) <= before


def test_the_users_shell_settings_do_not_reach_in(typed, monkeypatch, tmp_path):
    (tmp_path / "env").write_text("echo from BASH_ENV\n")
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "env"))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert typed("echo $LC_ALL") == "$ echo $LC_ALL\nC.UTF-8\n"


def test_plain_sh_does_where_there_is_no_bash(typed, monkeypatch):
    monkeypatch.setattr(shell_magic, "SHELL", "no-such-shell")
    assert typed("if true; then\n  echo $0\nfi").endswith("sh\n")
