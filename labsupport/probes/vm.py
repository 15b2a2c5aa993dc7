"""Could the Lab VM be started here? All that User-Mode Linux asks of its host is tried.

It is a kernel that runs as an ordinary program: it traces its own children with ptrace(2), and its
memory is a file that is mapped executable.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal

from labsupport.linux import syscalls as sc
from labsupport.probes import facts
from labsupport.probes.children import Refused, step

TRACE_A_CHILD = "tracing a child with ptrace"

BUILD = "./lab vm build-kernel"


def vm(kernel: str | None, folder: str) -> str:
    """Try a kernel program, ptrace and executable memory in a file in `folder`, on an x86-64."""
    if facts.gather().in_vm:
        raise Refused("this is the Lab VM already, and there is no VM in the VM")
    if os.uname().machine != "x86_64":
        raise Refused(
            f"User-Mode Linux exists for x86-64 only, and this is {os.uname().machine}",
            "use the course's image, or a machine where this user may make namespaces",
        )
    release = _release(kernel)
    _trace_a_child()
    _map_executable_file(folder)
    return f"Linux {release}, {kernel}"


def _release(kernel: str | None) -> str:
    """Run the kernel program far enough to have it tell its version."""
    if kernel is None:
        raise Refused("no User-Mode Linux kernel was found", _get_a_kernel())
    import subprocess

    try:
        told = subprocess.run(
            [kernel, "--version"], capture_output=True, text=True, check=False, timeout=5
        )
    except OSError as error:
        raise Refused(f"{kernel} cannot be started: {error.strerror}", _get_a_kernel()) from error
    if told.returncode:
        said = " ".join(told.stderr.split())[-200:] or f"exit status {told.returncode}"
        raise Refused(f"{kernel} does not run here: {said}", _get_a_kernel())
    return told.stdout.strip()


def _get_a_kernel() -> str:
    """Only Debian has a package of it."""
    if shutil.which("apt-get") and _is_debian():
        return f"{BUILD}, or: {facts.gather().install('user-mode-linux')}"
    return BUILD


def _is_debian() -> bool:
    with open("/etc/os-release") as file:
        return "ID=debian" in file.read().split()


def _trace_a_child() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
            sc.ptrace(sc.PTRACE_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return
    with step(TRACE_A_CHILD):
        number = os.waitstatus_to_exitcode(status)
        raise OSError(number, os.strerror(number))


def _map_executable_file(folder: str) -> None:
    """Map a file without a name in the folder for temporary files, as UML does for its memory."""
    try:
        file = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o700)
    except OSError as error:
        raise Refused(
            f"no file can be made in {folder}: {error.strerror}",
            "set TMPDIR to a folder with space that is not mounted noexec",
        ) from error
    try:
        os.ftruncate(file, mmap.PAGESIZE)
        mmap.mmap(file, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    except PermissionError as error:
        raise Refused(
            f"{folder} is mounted noexec, and the Lab VM's memory is a file there",
            "set TMPDIR to a folder that is not mounted noexec",
        ) from error
    finally:
        os.close(file)
