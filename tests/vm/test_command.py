"""`./lab vm` as a student types it: with pipes, and at a real terminal. About 4 s."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

LAB_VM = [sys.executable, "-m", "labsupport", "vm"]


def lab_vm(*arguments, **options):
    return subprocess.run(
        [*LAB_VM, *arguments], capture_output=True, text=True, check=False, timeout=60, **options
    )


def test_folder_streams_options_and_status_are_the_programs(vm_kernel, tmp_path):
    """A signal gives 128 and its number."""
    script = "cat; pwd; id -u; echo hello > file; echo $* >&2; kill -KILL $$"
    argv = ["--memory", "256M", "--", "sh", "-c", script, "sh", "--memory", "-x"]
    done = lab_vm(*argv, input="in ", cwd=tmp_path)
    assert done.stdout == f"in {tmp_path}\n0\n"
    assert (done.stderr, done.returncode) == ("--memory -x\n", 137)
    assert (tmp_path / "file").read_text() == "hello\n"


MOUNT_ONCE_MORE = """
mount -t hostfs host /mnt -o /
touch "/mnt$1/written"
cat /mnt/etc/shadow
"""


def test_root_there_may_do_what_its_user_may_and_no_more(vm_kernel, ordinary_user, as_user):
    """Past the layer in memory, as SECURITY.md says."""
    home = ordinary_user.home
    kernel = Path(shutil.copy(vm_kernel, home / "kernel"))
    kernel.chmod(0o755)
    lines = ["sh", "-c", MOUNT_ONCE_MORE, "-", str(home)]
    done = as_user([*LAB_VM, "--", *lines], env={"LAB_KERNEL": str(kernel)}, cwd=home)
    assert (home / "written").exists()
    assert (done.stdout, done.returncode) == ("", 1)
    assert "/mnt/etc/shadow: Permission denied" in done.stderr


def test_a_missing_program_is_one_sentence(vm_kernel):
    done = lab_vm("--", "nonesuch")
    assert done.returncode != 0
    assert "nonesuch does not start in the Lab VM: No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_who_leaves_ends_the_program(vm_kernel, marked):
    command = [*LAB_VM, "--memory", marked.memory, "--", "yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(4) == b"y\ny\n"
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE


def test_an_interrupt_is_the_programs(vm_kernel):
    script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen([*LAB_VM, "--", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"caught\n"
        assert process.wait(60) == 5


class Terminal:
    """`./lab vm` at a terminal of 30 rows and 101 columns."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["PS1"] = "$ "
            os.execv(LAB_VM[0], LAB_VM)
        self.resize(30, 101)
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def expect(self, pattern, seconds=60):
        """Wait until this appears, and return it; what came before is forgotten."""
        until = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            if not select.select([self.fd], [], [], max(until - time.monotonic(), 0))[0]:
                pytest.fail(f"no {pattern!r} in {self.seen!r}")
            self.seen += os.read(self.fd, 4096).decode()
        self.seen = self.seen[found.end() :]
        return found[0]

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(vm_kernel):
    terminal = Terminal()
    yield terminal
    os.close(terminal.fd)


def test_a_root_shell_with_a_proper_terminal(terminal):
    terminal.expect(r"[#$] ")
    terminal.type("tty; id -u; stty size\n")
    terminal.expect(r"/dev/pts/\d+\s+0\s+30 101")
    terminal.resize(24, 80)
    time.sleep(0.3)
    terminal.type("stty size\n")
    terminal.expect("24 80")
    terminal.type("sleep 100\n")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.expect(r"\^C")
    terminal.type("echo status $?\n")
    terminal.expect("status 130")
    terminal.type("exit 7\n")
    assert terminal.status() == 7
    modes = termios.tcgetattr(terminal.fd)
    assert modes[3] & termios.ECHO  # as it was before
