"""Sandboxes: what the kernel says about the programs in them."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from labsupport import Sandbox, namespaces, processes
from labsupport.errors import (
    BadRootfs,
    NamespaceRefused,
    ProgramNotFound,
    SandboxEnded,
    TimedOut,
    UnknownNamespace,
)
from labsupport.linux import zygote_client
from labsupport.linux.procfs import all_pids
from labsupport.linux.rootfs import small_root
from labsupport.linux.syscalls import CLONE_NEWPID
from labsupport.linux.zygote_client import may_make_namespaces

ALL = {"mount", "pid", "net", "uts", "ipc", "cgroup"}
PRINT_PID = ["sh", "-c", "echo $$"]


def read(pid, file):
    return Path(f"/proc/{pid}/{file}").read_text()


def nspid(pid):
    line = next(line for line in read(pid, "status").splitlines() if line.startswith("NSpid"))
    return tuple(map(int, line.split()[1:]))


def test_the_first_program_is_pid_1_and_sees_only_itself():
    with Sandbox(new={"pid", "mount"}) as box:
        listing = box.run(["ps", "-e", "-o", "pid=,comm="])

    assert listing.stdout.split() == ["1", "ps"]
    assert listing.returncode == 0


def test_every_program_that_runs_alone_is_pid_1():
    with Sandbox(new={"pid", "mount"}) as box:
        assert [box.run(PRINT_PID).stdout for _ in range(3)] == ["1\n"] * 3


def test_a_started_program_is_pid_1_and_others_join_it():
    with Sandbox(new={"pid", "mount"}) as box:
        sleeper = box.start(["sleep", "60"])
        assert sleeper.pids == (sleeper.pid, 1) == nspid(sleeper.pid)
        assert box.pid == sleeper.pid
        assert box.run(PRINT_PID).stdout == "2\n"
        second = box.start(["sleep", "60"])
        assert second.pids[1] == 3
        assert {p.pid for p in processes(of=box)} == {sleeper.pid, second.pid}


def test_asking_for_pid_1_of_an_empty_sandbox_gives_an_init():
    with Sandbox(new={"pid", "mount"}) as box:
        assert nspid(box.pid)[-1] == 1
        assert box.run(PRINT_PID).stdout == "2\n"


def test_the_init_reaps_orphans():
    with Sandbox(new={"pid", "mount"}) as box:
        init = box.pid
        box.run(["sh", "-c", "(sleep 0.05 &) ; true"])
        time.sleep(0.3)
        assert [p.pid for p in processes(of=box)] == [init]


@pytest.mark.parametrize("kind", sorted(ALL))
def test_only_what_is_asked_for_is_new(kind):
    ours = namespaces()
    with Sandbox(new={kind}) as box:
        sleeper = box.start(["sleep", "60"])
        theirs = namespaces(sleeper.pid)

    differ = {name for name in ours if ours[name] != theirs[name]}
    assert differ == set(box.new) >= {kind}


def test_the_notebook_itself_never_moves():
    before = namespaces()
    with Sandbox(new=ALL, hostname="inside") as box:
        box.run(["true"])
    assert namespaces() == before


def test_after_its_end_nobody_is_in_its_namespaces():
    """What holds them has left, or ended: not soon after, but before `close()` returns."""
    for _ in range(50):
        with Sandbox(new={"uts", "ipc"}) as box:
            link, theirs = f"/proc/{box.holder_pid}/ns/uts", namespaces(box.holder_pid)["uts"]
        with suppress(FileNotFoundError, ProcessLookupError):
            assert os.readlink(link) != f"uts:[{theirs}]"


def test_an_ordinary_user_is_root_inside_and_themselves_outside():
    with Sandbox(new={"user", "pid", "mount"}) as box:
        sleeper = box.start(["sleep", "60"])
        assert box.run(["id", "-u"]).stdout == "0\n"
        assert Path(f"/proc/{sleeper.pid}").stat().st_uid == os.getuid()
        assert read(sleeper.pid, "uid_map").split() == ["0", str(os.getuid()), "1"]


def test_the_host_name_is_the_sandboxs_own():
    before = os.uname().nodename
    with Sandbox(new={"uts"}, hostname="inside") as box:
        assert box.run(["hostname"]).stdout == "inside\n"
    assert os.uname().nodename == before


def test_a_root_file_system_is_entered(tmp_path):
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        pytest.skip("needs busybox-static")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(busybox.read_bytes())
    (tmp_path / "bin/busybox").chmod(0o755)
    with Sandbox(new={"pid", "mount"}, rootfs=tmp_path) as box:
        listing = box.run(["/bin/busybox", "ls", "/"])
        devices = box.run(["/bin/busybox", "ls", "/dev"])
        me = box.run(["/bin/busybox", "readlink", "/proc/self"])

    assert listing.stdout.split() == ["bin", "dev", "proc"]
    assert "null" in devices.stdout.split()
    assert me.stdout == "1\n"
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_output_errors_input_and_status_are_told():
    script = "read line; echo out $line; echo err >&2; exit 7"
    with Sandbox() as box:
        done = box.run(["sh", "-c", script], input="hello\n")

    assert (done.stdout, done.stderr, done.returncode) == ("out hello\n", "err\n", 7)
    assert "exit status 7" in str(done)
    assert 0 < done.seconds < 10


def test_a_signal_is_told_as_such():
    with Sandbox() as box:
        sleeper = box.start(["sleep", "60"])
        sleeper.signal(signal.SIGKILL)
        assert sleeper.wait(5) == -signal.SIGKILL
        assert "SIGKILL" in sleeper.ending


def test_pid_1_ignores_signals_without_a_handler_from_inside():
    with Sandbox(new={"pid", "mount"}) as box:
        done = box.run(["sh", "-c", "kill -TERM $$; kill -KILL $$; echo survived"])
    assert done.stdout == "survived\n"


def test_killing_pid_1_ends_everything_in_its_namespace():
    with Sandbox(new={"pid", "mount"}) as box:
        server = box.start(["sleep", "60"])
        others = [box.start(["sleep", "60"]) for _ in range(3)]
        server.signal(signal.SIGKILL)
        assert [program.wait(5) for program in (*others, server)] == [-signal.SIGKILL] * 4
        assert processes(of=box) == []
        with pytest.raises(SandboxEnded, match=r"ended with its PID 1, sleep 60.*SIGKILL"):
            box.run(["true"])


def test_a_time_out_ends_the_program():
    with Sandbox() as box:
        with pytest.raises(TimedOut, match=r"sleep 60 has not ended.*0\.1 seconds"):
            box.run(["sleep", "60"], timeout=0.1)
        assert processes(of=box) == []
        assert box.run(["echo", "still usable"]).stdout == "still usable\n"


def test_an_interrupt_ends_the_program():
    with Sandbox() as box:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            box.run(["sleep", "60"])
        assert processes(of=box) == []


@pytest.mark.parametrize("new", [{"pid", "mount"}, {"uts"}])
def test_nothing_outlives_the_with_block(new):
    with Sandbox(new=new) as box:
        box.run(["sh", "-c", "sleep 60 & setsid sleep 60 & (setsid sleep 60 &)"])
        box.start(["sh", "-c", "sleep 60 & sleep 60"])
        time.sleep(0.1)
        inside = {p.pid for p in processes(of=box)}
        assert inside
    assert not inside & set(all_pids())


OWNER = """
import json, sys, time
from labsupport import Sandbox, processes
boxes = [Sandbox(new=set(new)).open() for new in json.loads(sys.argv[1])]
for box in boxes:
    box.start(["sh", "-c", "(setsid sleep 61 &) ; sleep 61"])
time.sleep(0.2)
pids = [p.pid for p in processes(of=boxes)]
print(json.dumps([pids, [box.holder_pid for box in boxes]]), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("who", ["owner", "holders"])
def test_nothing_survives_kill_9(who):
    kinds = [["pid", "mount"], ["pid", "net", "uts"], ["uts"]]
    if who == "holders":
        kinds.pop()  # only a PID namespace ends what a killed holder leaves
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, json.dumps(kinds)], stdout=subprocess.PIPE, text=True
    )
    programs, holders = json.loads(owner.stdout.readline())
    assert len(programs) == 3 * len(kinds)
    for pid in [owner.pid] if who == "owner" else holders:
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 5
    while set(programs + holders) & set(all_pids()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(programs + holders) & set(all_pids())
    owner.kill()
    owner.wait()
    owner.stdout.close()


LATE_MOUNT = """
import subprocess, sys, time
from labsupport import Sandbox
def mounts():
    with Sandbox(new={"pid", "mount"}) as box:
        return box.run(["cat", "/proc/mounts"]).stdout
def told(*command):
    time.sleep(0.1)  # the next sandboxes have been prepared
    subprocess.run(command, check=True)
    return [sys.argv[1] in mounts() for _ in range(3)]
mounts()
print(told("mount", "-t", "tmpfs", "late", sys.argv[1]), told("umount", sys.argv[1]))
"""


@pytest.mark.skipif(not may_make_namespaces(), reason="needs CAP_SYS_ADMIN: it mounts something")
def test_a_sandbox_has_the_mounts_of_the_moment_it_is_made(tmp_path):
    command = ["unshare", "--mount", sys.executable, "-c", LATE_MOUNT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True, True] [False, False, False]\n"


def test_a_time_namespace_holds_for_the_programs():
    ours = namespaces()
    if "time" not in ours:
        pytest.skip("needs ns.time: this kernel has no time namespaces")
    for _ in range(3):
        with Sandbox(new={"time"}) as box:
            assert namespaces(box.start(["sleep", "60"]).pid)["time"] != ours["time"]
    assert namespaces() == ours


def test_killed_spares_are_replaced():
    with Sandbox() as box:
        box.run(["true"])
    zygote = zygote_client._running[2].pid
    for _ in range(5):
        children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
        for pid in children:
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.1)
        with Sandbox() as box:
            assert box.run(PRINT_PID).stdout == "1\n"


def test_a_zygote_that_gives_up_is_replaced_and_its_sandboxes_live_on():
    with Sandbox() as old:
        assert old.run(PRINT_PID).stdout == "1\n"
        zygote = zygote_client._running[2].pid
        children = Path(f"/proc/{zygote}/task/{zygote}/children")
        deadline = time.monotonic() + 20
        while spares := {int(pid) for pid in children.read_text().split()} - {old.holder_pid}:
            for pid in spares:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
            assert time.monotonic() < deadline
        for _ in range(2):
            with Sandbox() as box:
                assert box.run(PRINT_PID).stdout == "1\n"
        assert zygote_client._running[2].pid != zygote
        assert old.run(["echo", "still here"]).stdout == "still here\n"


def test_sandboxes_may_be_used_from_several_threads():
    results = []

    def work():
        with Sandbox(new={"pid", "mount"}) as box:
            results.extend(box.run(PRINT_PID).stdout for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == ["1\n"] * 20


def test_a_program_lives_on_when_the_thread_that_started_it_ends():
    with Sandbox(new={"pid", "mount"}) as box:
        started = []
        thread = threading.Thread(target=lambda: started.append(box.start(["sleep", "60"])))
        thread.start()
        thread.join()
        time.sleep(0.1)
        assert started[0].returncode is None


def test_many_sandboxes_at_once_are_different():
    boxes = [Sandbox(new={"pid", "mount"}).open() for _ in range(5)]
    inodes = {namespaces(box.pid)["pid"] for box in boxes}
    assert len(inodes) == 5
    for box in boxes:
        box.close()
        box.close()


def test_descriptors_do_not_leak():
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    with Sandbox() as box:
        box.run(["true"])
        once = descriptors()
        inside = box.run(["ls", "/proc/self/fd"]).stdout.split()
        assert descriptors() == once
    del box
    before = descriptors()
    for _ in range(20):
        with Sandbox() as box:
            box.run(["true"])
            box.start(["sleep", "60"])
            with pytest.raises(ProgramNotFound):
                box.run(["no-such-program"])
    del box
    assert descriptors() == before
    assert inside == ["0", "1", "2", "3"]  # 3 is ls reading the folder


def test_a_misspelt_namespace_is_named_with_the_nearest():
    with pytest.raises(UnknownNamespace, match=r"unknown namespace 'mnt'.*did you mean 'mount'"):
        Sandbox(new={"mnt"})


def test_a_missing_program_is_named():
    with Sandbox() as box, pytest.raises(ProgramNotFound, match="no-such-program"):
        box.run(["no-such-program"])


def test_options_that_would_change_the_host_are_refused(tmp_path):
    with pytest.raises(NamespaceRefused, match="hostname= needs a new uts namespace"):
        Sandbox(new={"pid"}, hostname="x")
    with pytest.raises(BadRootfs, match="is no folder"):
        Sandbox(new={"mount"}, rootfs=tmp_path / "missing")


def test_a_closed_sandbox_says_so():
    box = Sandbox()
    with pytest.raises(SandboxEnded, match="not open"):
        box.run(["true"])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("apparmor_restrict_unprivileged_userns", "APPARMOR"),
        ("unprivileged_userns_clone", "CLONE_SWITCH"),
    ],
)
def test_a_refusal_names_the_switch_that_forbids_it(monkeypatch, tmp_path, text, word):
    from labsupport.linux import refusals

    switch = tmp_path / text
    switch.write_text("1" if word == "APPARMOR" else "0")
    monkeypatch.setattr(refusals, word, switch)
    why, remedy = refusals.explain({"errno": 1, "text": "Operation not permitted"}, {"user"})
    assert text in why
    assert re.search(rf"sysctl -w kernel\.{text}=", remedy)


@pytest.mark.skipif(not may_make_namespaces(), reason="needs CAP_SYS_ADMIN: unshare without -r")
@pytest.mark.parametrize("new", [{"pid", "mount"}, {"pid", "mount", "uts"}, {"uts", "net"}])
def test_the_shell_lines_do_the_same(new):
    script = "echo pid $$; cat /proc/1/comm; hostname; ls /sys/class/net"
    name = "inside" if "uts" in new else None
    with Sandbox(new=new, hostname=name) as box:
        ours = box.run(["sh", "-c", script]).stdout
        line = box.shell().steps[0].shell
    theirs = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    if "pid" not in new:
        ours, theirs = (re.sub(r"\d+", "N", text) for text in (ours, theirs))
    assert ours == theirs


def test_the_steps_show_what_was_done():
    with Sandbox(new={"pid", "mount"}) as box:
        box.start(["sleep", "60"])
        box.run(["true"])
        first, second = box.shell()
        target = str(box.pid)
    assert "--mount-proc" in first.shell
    assert any(call.startswith('mount("proc", "/proc"') for call in first.calls)
    assert any("CLONE_NEWPID" in call for call in first.calls)
    assert first.calls[-1] == 'execve("sleep", ["sleep", "60"])'
    assert second.shell.startswith(f"nsenter --target={target} ")
    assert any(call.startswith("setns(") and "CLONE_NEWPID" in call for call in second.calls)
    assert "<details>" in box.shell()._repr_html_()


def test_closing_a_sandbox_tells_how_its_programs_ended():
    with Sandbox(new={"pid", "mount"}) as box:
        first, second = box.start(["sleep", "60"]), box.start(["sleep", "60"])
    assert first.wait(timeout=5) == second.wait(timeout=5) == -signal.SIGKILL


def test_a_closed_sandbox_has_no_holder():
    with Sandbox(new={"uts"}) as box:
        assert box.holder_pid in all_pids()
    with pytest.raises(SandboxEnded):
        box.holder_pid  # noqa: B018


def test_a_root_is_never_entered_without_a_mount_namespace(tmp_path, monkeypatch):
    """Else the machine's own root would be taken away."""
    real = zygote_client.order_holder
    monkeypatch.setattr(
        zygote_client, "order_holder", lambda order: real({**order, "flags": CLONE_NEWPID})
    )
    with pytest.raises(NamespaceRefused, match="enter the root"), Sandbox(rootfs=tmp_path):
        pass


def test_many_roots_one_after_the_other_have_their_own_proc():
    """In a user namespace it lies on the one that was there: the kernel wants to see one."""
    count = "1\n" if may_make_namespaces() else "2\n"
    with small_root() as root:
        for _ in range(20):
            with Sandbox(rootfs=root) as box:
                assert box.run(["grep", "-c", " /proc ", "/proc/mounts"]).stdout == count


def test_a_program_may_end_with_an_open_sandbox():
    code = "from labsupport import Sandbox; box = Sandbox().open(); box.start(['sleep', '60'])"
    done = subprocess.run([sys.executable, "-c", code], timeout=10, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("new", [("user", "uts"), ("uts",)], ids=" ".join)
def test_many_sandboxes_may_be_closed_in_a_row(new):
    """Holders of a user namespace end with their sandbox, others where many wait: no failures."""
    boxes = [Sandbox(new=new).open() for _ in range(50)]
    for box in boxes:
        box.holder_pid  # noqa: B018 (made, in fact)
    for box in boxes:
        box.close()
    with ExitStack() as several:  # the spares that were there before would serve a few
        for _ in range(5):
            box = several.enter_context(Sandbox(new=new))
            assert box.run(["true"]).returncode == 0
