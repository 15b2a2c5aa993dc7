"""`./lab vm` as a student types it: with pipes, and at a real terminal. About 4 s."""

import asyncio
import fcntl
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from labsupport import Terminal

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


@pytest.mark.anyio
async def test_a_root_shell_with_a_proper_terminal(vm_kernel):
    lines = f"{' '.join(LAB_VM)}; echo left $?; stty -a | grep -o -- '[- ]echo '"
    with Terminal(argv=["sh", "-c", lines], rows=30, columns=101) as terminal:
        await terminal.expect("# ")
        terminal.type("tty; echo $(id -u) $(stty size)\n")
        await terminal.expect("/dev/pts/")
        await terminal.line("0 30 101")
        fcntl.ioctl(terminal._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        await asyncio.sleep(0.3)
        terminal.type("stty size\n")
        await terminal.line("24 80")
        terminal.type("sleep 100\n")
        await asyncio.sleep(0.5)
        terminal.press("\x03")
        terminal.type("echo status $?\n")
        await terminal.line("status 130")
        terminal.type("exit 7\n")
        await terminal.line("left 7")
        await terminal.line(" echo ")  # as it was before
