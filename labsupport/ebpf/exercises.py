"""The exercise of notebook 14, eBPF."""

import os

from labsupport.course.exercises import AGAIN, Exercise, Verdict
from labsupport.kernel import procfs
from labsupport.sandbox.process import Process
from labsupport.sandbox.sandbox import Sandbox

FRUIT = ("apple", "cherry", "fig", "lemon", "plum", "quince")
SIDES = ("east", "west")
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
        'curtask->nsproxy->uts_ns->name.nodename == "HOST NAME"/. In that sandbox, `touch` makes '
        "the file.",
    )
    moment = 2.0

    def begin(self) -> None:
        self._side = self.random.choice(SIDES)
        numbers = self.random.sample(range(100, 1000), len(SIDES))
        files = [f"{self.random.choice(FRUIT)}-{number}" for number in numbers]
        self._files = dict(zip(SIDES, files, strict=True))
        self._hosts = {side: f"{side}-{self.random.randrange(100, 1000)}" for side in SIDES}
        self.east, self.west = (self._sandbox(side) for side in SIDES)
        self._boxes = {"east": self.east, "west": self.west}
        self._programs = {side: _start(self._boxes[side], self._files[side]) for side in SIDES}

    def _sandbox(self, side: str) -> Sandbox:
        box = Sandbox(new={"pid", "mount", "uts"}, hostname=self._hosts[side]).open()
        self.ends.callback(box.close)
        _ = box.pid  # which lives on when the program is ended
        box.run(["mount", "-t", "tmpfs", "tmpfs", FOLDER])
        return box

    def task(self) -> str:
        east, west = self._hosts.values()
        return (
            f"In the sandboxes `exercise.east` and `exercise.west`, whose host names are `{east}` "
            f"and `{west}`, a shell waits for a file in `{FOLDER}`, and does not say which. Make "
            f"the one in **{self._side}** go on: have the kernel tell you the file's name, and "
            "make that file there. Make no other file, and leave the other sandbox as it is."
        )

    def look(self) -> Verdict:
        [other] = {*SIDES} - {self._side}
        ended = [side for side in SIDES if self._programs[side].returncode is not None]
        if ended:
            return Verdict(False, f"the program in {ended[0]} has been ended. {AGAIN}")
        if stray := self._there(other):
            saw = f"there is something in `{FOLDER}` of {other}: {', '.join(stray)}."
            return Verdict(False, saw)
        there, file = self._there(self._side), self._files[self._side]
        if not there:
            saw = f"`{FOLDER}` of {self._side} is empty, and its shell waits."
            return Verdict(False, saw)
        if there != [file]:
            what = "files that nobody waits for" if file in there else "no file that it waits for"
            saw = f"`{FOLDER}` of {self._side} holds {what}: {', '.join(there)}."
            return Verdict(False, saw)
        command = procfs.command(self._programs[self._side].pid)
        if not command.startswith("tail"):
            return Verdict(False, f"the file is there, but the program still runs `{command}`.")
        saw = f"in {self._side} the shell found `{FOLDER}/{file}`, and became `{command}`"
        return Verdict(True, f"{saw}; in {other} it still waits.")

    def _there(self, side: str) -> list[str]:
        return sorted(os.listdir(f"/proc/{self._boxes[side].pid}/root{FOLDER}"))

    def answer(self) -> str:
        return (
            f"%%shell in exercise.{self._side}\n"
            "# In a cell before, in the sandbox with the tracepoints, this tells the name:\n"
            '# bpftrace -e \'tracepoint:syscalls:sys_enter_openat /comm == "sh" && '
            f'curtask->nsproxy->uts_ns->name.nodename == "{self._hosts[self._side]}"/ '
            "{ @[str(args->filename)] = count(); }' -c '/bin/sleep 1'\n"
            f"touch {FOLDER}/{self._files[self._side]}"
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
