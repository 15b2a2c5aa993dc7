"""What our own kernel is built for, tried in it (one guest, 8 s)."""

import os
import shutil
import sys

import pytest

from labsupport.doctor.guest import own_kernel
from labsupport.vm.guest import LabVM
from tests.fixtures_vm import sh
from tests.toys import CHECKOUT

pytestmark = pytest.mark.skipif(
    os.environ.get("LAB_IN_VM") == "1" or not own_kernel(),
    reason="needs our own kernel (./lab vm build-kernel) and a machine that is not a Lab VM",
)

DISK = "truncate -s 32M /run/{0}.img; loop=$(losetup -f --show /run/{0}.img); "
PROMISES = {
    "iptables-legacy": "iptables-legacy -t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE;"
    " iptables-legacy -A INPUT -m conntrack --ctstate NEW -m comment --comment x -j REJECT",
    "ip6tables-legacy": "ip6tables-legacy -t nat -A POSTROUTING -j MASQUERADE",
    "htb and netem": "ip link add d1 type dummy; tc qdisc add dev d1 root handle 1: htb default 1;"
    " tc class add dev d1 parent 1: classid 1:1 htb rate 1mbit;"
    " tc qdisc add dev d1 parent 1:1 netem delay 20ms loss 1%",
    "ingress police": "ip link add d2 type dummy; tc qdisc add dev d2 handle ffff: ingress;"
    " tc filter add dev d2 parent ffff: matchall action police rate 1mbit burst 10k drop",
    "links": "ip link add v0 type veth peer name v1; ip link add b0 type bridge; ip link set v0"
    " master b0; ip link add link v1 name m0 type macvlan;"
    " ip link add x0 type vxlan id 7 dstport 1;"
    " ip tuntap add t0 mode tap",
    "ext4 on loop, with quota": DISK.format("ext4") + "mkfs.ext4 -q -O quota $loop;"
    " mkdir -p /run/ext4; mount -o usrquota $loop /run/ext4; grep -q usrquota /proc/mounts",
    "io.max": DISK.format("io") + "mkdir /sys/fs/cgroup/io; number=$(lsblk -dno MAJ:MIN $loop);"
    " cd /sys/fs/cgroup/io; echo $number wbps=1048576 > io.max; grep -q wbps=1048576 io.max",
    "swap in memory": "echo 32M > /sys/block/zram0/disksize; mkswap -q /dev/zram0;"
    " swapon /dev/zram0; grep -q zram0 /proc/swaps; swapoff /dev/zram0",
    "swap limit": "mkdir /sys/fs/cgroup/sw; echo 0 > /sys/fs/cgroup/sw/memory.swap.max",
    "pressure": "test -e /proc/pressure/memory; mkdir /sys/fs/cgroup/psi;"
    " grep -q some /sys/fs/cgroup/psi/cpu.pressure",
    "message queues": "mkdir -p /run/mq; mount -t mqueue q /run/mq",
    "other binaries": "mount -t binfmt_misc b /proc/sys/fs/binfmt_misc",
    "its own configuration": "zcat /proc/config.gz | grep -q CONFIG_PSI=y",
    "I/O of a process": "grep -q write_bytes /proc/self/io",
    "fuse": "test -c /dev/fuse",
}
TOOLS = ("iptables-legacy", "tc", "ip", "mkfs.ext4", "losetup", "lsblk", "mkswap", "zcat")


@pytest.fixture(scope="module")
def guest():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_KERNEL", str(own_kernel()))
        with LabVM.boot("384M") as guest:
            yield guest


@pytest.mark.parametrize("promise", PROMISES)
def test_the_kernel_keeps_its_promise(guest, promise):
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    script = PROMISES[promise]
    missing = [tool for tool in TOOLS if f"{tool} " in script and not shutil.which(tool, path=path)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    sh(guest, script)


BOMBS = """
import os, signal
from labsupport import Cgroup
from labsupport.cgroup.dangers import bomb

for _ in range(4):
    with Cgroup(pids=40, memory="200M") as group:
        bomb(group)
        while group.usage().pids < 35:
            pass
        for pid in group.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
print("alive")
"""


def test_processes_killed_inside_fork_do_not_end_the_guest(guest):
    """Without our mend (`labsupport.making.kernel`), 6.12 panics in the first or second round."""
    done = guest.run([sys.executable, "-c", BOMBS], cwd=CHECKOUT, timeout=120)
    assert done.stdout == "alive\n", done.stderr
