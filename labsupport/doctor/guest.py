"""What the Lab VM asks of this machine: a kernel to boot, and what User-Mode Linux needs to run it.

Also whether KVM runs ordinary code here, tried as simply as can be.

User-Mode Linux is a kernel that runs as an ordinary program: it traces its own children with
ptrace(2), and its memory is a file that is mapped, and executed from.
"""

import ctypes
import fcntl
import mmap
import os
import shutil
import signal
import struct
from collections.abc import Sequence
from errno import EACCES, ENOENT, EPERM
from pathlib import Path

from labsupport.doctor.addresses import join_group
from labsupport.doctor.runner import Refused, step
from labsupport.errors import LabError
from labsupport.kernel import proc, refusals
from labsupport.kernel import syscalls as sc

BUILD = "./lab vm build-kernel"
KERNEL_PACKAGE = "labsupport_kernel"
OWN = (
    f"pip install the wheel {KERNEL_PACKAGE}, if your teacher has one, or build it: {BUILD} "
    "(five minutes, once)"
)
REMEDY = f"apt-get install user-mode-linux (Debian); or our own kernel, which can do more: {OWN}"
BUILT_MEANWHILE = "LAB_KERNEL_IS_BUILT"
"""A variable that `./lab` sets where it builds a kernel beside the open course."""
_BUILT = (
    "./lab builds one meanwhile, and its terminal says when it is there, or why not; then "
    "Kernel > Restart"
)
KERNEL_RECIPE = "c421af1b40"
"""This version's `recipe_hash` (`labsupport.making.kernel`): the one that a wheel must have."""
SYSTEM_KERNELS = Path("/usr/local/lib/labsupport/kernels")
CPU_INFO = Path("/proc/cpuinfo")
LEAST_MEMORY = 96 << 20
# what starting takes of the host's memory, whatever the guest may use later
_HOST_MEMORY = 120 << 20
_MIB = 1 << 20
_ELF = b"\x7fELF"
_ELF_X86_64 = _ELF + b"\x02\x01"
# Where a container finds its own limit, in either version of cgroups: limit, usage, file cache.
_LIMITS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def user_kernels() -> Path:
    """Where the kernels that this user has built are kept."""
    import platformdirs  # not imported in the doctor's small process

    return Path(platformdirs.user_cache_dir("labsupport")) / "kernels"


def find_kernel() -> Path:
    """Return the kernel to boot: `LAB_KERNEL`, else our own build, else `linux.uml` on the path.

    Raises `LabError`, which says how to get one.
    """
    chosen = os.environ.get("LAB_KERNEL")
    if chosen:
        return _checked(Path(chosen))
    if os.uname().machine != "x86_64":
        raise LabError(
            "the Lab VM cannot run here", f"User-Mode Linux is for x86-64, not {os.uname().machine}"
        )
    if own := own_kernel():
        return own
    packaged = shutil.which("linux.uml", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin")
    if packaged and loses_registers(packaged):
        why = f"{packaged} is older than Linux 6.13 and cannot restore the registers of AMX"
        remedy = _how(f"our own can: {OWN}")
        raise LabError("the distribution's User-Mode Linux cannot run on this CPU", why, remedy)
    if packaged:
        return _checked(Path(packaged))
    raise LabError(
        "there is no kernel for the Lab VM",
        "LAB_KERNEL is not set, none was built, and neither a wheel with this version's nor "
        "linux.uml is installed",
        _how(REMEDY),
    )


def _how(remedy: str) -> str:
    """Return the remedy, or what happens already."""
    return _BUILT if BUILT_MEANWHILE in os.environ else remedy


def loses_registers(packaged: str) -> bool:
    """Whether this CPU has more registers than a distribution's kernel can restore.

    Before Linux 6.13, PID 1 of such a guest dies at its first instruction; `making/kernel.py` mends
    that in our own build.
    """
    import subprocess  # not in the doctor's small process

    if b" amx_tile " not in CPU_INFO.read_bytes():
        return False
    told = subprocess.run([packaged, "--version"], capture_output=True, text=True, check=False)
    return tuple(map(int, told.stdout.split(".")[:2])) < (6, 13)


def own_kernel(folders: Sequence[Path] | None = None) -> Path | None:
    """Return the kernel of our own that was built or installed last, or None."""
    found = [
        path
        for folder in folders or (user_kernels(), SYSTEM_KERNELS, *_from_a_wheel())
        for path in folder.glob("linux-*")
        if is_kernel(path)
    ]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _from_a_wheel() -> list[Path]:
    """Return the folder of the package with a kernel, if its kernel is the one of this version."""
    from importlib.util import find_spec  # not in the doctor's small process

    spec = find_spec(KERNEL_PACKAGE)
    folders = [Path(each) for each in (spec and spec.submodule_search_locations) or ()]
    return [each for each in folders if any(each.glob(f"linux-*-{KERNEL_RECIPE}"))]


def is_kernel(path: Path) -> bool:
    """Whether this is a program for x86-64 that this user can execute."""
    if not os.access(path, os.R_OK | os.X_OK) or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_ELF_X86_64)) == _ELF_X86_64


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            start = file.read(len(_ELF))
    except OSError as error:
        raise LabError(f"no kernel at {path}", error.strerror or str(error), REMEDY) from error
    if start != _ELF:
        raise LabError(f"{path} is not a kernel", "it is not an ELF program", REMEDY)
    if not os.access(path, os.X_OK):
        raise LabError(f"{path} cannot be executed", "it has no x bit", f"chmod +x {path}")
    return path


def check(memory_bytes: int) -> None:
    """Raise a `LabError` if this machine lacks what a guest with that much memory needs."""
    if memory_bytes < LEAST_MEMORY:
        why = f"{memory_bytes // _MIB} MB were asked for"
        remedy = f"give it {LEAST_MEMORY // _MIB} MB or more; a notebook needs 256 MB"
        raise LabError("the guest would have too little memory", why, remedy)
    find_kernel()
    left = _memory_left()
    if left < _HOST_MEMORY:
        why = f"{left // _MIB} MB are left, and a guest starts with {_HOST_MEMORY // _MIB} MB"
        remedy = "shut down other notebooks (Running Terminals and Kernels), then start again"
        raise LabError("the Lab VM does not fit into this machine's memory", why, remedy)
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    value = int(scope.read_text()) if scope.exists() else 0
    if not yama_allows(value, proc.has_capability(proc.CAP_SYS_PTRACE)):
        raise ptrace_forbidden(f"kernel.yama.ptrace_scope is {value}")
    memory_folder(memory_bytes)


def memory_folder(memory_bytes: int) -> str:
    """Return a folder for the file that is the guest's memory. Raises `LabError`."""
    # `/dev/shm` is the fastest; in a container it is often tiny or `noexec`
    import tempfile

    chosen = os.environ.get("TMPDIR")
    places = [chosen] if chosen else ["/dev/shm", tempfile.gettempdir(), "/var/tmp"]  # noqa: S108
    noexec, full = [], []
    for place in places:
        if not os.access(place, os.W_OK | os.X_OK):
            continue
        system = os.statvfs(place)
        if system.f_flag & os.ST_NOEXEC:
            noexec.append(place)
        elif (free := system.f_bavail * system.f_frsize) < memory_bytes:
            full.append(f"{place} has {free // _MIB} MB free")
        else:
            return place
    if full:
        raise LabError(
            f"no space for {memory_bytes // _MIB} MB of guest memory",
            ", ".join(full),
            "free some space, set TMPDIR to a folder that has more, or give the guest less "
            "memory (LAB_MEMORY=256M)",
        )
    why = f"{', '.join(noexec or places)}: mounted noexec, or not writable"
    remedy = "set TMPDIR to a folder that you may write to on a file system mounted without noexec"
    raise LabError("no folder for the guest's memory", why, remedy)


def ptrace_forbidden(why: str) -> LabError:
    """Say that User-Mode Linux cannot trace its children here."""
    return LabError(
        "the Lab VM cannot run here: User-Mode Linux needs ptrace(2)",
        why,
        "sudo sysctl kernel.yama.ptrace_scope=1 (3 lasts until a restart); in a container, allow "
        "ptrace in its seccomp profile; or go on without the Lab VM: LAB_PLACE=host",
    )


def yama_allows(scope: int, may_trace: bool) -> bool:
    """Whether a process may trace its children; from 2 on, PTRACE_TRACEME is restricted as well."""
    return scope < 2 or (scope == 2 and may_trace)


def _memory_left() -> int:
    """Bytes that this process may still take: of the machine's memory and of its cgroup's limit."""
    left = number_after("MemAvailable:", Path("/proc/meminfo").read_text()) * 1024
    for folder, limit, usage, cache in _LIMITS:
        if (folder / limit).exists() and (most := (folder / limit).read_text().strip()) != "max":
            used = int((folder / usage).read_text())
            kept = number_after(cache, (folder / "memory.stat").read_text())  # given back if needed
            left = min(left, max(int(most) - used + kept, 0))
    return left


def number_after(name: str, text: str) -> int:
    """Return the number after a name, in a text of names and numbers; 0 if it is not there."""
    words = text.split()
    return int(words[words.index(name) + 1]) if name in words else 0


# Could it be started here? Each part is tried.


def vm(kernel: str) -> str:
    """Try a kernel program and ptrace; what its memory takes was checked before."""
    import subprocess

    try:
        told = subprocess.run([kernel, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Refused(f"{kernel} cannot be started: {error.strerror}", REMEDY) from error
    if told.returncode:
        said = " ".join(told.stderr.split())[-200:] or f"exit status {told.returncode}"
        raise Refused(f"{kernel} does not run here: {said}", REMEDY)
    _trace_a_child()
    return f"Linux {told.stdout.strip()}, {kernel}"


def _trace_a_child() -> None:
    us, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            sc.end_with(us)
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
    with step(refusals.TRACE_A_CHILD):
        number = os.waitstatus_to_exitcode(status)
        raise OSError(number, os.strerror(number))


# Does hardware virtualisation run ordinary code? That /dev/kvm exists does not prove it. So we make
# a virtual machine by hand (the kernel's Documentation/virt/kvm/api.rst): one page of memory, one
# CPU, two instructions of real-mode code. The first is `popcnt`, which every processor knows but
# KVM's own instruction emulator does not: a KVM that only emulates (a paravirtual one, for special
# guests) fails there, and would never boot an ordinary kernel.

# linux/kvm.h, as on x86_64
KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE, KVM_CREATE_VCPU, KVM_RUN = 0xAE01, 0xAE04, 0xAE41, 0xAE80
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS = 0x4090AE82, 0x8138AE83, 0x4138AE84
KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR = 5, 17

_CODE_AT = 0x1000
_CODE = bytes.fromhex("f30fb8c1 f4")  # popcnt ax, cx; hlt


def kvm() -> str:
    """A virtual CPU executes our code to its `hlt`."""
    if os.uname().machine != "x86_64":
        raise Refused("the course's virtual machines are x86-64, and this processor is not")
    code = mmap.mmap(-1, mmap.PAGESIZE)
    code[: len(_CODE)] = _CODE
    device = _open()
    with step("making a virtual machine"):
        machine = fcntl.ioctl(device, KVM_CREATE_VM, 0)
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        region = struct.pack("IIQQQ", 0, 0, _CODE_AT, mmap.PAGESIZE, address)
        fcntl.ioctl(machine, KVM_SET_USER_MEMORY_REGION, region)
        cpu = fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)
        shared = mmap.mmap(cpu, fcntl.ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0))
        _point_at_the_code(cpu)
    with step("running a virtual CPU"):
        fcntl.ioctl(cpu, KVM_RUN, 0)
    exit_reason = struct.unpack_from("I", shared, 8)[0]
    if exit_reason == KVM_EXIT_HLT:
        return "runs code"
    why = f"the virtual CPU stopped with exit reason {exit_reason}, not at hlt"
    if exit_reason == KVM_EXIT_INTERNAL_ERROR:
        cannot = "its virtual CPU cannot execute an ordinary instruction"
        why = f"{cannot}: this KVM runs only guests made for it"
    remedy = "ask for a machine with hardware virtualisation (VT-x, AMD-V)"
    raise Refused(f"/dev/kvm is here, but {why}", remedy)


def _open() -> int:
    try:
        return os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == ENOENT:
            raise Refused(
                "there is no /dev/kvm: no hardware virtualisation, or its module is not loaded",
                "switch it on in the firmware, then (on an AMD, kvm_amd): "
                + refusals.gather().as_root("modprobe kvm_intel"),
            ) from error
        if error.errno in (EACCES, EPERM):
            raise Refused("this user may not open /dev/kvm", join_group("/dev/kvm")) from error
        raise


def _point_at_the_code(cpu: int) -> None:
    """Set CS to 0 and RIP to the code; KVM starts a CPU in real mode."""
    segments = bytearray(312)  # struct kvm_sregs, which begins with CS: base, limit, selector
    fcntl.ioctl(cpu, KVM_GET_SREGS, segments)
    struct.pack_into("Q", segments, 0, 0)
    struct.pack_into("H", segments, 12, 0)
    fcntl.ioctl(cpu, KVM_SET_SREGS, segments)
    registers = bytearray(144)  # struct kvm_regs: 16 registers, RIP, RFLAGS (whose bit 1 is set)
    struct.pack_into("QQ", registers, 128, _CODE_AT, 2)
    fcntl.ioctl(cpu, KVM_SET_REGS, registers)
