"""Short experiments, each a program of its own: something of ours is hurt while it runs.

A program prints why it was refused and ends with status 3; any traceback is a fault of ours.
"""

from collections.abc import Callable
from typing import NamedTuple

from labsupport import probe
from tests.engines import why_none

PROGRAM = """
import sys, time
from labsupport import {words}
from labsupport.errors import LabError
def experiment():
    {lines}
try:
    print("begun", flush=True)
    end = time.monotonic() + {seconds}
    while time.monotonic() < end:
        experiment()
except LabError as error:
    print(error)
    sys.exit(3)
except KeyboardInterrupt:
    sys.exit(130)
"""


class Experiment(NamedTuple):
    """For how many seconds it is repeated, the words and the lines of it, and what it needs."""

    seconds: float
    words: str
    lines: str
    needs: tuple[str, ...] = ()
    why_not: Callable[[], str] = str

    @property
    def program(self) -> str:
        """The whole program, to be given to Python."""
        lines = self.lines.strip().replace("\n", "\n    ")
        return PROGRAM.format(words=self.words, lines=lines, seconds=self.seconds)

    @property
    def missing(self) -> str:
        """What this machine lacks for it."""
        no = probe().missing(*self.needs)
        return "; ".join(each.reason for each in no.values()) or self.why_not()


EXPERIMENTS = {
    "sandbox": Experiment(1, "Sandbox", """
with Sandbox() as box:
    box.start(["sh", "-c", "sleep 60 & sleep 60"])
    for _ in range(20):
        box.run(["true"])
""", ("ns.pid", "ns.mount")),
    "root": Experiment(1, "Sandbox", """
from labsupport.sandbox.rootfs import SmallRoot
with SmallRoot() as root, Sandbox({"pid", "mount", "uts"}, rootfs=root, hostname="web") as box:
    box.start(["sleep", "60"])
    for _ in range(20):
        box.run(["ls", "/"])
""", ("ns.pid", "ns.mount", "ns.uts")),
    "cgroup": Experiment(1, "Cgroup, Sandbox", """
with Cgroup(memory="64M", pids=20) as group, Sandbox(cgroup=group) as box:
    box.start(["sh", "-c", "sleep 60 & sleep 60"])
    for _ in range(10):
        group.freeze()
        group.thaw()
        box.run(["true"])
""", ("cgroup.memory", "cgroup.pids")),
    "networks": Experiment(2, "Sandbox", """
from labsupport.net.servers import serve
with Sandbox({"net"}) as one, Sandbox({"net"}) as two:
    one.net.connect(two)
    one.net.set_up("eth0", "10.0.0.1/24")
    two.net.set_up("eth0", "10.0.0.2/24")
    serving = serve(two, "I am orange", "10.0.0.2:80")
    for _ in range(10):
        one.net.ask("10.0.0.2")
""", ("net.admin",)),
    "drive": Experiment(1, "Drive, Sandbox", """
from labsupport.sandbox.rootfs import SmallRoot
drive = Drive("Drive_A")
with SmallRoot(["mnt"]) as root, Sandbox(rootfs=root) as box:
    drive.mount(box, "/mnt")
    for _ in range(10):
        box.run(["cat", "/mnt/label.txt"])
drive.close()
""", ("ns.mount",)),
    "overlay": Experiment(1, "Overlay", """
with Overlay({"base": {"a": "1"}, "app": {"b": "2"}}) as overlay:
    for number in range(10):
        overlay.run(["touch", str(number)])
        overlay.look()
""", ("overlay",)),
    "race": Experiment(3, "Race", """
import asyncio
from labsupport.race.runners import AsProcess, InEnvironment, InSandbox
race = Race([AsProcess, InEnvironment, InSandbox])
words = dict.fromkeys(["read", "see", "end", "hostname", "boot_id"], "")
app = f"import json, sys; print(json.dumps({words}), flush=True); sys.stdin.read()"
(race.folder / "app.py").write_text(app)
asyncio.run(race.run(rounds=2))
race.close()
""", ("ns.pid", "ns.mount", "ns.uts", "ns.ipc")),
    "registry": Experiment(1, "Registry", """
with Registry.start() as registry:
    for _ in range(5):
        registry.catalogue()
        registry.log()
""", ("registry",)),
    "engine": Experiment(5, "Engine", """
from labsupport.build.bases import base_image
with Engine.start_private() as engine:
    engine.client.networks.create("course")
    base = base_image(engine).tags[0]
    engine.client.containers.run(base, ["sleep", "600"], detach=True, network="course")
    engine.client.containers.run(base, ["true"], network_mode="none", remove=True)
""", (), why_none),
    "guest": Experiment(2, "LabVM", """
with LabVM.boot("128M") as guest:
    for _ in range(5):
        guest.run(["true"])
""", ("vm",)),
}  # fmt: skip
