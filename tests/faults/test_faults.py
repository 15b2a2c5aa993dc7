"""Something of ours is killed, stopped, gone, full or short at a random moment: nothing is left.

30 rounds (2 s each), 300 with `--all`. A failure names its seed and round, which
`LAB_FAULTS="SEED ROUND" ./lab test -k test_a_round` repeats; LAB_FAULTS=SEED takes other moments.
"""

import json
import os
import random
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.faults.experiments import EXPERIMENTS
from tests.faults.rounds import faults
from tests.selection import thorough
from tests.toys import CHECKOUT

SEED, _, ONLY = os.environ.get("LAB_FAULTS", "course").partition(" ")
NUMBERS = [int(ONLY)] if ONLY else range(300 if thorough() else 30)
THE_KERNELS_WORD = {
    "folder full": "[Errno 28] No space left",
    "read-only folder": "[Errno 30] Read-only file system",
    "few files": "[Errno 24] Too many open files|object file: Too many open files",
    "folder gone": "[Errno 2] No such file",
    "few processes": "[Errno 11] Resource temporarily unavailable|can't start new thread",
    "helper killed": "died with <Signals.SIGKILL",
}
"""What an error may say. In a notebook there is no traceback: see `needs.SHORT`."""
THE_ENGINES_WORD = ("requests.exceptions.HTTPError: ", "docker.errors.APIError: ")
"""How the Docker SDK, which a student calls, tells what an engine answers."""
IGNORED = re.compile(
    r"^Exception ignored in: <finalize .*\n(?:.*\n)*?KeyboardInterrupt: *$", re.MULTILINE
)
"""What CPython prints, and nobody can catch, when an interrupt comes while an object is finalized;
https://docs.python.org/3/library/signal.html#note-on-signal-handlers-and-exceptions"""
APART = """
mkdir -p "$0"; mount -t tmpfs none "$0"; mount --rbind /sys/fs/cgroup "$0"
mount -t sysfs none /sys; mount --rbind "$0" /sys/fs/cgroup; umount -l "$0"; umount "$0"; rmdir "$0"
ip link set lo up; exec "$@"
"""
"""A network of one's own, whose links are in /sys; the control groups stay."""


@cache
def pairs():
    """Return each experiment that runs here with each fault, in an order that the seed decides."""
    mine = [name for name, each in EXPERIMENTS.items() if not each.missing]
    found = [(name, fault) for name in mine for fault in faults()]
    random.Random(SEED).shuffle(found)
    return found


def play(number, folder):
    """Play a round; as root, in mount and network namespaces of its own."""
    pair = pairs()[number % len(pairs())]
    argv = [sys.executable, "-m", "tests.faults.rounds", f"{SEED} {number}", *pair]
    if os.geteuid() == 0:
        argv = ["unshare", "--mount", "--net", "sh", "-ec", APART, folder, *argv]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def unclear(seen):
    """Name the errors that had a traceback, except for the kernel's own word for what was done."""
    said = IGNORED.sub("", seen["said"]) if seen["fault"] == "interrupt" else seen["said"]
    if "Traceback" not in said:
        return []
    ends = re.findall(r"^[\w.]*(?:Error|Exception|Interrupt)(?::.*|)$", said, re.MULTILINE)
    ends = [end for end in ends if not end.startswith(THE_ENGINES_WORD)]
    words = THE_KERNELS_WORD.get(seen["fault"], "nothing").split("|")
    return [end for end in ends if not any(word in end for word in words)]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_round_leaves_nothing_and_is_told_clearly(number, tmp_path):
    seen = play(number, str(tmp_path / "sys"))
    repeat = f'LAB_FAULTS="{SEED} {number}": {seen}'
    assert not seen["left"], repeat
    assert not seen["sweep failed"], repeat
    assert seen["status"] != "hangs", repeat
    assert not unclear(seen), repeat
