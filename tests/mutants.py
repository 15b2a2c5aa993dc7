"""Ways to break labsupport on purpose: each must turn its notebook red, or that only prints.

A mutant is Python that runs in the notebook's kernel before its first cell (as an IPython startup
file of a private profile). Write it against the public names of the module that it breaks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from labsupport.kernel import syscalls
from tests.toys import run_nbval, verdicts


class Mutant(NamedTuple):
    """What is broken, in words, and the code that breaks it."""

    broken: str
    code: str
    needs: str = ""
    """Capabilities (a blank between) without which the cells that would notice are skipped."""
    cell_seconds: int = 30
    """A cell that takes longer is taken to hang; starting a machine takes longer."""


def _put(place: str, new: str) -> str:
    """Put something else in a place, as `labsupport.kernel:procfs.members`; `real` was there."""
    module, _, target = place.partition(":")
    return f"""
from dataclasses import replace
from {module} import {target.partition(".")[0]}
real = {target}
{target} = {new}
"""


def _forgets(flag: str, also: str = "") -> str:
    flags = f'order["flags"] & ~{getattr(syscalls, flag)}'
    new = f'lambda order: real({{**order, "flags": {flags}{also}}})'
    return _put("labsupport.sandbox:launch.order_holder", new)


ONE_NUMBER_ONLY = _put(
    "labsupport.kernel:procfs.status",
    'lambda pid="self": replace(real(pid), pids=real(pid).pids[:1])',
)
KEEPS_NO_WORDS = _put(
    "labsupport.sandbox.shell:Teller._print", "lambda self, text: print(text, end='')"
)
ALL_INSIDE = _put("labsupport.ebpf.calls:Call.is_inside", "property(lambda self: True)")
SEES_ALL = _put("labsupport.kernel:procfs.members", "lambda box: procfs.all_pids()")
OUTLIVES = _put("labsupport:Sandbox.close", "lambda self: None")
STARTS_NOBODY = _put("labsupport:PidMap.set_helpers", "lambda self, name, count: None")
SEES_THROUGH = _put(
    "labsupport.pid.pidmap:PidMapData.numbers", "lambda self, process: process.pids"
)
TERMINAL_OUTSIDE = _put("labsupport.sandbox:launch.nsenter", "lambda new, target, argv: list(argv)")

ONE_DRIVE_FOR_ALL = """
from labsupport import Drive
real, made = Drive.mount, []
def mount(self, box, point):
    made.append(self)
    real(made[0], box, point)
Drive.mount = mount
"""
MOUNTS_NOTHING = _put("labsupport:Drive.mount", "lambda self, box, point: None")
OUR_OWN_TABLE = _put("labsupport.kernel:mounts.mounts", "lambda of=None: real()")
CHROOT_FOR_PIVOT_ROOT = _put(
    "labsupport.mount:mounting.try_escape",
    'lambda how, *rest: replace(real("chroot", *rest), how=how)',
)
OLD_ROOT_ALWAYS_GONE = _put(
    "labsupport.mount:mounting.try_escape", "lambda *words: replace(real(*words), old_mounts=0)"
)
NEVER_READ_ONLY = _put("labsupport.kernel.mounts:Mount.read_only", "property(lambda self: False)")

WITHOUT_UTS = _forgets("CLONE_NEWUTS", ', "hostname": None')  # which would be this machine's
READS_ITSELF = _put("labsupport.users:namespaces.namespaces", 'lambda pid="self": real()')
NO_MAP = _put("labsupport.kernel.procfs:IdMap.outside", "lambda self, inside: inside")
SEES_NO_DESCRIPTORS = _put("labsupport.users:namespaces._descriptors", "lambda link: iter(())")
EVERYTHING_IS_ALLOWED = _put(
    "labsupport.users.namespaces:Answers.allowed", "lambda self, name: list(self.rows)"
)
STAYS_ROOT = _put(
    "labsupport.sandbox:launch.order_holder", 'lambda order: real({**order, "uid": None})'
)
OWNED_BY_THE_FIRST = _put(
    "labsupport.users:namespaces._owner", 'lambda fd: namespaces.namespaces()["user"]'
)
KEPT_FOR_EVER = _put("labsupport.users.namespaces:Keepers.__bool__", "lambda self: True")

PLUGS_INTO_NOTHING = """
from labsupport.sandbox.net import Net
def plug(self, bridge, box, address=None, *, port, name="eth0", gateway=None):
    self.connect(box, port, name)
    self.set_up(port)
    box.net.set_up(name, address, gateway=gateway)
Net.plug = plug
"""
SHAPES_NOTHING = _put(
    "labsupport.sandbox.net:Net.shape", "lambda self, name, bytes_per_second: None"
)
SEES_NO_RULES = _put("labsupport.sandbox:net.rules", "lambda box: ()")
KNOWS_NO_NEIGHBOURS = _put("labsupport.sandbox.net:Net.neighbours", "lambda self: {}")
ALWAYS_A_PAGE = _put(
    "labsupport.sandbox.net:Net.attempt", 'lambda self, *place, **more: "I am orange"'
)
SERVES_ONE_PAGE = _put(
    "labsupport.net:servers.serve", 'lambda box, page, at: real(box, "I am orange", at)'
)
COUNTS_NOTHING = _put("labsupport.kernel:netlink.received_bytes", "lambda kernel, index: 0")
COUNTS_WITHOUT_HEADERS = _put(
    "labsupport.kernel:netlink.received_bytes",
    "lambda kernel, index: round(real(kernel, index) * 0.95)",
)
CUTS_NOTHING = _put(
    "labsupport:Sandbox.run",
    'lambda self, argv, **how: real(self, "true" if "gso_max_segs 1;" in f"{argv};" else argv, '
    "**how)",
)
FORWARDS_ALWAYS = _put(
    "labsupport.sandbox.net:Net.forward", "lambda self, on=True: real(self, True)"
)

VERDICTS_INVERTED = _put(
    "labsupport.seccomp.verdicts:Verdict.kind",
    "property(lambda self: "
    '{"allowed": "denied", "denied": "allowed"}.get(kind := real.fget(self), kind))',
)
LOADS_NO_FILTER = _put(
    "labsupport.sandbox.sandbox:Confinement.order", 'lambda self: {**real(self), "filters": ()}'
)
KEEPS_CAPABILITIES = _put(
    "labsupport.sandbox.sandbox:Confinement.order", 'lambda self: {**real(self), "keep_caps": None}'
)
ITS_OWN_CAPABILITIES = _put(
    "labsupport.kernel:capabilities.capabilities", 'lambda pid="self": real()'
)
MISSES_A_CALL = _put(
    "labsupport.seccomp:recording.record",
    "lambda *given, **how: replace(seen := real(*given, **how), "
    'counts={n: c for n, c in seen.counts.items() if n != "mmap"})',
)
REBOOTS_NOTHING = _put("labsupport.seccomp:guards.reboot_inside", "lambda box: None")
BLAMES_SECCOMP = _put(
    "labsupport.seccomp.guards:WhoSaidNo.closed", 'property(lambda self: ("seccomp",))'
)
ASKS_THE_FILTER_LAST = _put(
    "labsupport.seccomp.guards:WhoSaidNo.closed", "property(lambda self: real.fget(self)[::-1])"
)
IGNORES_CAPABILITIES = _put(
    "labsupport.seccomp:guards._ask",
    "lambda calls, tries, device: real(calls, [(f, guards.capability_mask("
    "guards.capabilities().permitted), own) for f, _, own in tries], device)",
)
KEEPS_NO_NAMESPACE = _put(
    "labsupport.seccomp:guards._ask",
    "lambda calls, tries, device: real(calls, [(f, k, False) for f, k, _ in tries], device)",
)
GETPID = 39
AGREES_WITH_NOTHING = _put(
    "labsupport.seccomp:bpf.run", f"lambda program, number, *more: real(program, {GETPID}, *more)"
)
ALWAYS_EPERM = 0x00050001
FORGETS_THE_ERRNO = _put("labsupport.seccomp:filter.act_errno", f"lambda number: {ALWAYS_EPERM}")

LIGHTS_ALL = _put(
    "labsupport.handmade:breakouts._judged",
    "lambda *given: tuple(replace(each, held=%s) for each in real(*given))",
)
FORGETS_A_STEP = _put(
    "labsupport.handmade:workshop.collect",
    'lambda steps: real([s for s in steps if s.__name__ != "own_pids"])',
)
FORGETS_A_LIMIT = FORGETS_A_STEP.replace("own_pids", "no_more_users")
NEVER_ROBBED = """
from dataclasses import replace
from labsupport.handmade import breakouts
breakouts.ATTEMPTS = tuple(
    replace(each, out=lambda outcome: "") if each.name == "capabilities" else each
    for each in breakouts.ATTEMPTS
)
"""
KEEPS_ALL_PRIVILEGES = _put(
    "labsupport.handmade:workshop.capability_mask", "lambda names: (1 << 41) - 1"
)
ROOT_IS_ROOT = _put("labsupport.handmade:workshop.MANY_USERS", '"0 0 65536"')
FILTERS_NOTHING = _put(
    "labsupport:Filter.deny",
    'classmethod(lambda cls, names, errno="EPERM": real(["reboot"], errno))',
)
LIMITS_NOTHING = _put(
    "labsupport.cgroup.files:Folder.write",
    'lambda self, file, text: None if file.startswith(("memory.", "pids.max", "cpu.", "blkio.", '
    '"io.max")) else real(self, file, text)',
)
READS_ANOTHER_GROUP = """
from labsupport.cgroup import group
Usage = group.Usage
group.Cgroup.usage = lambda self: Usage(
    memory_bytes=0, oom_kills=0, cpu_seconds=0.0, throttled_periods=0, pids=0, pids_refused=0,
    io_written_bytes=0,
)
"""
COUNTS_NO_THROTTLING = _put(
    "labsupport.cgroup.group:Cgroup.usage", "lambda self: replace(real(self), throttled_periods=0)"
)
FREEZES_NOTHING = _put("labsupport.cgroup.group:Cgroup.freeze", "lambda self: None")
TELLS_OF_NOTHING = _put("labsupport.cgroup.group:Events.read", "lambda self: []")
WEIGHS_ALL_ALIKE = _put(
    "labsupport.cgroup.group:Cgroup.__init__",
    'lambda self, **how: real(self, **{n: a for n, a in how.items() if n != "cpu_weight"})',
)
ALL_ANSWERS_ALIKE = _put(
    "labsupport.cgroup:neighbour.together",
    "lambda databases, seconds=2: "
    "[neighbour.ResponseTimes(label, (0.003,) * 50) for label in databases]",
)
NOTES_NO_END = _put(
    "labsupport.cgroup.console:CgroupConsole._notice_end", "lambda self, danger: None"
)
NEVER_GOES_OFF = _put("labsupport.cgroup:dangers.bomb", "lambda group, **options: None")

MISSES_THE_CACHE = _put(
    "labsupport.build:log._told", "lambda step, words: replace(real(step, words), cached=False)"
)
TAKES_ANOTHER_TOKEN = _put(
    "labsupport.registry:registry._hash", 'lambda password: real("let-me-in")'
)
SENDS_ALL = _put(
    "labsupport.registry:shipping.push",
    "lambda *given: replace(trip := real(*given), layers=tuple("
    "replace(each, outcome='sent') for each in trip.layers))",
)
READS_ANOTHERS_LOG = """
from labsupport import Registry
real = Registry.log
def log(self):
    with Registry.start() as another:
        return real(another)
Registry.log = log
"""
CLEANS_TOO_MUCH = _put(
    "labsupport.engine:listing.clean_up",
    'lambda engine: engine.client.images.remove("labsupport/busybox", force=True) or real(engine)',
)
FORGETS_THE_PROGRAM = _put(
    "labsupport.recap:archive_runs.in_runtime",
    'lambda archive, argv, program: real(archive, ["echo", "ready"], program)',
)
LOOKS_AT_NO_PLATFORM = _put(
    "docker.models.containers:ContainerCollection.create",
    "lambda self, image, command=None, platform=None, **how: real(self, image, command, **how)",
)
NO_MACHINE_BETWEEN = """
from types import SimpleNamespace
from labsupport import Engine
from labsupport.recap import desktop
desktop.Desktop = lambda: SimpleNamespace(
    address=Engine.connect().address, release="6.1", close=lambda: None
)
"""
SHIM_OF_A_DAEMON = _put(
    "labsupport.kernel:procfs.processes",
    'lambda **how: [each if "shim" in each.name else replace(each, name="containerd") '
    "for each in real(**how)]",
)
KEEPS_NO_PROGRESS = _put("labsupport.course:progress.note", "lambda kind, **facts: None")
KNOWS_NO_CORRECTION = _put("labsupport.course:catalogue._told", "lambda cells, what: {}")
DROPS_ARGUMENTS = _put(
    "labsupport.build.workbench:Workbench.create",
    "lambda self, image, /, *arguments, **options: real(self, image, **options)",
)
FOLLOWS_NOBODY = _put("labsupport.kernel:procfs.group_members", "lambda part: []")
TAKES_THE_ENGINE_FOR_THE_PARENT = """
from labsupport.engine import chain
real = chain._member
def member(role, *more):
    for each in real(role, *more):
        yield chain.replace(each, parent_pid=chain.first_engine()) if role == "process" else each
chain.first_engine = lambda: chain.procfs.named("dockerd", "podman")[0]
chain._member = member
"""
LISTS_FOR_LINES = _put(
    "labsupport.build:workbench.try_start",
    "lambda bench, entrypoint, *given, **how: "
    "real(bench, workbench.ENTRYPOINTS[1] if entrypoint else entrypoint, *given, **how)",
)
LEAVES_IMAGES = """
from labsupport.build import workbench
workbench.remove_image = lambda client, identity: None
from labsupport.engine import listing
listing._let_go = lambda engine, thing: True
"""

SEES_THE_LOWEST = _put(
    "labsupport.mount.overlay:Stack.lies_in",
    "lambda self, path: next((layer.name for layer in reversed(self.layers) "
    "if path in layer.entries), None)",
)
SEES_NO_OPAQUE_FOLDERS = _put("labsupport.mount:overlay.is_opaque", "lambda folder: False")
COUNTS_ALL_LAYERS = _put(
    "labsupport.mount:overlay.LayerFolder.size_bytes",
    "property(lambda self: real.fget(self) + 1_000_000)",
)
LOWERS_CAN_BE_WRITTEN = _put(
    "labsupport:Overlay.__init__", 'lambda self, layers, upper="upper": real(self, layers)'
)
THE_TWINS_LAYER = """
from labsupport.image.writable import WritableLayer
real, seen = WritableLayer.of, []
def of(container):
    seen.append(real(container))
    return seen[0]
WritableLayer.of = of
"""
ALL_MAKE_LAYERS = _put(
    "labsupport.image.layer_explorer:History.of",
    "lambda *given: replace(found := real(*given), "
    "lines=tuple(replace(line, layer=line.layer or 1) for line in found.lines))",
)
FORGETS_WHAT_WAS_DELETED = _put("labsupport.image.image:Image.lost_files", "lambda self: []")
CACHES_NOTHING = _put(
    "labsupport.build.build:Build.run",
    "classmethod(lambda cls, *given, **options: real(*given, **options, cache=False))",
)
CACHES_ALL = _put(
    "labsupport.build.build:Build.run",
    "classmethod(lambda cls, *given, **how: replace(done := real(*given, **how), "
    "steps=tuple(replace(step, cached=True) for step in done.steps)))",
)
PUSHES_FOR_NOTHING = SENDS_ALL.replace("'sent'", "'already there'")

MISSES_A_STAGE = """
from labsupport.machine import virtual
del virtual._BEGINS["first file system"]
"""
TAKES_ANY_KEY = """
from labsupport.machine import virtual
virtual.CONFIG += '    IdentityFile "{folder}/key"\\n'
"""
TRUSTS_ANYBODY = _put(
    "labsupport.machine:virtual.CONFIG", 'virtual.CONFIG.replace("Checking yes", "Checking no")'
)
LOOKS_HERE_ONLY = _put(
    "labsupport.machine:compared.look_around",
    'lambda where, *_: replace(real("here"), where=where)',
)
ENDS_NOBODY = _put("labsupport.race.runners:Bait.is_ended", "lambda self, expected: False")
READS_NO_SECRET = _put(
    "labsupport.race.runners:Runner.walls",
    'lambda self, *given: self.answer.update(read="FileNotFoundError") or real(self, *given)',
)
ANOTHER_KERNEL = _put(
    "labsupport.race.runners:Runner.start",
    'lambda self: (real(self), self.answer.update(boot_id="0"))[0]',
)
COMPARES_ITSELF = _put("labsupport.kernel:procfs.namespaces", 'lambda pid="self": real()')
NEVER_CRASHES = _put(
    "labsupport.vm.guest:LabVM.run",
    'lambda self, argv, **how: real(self, ["true"] if "sysrq" in str(argv) else argv, **how)',
)
HAS_NO_KERNEL_OF_ITS_OWN = """
from labsupport.race.runners import AsProcess, InVirtualMachine
InVirtualMachine._prepare, InVirtualMachine._start = lambda self: 0, AsProcess._start
InVirtualMachine.python, InVirtualMachine.why_not = AsProcess.python, classmethod(lambda cls: "")
"""

BUILDS_SECONDS = 120  # pip and Pipenv work

MUTANTS: Mapping[str, Sequence[Mutant]] = {
    "00_start_here.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID")),
        Mutant("processes(of=box) tells of everybody", SEES_ALL),
        Mutant("what runs in a sandbox outlives it", OUTLIVES),
    ],
    "01_why_containers.ipynb": [
        Mutant("nobody's process is found to be ended", ENDS_NOBODY, "engine"),
        Mutant("no file is found to be read", READS_NO_SECRET, "engine"),
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID"), "engine"),
        Mutant("every kernel is another", ANOTHER_KERNEL),
        Mutant("a machine has no kernel of its own", HAS_NO_KERNEL_OF_ITS_OWN),
        Mutant("a container is compared with itself", COMPARES_ITSELF, "engine"),
        Mutant("a kernel does not crash", NEVER_CRASHES, "vm"),
    ],
    "13_recap.ipynb": [
        Mutant("a runtime runs something else", FORGETS_THE_PROGRAM, "engine"),
        Mutant("what the shell says is not kept", KEEPS_NO_WORDS, "engine"),
        Mutant("progress is not kept", KEEPS_NO_PROGRESS),
        Mutant("corrections are not found", KNOWS_NO_CORRECTION),
        Mutant("a container is made for another processor", LOOKS_AT_NO_PLATFORM, "engine"),
        Mutant("no machine is between", NO_MACHINE_BETWEEN, "engine engine.cli vm"),
        Mutant("a shim hangs on its daemon", SHIM_OF_A_DAEMON, "engine"),
    ],
    "14_ebpf.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID"), "bpf.trace"),
        Mutant("a process has one number only", ONE_NUMBER_ONLY, "bpf.trace"),
        Mutant("what the shell says is not kept", KEEPS_NO_WORDS, "bpf.trace"),
        Mutant("everything is executed in the container", ALL_INSIDE, "bpf.trace engine"),
    ],
    "04_network_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWNET", _forgets("CLONE_NEWNET")),
        Mutant("what is plugged in is no port of the bridge", PLUGS_INTO_NOTHING),
        Mutant("every server has the same page", SERVES_ONE_PAGE),
        Mutant("the neighbour table is not read", KNOWS_NO_NEIGHBOURS),
        Mutant("every attempt gets a page", ALWAYS_A_PAGE),
        Mutant("shaping is not applied", SHAPES_NOTHING),
        Mutant("no rule is ever seen", SEES_NO_RULES, "nftables"),
        Mutant("the link's counter stands still", COUNTS_NOTHING),
        Mutant("the link's counter misses some", COUNTS_WITHOUT_HEADERS),
        Mutant("large packets stay large", CUTS_NOTHING),
        Mutant("a router forwards although it must not", FORWARDS_ALWAYS),
    ],
    "02_pid_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWPID", _forgets("CLONE_NEWPID")),
        Mutant("Sandbox forgets CLONE_NEWNS", _forgets("CLONE_NEWNS")),
        Mutant("a process has one number only", ONE_NUMBER_ONLY),
        Mutant("what runs in a sandbox outlives it", OUTLIVES),
        Mutant("the sliders start nobody", STARTS_NOBODY),
        Mutant("everybody sees everything on the map", SEES_THROUGH),
        Mutant("the terminal is not in the sandbox", TERMINAL_OUTSIDE),
    ],
    "03_mount_namespaces.ipynb": [
        Mutant("every sandbox gets the same drive", ONE_DRIVE_FOR_ALL),
        Mutant("drives are mounted nowhere", MOUNTS_NOTHING),
        Mutant("mounts(of=box) tells of our own", OUR_OWN_TABLE),
        Mutant("pivot_root is only a chroot", CHROOT_FOR_PIVOT_ROOT),
        Mutant("the old root is always said to be gone", OLD_ROOT_ALWAYS_GONE),
        Mutant("no mount is said to be read-only", NEVER_READ_ONLY),
        Mutant("the terminal is not in the sandbox", TERMINAL_OUTSIDE),
    ],
    "05_more_namespaces.ipynb": [
        Mutant("Sandbox forgets CLONE_NEWUTS", WITHOUT_UTS),
        Mutant("Sandbox forgets CLONE_NEWIPC", _forgets("CLONE_NEWIPC")),
        Mutant("the table reads the wrong process", READS_ITSELF),
        Mutant("the user map is ignored", NO_MAP),
        Mutant("an open descriptor is not seen to keep a namespace", SEES_NO_DESCRIPTORS),
        Mutant("every attempt is called allowed", EVERYTHING_IS_ALLOWED),
        Mutant("root inside is root outside", STAYS_ROOT),
        Mutant("every namespace is the first user namespace's", OWNED_BY_THE_FIRST),
        Mutant("what keeps nothing is called a keeper", KEPT_FOR_EVER),
    ],
    "06_cgroups.ipynb": [
        Mutant("limits are not written", LIMITS_NOTHING, "cgroup.memory"),
        Mutant("usage is that of another group", READS_ANOTHER_GROUP, "cgroup.memory"),
        Mutant("throttling is not counted", COUNTS_NO_THROTTLING, "cgroup.cpu"),
        Mutant("weights are ignored", WEIGHS_ALL_ALIKE, "cgroup.cpu"),
        Mutant("freezing does nothing", FREEZES_NOTHING, "cgroup.cpu"),
        Mutant("the kernel's events are not told", TELLS_OF_NOTHING, "cgroup.memory"),
        Mutant("the bomb never goes off", NEVER_GOES_OFF, "cgroup.pids"),
        Mutant("every answer takes as long as any other", ALL_ANSWERS_ALIKE, "cgroup.cpu"),
        Mutant("the console does not note which program ended", NOTES_NO_END, "cgroup.memory"),
    ],
    "07_seccomp_and_capabilities.ipynb": [
        Mutant("filters are not loaded", LOADS_NO_FILTER),
        Mutant("verdicts are inverted", VERDICTS_INVERTED),
        Mutant("capabilities are kept", KEEPS_CAPABILITIES),
        Mutant("capabilities are those of this notebook", ITS_OWN_CAPABILITIES),
        Mutant("a call is not recorded", MISSES_A_CALL),
        Mutant("reboot is not called", REBOOTS_NOTHING),
        Mutant("seccomp is always blamed", BLAMES_SECCOMP, "seccomp.read"),
        Mutant("capabilities are never missing", IGNORES_CAPABILITIES, "seccomp.read"),
        Mutant("the last guard is named first", ASKS_THE_FILTER_LAST, "seccomp.read"),
        Mutant("a user namespace holds nothing", KEEPS_NO_NAMESPACE, "seccomp.read"),
        Mutant("a filter is read wrongly", AGREES_WITH_NOTHING, "seccomp.read"),
        Mutant("each refusal says EPERM", FORGETS_THE_ERRNO, "seccomp.read"),
    ],
    "08_build_a_container.ipynb": [
        Mutant("every lamp is on", LIGHTS_ALL % True),
        Mutant("every lamp is off", LIGHTS_ALL % False),
        Mutant("a step is forgotten", FORGETS_A_STEP),
        Mutant("the limit of user namespaces is forgotten", FORGETS_A_LIMIT),
        Mutant("nobody asks whom a stolen address harms", NEVER_ROBBED),
        Mutant("all capabilities are kept", KEEPS_ALL_PRIVILEGES),
        Mutant("the user map leaves root what it is", ROOT_IS_ROOT),
        Mutant("the filter refuses next to nothing", FILTERS_NOTHING),
    ],
    "09_images_and_dockerfiles.ipynb": [
        Mutant("arguments are dropped", DROPS_ARGUMENTS, "engine"),
        Mutant("every instruction is said to add a layer", ALL_MAKE_LAYERS, "engine"),
        Mutant("nobody is found to be the container's", FOLLOWS_NOBODY, "engine"),
        Mutant("the engine is taken for the parent", TAKES_THE_ENGINE_FOR_THE_PARENT, "engine"),
        Mutant("a line is built as a list", LISTS_FOR_LINES, "engine"),
        Mutant("all have written the same", THE_TWINS_LAYER, "engine"),
        Mutant("images are left behind", LEAVES_IMAGES, "engine"),
    ],
    "10_layers.ipynb": [
        Mutant("every file is said to lie in the lowest layer", SEES_THE_LOWEST, "overlay"),
        Mutant("opaque folders are not seen", SEES_NO_OPAQUE_FOLDERS, "overlay"),
        Mutant("layers are counted with what is not theirs", COUNTS_ALL_LAYERS, "overlay"),
        Mutant("there is always a layer to write to", LOWERS_CAN_BE_WRITTEN, "overlay"),
        Mutant("the layer is another container's", THE_TWINS_LAYER, "engine"),
        Mutant(
            "every instruction is said to make a layer", ALL_MAKE_LAYERS, "engine", BUILDS_SECONDS
        ),
        Mutant("what was deleted is not found", FORGETS_WHAT_WAS_DELETED, "engine", BUILDS_SECONDS),
        Mutant("nothing comes from the cache", CACHES_NOTHING, "engine", BUILDS_SECONDS),
        Mutant("all is said to come from the cache", CACHES_ALL, "engine", BUILDS_SECONDS),
        Mutant("nothing is said to be sent", PUSHES_FOR_NOTHING, "engine registry", BUILDS_SECONDS),
    ],
    "11_tutorial_docker.ipynb": [
        Mutant("what came from the cache is not seen", MISSES_THE_CACHE, "engine registry"),
        Mutant("the registry takes the wrong token", TAKES_ANOTHER_TOKEN, "engine registry"),
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
        notebook, report=report, arguments=["--exitfirst", f"--nbval-cell-timeout={cell_seconds}"],
        env={"IPYTHONDIR": str(scratch)}, seconds=max(300, 3 * cell_seconds),
    )  # fmt: skip
    if not applied.exists():
        raise MutantNotApplied(f"this did not run to its end:\n{code}\n{run.stdout}")
    return any(test.outcome == "failed" for test in verdicts(report)[notebook.stem])
