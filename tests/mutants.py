"""Ways to break labsupport on purpose: each must turn its notebook red, or that only prints.

A mutant is Python that runs in the notebook's kernel before its first cell (as an IPython startup
file of a private profile). Write it against the public names of the module that it breaks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.toys import run_nbval, verdicts


class Mutant(NamedTuple):
    """What is broken, in words, and the code that breaks it."""

    broken: str
    code: str
    needs: str = ""
    """Capabilities (a blank between) without which the cells that would notice are skipped."""
    cell_seconds: int = 30
    """A cell that takes longer hangs, and that is noticed, too; starting a machine takes longer."""


def _forgets(flag: str) -> str:
    return f"""
from labsupport.linux import syscalls, zygote_client
real = zygote_client.order_holder
zygote_client.order_holder = lambda order: real(
    {{**order, "flags": order["flags"] & ~syscalls.{flag}}}
)
"""


ONE_NUMBER_ONLY = """
from dataclasses import replace
from labsupport.linux import procfs
real = procfs.status
procfs.status = lambda pid="self": replace(real(pid), pids=real(pid).pids[:1])
"""
SEES_ALL = """
from labsupport.linux import procfs
procfs.members = lambda box: procfs.all_pids()
"""
STARTS_NOBODY = """
from labsupport import PidMap
PidMap.set_helpers = lambda self, name, count: None
"""
KILLS_NOBODY = """
from labsupport.linux.process import Process
Process.signal = lambda self, number: None
Process.wait = lambda self, timeout=None: 0
"""

ONE_DRIVE_FOR_ALL = """
from labsupport import Drive
real, made = Drive.mount, []
def mount(self, box, point):
    made.append(self)
    real(made[0], box, point)
Drive.mount = mount
"""
MOUNTS_NOTHING = """
from labsupport import Drive
Drive.mount = lambda self, box, point: None
"""
ALWAYS_SHARED = """
from labsupport.linux import propagation
real = propagation.copied_mounts
propagation.copied_mounts = lambda box, setting: real(box, "shared")
"""
OUR_OWN_TABLE = """
from labsupport.linux import mounts
real = mounts.mounts
mounts.mounts = lambda of=None: real()
"""
CHROOT_FOR_PIVOT_ROOT = """
from dataclasses import replace
from labsupport.linux import escape
real = escape.try_escape
escape.try_escape = lambda box, how, *rest: replace(real(box, "chroot", *rest), how=how)
"""
NEVER_READ_ONLY = """
from labsupport import Sandbox
real = Sandbox.run
Sandbox.run = lambda self, argv, **more: real(
    self, [str(word).replace("bind,ro", "bind,rw") for word in argv], **more
)
"""

WITHOUT_UTS = """
from labsupport.linux import syscalls, zygote_client
real = zygote_client.order_holder
def forgetful(order):  # and no host name, which would be this machine's
    return real({**order, "flags": order["flags"] & ~syscalls.CLONE_NEWUTS, "hostname": None})
zygote_client.order_holder = forgetful
"""
READS_ITSELF = """
from labsupport.linux import procfs
from labsupport.views import namespace_table
namespace_table.namespaces = lambda pid="self": procfs.namespaces()
"""
NO_MAP = """
from labsupport.linux.ids import IdMap
IdMap.inside = lambda self, outside: outside
"""
SEES_NO_DESCRIPTORS = """
from labsupport.linux import namespaces
namespaces._descriptors = lambda link: iter(())
"""
SEGMENTS_OF_ALL = """
from labsupport.linux import sysvipc
real = sysvipc.segments
sysvipc.segments = lambda of=None: real()
"""

LEAVES_BRIDGES_OFF = """
from labsupport.linux.network import Net
real = Net.up
Net.up = lambda self, name: None if name.startswith("br") else real(self, name)
"""
SHAPES_NOTHING = """
from labsupport.linux.network import Net
Net.shape = lambda self, name, bytes_per_second: None
"""
WRITES_NO_FILTER = """
from labsupport.completed import Completed
from labsupport.linux.sandbox import Sandbox
real = Sandbox.run
Sandbox.run = lambda self, argv, **more: (
    Completed(tuple(argv), "", "", 0, 0.0) if list(argv[:2]) == ["nft", "-f"]
    else real(self, argv, **more)
)
"""
FORWARDS_ALWAYS = """
from labsupport.linux.network import Net
real = Net.forward
Net.forward = lambda self, on=True: real(self, True)
"""

VERDICTS_INVERTED = """
from labsupport.linux.filters.verdicts import Verdict
real = Verdict.kind.fget
other = {"allowed": "denied", "denied": "allowed", "depends": "depends"}
Verdict.kind = property(lambda self: other[real(self)])
"""
LOADS_NO_FILTER = """
from labsupport.linux.confinement import Confinement
real = Confinement.order
Confinement.order = lambda self: {**real(self), "filters": ()}
"""
KEEPS_CAPABILITIES = """
from labsupport.linux.confinement import Confinement
real = Confinement.order
Confinement.order = lambda self: {**real(self), "keep_caps": None}
"""
ITS_OWN_CAPABILITIES = """
from labsupport.linux import capabilities as module
real = module.capabilities
module.capabilities = lambda pid="self": real()
"""
MISSES_A_CALL = """
from dataclasses import replace
from labsupport.linux.filters import observing
real = observing.record
def record(argv, **options):
    seen = real(argv, **options)
    return replace(seen, counts={n: c for n, c in seen.counts.items() if n != "mmap"})
observing.record = record
"""
REBOOTS_NOTHING = """
from labsupport.linux import rebooting
rebooting.reboot_inside = lambda box: box.run(["true"])
"""
REBOOTS_ANYWHERE = """
from labsupport.linux import rebooting
rebooting._require_new = lambda box: ["0", "0"]  # the program in the sandbox refuses then
"""
BLAMES_SECCOMP = """
from labsupport.linux.filters.guards import WhoSaidNo
WhoSaidNo.closed = property(lambda self: ("seccomp",))
"""
IGNORES_CAPABILITIES = """
from labsupport.linux.filters import guards
real = guards._ask
everything = guards.capability_mask(guards.capabilities().permitted)
def ask(calls, tries, device):
    return real(calls, [(filters, everything, own) for filters, _, own in tries], device)
guards._ask = ask
"""

LIGHTS_ALL = """
from dataclasses import replace
from labsupport.linux.workshop import breakouts
real = breakouts._judged
breakouts._judged = lambda *given: tuple(replace(each, held=%s) for each in real(*given))
"""
FORGETS_A_STEP = """
from labsupport.linux.workshop import scripts
real = scripts.collect
scripts.collect = lambda steps: real([s for s in steps if s.__name__ != "own_pids"])
"""
KEEPS_ALL_PRIVILEGES = """
from labsupport.linux.workshop import handmade
handmade.capability_mask = lambda names: (1 << 41) - 1
"""
ROOT_IS_ROOT = """
from labsupport.linux.workshop import handmade
handmade.MANY_USERS = "0 0 65536"
"""
FILTERS_NOTHING = """
from labsupport import Filter
real = Filter.deny
Filter.deny = classmethod(lambda cls, names, errno="EPERM": real(["reboot"], errno))
"""
LIMITS_NOTHING = """
from labsupport.linux import cgroups
from labsupport.linux.cgroup.folder import Folder
real = Folder.write
Folder.write = lambda self, file, text, what="": (
    None if file.startswith(("memory.", "pids.max", "cpu.", "blkio.", "io.max"))
    else real(self, file, text, what)
)
"""
READS_ANOTHER_GROUP = """
from labsupport.linux import cgroups
Usage = cgroups.Usage
cgroups.Cgroup.usage = lambda self: Usage(
    memory_bytes=0, oom_kills=0, cpu_seconds=0.0, throttled_periods=0, pids=0, pids_refused=0,
    io_written_bytes=0,
)
"""
COUNTS_NO_THROTTLING = """
from dataclasses import replace
from labsupport.linux.cgroups import Cgroup
real = Cgroup.usage
Cgroup.usage = lambda self: replace(real(self), throttled_periods=0)
"""
FREEZES_NOTHING = """
from labsupport.linux.cgroups import Cgroup
Cgroup.freeze = lambda self: None
"""
TELLS_OF_NOTHING = """
from labsupport.linux.cgroup.events import Events
Events.read = lambda self: []
"""
WEIGHS_ALL_ALIKE = """
from labsupport.linux.cgroups import Cgroup
real = Cgroup.__init__
def alike(self, **limits):
    real(self, **{name: amount for name, amount in limits.items() if name != "cpu_weight"})
Cgroup.__init__ = alike
"""
NEVER_GOES_OFF = """
from labsupport.linux import dangers
dangers.bomb = lambda group, **options: None
"""

BUILDS_ANEW = """
from labsupport.engine.builds import Build
real = Build.run
Build.run = lambda *args, **options: real(*args, **{**options, "cache": False})
"""
LETS_ALL_IN = """
from labsupport import Registry
real = Registry.login
Registry.login = lambda self, engine, token=None: real(self, engine)
"""
SENDS_ALL = """
from dataclasses import replace
from labsupport.engine import shipping
real = shipping.push
def push(*args):
    trip = real(*args)
    return replace(trip, layers=tuple(replace(each, outcome="sent") for each in trip.layers))
shipping.push = push
"""
READS_ANOTHERS_LOG = """
from labsupport import Registry
real = Registry.log
def log(self):
    with Registry.start() as another:
        return real(another)
Registry.log = log
"""
CLEANS_TOO_MUCH = """
from labsupport.engine import belongings
real = belongings.clean_up
def clean_up(engine):
    engine.client.images.remove("labsupport/busybox", force=True)
    return real(engine)
belongings.clean_up = clean_up
"""
FORGETS_THE_PROGRAM = """
from labsupport import archive_runs
real = archive_runs.in_runtime
archive_runs.in_runtime = lambda archive, argv, program: real(archive, ["echo", "ready"], program)
"""
SEES_NOTHING_INSTALLED = """
from dataclasses import replace
from labsupport import technologies
real = technologies._find
technologies._find = lambda each, here: replace(real(each, here), path="")
"""
ENTRIES_OF_ANOTHER = """
from dataclasses import replace
from labsupport.glossary import Glossary
real = Glossary.__getitem__
Glossary.__getitem__ = lambda self, word: replace(real(self, word), thing="something")
"""
KEEPS_NO_PROGRESS = """
from labsupport.course import progress
progress.note = lambda kind, **facts: None
"""
KNOWS_NO_CORRECTION = """
from labsupport.course import catalogue
catalogue._corrections = lambda cells: iter(())
"""
PICKS_CONTAINERS = """
from labsupport.course import choosing
choosing._RULES = ()
"""

DROPS_ARGUMENTS = """
from labsupport.engine.workbench import Workbench
real = Workbench.create
Workbench.create = lambda self, image, /, *arguments, **options: real(self, image, **options)
"""
LAYERS_FOR_ALL = """
from dataclasses import replace
from labsupport.engine import anatomy
real = anatomy.effects
anatomy.effects = lambda *given: [
    replace(each, layers=each.layers or ("sha256:0",)) for each in real(*given)
]
"""
FOLLOWS_NOBODY = """
from labsupport.linux import relatives
relatives.group_members = lambda part: []
"""
TAKES_THE_ENGINE_FOR_THE_PARENT = """
from labsupport import chain
real = chain._member
def member(role, pid, found_by):
    for each in real(role, pid, found_by):
        yield chain.replace(each, parent_pid=chain.first_engine()) if role == "process" else each
chain.replace = __import__("dataclasses").replace
chain.first_engine = lambda: chain.relatives.named("dockerd", "podman")[0]
chain._member = member
"""
LISTS_FOR_LINES = """
from labsupport.engine import starts
real = starts.try_start
starts.try_start = lambda bench, entrypoint, *given, **options: real(
    bench, starts.ENTRYPOINTS[1] if entrypoint else entrypoint, *given, **options
)
"""
KILLS_AT_ONCE = """
from docker.models.containers import Container
Container.stop = lambda self, **options: self.kill()
"""
SHARES_THE_WRITABLE_LAYER = """
from dataclasses import replace
from labsupport import instances as module
real = module.instances
def instances(containers):
    found = real(containers)
    return [replace(each, changes=found[0].changes) for each in found]
module.instances = instances
"""
LEAVES_IMAGES = """
from labsupport.engine import built
built.remove_image = lambda client, identity: None
"""

SEES_THE_LOWEST = """
from labsupport.linux.layer_folders import Stack
Stack.lies_in = lambda self, path: next(
    (layer.name for layer in reversed(self.layers) if path in layer.entries), None
)
"""
SEES_NO_OPAQUE_FOLDERS = """
from labsupport.linux import layer_folders
layer_folders.is_opaque = lambda folder: False
"""
COUNTS_ALL_LAYERS = """
from labsupport.linux import layer_folders
real = layer_folders.LayerFolder.size_bytes.fget
layer_folders.LayerFolder.size_bytes = property(lambda self: real(self) + 1_000_000)
"""
LOWERS_CAN_BE_WRITTEN = """
from labsupport import Overlay
real = Overlay.__init__
Overlay.__init__ = lambda self, layers, upper="upper": real(self, layers)
"""
THE_TWINS_LAYER = """
from labsupport.writable_layer import WritableLayer
real, seen = WritableLayer.of, []
def of(container):
    seen.append(real(container))
    return seen[0]
WritableLayer.of = of
"""
ALL_MAKE_LAYERS = """
from dataclasses import replace
from labsupport.views import histories
real = histories.of_image
def of_image(name, image):
    found = real(name, image)
    return replace(found, lines=tuple(replace(line, layer=line.layer or 1) for line in found.lines))
histories.of_image = of_image
"""
FORGETS_WHAT_WAS_DELETED = """
from labsupport.engine.images import Image
Image.lost_files = lambda self: []
"""
CACHES_NOTHING = """
from labsupport.engine.builds import Build
real = Build.run.__func__
Build.run = classmethod(lambda cls, *given, **options: real(cls, *given, **options, cache=False))
"""
CACHES_ALL = """
from dataclasses import replace
from labsupport.engine.builds import Build
real = Build.run.__func__
def run(cls, *given, **options):
    done = real(cls, *given, **options)
    return replace(done, steps=tuple(replace(step, cached=True) for step in done.steps))
Build.run = classmethod(run)
"""
PUSHES_FOR_NOTHING = """
from dataclasses import replace
from labsupport.engine import shipping
real = shipping.push
def push(*given):
    trip = real(*given)
    layers = tuple(replace(each, outcome="already there") for each in trip.layers)
    return replace(trip, layers=layers)
shipping.push = push
"""

MISSES_A_STAGE = """
from labsupport.vm.machine import stages
del stages._BEGINS["first file system"]
"""
TAKES_ANY_KEY = """
from labsupport.vm.machine.ssh import Login
Login.with_key = lambda self, key: self
"""
TRUSTS_ANYBODY = """
from labsupport.vm.machine.ssh import Login
real = Login.options
Login.options = lambda self, **how: ["-oStrictHostKeyChecking=no", *real(self, **how)]
"""
LOOKS_HERE_ONLY = """
import dataclasses
from labsupport.vm.machine import seen
real = seen.look_around
seen.look_around = lambda where, *_: dataclasses.replace(real("here"), where=where)
"""
# a cell of half a minute is taken for one that hangs, and machines take that long to start
WITHOUT_MACHINES = """
import os
os.environ["LAB_PRETEND_MISSING"] = "vm qemu"
"""
ENDS_NOBODY = """
from labsupport.race.bait import Bait
Bait.is_ended = lambda self, expected: False
"""
READS_NO_SECRET = """
from labsupport.race.runners import Runner
honest = Runner.got
def got(self, hostname, boot_id):
    self.answer["read"] = "FileNotFoundError"
    return honest(self, hostname, boot_id)
Runner.got = got
"""
HIDES_NOTHING = """
from labsupport.linux.sandbox import Sandbox
honest = Sandbox.run
def run(self, argv, **how):
    return honest(self, ["true"] if argv[:3] == ["mount", "-t", "tmpfs"] else argv, **how)
Sandbox.run = run
"""
ANOTHER_KERNEL = """
from labsupport.race.runners import Runner
honest = Runner.start
def start(self):
    seconds = honest(self)
    self.answer["boot_id"] = "0"
    return seconds
Runner.start = start
"""
COMPARES_ITSELF = """
import os
from labsupport.race import comparing
honest = comparing.compare
comparing.compare = lambda pid: honest(os.getpid())
"""

MUTANTS: Mapping[str, Sequence[Mutant]] = {
    "00_start_here.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID")),
        Mutant("processes(of=box) tells of everybody", SEES_ALL),
    ],
    "01_why_containers.ipynb": [
        Mutant("nobody's process is found to be ended", WITHOUT_MACHINES + ENDS_NOBODY),
        Mutant("no file is found to be read", WITHOUT_MACHINES + READS_NO_SECRET),
        Mutant("the sandbox hides nothing", WITHOUT_MACHINES + HIDES_NOTHING),
        Mutant("Sandbox forgets CLONE_NEWPID", WITHOUT_MACHINES + _forgets("CLONE_NEWPID")),
        Mutant("every kernel is another", WITHOUT_MACHINES + ANOTHER_KERNEL),
        Mutant("a container is compared with itself", WITHOUT_MACHINES + COMPARES_ITSELF, "engine"),
    ],
    "13_recap.ipynb": [
        Mutant("a runtime runs something else", FORGETS_THE_PROGRAM, "engine"),
        Mutant("nothing is found on this machine", SEES_NOTHING_INSTALLED, "engine"),
        Mutant("the glossary speaks of other things", ENTRIES_OF_ANOTHER, "engine"),
        Mutant("progress is not kept", KEEPS_NO_PROGRESS),
        Mutant("corrections are not found", KNOWS_NO_CORRECTION),
        Mutant("a container is recommended for everything", PICKS_CONTAINERS),
    ],
    "04_network_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWNET", _forgets("CLONE_NEWNET")),
        Mutant("a bridge is left switched off", LEAVES_BRIDGES_OFF),
        Mutant("shaping is not applied", SHAPES_NOTHING),
        Mutant("the packet filter is not written", WRITES_NO_FILTER),
        Mutant("a router forwards although it must not", FORWARDS_ALWAYS),
    ],
    "02_pid_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID")),
        Mutant("Sandbox forgets CLONE_NEWNS", _forgets("CLONE_NEWNS")),
        Mutant("a process has one number only", ONE_NUMBER_ONLY),
        Mutant("the sliders start nobody", STARTS_NOBODY),
        Mutant("killing PID 1 kills nobody", KILLS_NOBODY),
    ],
    "03_mount_namespaces.ipynb": [
        Mutant("every sandbox gets the same drive", ONE_DRIVE_FOR_ALL),
        Mutant("drives are mounted nowhere", MOUNTS_NOTHING),
        Mutant("every copy shares its mounts", ALWAYS_SHARED),
        Mutant("mounts(of=box) tells of our own", OUR_OWN_TABLE),
        Mutant("pivot_root is only a chroot", CHROOT_FOR_PIVOT_ROOT),
        Mutant("nothing is made read-only", NEVER_READ_ONLY),
    ],
    "05_more_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWUTS", WITHOUT_UTS),
        Mutant("Sandbox forgets CLONE_NEWIPC", _forgets("CLONE_NEWIPC")),
        Mutant("the table reads the wrong process", READS_ITSELF),
        Mutant("the user map is ignored", NO_MAP),
        Mutant("an open descriptor is not seen to keep a namespace", SEES_NO_DESCRIPTORS),
        Mutant("segments are those of this notebook", SEGMENTS_OF_ALL),
    ],
    "06_cgroups.ipynb": [
        Mutant("limits are not written", LIMITS_NOTHING, "cgroup.memory"),
        Mutant("usage is that of another group", READS_ANOTHER_GROUP, "cgroup.memory"),
        Mutant("throttling is not counted", COUNTS_NO_THROTTLING, "cgroup.cpu"),
        Mutant("weights are ignored", WEIGHS_ALL_ALIKE, "cgroup.cpu"),
        Mutant("freezing does nothing", FREEZES_NOTHING, "cgroup.cpu"),
        Mutant("the kernel's events are not told", TELLS_OF_NOTHING, "cgroup.memory"),
        Mutant("the bomb never goes off", NEVER_GOES_OFF, "cgroup.pids"),
    ],
    "07_seccomp_and_capabilities.ipynb": [
        Mutant("verdicts are inverted", VERDICTS_INVERTED),
        Mutant("filters are not loaded", LOADS_NO_FILTER),
        Mutant("capabilities are kept", KEEPS_CAPABILITIES),
        Mutant("capabilities are those of this notebook", ITS_OWN_CAPABILITIES),
        Mutant("a call is not recorded", MISSES_A_CALL),
        Mutant("reboot is not called", REBOOTS_NOTHING),
        Mutant("reboot is tried in any namespace", REBOOTS_ANYWHERE),
        Mutant("seccomp is always blamed", BLAMES_SECCOMP, "seccomp.read"),
        Mutant("capabilities are never missing", IGNORES_CAPABILITIES, "seccomp.read"),
    ],
    "08_build_a_container.ipynb": [
        Mutant("every lamp is on", LIGHTS_ALL % True),
        Mutant("every lamp is off", LIGHTS_ALL % False),
        Mutant("a step is forgotten", FORGETS_A_STEP),
        Mutant("all capabilities are kept", KEEPS_ALL_PRIVILEGES),
        Mutant("the user map leaves root what it is", ROOT_IS_ROOT),
        Mutant("the filter refuses next to nothing", FILTERS_NOTHING),
    ],
    "09_images_and_dockerfiles.ipynb": [
        Mutant("arguments are dropped", DROPS_ARGUMENTS, "engine"),
        Mutant("every instruction is said to add a layer", LAYERS_FOR_ALL, "engine"),
        Mutant("nobody is found to be the container's", FOLLOWS_NOBODY, "engine"),
        Mutant("the engine is taken for the parent", TAKES_THE_ENGINE_FOR_THE_PARENT, "engine"),
        Mutant("a line is built as a list", LISTS_FOR_LINES, "engine"),
        Mutant("nobody is asked before it is killed", KILLS_AT_ONCE, "engine"),
        Mutant("all have written the same", SHARES_THE_WRITABLE_LAYER, "engine"),
        Mutant("images are left behind", LEAVES_IMAGES, "engine"),
    ],
    "10_layers.ipynb": [
        Mutant("every file is said to lie in the lowest layer", SEES_THE_LOWEST, "overlay"),
        Mutant("opaque folders are not seen", SEES_NO_OPAQUE_FOLDERS, "overlay"),
        Mutant("layers are counted with what is not theirs", COUNTS_ALL_LAYERS, "overlay"),
        Mutant("there is always a layer to write to", LOWERS_CAN_BE_WRITTEN, "overlay"),
        Mutant("the layer is another container's", THE_TWINS_LAYER, "engine"),
        Mutant("every instruction is said to make a layer", ALL_MAKE_LAYERS, "engine"),
        Mutant("what was deleted is not found", FORGETS_WHAT_WAS_DELETED, "engine"),
        Mutant("nothing comes from the cache", CACHES_NOTHING, "engine"),
        Mutant("all is said to come from the cache", CACHES_ALL, "engine"),
        Mutant("nothing is said to be sent", PUSHES_FOR_NOTHING, "engine registry"),
    ],
    "11_tutorial_docker.ipynb": [
        Mutant("nothing comes from the cache", BUILDS_ANEW, "engine registry"),
        Mutant("every token is the right one", LETS_ALL_IN, "engine registry"),
        Mutant("every layer is said to be sent", SENDS_ALL, "engine registry"),
        Mutant("the registry's log is another's", READS_ANOTHERS_LOG, "engine registry"),
        Mutant("the clean-up takes what is not ours", CLEANS_TOO_MUCH, "engine registry"),
    ],
    "12_tutorial_vm.ipynb": [
        Mutant("a stage of the start is not seen", MISSES_A_STAGE, "qemu", 300),
        Mutant("any key is let in", TAKES_ANY_KEY, "qemu", 300),
        Mutant("any host key is trusted", TRUSTS_ANYBODY, "qemu", 300),
        Mutant("every place is this machine", LOOKS_HERE_ONLY, "qemu", 300),
    ],
}


class MutantNotApplied(AssertionError):
    """The code that should break a helper failed itself, so it proves nothing."""


def is_caught(notebook: Path, code: str, scratch: Path, cell_seconds: int = 30) -> bool:
    """Run a notebook with a helper broken by `code`: tell whether one of its cells fails.

    The run stops at the first failure, and a cell that hangs is one.
    """
    startup = scratch / "profile_default" / "startup"
    startup.mkdir(parents=True)
    applied, report = scratch / "applied", scratch / "report.xml"
    (startup / "00-mutant.py").write_text(f"{code}\nopen({str(applied)!r}, 'w').close()\n")
    run = run_nbval(
        notebook,
        report=report,
        arguments=["--exitfirst", f"--nbval-cell-timeout={cell_seconds}"],
        env={"IPYTHONDIR": str(scratch)},
        seconds=max(300, 3 * cell_seconds),
    )
    if not applied.exists():
        raise MutantNotApplied(f"this did not run to its end:\n{code}\n{run.stdout}")
    return any(test.outcome == "failed" for test in verdicts(report)[notebook.stem])
