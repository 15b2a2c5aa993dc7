"""Programs of a sandbox in a cgroup, with few capabilities, under a filter: asked of the kernel."""

import signal
import struct

import pytest

from labsupport import Cgroup, Sandbox
from labsupport.kernel.capabilities import capability_mask
from labsupport.kernel.procfs import status_fields as status

BPF_RET, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL = 0x06, 0x7FFF0000, 0x80000000


class Rule:
    """A filter of one instruction, the same verdict for every call."""

    def __init__(self, verdict):
        self.programs = (struct.pack("HBBI", BPF_RET, 0, 0, verdict),)


@pytest.fixture
def group():
    with Cgroup(pids=20) as group:
        yield group


@pytest.mark.parametrize("new", [{"pid", "mount"}, {"uts"}, {"pid", "mount", "cgroup", "net"}])
@pytest.mark.needs("cgroup.pids")
def test_programs_are_in_the_cgroup_and_the_helpers_are_not(group, new):
    with Sandbox(new=new, cgroup=group) as box:
        first = box.start(["sleep", "60"])
        second = box.start(["sleep", "60"])
        assert set(group.processes()) == {first.pid, second.pid}
    assert group.processes() == []


@pytest.mark.needs("cgroup.pids")
def test_an_init_is_in_the_cgroup_and_the_line_for_a_terminal_joins_it(group):
    with Sandbox(cgroup=group) as box:
        init = box.pid
        assert group.processes() == [init]
        box.run(["true"])
        assert group.procs_paths[0] in str(box.shell())


@pytest.mark.parametrize("new", [{"pid", "mount"}, {"user", "uts"}])
def test_only_the_capabilities_that_are_kept_are_there(new):
    wanted = f"{capability_mask({'NET_ADMIN', 'CAP_CHOWN'}):016x}"
    with Sandbox(new=new, keep_caps={"NET_ADMIN", "CAP_CHOWN"}) as box:
        process = box.start(["sleep", "60"])
        seen = status(process.pid)
    assert [seen[name] for name in ("CapBnd", "CapPrm", "CapEff")] == [wanted] * 3
    assert int(seen["CapInh"], 16) == int(seen["CapAmb"], 16) == 0


def test_an_init_has_no_more_capabilities_than_programs_and_these_load_filters_without():
    with Sandbox(keep_caps=set(), filter=Rule(SECCOMP_RET_ALLOW)) as box:
        init, program = status(box.pid), status(box.start(["sleep", "60"]).pid)
    for seen in (init, program):
        assert [int(seen[name], 16) for name in ("CapBnd", "CapPrm", "CapEff")] == [0, 0, 0]
    assert (program["Seccomp"], program["NoNewPrivs"]) == ("2", "0")


def test_who_may_call_nothing_is_killed_by_the_first_call():
    with Sandbox(filter=Rule(SECCOMP_RET_KILL)) as box:
        assert box.run(["true"]).returncode == -signal.SIGSYS
