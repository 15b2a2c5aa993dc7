"""Sandboxes: what the kernel says about the programs in them."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from labsupport import Drive, PidMap, Sandbox, Terminal, mounts, namespaces, processes
from labsupport.errors import LabError, NamespaceRefused, ProgramNotFound, TimedOut
from labsupport.kernel.procfs import all_pids
from labsupport.kernel.syscalls import CLONE_NEWPID
from labsupport.sandbox import launch, process
from labsupport.sandbox.launch import may_make_namespaces
from labsupport.sandbox.rootfs import small_root
from tests.toys import CHECKOUT
from tests.waiting import owner, wait_until


@pytest.fixture
def root():
    with small_root() as folder:
        yield folder


ALL = {"mount", "pid", "net", "uts", "ipc", "cgroup"}
PRINT_PID = ["sh", "-c", "echo $$"]


@pytest.mark.parametrize("kind", sorted(ALL | {"time"} & namespaces().keys()))
def test_only_what_is_asked_for_is_new(kind):
    ours = namespaces()
    with Sandbox(new={kind}) as box:
        sleeper = box.start(["sleep", "60"])
        theirs = namespaces(sleeper.pid)

    differ = {name for name in ours if ours[name] != theirs[name]}
    assert differ == set(box.new) >= {kind}
    assert namespaces() == ours  # the notebook itself never moves


def test_after_its_end_nobody_is_in_its_namespaces():
    """The process that holds them has ended before `close()` returns, not some time after."""
    for _ in range(50):
        with Sandbox(new={"uts", "ipc"}) as box:
            link, theirs = f"/proc/{box.holder_pid}/ns/uts", namespaces(box.holder_pid)["uts"]
        with suppress(FileNotFoundError, ProcessLookupError):
            assert os.readlink(link) != f"uts:[{theirs}]"


def test_a_root_file_system_is_entered(root):
    with Sandbox(new={"pid", "mount"}, rootfs=root) as box:
        listing = box.run(["ls", "/"])
        devices = box.run(["ls", "/dev"])
        me = box.run(["readlink", "/proc/self"])

    assert set(listing.stdout.split()) >= {"bin", "dev", "proc"}
    assert "null" in devices.stdout.split()
    assert me.stdout == "1\n"
    assert str(root) not in Path("/proc/self/mountinfo").read_text()


def test_output_errors_input_and_status_are_told():
    script = "read line; echo out $line; echo err >&2; exit 7"
    with Sandbox() as box:
        done = box.run(["sh", "-c", script], input="hello\n")

    assert (done.stdout, done.stderr, done.returncode) == ("out hello\n", "err\n", 7)
    assert "exit status 7" in str(done)
    assert 0 < done.seconds < 10


def test_killing_pid_1_ends_everything_in_its_namespace():
    with Sandbox(new={"pid", "mount"}) as box:
        server = box.start(["sleep", "60"])
        others = [box.start(["sleep", "60"]) for _ in range(3)]
        server.signal(signal.SIGKILL)
        assert [program.wait(60) for program in (*others, server)] == [-signal.SIGKILL] * 4
        assert processes(of=box) == []
        with pytest.raises(LabError, match=r"ended with its PID 1, sleep 60.*SIGKILL"):
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a __del__
def test_an_interrupt_at_any_moment_leaves_a_sandbox_that_works(root):
    """At none of the steps between the request and the end of a short program."""
    interrupted = 0
    with Sandbox(rootfs=root) as box:
        for number in range(60):
            timer = threading.Timer(number * 1e-4, os.kill, (os.getpid(), signal.SIGINT))
            try:
                timer.start()
                box.run(["true"])
                timer.join()
                time.sleep(0.001)
            except KeyboardInterrupt:
                interrupted += 1
            timer.join()
            assert box.run(["echo", str(number)]).stdout == f"{number}\n"
        assert processes(of=box) == []
    assert interrupted


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a __del__
def test_an_interrupt_while_it_opens_leaves_no_holder():
    with Sandbox():
        pass
    for number in range(20):
        timer = threading.Timer(number * 1e-4, os.kill, (os.getpid(), signal.SIGINT))
        with suppress(KeyboardInterrupt):
            timer.start()
            with Sandbox(new={"pid", "mount", "net"}):
                timer.join()
                time.sleep(0.001)
        timer.join()
    wait_until(lambda: not holders())


def holders():
    zygote = launch._running[2].pid
    return Path(f"/proc/{zygote}/task/{zygote}/children").read_text()


def test_an_interrupted_opening_ends_when_its_holder_has_ended(root, monkeypatch):
    with Sandbox():
        pass

    def interrupted(channel):
        raise KeyboardInterrupt

    for _ in range(10):
        with monkeypatch.context() as patched:
            patched.setattr(launch, "take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                Sandbox(rootfs=root).open()
        assert not holders()  # it would write in a root that may be removed now


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
import json, time
from labsupport import Sandbox, processes
boxes = [Sandbox(new=set(new)).open() for new in %s]
for box in boxes:
    box.start(["sh", "-c", "(setsid sleep 61 &) ; sleep 61"])
while [p.command for p in processes(of=boxes)].count("sleep 61") < 2 * len(boxes):
    time.sleep(0.01)
pids = [p.pid for p in processes(of=boxes)]
print(json.dumps([pids, [box.holder_pid for box in boxes]]), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("who", ["owner", "holders"])
def test_nothing_survives_kill_9(who):
    kinds = [["pid", "mount"], ["pid", "net", "uts"], ["uts"]]
    if who == "holders":
        kinds.pop()  # only a PID namespace ends what a killed holder leaves
    with owner(OWNER % kinds) as (notebook, said):
        programs, holders = json.loads(said)
        assert len(programs) == 3 * len(kinds)
        for pid in [notebook] if who == "owner" else holders:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not {*programs, *holders} & {*all_pids()})


def test_a_killed_zygote_is_replaced_and_its_sandboxes_live_on():
    with Sandbox() as old:
        assert old.run(PRINT_PID).stdout == "1\n"
        zygote = launch._running[2].pid
        os.kill(zygote, signal.SIGKILL)
        for _ in range(2):
            with Sandbox() as box:
                assert box.run(PRINT_PID).stdout == "1\n"
        assert launch._running[2].pid != zygote
        assert old.run(["echo", "still here"]).stdout == "still here\n"


def test_sandboxes_may_be_used_from_several_threads():
    def work(_):
        with Sandbox(new={"pid", "mount"}) as box:
            return [box.run(PRINT_PID).stdout for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(work, range(4))] == [["1\n"] * 5] * 4


def test_a_program_lives_on_when_the_thread_that_started_it_ends():
    with Sandbox(new={"pid", "mount"}) as box:
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(box.start, ["sleep", "60"]).result()
        time.sleep(0.1)
        assert started.returncode is None


def test_descriptors_do_not_leak():
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    with Sandbox() as box:
        inside = box.run(["ls", "/proc/self/fd"]).stdout.split()
        assert inside == ["0", "1", "2", "3"]  # 3 is ls reading the folder
    del box
    before = descriptors()
    for _ in range(20):
        with Sandbox() as box:
            box.run(["true"])
            box.start(["sleep", "60"])
            with pytest.raises(ProgramNotFound, match="no-such-program"):
                box.run(["no-such-program"])
    del box
    assert descriptors() == before


def test_options_that_would_change_the_host_are_refused(tmp_path):
    with pytest.raises(NamespaceRefused, match="hostname= needs a new uts namespace"):
        Sandbox(new={"pid"}, hostname="x")
    with pytest.raises(LabError, match="is not a folder"):
        Sandbox(new={"mount"}, rootfs=tmp_path / "missing")
    with pytest.raises(LabError, match="too long: the kernel keeps 64"):
        Sandbox(new={"uts"}, hostname="x" * 65)


SLIPS = {
    "no program to start": lambda box: box.run([]),
    "the list is empty": lambda box: box.start(""),
    "None is not a command": lambda box: box.run(None),
    "None is not a word of a command": lambda box: box.run(["echo", None]),
    "'KILL' is not the number of a signal": lambda box: box.start("sleep 9").signal("KILL"),
    "5 is not a set of namespaces": lambda _: Sandbox(new=5),
    "unknown namespace 'mnt': did you mean 'mount'": lambda _: Sandbox(new="mnt"),
    "'x' is not a cgroup": lambda _: Sandbox(cgroup="x"),
    "'x' is not a filter": lambda _: Sandbox(filter="x"),
    "5 is not a host name": lambda _: Sandbox(new="uts", hostname=5),
    "`id -u nobody` prints": lambda _: Sandbox(new="user", uid="nobody"),
    "rootfs=5 is not a folder": lambda _: Sandbox(rootfs=5),
    "'x' is not a sandbox": lambda _: mounts("x"),
    "5 is not a sandbox": lambda _: processes(of=5),
    "1 is not a dictionary of sandboxes": lambda _: PidMap(1),
    "'y' is not a sandbox or a container": lambda _: Terminal("y"),
    "is not the number of a process": namespaces,
    "'a/b' is not a drive's name": lambda _: Drive("a/b"),
    "no capability": lambda _: Sandbox(keep_caps={"NET_ADMN"}).open(),
    "nobody here is 'dbb'": lambda box: PidMap({"db": box}).look_as("dbb"),
}


@pytest.mark.parametrize("words", SLIPS)
def test_a_beginners_slip_gets_words_of_its_own(words):
    with Sandbox() as box, pytest.raises(LabError, match=re.escape(words)):
        SLIPS[words](box)


def test_what_can_be_meant_is_understood():
    assert {"pid", "mount"} <= Sandbox(new="pid, mount").new
    with Sandbox() as box:
        assert box.run(["echo", 1, 2.5]).stdout == "1 2.5\n"
        assert list(PidMap(box).boxes) == ["the sandbox"]


@pytest.mark.skipif(not may_make_namespaces(), reason="needs CAP_SYS_ADMIN: unshare without -r")
@pytest.mark.parametrize("new", [{"pid", "mount"}, {"pid", "mount", "uts"}, {"uts", "net"}])
def test_the_shell_lines_do_the_same(new):
    script = "echo pid $$; cat /proc/1/comm; hostname; readlink /proc/self/ns/user"
    if "net" in new:  # other tests may be busy on the machine's own
        script += "; cut -d : -f 1 /proc/net/dev"
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


@pytest.mark.parametrize("new", [{"pid", "mount"}, {"uts"}, set()])
def test_a_sandbox_that_is_not_open_says_so(new):
    with Sandbox(new=new) as box:
        box.start(["sleep", "60"])
    for closed in (box, Sandbox(new=new)):
        for ask in (lambda it: it.run(["true"]), lambda it: it.holder_pid, processes):
            with pytest.raises(LabError, match="not open"):
                ask(closed)


def test_a_root_is_never_entered_without_a_mount_namespace(tmp_path, monkeypatch):
    """Otherwise the machine's own root would be replaced."""
    real = launch.order_holder
    monkeypatch.setattr(
        launch, "order_holder", lambda order: real({**order, "flags": CLONE_NEWPID})
    )
    with pytest.raises(NamespaceRefused, match="enter the root"), Sandbox(rootfs=tmp_path):
        pass


def test_many_roots_one_after_the_other_have_their_own_proc(root):
    """In a user namespace it is mounted over the old one: the kernel wants to see one."""
    count = "1\n" if may_make_namespaces() else "2\n"
    for _ in range(5):
        with Sandbox(rootfs=root) as box:
            assert box.run(["grep", "-c", " /proc ", "/proc/mounts"]).stdout == count


def test_a_program_may_end_with_an_open_sandbox():
    code = "from labsupport import Sandbox; box = Sandbox().open(); box.start(['sleep', '60'])"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_a_forked_child_tells_of_its_mistake_though_it_can_import_nothing():
    """As in a new root. It must not return into its parent's code, which would go on twice."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from labsupport.sandbox import messages\n"
        "if pid := os.fork():\n"
        "    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "sys.path.clear(); sys.meta_path.clear(); sys.modules.pop('traceback', None)\n"
        "messages.live(lambda: 1 / 0)"
    )
    argv = [sys.executable, "-I", "-S", "-c", code, str(CHECKOUT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr
    assert "traceback" not in done.stderr


def test_an_opened_sandbox_begins_again_without_its_earlier_pid_1():
    box = Sandbox(new={"pid", "mount"})
    for _ in range(2):
        with box:
            assert box.start(["sleep", "60"]).pids[-1] == 1


@pytest.mark.parametrize("uid", [-1, 2**32 - 1, 2**40, "root"])
def test_what_is_not_a_users_number_is_refused(uid):
    """To setresuid(2) -1 means "leave it as it is": the programs would still be root's."""
    with pytest.raises(LabError, match="is not the number of a user"):
        Sandbox(new={"user"}, uid=uid)


def test_a_long_command_line_does_not_wait_for_its_reader():
    with Sandbox(new={"pid"}) as box:
        assert box.run(["true", *["x" * 1000] * 100], timeout=60).returncode == 0
        with pytest.raises(ProgramNotFound, match="Argument list too long"):
            box.run(["true", "x" * 150_000], timeout=60)


def test_what_cannot_be_executed_is_an_error_of_the_sandbox():
    """Not a program's end with a status that no program chose."""
    with Sandbox(new={"pid"}) as box:
        with pytest.raises(ProgramNotFound, match="null byte"):
            box.run(["echo", "a\0b"])
        with pytest.raises(ProgramNotFound, match="int"):
            box.run(["true"], env={"NUMBER": 1})
        with pytest.raises(LabError, match="not started in /nowhere"):
            box.run(["true"], cwd="/nowhere")


def test_another_user_gets_no_secret_of_roots(monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    monkeypatch.setenv("TOKEN", "a secret")
    with Sandbox(new={"user"}, uid=65534) as box:
        assert box.run(["sh", "-c", "echo $TOKEN$PATH"]).stdout == f"{os.environ['PATH']}\n"
    with Sandbox(new={"uts"}) as box:
        assert box.run(["sh", "-c", "echo $TOKEN"]).stdout == "a secret\n"


def test_what_a_program_prints_is_waited_for_where_all_takes_ten_times_as_long(monkeypatch):
    real = time.monotonic
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: 10 * real()))
    with Sandbox(new={"pid"}) as box:
        first = box.start(["sleep", "60"])
        box.start(["sh", "-c", "sleep 1.5; echo ready"]).expect("ready")
        with pytest.raises(TimedOut, match="it was given 1 seconds"):
            first.expect("ready", timeout=1)
