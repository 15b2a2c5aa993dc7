"""A Jupyter kernel in the guest, used as Jupyter uses it: by its kernelspec. About 60 s."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from labsupport.vm import kernelspecs, places
from tests.waiting import owner, wait_until

KILLS = int(os.environ.get("LAB_TEST_KILLS", "2"))


@pytest.fixture(scope="session")
def specs(tmp_path_factory):
    """An environment with the course's kernelspecs."""
    prefix = tmp_path_factory.mktemp("prefix")
    kernelspecs.install(prefix)
    return prefix / "share" / "jupyter" / "kernels"


class Kernel:
    """A kernel with its client."""

    def __init__(self, manager):
        self.manager = manager
        self.connect()

    def connect(self):
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def launcher(self):
        return int(self.manager.provisioner.process.pid)

    def run(self, code, timeout=30):
        """Run a cell; return what it prints, or the name of its error."""
        found: list[dict[str, Any]] = []
        self.client.execute_interactive(code, timeout=timeout, output_hook=found.append)
        return said(found)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def said(messages):
    parts = [message["content"] for message in messages]
    return "".join(part.get("text") or part.get("ename") or "" for part in parts).strip()


@pytest.fixture(scope="module")
def start(specs):
    """Start kernels; all are ended after the module."""
    kernels: list[Kernel] = []

    def start(name="lab-vm", **options):
        found = KernelSpecManager(kernel_dirs=[str(specs)], ensure_native_kernel=False)
        manager = KernelManager(kernel_name=name, kernel_spec_manager=found)
        manager.start_kernel(**options)
        try:
            kernels.append(Kernel(manager))
        except BaseException:
            manager.shutdown_kernel(now=True)
            raise
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.close()


@pytest.fixture(scope="module")
def kernel(vm_kernel, shared, start):
    """A kernel in a guest that only well-behaved tests use."""
    return start(cwd=str(shared))


@pytest.fixture
def killable(vm_kernel, marked, start):
    """A kernel in a guest that must be gone after the test."""
    return start(env={**os.environ, "LAB_MEMORY": marked.memory})


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; print(os.getuid(), os.uname().nodename, os.environ['LAB_PLACE'])", "0 lab vm"),
        ("import os, pathlib; print(os.access(pathlib.Path.home(), os.W_OK))", "True"),
        ("print('x' * (1 << 20))", "x" * (1 << 20)),
        (f"print(len({'y' * 300_000!r}))", "300000"),
        ("import os; print(os.environ.get('PYTHONMALLOC'))", "None"),
    ],
    ids=["root", "home", "megabyte", "large cell", "environment"],
)  # fmt: skip
def test_a_cell_says_what_it_says_anywhere(kernel, code, said):
    assert kernel.run(code) == said


def test_it_works_in_the_notebooks_folder_which_is_the_hosts(kernel, shared):
    kernel.run("open('saved', 'w').write('by a cell')")
    assert (shared / "saved").read_text() == "by a cell"


def test_input_is_asked_for(kernel):
    sent = kernel.client.execute("print(input('name? ') + '!')", allow_stdin=True)
    asked = kernel.client.get_stdin_msg(timeout=60)
    assert asked["content"]["prompt"] == "name? "
    kernel.client.input("Ada")
    assert "Ada!" in outputs(kernel, sent)


@pytest.mark.parametrize(
    "busy", ["while True: pass", "import time; time.sleep(60)",
             "import subprocess; subprocess.run(['sleep', '60'])"]
)  # fmt: skip
def test_an_interrupt_stops_a_cell_and_its_program(kernel, busy):
    sent = kernel.client.execute(busy)
    time.sleep(0.5)
    kernel.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in outputs(kernel, sent)
    left = "import subprocess; print(subprocess.run(['pgrep', 'sleep']).returncode)"
    assert kernel.run(left) == "1"


def test_restart_gives_a_fresh_guest_and_shutdown_leaves_nothing(killable, marked):
    killable.run("x = 1; open('/tmp/mine', 'w').close()")
    first = set(marked.processes())
    killable.client.stop_channels()
    killable.manager.restart_kernel()
    killable.connect()
    assert (
        killable.run("import os; print('x' in dir(), os.path.exists('/tmp/mine'))") == "False False"
    )
    assert not first & set(marked.processes())
    killable.client.stop_channels()
    killable.manager.shutdown_kernel()
    assert not marked.processes()


def test_what_waits_for_ever_at_exit_is_not_waited_for(killable):
    killable.run(
        "import atexit, threading, time\n"
        "atexit.register(time.sleep, 100)\n"
        "threading.Thread(target=time.sleep, args=(100,)).start()"
    )
    assert killable.client.shutdown(reply=True, timeout=60)["content"]["status"] == "ok"
    wait_until(lambda: not killable.manager.is_alive(), 2)
    killable.close()


@pytest.mark.parametrize("round_", range(KILLS))
def test_kill_9_of_the_launcher_leaves_nothing(round_, vm_kernel, marked, memory_folder, start):
    kernel = start(env={**os.environ, "LAB_MEMORY": marked.memory})
    port = kernel.manager.shell_port
    assert is_listened_on(port)
    if round_ % 2:
        kernel.client.execute("while True: pass")
    os.kill(kernel.launcher, signal.SIGKILL)
    marked.wait_until_gone()
    assert not is_listened_on(port)
    kernel.close()


def test_a_killed_server_takes_the_guest_with_it(vm_kernel, specs, marked, memory_folder):
    server = f"""
        import time
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import KernelManager
        found = KernelSpecManager(kernel_dirs=[{str(specs)!r}], ensure_native_kernel=False)
        manager = KernelManager(kernel_name="lab-vm", kernel_spec_manager=found)
        manager.start_kernel()
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.execute("while True: pass")
        print("ready", flush=True)
        time.sleep(600)
    """
    with owner(server, env={**os.environ, "LAB_MEMORY": marked.memory}) as (_, told):
        assert told == "ready"
        assert marked.processes()
    marked.wait_until_gone()


def test_a_kernel_that_ends_itself_is_dead_and_so_is_its_guest(killable, marked):
    killable.client.execute("import os; os._exit(7)")
    wait_until(lambda: not killable.manager.is_alive(), 2)
    killable.close()


def test_a_guest_that_dies_is_a_dead_kernel_with_the_consoles_last_words(
    vm_kernel, marked, start, tmp_path
):
    with (tmp_path / "stderr").open("w+") as stderr:
        kernel = start(env={**os.environ, "LAB_MEMORY": marked.memory}, stderr=stderr)
        kernel.client.execute(
            "open('/proc/sys/kernel/sysrq', 'w').write('1');"
            "open('/proc/sysrq-trigger', 'w').write('c')"
        )
        wait_until(lambda: not kernel.manager.is_alive(), 2)
        kernel.close()
        stderr.seek(0)
        words = stderr.read()
    assert "the Lab VM has died" in words
    assert "Kernel panic" in words


def test_this_machine_by_hand(start, tmp_path):
    startup = tmp_path / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "theirs.py").write_text("theirs = 1")  # a user's own, which must not reach in
    environment = {name: text for name, text in os.environ.items() if name != "IPYTHONDIR"}
    kernel = start("lab-host", env={**environment, "HOME": str(tmp_path)})
    assert kernel.run("theirs") == "NameError"
    # a new user has no cache yet; elsewhere IPython would warn, and forget
    assert kernel.run("print(get_ipython().ipython_dir)").endswith("labsupport/ipython")
    assert kernel.run("import os; print(os.uname().release, os.environ['LAB_PLACE'])") == (
        f"{os.uname().release} host"
    )
    sent = kernel.client.execute("while True: pass")
    time.sleep(0.5)
    kernel.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in outputs(kernel, sent)


def unplaced():
    """Our environment without the place that the run of all tests asks for."""
    return {name: text for name, text in os.environ.items() if name != "LAB_PLACE"}


@pytest.mark.parametrize(
    ("no_kernel", "words"),
    [("/nonexistent", "runs on this machine itself"), ("/bin/true", "/bin/true did not start")],
)
def test_without_a_lab_vm_auto_stays_here_and_says_so(start, no_kernel, words):
    if not places.lacking_here():
        pytest.skip("needs a user who lacks something here")
    kernel = start("python3", env={**unplaced(), "LAB_KERNEL": no_kernel})
    first = kernel.run("import os; print(os.uname().release)")
    assert os.uname().release in first
    assert words in first
    assert no_kernel in first
    assert kernel.run("print('quiet')") == "quiet"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "no kernel at /nonexistent"),
        ({"ip": "0.0.0.0"}, "asks for 0.0.0.0"),
        ({"key": ""}, "no key"),
    ],
    ids=["no Lab VM", "ip", "key"],
)
def test_a_start_is_refused(change, words, vm_kernel, tmp_path):
    file = tmp_path / "connection.json"
    file.write_text(json.dumps(connection() | change))
    argv = [sys.executable, "-m", "labsupport.vm.launcher", "--place", "vm", "-f", str(file)]
    env = os.environ if change else {**os.environ, "LAB_KERNEL": "/nonexistent"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert words in done.stderr
    assert "What to do" in done.stderr
    assert "Traceback" not in done.stderr


def is_listened_on(port):
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return any(line[1].endswith(f":{port:04X}") and line[3] == "0A" for line in lines)


def connection():
    ports = dict.fromkeys(("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"), 0)
    return {"transport": "tcp", "ip": "127.0.0.1", "key": "k", **ports}


def outputs(kernel, sent):
    """Return what the cell with this message id prints, once it has ended."""
    found = []
    while True:
        try:
            message = kernel.client.get_iopub_msg(timeout=15)
        except Empty:
            pytest.fail("the cell does not end")
        if message["parent_header"].get("msg_id") != sent:
            continue
        found.append(message)
        if message["content"].get("execution_state") == "idle":
            return said(found)
