#!/usr/bin/env python3
"""Run Chromium so that it hears of no new network interface, which other tests' containers bring.

When one comes or goes, it gives up whatever it has not begun to fetch (net::ERR_NETWORK_CHANGED):
a page loses one of its files. Without a netlink socket it goes on as if nothing changed.
"""

import os
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from labsupport.kernel import syscalls as sc

SOCKET = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
AF_NETLINK, EACCES = 16, 13
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in linux/seccomp.h's struct seccomp_data
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
PROGRAM = (
    (LOAD, 0, 0, NUMBER), (IF_EQUAL, 0, 3, SOCKET),
    (LOAD, 0, 0, FIRST_ARGUMENT), (IF_EQUAL, 0, 1, AF_NETLINK),
    (RETURN, 0, 0, ERRNO | EACCES), (RETURN, 0, 0, ALLOW),
)  # fmt: skip

sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
sc.seccomp_set_filter(b"".join(struct.pack("HBBI", *line) for line in PROGRAM))
os.execvp(os.environ["CHROMIUM"], [os.environ["CHROMIUM"], *sys.argv[1:]])
