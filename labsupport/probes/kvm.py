"""Does hardware virtualisation run ordinary code? /dev/kvm may exist and not do so.

A virtual machine is made by hand (the kernel's Documentation/virt/kvm/api.rst): one page of
memory, one CPU, two instructions of real-mode code. The first, `popcnt`, is known to every
processor but not to KVM's own instruction emulator: a KVM that only emulates (a paravirtual one,
for guests made for it) gives up there, and would never get an ordinary kernel through its boot.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from errno import EACCES, ENOENT, EPERM

from labsupport.probes import facts
from labsupport.probes.children import Refused, step

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
    raise Refused(_why(exit_reason), "ask for a machine with hardware virtualisation (VT-x, AMD-V)")


def _open() -> int:
    try:
        return os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == ENOENT:
            raise Refused(
                "there is no /dev/kvm: no hardware virtualisation, or its module is not loaded",
                "switch it on in the firmware, then: " + facts.gather().as_root("modprobe kvm"),
            ) from error
        if error.errno in (EACCES, EPERM):
            raise Refused(
                "this user may not open /dev/kvm",
                facts.join_group("/dev/kvm"),
            ) from error
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


def _why(exit_reason: int) -> str:
    if exit_reason == KVM_EXIT_INTERNAL_ERROR:
        return (
            "/dev/kvm is here, but its virtual CPU cannot execute an ordinary instruction: "
            "this KVM runs only guests made for it"
        )
    return (
        f"/dev/kvm is here, but the virtual CPU stopped with exit reason {exit_reason}, not at hlt"
    )


PROBES = {"kvm": kvm}
