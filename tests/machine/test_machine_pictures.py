"""The pictures of notebook 12: what they find, and their words."""

import asyncio

from labsupport.machine import boot_console
from labsupport.machine.boot_console import BootConsole
from labsupport.machine.virtual import Progress, Stage

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
