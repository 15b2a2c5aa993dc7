"""The words a notebook uses. Each is imported when it is first asked for, and nothing before."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself is not loaded: helper processes import this package, too
    from typing import Any

    from IPython.core.interactiveshell import InteractiveShell

    from labsupport.chain import Chain as Chain
    from labsupport.containers import Container as Container
    from labsupport.course.chooser import Chooser as Chooser
    from labsupport.course.choosing import choose as choose
    from labsupport.course.corrections import corrections as corrections
    from labsupport.course.course_map import CourseMap as CourseMap
    from labsupport.course.exercises import Exercise as Exercise
    from labsupport.course.export import export_progress as export_progress
    from labsupport.course.predictions import predict as predict
    from labsupport.engine.anatomy import effects as effects
    from labsupport.engine.app_folder import AppFolder as AppFolder
    from labsupport.engine.archive_parts import unpacked as unpacked
    from labsupport.engine.belongings import Belongings as Belongings
    from labsupport.engine.belongings import clean_up as clean_up
    from labsupport.engine.builds import Build as Build
    from labsupport.engine.client import Engine as Engine
    from labsupport.engine.command_line import CommandLine as CommandLine
    from labsupport.engine.compared import ComparedContainer as ComparedContainer
    from labsupport.engine.docker_hub import DockerHub as DockerHub
    from labsupport.engine.hello import hello_world as hello_world
    from labsupport.engine.images import Image as Image
    from labsupport.engine.other_machine import OtherMachine as OtherMachine
    from labsupport.engine.registry import Registry as Registry
    from labsupport.engine.shipping import pull as pull
    from labsupport.engine.shipping import push as push
    from labsupport.engine.smallest import hello_program as hello_program
    from labsupport.engine.starts import try_starts as try_starts
    from labsupport.engine.toys import toy_base as toy_base
    from labsupport.engine.workbench import Workbench as Workbench
    from labsupport.glossary import Glossary as Glossary
    from labsupport.instances import instances as instances
    from labsupport.linux.capabilities import capabilities as capabilities
    from labsupport.linux.cgroups import Cgroup as Cgroup
    from labsupport.linux.disks import Disk as Disk
    from labsupport.linux.disks import SwapSpace as SwapSpace
    from labsupport.linux.drives import Drive as Drive
    from labsupport.linux.escape import try_escape as try_escape
    from labsupport.linux.filters.guards import who_said_no as who_said_no
    from labsupport.linux.filters.observing import record as record
    from labsupport.linux.folders import FolderOf as FolderOf
    from labsupport.linux.ids import ordinary_uid as ordinary_uid
    from labsupport.linux.ids import uid_map as uid_map
    from labsupport.linux.installed import installed as installed
    from labsupport.linux.limit_files import limit_files_of as limit_files_of
    from labsupport.linux.mounting import unmount as unmount
    from labsupport.linux.mounts import mounts as mounts
    from labsupport.linux.namespaces import keepers as keepers
    from labsupport.linux.namespaces import namespace as namespace
    from labsupport.linux.net.netmap import network as network
    from labsupport.linux.overlay import Overlay as Overlay
    from labsupport.linux.procfs import namespaces as namespaces
    from labsupport.linux.procfs import processes as processes
    from labsupport.linux.procfs import status as status
    from labsupport.linux.propagation import copied_mounts as copied_mounts
    from labsupport.linux.propagation import propagation as propagation
    from labsupport.linux.propagation import run_in as run_in
    from labsupport.linux.rebooting import reboot_inside as reboot_inside
    from labsupport.linux.rootfs import small_root as small_root
    from labsupport.linux.sandbox import Sandbox as Sandbox
    from labsupport.linux.seccomp import Filter as Filter
    from labsupport.linux.sysvipc import segments as segments
    from labsupport.linux.workshop.handmade import Workshop as Workshop
    from labsupport.machine import probe as probe
    from labsupport.neighbour import Neighbour as Neighbour
    from labsupport.race.measuring import Race as Race
    from labsupport.rootless import RootlessContainer as RootlessContainer
    from labsupport.technologies import landscape as landscape
    from labsupport.terminal import Terminal as Terminal
    from labsupport.views.answers import attempts as attempts
    from labsupport.views.belongings_table import BelongingsTable as BelongingsTable
    from labsupport.views.boot_console import BootConsole as BootConsole
    from labsupport.views.build_chart import show_build as show_build
    from labsupport.views.build_chart import show_rebuild as show_rebuild
    from labsupport.views.build_progress import BuildProgress as BuildProgress
    from labsupport.views.capability_map import show_capabilities as show_capabilities
    from labsupport.views.cgroup_console import CgroupConsole as CgroupConsole
    from labsupport.views.chain import show_chain as show_chain
    from labsupport.views.container_lights import ContainerLights as ContainerLights
    from labsupport.views.dockerfile_effects import show_effects as show_effects
    from labsupport.views.escapes import show_escapes as show_escapes
    from labsupport.views.file_owners import FileOwners as FileOwners
    from labsupport.views.filter_counts import show_counts as show_counts
    from labsupport.views.gates import show_gates as show_gates
    from labsupport.views.history_table import HistoryTable as HistoryTable
    from labsupport.views.instances import show_instances as show_instances
    from labsupport.views.keeping import Keeping as Keeping
    from labsupport.views.kernels_map import show_kernels as show_kernels
    from labsupport.views.layer_explorer import LayerExplorer as LayerExplorer
    from labsupport.views.limit_table import LimitTable as LimitTable
    from labsupport.views.mount_console import MountConsole as MountConsole
    from labsupport.views.mount_map import MountMap as MountMap
    from labsupport.views.namespace_table import NamespaceTable as NamespaceTable
    from labsupport.views.network_map import NetworkMap as NetworkMap
    from labsupport.views.overlay_map import show_overlay as show_overlay
    from labsupport.views.pid_console import PidMap as PidMap
    from labsupport.views.presenting import present as present
    from labsupport.views.propagation import show_propagation as show_propagation
    from labsupport.views.requests_table import RequestsTable as RequestsTable
    from labsupport.views.response_times import show_response_times as show_response_times
    from labsupport.views.shares import show_shares as show_shares
    from labsupport.views.start_console import StartConsole as StartConsole
    from labsupport.views.start_matrix import show_starts as show_starts
    from labsupport.views.syscall_console import SyscallGrid as SyscallGrid
    from labsupport.views.trip_progress import TripProgress as TripProgress
    from labsupport.views.trips import show_trips as show_trips
    from labsupport.views.vm_costs import show_costs as show_costs
    from labsupport.views.writable import show_writable as show_writable
    from labsupport.vm.guest import LabVM as LabVM
    from labsupport.vm.machine.seen import look_around as look_around
    from labsupport.vm.machine.virtual import VirtualMachine as VirtualMachine
    from labsupport.vm_compared import cost_of as cost_of
    from labsupport.vm_compared import cost_of_sandbox as cost_of_sandbox
    from labsupport.writable_layer import WritableLayer as WritableLayer

_HOME = {
    "AppFolder": "labsupport.engine.app_folder",
    "Belongings": "labsupport.engine.belongings",
    "BelongingsTable": "labsupport.views.belongings_table",
    "BootConsole": "labsupport.views.boot_console",
    "Build": "labsupport.engine.builds",
    "BuildProgress": "labsupport.views.build_progress",
    "Cgroup": "labsupport.linux.cgroups",
    "CgroupConsole": "labsupport.views.cgroup_console",
    "Chain": "labsupport.chain",
    "Chooser": "labsupport.course.chooser",
    "CommandLine": "labsupport.engine.command_line",
    "ComparedContainer": "labsupport.engine.compared",
    "Container": "labsupport.containers",
    "ContainerLights": "labsupport.views.container_lights",
    "CourseMap": "labsupport.course.course_map",
    "Disk": "labsupport.linux.disks",
    "DockerHub": "labsupport.engine.docker_hub",
    "Drive": "labsupport.linux.drives",
    "Engine": "labsupport.engine.client",
    "Exercise": "labsupport.course.exercises",
    "FileOwners": "labsupport.views.file_owners",
    "Filter": "labsupport.linux.seccomp",
    "FolderOf": "labsupport.linux.folders",
    "Glossary": "labsupport.glossary",
    "HistoryTable": "labsupport.views.history_table",
    "Image": "labsupport.engine.images",
    "Keeping": "labsupport.views.keeping",
    "LabVM": "labsupport.vm.guest",
    "LayerExplorer": "labsupport.views.layer_explorer",
    "LimitTable": "labsupport.views.limit_table",
    "MountConsole": "labsupport.views.mount_console",
    "MountMap": "labsupport.views.mount_map",
    "NamespaceTable": "labsupport.views.namespace_table",
    "Neighbour": "labsupport.neighbour",
    "NetworkMap": "labsupport.views.network_map",
    "OtherMachine": "labsupport.engine.other_machine",
    "Overlay": "labsupport.linux.overlay",
    "PidMap": "labsupport.views.pid_console",
    "Race": "labsupport.race.measuring",
    "Registry": "labsupport.engine.registry",
    "RequestsTable": "labsupport.views.requests_table",
    "RootlessContainer": "labsupport.rootless",
    "Sandbox": "labsupport.linux.sandbox",
    "StartConsole": "labsupport.views.start_console",
    "SwapSpace": "labsupport.linux.disks",
    "SyscallGrid": "labsupport.views.syscall_console",
    "Terminal": "labsupport.terminal",
    "TripProgress": "labsupport.views.trip_progress",
    "VirtualMachine": "labsupport.vm.machine.virtual",
    "Workbench": "labsupport.engine.workbench",
    "Workshop": "labsupport.linux.workshop.handmade",
    "WritableLayer": "labsupport.writable_layer",
    "attempts": "labsupport.views.answers",
    "capabilities": "labsupport.linux.capabilities",
    "choose": "labsupport.course.choosing",
    "clean_up": "labsupport.engine.belongings",
    "copied_mounts": "labsupport.linux.propagation",
    "corrections": "labsupport.course.corrections",
    "cost_of": "labsupport.vm_compared",
    "cost_of_sandbox": "labsupport.vm_compared",
    "effects": "labsupport.engine.anatomy",
    "export_progress": "labsupport.course.export",
    "hello_program": "labsupport.engine.smallest",
    "hello_world": "labsupport.engine.hello",
    "installed": "labsupport.linux.installed",
    "instances": "labsupport.instances",
    "keepers": "labsupport.linux.namespaces",
    "landscape": "labsupport.technologies",
    "limit_files_of": "labsupport.linux.limit_files",
    "look_around": "labsupport.vm.machine.seen",
    "mounts": "labsupport.linux.mounts",
    "namespace": "labsupport.linux.namespaces",
    "namespaces": "labsupport.linux.procfs",
    "network": "labsupport.linux.net.netmap",
    "ordinary_uid": "labsupport.linux.ids",
    "predict": "labsupport.course.predictions",
    "present": "labsupport.views.presenting",
    "probe": "labsupport.machine",
    "processes": "labsupport.linux.procfs",
    "propagation": "labsupport.linux.propagation",
    "pull": "labsupport.engine.shipping",
    "push": "labsupport.engine.shipping",
    "reboot_inside": "labsupport.linux.rebooting",
    "record": "labsupport.linux.filters.observing",
    "run_in": "labsupport.linux.propagation",
    "segments": "labsupport.linux.sysvipc",
    "show_build": "labsupport.views.build_chart",
    "show_capabilities": "labsupport.views.capability_map",
    "show_chain": "labsupport.views.chain",
    "show_costs": "labsupport.views.vm_costs",
    "show_counts": "labsupport.views.filter_counts",
    "show_effects": "labsupport.views.dockerfile_effects",
    "show_escapes": "labsupport.views.escapes",
    "show_gates": "labsupport.views.gates",
    "show_instances": "labsupport.views.instances",
    "show_kernels": "labsupport.views.kernels_map",
    "show_overlay": "labsupport.views.overlay_map",
    "show_propagation": "labsupport.views.propagation",
    "show_rebuild": "labsupport.views.build_chart",
    "show_response_times": "labsupport.views.response_times",
    "show_shares": "labsupport.views.shares",
    "show_starts": "labsupport.views.start_matrix",
    "show_trips": "labsupport.views.trips",
    "show_writable": "labsupport.views.writable",
    "small_root": "labsupport.linux.rootfs",
    "status": "labsupport.linux.procfs",
    "toy_base": "labsupport.engine.toys",
    "try_escape": "labsupport.linux.escape",
    "try_starts": "labsupport.engine.starts",
    "uid_map": "labsupport.linux.ids",
    "unmount": "labsupport.linux.mounting",
    "unpacked": "labsupport.engine.archive_parts",
    "who_said_no": "labsupport.linux.filters.guards",
}
__all__ = sorted(_HOME)  # noqa: PLE0605 (the words are the keys above)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'labsupport' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext labsupport`: obey `# needs:` comments, note what is run (`course.cells`)."""
    from labsupport import needs
    from labsupport.course import cells

    needs.load(shell)
    cells.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext labsupport`."""
    from labsupport import needs
    from labsupport.course import cells

    needs.unload(shell)
    cells.unload(shell)
