"""Who said no: each guard before a privileged call is found by experiment."""

import os
import sys
import time
from pathlib import Path

import pytest

from labsupport import Filter, Sandbox, capabilities, processes
from labsupport.errors import LabError
from labsupport.kernel import syscalls as sc
from labsupport.seccomp import guards
from labsupport.seccomp.guards import NAMESPACE, NEEDS, SECCOMP, who_said_no

NOTHING = Filter(())
ALL = capabilities().permitted
CAN = {need for need in NEEDS.values() if need} <= set(ALL)
needs_root = pytest.mark.skipif(
    not CAN or "CAP_SYS_ADMIN" not in capabilities().effective,
    reason="needs root's capabilities in the initial user namespace",
)


def closed(calls=tuple(NEEDS), **options):
    return {each.call: each.closed for each in who_said_no(calls, **options)}


@needs_root
def test_with_everything_open_only_the_arguments_are_refused():
    found = who_said_no(filter=NOTHING, keep=ALL)

    assert {each.call: each.closed for each in found} == dict.fromkeys(NEEDS, ())
    outcomes = {each.call: each.errno for each in found}
    assert outcomes["reboot"] == outcomes["mount"] == outcomes["clock_settime"] == "EINVAL"
    assert outcomes["swapon"] == "ENOENT"
    assert outcomes["unshare"] == outcomes["ptrace"] == ""


@needs_root
def test_the_guards_are_those_of_a_process():
    with Sandbox(new={"user", "pid"}, filter=Filter.deny(["mount"])) as box:
        found = {each.call: each.closed for each in who_said_no(["mount", "reboot"], of=box.pid)}
    assert found == {"mount": (SECCOMP, NAMESPACE), "reboot": (NAMESPACE,)}


@needs_root
def test_one_call_does_not_change_what_the_next_one_meets():
    order = ["unshare", "sethostname", "mount"]
    killed = who_said_no(order, filter=Filter.deny(["sethostname"], "kill"), keep=ALL)
    assert [each.errno for each in killed] == ["", "killed", "EINVAL"]
    inner = who_said_no(order[:2], keep=ALL, own_user_namespace=True)
    assert inner[1].closed == (NAMESPACE,)


@needs_root
def test_the_machine_is_as_before():
    names, clock = open_mounts(), time.time()
    began = time.monotonic()
    who_said_no(filter=NOTHING, keep=ALL)

    assert abs((time.time() - clock) - (time.monotonic() - began)) < 0.5
    assert open_mounts() == names


def open_mounts():
    with open("/proc/self/mounts") as file, open("/proc/swaps") as swaps:
        return file.read(), swaps.read()


def test_a_call_that_has_no_harmless_arguments_here():
    with pytest.raises(LabError, match="mount"):
        who_said_no(["umount"])
    with pytest.raises(LabError, match="'deny' is not a filter"):
        who_said_no(["mount"], filter="deny")


def test_without_privileges_the_gates_cannot_be_opened(as_user):
    code = (
        "from labsupport import Filter\n"
        "from labsupport.seccomp.guards import who_said_no\n"
        "who_said_no(filter=Filter(()))\n"
    )
    done = as_user([sys.executable, "-c", code], cwd="/")
    assert "LabError" in done.stderr
    assert "lacks CAP_SYS_ADMIN" in done.stderr


def test_reboot_ends_pid_1_of_the_namespace_and_nobody_else():
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    before = boot_id.read_text()
    with Sandbox(new={"user", "pid", "mount"}) as box, Sandbox() as neighbour:
        init, other = box.start(["sleep", "60"]), neighbour.start(["sleep", "60"])
        guards.reboot_inside(box)
        assert init.wait(60) == -1  # SIGHUP: the kernel's word for "restart"
        assert processes(of=box) == []
        assert other.returncode is None
    assert boot_id.read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a folder of somebody else")
def test_reboot_from_a_home_that_is_closed_to_the_user_inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 1000, 1000)
    with Sandbox(new={"user", "pid", "mount"}) as box:
        init = box.start(["sleep", "60"])
        guards.reboot_inside(box)
        assert init.wait(60) == -1


@pytest.mark.parametrize(("new", "lacking"), [({"pid", "mount"}, "user"), ({"user", "uts"}, "pid")])
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's sandbox has a user namespace")
def test_reboot_is_not_called_where_a_namespace_is_not_new(new, lacking):
    with Sandbox(new=new) as box:
        box.start(["sleep", "60"])
        with pytest.raises(LabError, match=f"no {lacking} namespace"):
            guards.reboot_inside(box)


def test_reboot_itself_refuses_in_the_machines_own_namespaces(monkeypatch):
    called = []
    monkeypatch.setattr(sc, "_libc", type("Recorder", (), {"reboot": called.append}))
    real = os.stat

    def stat(path):
        machines_own = {"/proc/self/ns/pid": sc.PROC_PID_INIT_INO}
        return os.stat_result((0, machines_own.get(path, 1), *[0] * 8))

    monkeypatch.setattr(sc.os, "stat", stat)
    with pytest.raises(PermissionError, match="machine's own pid namespace"):
        sc.restart_pid_namespace()
    monkeypatch.setattr(sc.os, "stat", real)
    assert called == []
