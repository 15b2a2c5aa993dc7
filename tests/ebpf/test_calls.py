"""Who executed what: read from the lines of a trace, and drawn."""

import pytest

from labsupport.ebpf.calls import Call, Calls
from labsupport.errors import LabError
from tests.ebpf.samples import CALLS


@pytest.mark.parametrize(
    ("command", "verb"),
    [
        ("runc --root moby --log-format json create --bundle ID --pid-file init.pid ID", "create"),
        ("runc --root moby delete --force ID", "delete"),
        ("containerd-shim-runc-v2 -namespace moby -id ID start", "start"),
        ("containerd-shim-runc-v2 -namespace moby -id ID -address a.sock", ""),
        ("libnetwork-setkey -exec-root=exec ID 0a3dcfd4868c", ""),
        ("hostname", ""),
    ],
)
def test_the_verb_of_a_command_is_no_option_and_no_value(command, verb):
    assert Call(1, "vm", "shim", command).verb == verb


def test_a_trace_is_read_line_by_line():
    first, last = CALLS.calls[0], CALLS.calls[-1]
    assert (first.at_ms, first.host, first.caller, first.callee) == (3, "vm", "bpftrace", "docker")
    assert (last.caller, last.callee, last.verb) == ("containerd-shim", "runc", "delete")
    assert (CALLS.count("runc"), CALLS.count("crun")) == (4, 0)


def test_what_was_executed_in_the_container_is_told_apart():
    [inside] = [call for call in CALLS.calls if call.is_inside]
    assert (inside.caller, inside.command) == ("runc", "hostname")
    assert CALLS.finding() == "10 programs are executed for a container, one of them in it"
    assert "After 219 ms runc calls hostname, in the container." in CALLS.words()
    assert (219, "in the container", "runc", "hostname") in CALLS.table()


def test_a_trace_that_tells_nothing_is_an_error():
    with pytest.raises(LabError, match="nothing was executed"):
        Calls("vm: it was otherwise\n")
