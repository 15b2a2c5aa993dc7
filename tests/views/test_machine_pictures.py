"""The pictures of notebook 12: what they find, their words, and that nothing is cut off."""

import asyncio

import pytest

from labsupport.views import boot_console, boot_timeline, kernels_map, vm_costs
from labsupport.views.boot_console import BootConsole
from labsupport.vm.machine.seen import Seen
from labsupport.vm.machine.stages import Stage

GIB = 1 << 30
STAGES = [
    Stage("firmware", 0, 1.2),
    Stage("kernel", 1.2, 5),
    Stage("first file system", 5, 8),
    Stage("system", 8, 30),
]
HERE = Seen("this machine", "6.18", "aaaa", 9000, "systemd", 24 * GIB, 2, 250 * GIB, 210)
BOX = Seen("a sandbox", "6.18", "aaaa", 9000, "sh", 24 * GIB, 2, 250 * GIB, 3)
VM = Seen("the VM", "6.1.0-56-cloud-amd64", "bbbb", 60, "systemd", GIB, 1, 4 * GIB, 64)
INNER = Seen("a container in it", "6.1.0-56-cloud-amd64", "bbbb", 60, "sh", GIB, 1, 4 * GIB, 3)


def cut_off(figure):
    """Return the texts of a figure that reach over its edge."""
    figure.canvas.draw()
    wide, high = figure.canvas.get_width_height()
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    boxes = {text.get_text(): text.get_window_extent() for text in texts}
    return [
        text
        for text, box in boxes.items()
        if box.x0 < -1 or box.y0 < -1 or box.x1 > wide + 1 or box.y1 > high + 1
    ]


def test_the_timeline_names_the_longest_stage():
    assert boot_timeline.finding(STAGES).startswith("Ready for SSH after 30 s; 73 %")
    assert "“system”" in boot_timeline.finding(STAGES)
    assert "kernel 3.8 s" in boot_timeline.words(STAGES)
    assert boot_timeline.table(STAGES)[2][:3] == ("kernel", "1.2", "3.8")
    assert cut_off(boot_timeline.figure_of(STAGES)) == []


def test_a_long_first_stage_keeps_its_words_in_the_picture():
    stages = [Stage("firmware", 0, 40), Stage("kernel", 40, 41), Stage("system", 41, 42)]
    assert cut_off(boot_timeline.figure_of(stages)) == []


def test_places_are_told_apart_by_their_boot_ids():
    places = [HERE, BOX, VM, INNER]
    assert kernels_map.kernels(places) == [[HERE, BOX], [VM, INNER]]
    assert kernels_map.finding(places).startswith("4 places, 2 kernels")
    assert "one kernel" in kernels_map.finding([HERE, BOX])
    assert "a container in it: kernel 6.1.0-56-cloud-amd64" in kernels_map.words(places)
    assert kernels_map.table(places)[0] == ("", *(place.where for place in places))
    assert cut_off(kernels_map.figure_of(places)) == []


@pytest.mark.parametrize("disk", [0, 470_000_000])
def test_costs_are_set_beside_each_other(disk):
    costs = [
        vm_costs.Cost("sandbox", 0.004, 300_000, disk),
        vm_costs.Cost("virtual machine", 31, 1_290_000_000, 490_000_000),
    ]
    assert vm_costs.finding(costs) == (
        "The virtual machine: 7,800 times the time, 4,300 times the memory"
    )
    assert ("virtual machine", "31.0 s", "1.3 GB", "490 MB") in vm_costs.table(costs)
    assert "4 ms to start" in vm_costs.words(costs)
    assert cut_off(vm_costs.figure_of(costs)) == []


class Starting:
    """A machine that is ready when it has been looked at three times."""

    console = "Welcome\n" * 2000

    def __init__(self):
        self.looks = 0

    @property
    def stages(self):
        return [Stage("firmware", 0, self.looks / 10)]

    def look(self):
        self.looks += 1
        return self.looks == 3


def test_watching_ends_when_the_machine_is_ready():
    machine = Starting()
    console = BootConsole(machine)
    asyncio.run(console.run(seconds=30))

    assert machine.looks == 3
    assert console.widget.stages == [("firmware", 0, 0.3)]
    assert len(console.widget.console) == boot_console.LONGEST_CONSOLE
    assert console.widget.status.startswith("Ready for SSH")
    assert not console.widget.running
