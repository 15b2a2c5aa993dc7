"""The pictures of notebook 12: what they find, and their words."""

import asyncio
from dataclasses import replace

from labsupport.machine import boot_console, costs, seen
from labsupport.machine.boot_console import BootConsole
from labsupport.machine.virtual import Progress, Stage
from tests.machine.samples import BOX, COSTS, HERE, INNER, PLACES, STAGES, VM


def test_the_timeline_names_the_longest_stage():
    assert boot_console.finding(STAGES).startswith("Ready for SSH after 30 s; 73 %")
    assert "“system”" in boot_console.finding(STAGES)
    assert "kernel 3.8 s" in boot_console.words(STAGES)
    assert boot_console.table(STAGES)[2][:3] == ("kernel", "1.2", "3.8")
    stopped = boot_console.words(STAGES[:2], ready=False)
    assert stopped.startswith("After 5 s it is still in the stage “kernel”")


def test_places_are_told_apart_by_their_boot_ids():
    assert seen.kernels(PLACES) == [[HERE, BOX], [VM, INNER]]
    assert seen.finding(PLACES).startswith("4 places, 2 kernels")
    assert "one kernel" in seen.finding([HERE, BOX])
    assert "a container in it: kernel 6.12.118+deb13-cloud-amd64" in seen.words(PLACES)
    assert seen.table(PLACES)[0] == ("", *(place.where for place in PLACES))


def test_costs_are_told_in_powers_of_ten():
    said = costs.finding(COSTS)
    assert said == "About 10⁴ times the time of a sandbox, and 10³ times its memory"
    assert ("virtual machine", "30 s", "400 MB", "231 MB") in costs.table(COSTS)
    assert "sandbox: 4 ms to start" in costs.words(COSTS, "emulated")
    assert costs.words(COSTS, "emulated").endswith("In the machine: emulated.")


def test_twice_as_fast_a_machine_makes_the_same_claim():
    faster = [COSTS[0], replace(COSTS[-1], start_seconds=COSTS[-1].start_seconds / 2)]
    assert costs.finding(faster) == costs.finding(COSTS)


READY = f"Started ssh.service\nssh-ed25519 {'A' * 68}\n".encode()


class Starting:
    """A machine that is ready when it has been looked at three times."""

    console = "<Welcome>\n" * 2000

    def __init__(self):
        self.looks = 0
        self.progress = Progress()

    @property
    def stages(self):
        return [Stage("firmware", 0, self.looks / 10)]

    def look(self):
        self.looks += 1
        if self.looks == 3:
            self.progress.hear(READY, 1)
        return self.looks == 3


def test_watching_ends_when_the_machine_is_ready():
    machine = Starting()
    console = BootConsole(machine)
    asyncio.run(console.run(seconds=30))

    assert machine.looks == 3
    assert console.picture.alt == boot_console.words(machine.stages)
    assert console.console.value.count("&lt;Welcome&gt;") == boot_console.LINES
    assert console.picture.status.startswith("Ready for SSH")
    assert not console.picture.running


def test_a_watching_that_was_stopped_does_not_say_ready(monkeypatch):
    said = []
    monkeypatch.setattr(
        boot_console.Shown, "leave", lambda _, picture, alt, *more: said.append(alt)
    )
    console = BootConsole(Starting())
    asyncio.run(console.run(seconds=0.1))
    assert "still in the stage “firmware”" in said[0]
