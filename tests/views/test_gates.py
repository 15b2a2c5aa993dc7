"""The chain of gates, from data."""

import pytest

from labsupport.linux.filters.guards import (
    CALL,
    CAPABILITY,
    NAMESPACE,
    SECCOMP,
    Attempt,
    Gate,
    WhoSaidNo,
)
from labsupport.views import gates, style


def chain(call, errno, *closed, end="EINVAL"):
    said = [Gate(guard, guard in closed, "EPERM" if guard in closed else "", "")
            for guard in (SECCOMP, CAPABILITY, NAMESPACE)]  # fmt: skip
    said.append(Gate(CALL, bool(end), end, ""))
    return WhoSaidNo(call, tuple(said), (Attempt(call, "everything", errno),))


FOUND = [
    chain("reboot", "EPERM", SECCOMP, CAPABILITY),
    chain("ptrace", "EPERM", CAPABILITY, end=""),
    chain("keyctl", "", end=""),
]


@pytest.fixture
def axes():
    figure = style.new_figure(8.6, 8.6 * gates.needed_height(FOUND) / 100)
    drawn = figure.add_axes((0, 0, 1, 1))
    gates.draw_gates(drawn, FOUND)
    figure.canvas.draw()
    return drawn


def test_the_finding_counts_who_is_guarded_twice():
    assert gates.finding(FOUND) == "2 of 3 calls are refused by a guard, 1 guarded twice"
    assert gates.finding(FOUND[1:]) == "1 of 2 calls are refused by a guard"
    assert gates.finding(FOUND[2:]) == "No guard refuses any of these 1 calls"


def test_the_finding_says_of_whom_and_stays_short():
    said = gates.finding(FOUND, "docker run with a long word")
    assert said == "docker run with a long word: 2 of 3 calls are refused, 1 guarded twice"
    assert gates.finding(FOUND[2:], "nobody").startswith("nobody: No guard")


def test_only_the_first_closed_gate_is_crossed_out(axes):
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("✕ EPERM") == 2  # seccomp for reboot, the capability for ptrace
    assert texts.count("EPERM") == 1  # the capability would have refused reboot, too
    assert texts.count("done") == 2
    assert {"reboot", "needs SYS_BOOT", "needs no capability"} <= set(texts)


def test_the_line_ends_at_the_gate_that_closed(axes):
    ends = [line.get_xdata()[1] for line in axes.lines if line.get_color() == style.HOST]
    at = [gates.COLUMNS[guard] - gates.WIDE / 2 for guard in (SECCOMP, CAPABILITY, CALL)]
    assert ends == at


def test_everything_is_within_the_figure(axes):
    width = axes.figure.get_figwidth() * axes.figure.dpi
    for text in axes.texts:
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= width, text.get_text()


def test_words_and_table_say_the_same():
    said = gates.words(FOUND)
    assert "reboot is refused by seccomp with EPERM; capability would refuse it, too." in said
    assert "keyctl passes all guards." in said
    assert gates.table(FOUND)[2] == ("ptrace", "EPERM", "open", "EPERM", "open", "open")
