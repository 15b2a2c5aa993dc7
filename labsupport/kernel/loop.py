"""A loop device: the kernel shows a file as a disk; loop(4).

The device is set to clear itself (`LO_FLAGS_AUTOCLEAR`): the kernel takes it apart when the last
descriptor and the last mount of it are gone, however its owner ended.
"""

from __future__ import annotations

import errno
import os
import struct
from fcntl import ioctl

from labsupport.errors import MissingCapability

# linux/loop.h
LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_AUTOCLEAR = 4
_FLAGS_OFFSET = 8 + 52  # of info.lo_flags in struct loop_config
_NAME_OFFSET = 8 + 56  # of info.lo_file_name
_CONFIG_BYTES = 304
CONTROL = "/dev/loop-control"
_TRIES = 20


def attach(path: str) -> tuple[int, str]:
    """Show the file as a disk; return (descriptor, name such as /dev/loop0).

    The device is there for as long as the descriptor is open, or something of it is mounted.

    Raises `MissingCapability`: this machine does not give us a loop device.
    """
    image = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _attach(image, path)
    except OSError as error:
        remedy = "as root: modprobe loop" if error.errno == errno.ENOENT else "be root"
        why = f"{error.filename or CONTROL}: {error.strerror}"
        raise MissingCapability("a loop device", why, remedy) from error
    finally:
        os.close(image)


def _attach(image: int, path: str) -> tuple[int, str]:
    for attempt in range(_TRIES):
        name = f"/dev/loop{_free()}"
        device = os.open(name, os.O_RDWR | os.O_CLOEXEC)
        try:
            ioctl(device, LOOP_CONFIGURE, _config(image, path))
        except OSError as error:
            os.close(device)
            # somebody else was faster: take the next one
            if error.errno != errno.EBUSY or attempt == _TRIES - 1:
                raise
        else:
            return device, name
    raise AssertionError("the last attempt returns or raises")


def _free() -> int:
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        return ioctl(control, LOOP_CTL_GET_FREE)
    finally:
        os.close(control)


def _config(image: int, path: str) -> bytes:
    config = bytearray(_CONFIG_BYTES)
    struct.pack_into("=II", config, 0, image, 0)
    struct.pack_into("=I", config, _FLAGS_OFFSET, LO_FLAGS_AUTOCLEAR)
    struct.pack_into("=63s", config, _NAME_OFFSET, os.fsencode(path))
    return bytes(config)
