"""`reboot` in a PID namespace ends that namespace's PID 1; elsewhere it is never called."""

import os
from pathlib import Path

import pytest

from labsupport import Sandbox, processes
from labsupport.errors import NotInANewNamespace
from labsupport.linux import rebooting
from labsupport.linux import syscalls as sc


def boot_id():
    return Path("/proc/sys/kernel/random/boot_id").read_text()


def test_pid_1_of_the_namespace_ends_and_nobody_else():
    before = boot_id()
    with Sandbox(new={"user", "pid", "mount"}) as box, Sandbox() as neighbour:
        init, other = box.start(["sleep", "60"]), neighbour.start(["sleep", "60"])
        rebooting.reboot_inside(box)
        assert init.wait(5) == -1  # SIGHUP: the kernel's word for "restart"
        assert processes(of=box) == []
        assert other.returncode is None
    assert boot_id() == before


@pytest.mark.parametrize(("new", "lacking"), [({"pid", "mount"}, "user"), ({"user", "uts"}, "pid")])
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's sandbox has a user namespace")
def test_it_is_not_called_where_a_namespace_is_not_new(new, lacking):
    with Sandbox(new=new) as box:
        box.start(["sleep", "60"])
        with pytest.raises(NotInANewNamespace, match=f"no {lacking} namespace"):
            rebooting.reboot_inside(box)


def test_the_call_itself_refuses_in_the_machines_own_namespaces(monkeypatch):
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
