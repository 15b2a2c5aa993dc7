"""The exercise of notebook 14, eBPF."""

from __future__ import annotations

import os

from labsupport.course.exercises import AGAIN, Exercise, Verdict
from labsupport.kernel import procfs
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox

FRUIT = ("apple", "cherry", "fig", "lemon", "plum", "quince")
HOSTS = ("east", "west")
FOLDER = "/mnt"
WAITS = "exec 2>/dev/null\nuntil true < {0}/{1}; do sleep 0.2; done\nexec tail -f {0}/{1}\n"
"""A script that waits for a file, and becomes another program when it is there."""


class WhatItWaitsFor(Exercise):
    """Find out which file a program in a container misses, and give it to that one."""

    name = "14.1"
    hints = (
        "tracepoint:syscalls:sys_enter_openat sees each file that is opened, and "
        "str(args->filename) is its name. Watch for a second or two, as the cells above do.",
        'Between the tracepoint and its program stands a condition: /comm == "sh" && '
        'curtask->nsproxy->uts_ns->name.nodename == "east"/. In that sandbox, `touch` makes '
        "the file.",
    )
    moment = 2.0

    def begin(self) -> None:
        self._host = self.random.choice(HOSTS)
        numbers = self.random.sample(range(100, 1000), len(HOSTS))
        self._files = [f"{self.random.choice(FRUIT)}-{number}" for number in numbers]
        self.east, self.west = (self._sandbox(host) for host in HOSTS)
        self._boxes = {"east": self.east, "west": self.west}
        self._programs = {
            host: _start(self._boxes[host], file)
            for host, file in zip(HOSTS, self._files, strict=True)
        }

    def _sandbox(self, host: str) -> Sandbox:
        box = Sandbox(new={"pid", "mount", "uts"}, hostname=host).open()
        self.ends.callback(box.close)
        _ = box.pid  # which lives on when the program is ended
        box.run(["mount", "-t", "tmpfs", "tmpfs", FOLDER])
        return box

    def task(self) -> str:
        return (
            "In each of the sandboxes `exercise.east` and `exercise.west`, whose host names are "
            f"east and west, a shell waits for a file in `{FOLDER}` and does not say which. Make "
            f"the one in **{self._host}** go on: have the kernel tell you the file's name, and "
            "make that file there. Make no other file, and leave the other sandbox as it is."
        )

    def look(self) -> Verdict:
        other = next(host for host in HOSTS if host != self._host)
        ended = [host for host in HOSTS if self._programs[host].returncode is not None]
        if ended:
            return Verdict(False, f"the program in {ended[0]} has been ended. {AGAIN}")
        if self._there(other):
            return Verdict(False, f"there is something in `{FOLDER}` of {other}: "
                                  f"{', '.join(self._there(other))}.")  # fmt: skip
        there, file = self._there(self._host), self._files[HOSTS.index(self._host)]
        if not there:
            return Verdict(False, f"`{FOLDER}` of {self._host} is empty, and its shell waits.")
        if there != [file]:
            what = "files that nobody waits for" if file in there else "no file that it waits for"
            return Verdict(False, f"`{FOLDER}` of {self._host} holds {what}: {', '.join(there)}.")
        command = procfs.command(self._programs[self._host].pid)
        if not command.startswith("tail"):
            return Verdict(False, f"the file is there, but the program still runs `{command}`.")
        return Verdict(True, f"in {self._host} the shell found `{FOLDER}/{file}`, and became "
                             f"`{command}`; in {other} it still waits.")  # fmt: skip

    def _there(self, host: str) -> list[str]:
        return sorted(os.listdir(f"/proc/{self._boxes[host].pid}/root{FOLDER}"))

    def answer(self) -> str:
        return (
            f"%%shell in exercise.{self._host}\n"
            "# In a cell before, in the sandbox with the tracepoints, this tells the name:\n"
            '# bpftrace -e \'tracepoint:syscalls:sys_enter_openat /comm == "sh" && '
            f'curtask->nsproxy->uts_ns->name.nodename == "{self._host}"/ '
            "{ @[str(args->filename)] = count(); }' -c '/bin/sleep 1'\n"
            f"touch {FOLDER}/{self._files[HOSTS.index(self._host)]}"
        )


def _start(box: Sandbox, file: str) -> Process:
    """Start the script by a pipe, so that no command line tells what it waits for."""
    reading, writing = os.pipe()
    try:
        os.write(writing, WAITS.format(FOLDER, file).encode())
        os.close(writing)
        return box.start(["sh"], stdin=reading)
    finally:
        os.close(reading)
