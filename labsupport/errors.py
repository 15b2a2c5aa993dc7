"""What can go wrong, one class per cause: what failed, what was found, what to do about it.

A notebook shows the message alone (no traceback); nbval still sees a failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself is not loaded: helper processes import this module, too
    from typing import Any


class LabError(Exception):
    """The base of all: `what` failed, because of `why`; the `remedy` is a thing to do or type."""

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        self.what, self.why, self.remedy = what, why, remedy
        super().__init__(what, why, remedy)

    def __str__(self) -> str:
        lines = [f"{self.what}: {self.why}" if self.why else self.what]
        if self.remedy:
            lines.append(f"What to do: {self.remedy}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the message instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known words, with the closest one first if there is one."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "known: " + ", ".join(known)


class UnknownCapability(LabError):
    """A word after `# needs:`, or in a call of `machine.can`, that names no capability."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown capability {name!r}", nearest(name, known))


class MissingCapability(LabError):
    """This machine cannot do what was asked for."""

    def __init__(self, capability: str, why: str, remedy: str = "") -> None:
        self.capability = capability
        super().__init__(f"this needs {capability}", why, remedy)


class UnknownNamespace(LabError):
    """`new=` names something that is no kind of namespace."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown namespace {name!r}", nearest(name, known))


class NamespaceRefused(LabError):
    """The kernel did not make, join or fill the namespaces that a sandbox asked for."""


class ProgramNotFound(LabError):
    """There is no such program, or it cannot be executed."""


class TimedOut(LabError):
    """Something took longer than it may; what was started has been ended."""


class SandboxEnded(LabError):
    """A program was to be started in a sandbox that is closed or whose PID 1 has ended."""


class ProcessGone(LabError):
    """A process was asked about that has ended meanwhile."""


class BadRootfs(LabError):
    """The folder given as `rootfs` cannot serve as a root file system."""


class BuildToolMissing(LabError):
    """A compiler or another program that a kernel is built with is not installed."""


class KernelSourceMissing(LabError):
    """There is no archive of the kernel's source where one was looked for, or it is none."""


class NoSpace(LabError):
    """A file system has less free space than something needs."""


class KernelBuildFailed(LabError):
    """A step of building a kernel ended with an error; `log` holds its last lines."""

    def __init__(self, what: str, log: str, remedy: str = "") -> None:
        self.log = log
        super().__init__(what, f"the last lines were\n{log}", remedy)


class KernelOptionDropped(LabError):
    """Kconfig did not take over symbols of our fragment; `symbols` names them."""

    def __init__(self, symbols: Iterable[str], source: str) -> None:
        self.symbols = tuple(symbols)
        super().__init__(
            "the kernel would lack what the Lab VM needs",
            f"{source} did not accept {', '.join(self.symbols)}",
            "use the source of another kernel version (--source), or, if the symbol has gone from "
            'it for good, mark its line in labsupport/vm/kernel.config with "# if there is one"',
        )


class PortTaken(LabError):
    """The port that was asked for cannot be listened on."""

    def __init__(self, port: int, why: str) -> None:
        self.port = port
        super().__init__(
            f"JupyterLab cannot listen on port {port}", why, "leave out --port, or choose another"
        )


class NotebooksMissing(LabError):
    """There is no such notebook, or labsupport is installed without those it is for."""

    def __init__(self, path: object) -> None:
        super().__init__(
            "this notebook is missing",
            f"there is no {path}",
            "run ./lab in a complete clone of the course (git restore notebooks brings them back)",
        )


class ProbeFailed(LabError):
    """The helper process that tries what this machine can do has itself failed."""


class UnknownPlace(LabError):
    """`LAB_PLACE` names no place where a notebook can run."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown place {name!r} in LAB_PLACE", nearest(name, known))


class UnknownCommand(LabError):
    """A word after `./lab` that is no command."""

    def __init__(self, word: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown command {word!r}", nearest(word, known))


class GuestKernelMissing(LabError):
    """There is no kernel for the Lab VM on this machine."""


class NotAGuestKernel(LabError):
    """The file that should be the Lab VM's kernel is none, or cannot be executed."""


class UnknownBackend(LabError):
    """`LabVM.boot(backend=…)` names no kind of virtual machine."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown backend {name!r}", nearest(name, known))


class TooLittleMemory(LabError):
    """A guest was to have less memory than it can start with, or the host has too little left."""


class NoexecFolder(LabError):
    """Guest memory must lie in a folder whose file system allows execution, and none does."""


class PtraceForbidden(LabError):
    """User-Mode Linux traces its processes with ptrace(2), which is forbidden here."""


class GuestDied(LabError):
    """A guest ended without being asked to; `console` holds the last lines of its console."""

    def __init__(self, what: str, console: str, remedy: str = "") -> None:
        self.console = console
        said = f"the last lines of its console were\n{console}" if console else "it said nothing"
        super().__init__(what, said, remedy)


class GuestClosed(LabError):
    """A guest was asked to do something after it had been closed."""


class ShareRefused(LabError):
    """A folder of the host cannot be shared with a guest."""


class RelayRefused(LabError):
    """A Jupyter connection file asks for endpoints that others could use too."""


class BadAmount(LabError):
    """An amount, such as of memory, that cannot be read."""


class EngineMissing(LabError):
    """There is no container engine on this machine."""


class EngineDown(LabError):
    """A container engine was looked for, and nobody answers there."""


class EngineRefused(LabError):
    """The engine's socket is not open to this user."""


class EngineTooOld(LabError):
    """The engine speaks an older API than the notebooks need."""


class EngineFailed(LabError):
    """An engine of our own did not start."""


class BaseFilesMissing(LabError):
    """The files that the course's base image is made of are not on this machine."""


class KernelspecsRefused(LabError):
    """The course's kernels cannot be written into the environment."""


class QemuMissing(LabError):
    """The program that simulates a machine is not installed."""


class UnknownExercise(LabError):
    """There is no exercise of that number."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(
            f"there is no exercise {name!r}", f"known: {', '.join(known)}" if known else ""
        )


class ExerciseNotStarted(LabError):
    """A check was asked for before there was anything to check."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "", "run exercise.start() first")


class NotFitToPublish(LabError):
    """A notebook's outputs cannot be saved for readers; the file was left as it was."""

    def __init__(self, notebook: str, why: str) -> None:
        super().__init__(
            f"{notebook} was not saved", why, "mend the cell, or run it where it can run"
        )


class NotMounted(LabError):
    """A path was taken for a mount point, and nothing is mounted there."""

    def __init__(self, path: str, lies_on: str) -> None:
        self.path = path
        super().__init__(
            f"nothing is mounted at {path}",
            f"it is an ordinary path on what is mounted at {lies_on}",
            "see where something is mounted with mounts(of=...)",
        )


class MountBusy(LabError):
    """A file system cannot be unmounted, for somebody uses it."""


class UnknownFileSystem(LabError):
    """The kernel knows no file system of that type."""


class MountRefused(LabError):
    """The kernel did not mount or unmount something, for another reason than those above."""


class DriveGone(LabError):
    """A drive was to be mounted that is closed, or is not there."""


class MissingController(LabError):
    """A limit needs a cgroup controller that groups here do not have."""


class CgroupRefused(LabError):
    """The kernel refused to make or change a control group; the message says why."""


class CgroupClosed(LabError):
    """A control group was asked for something before it was made, or after it was removed."""


class LimitBelowUsage(LabError):
    """A limit was to be set below what is in use, and the kernel could not free the difference."""


class InternalProcesses(LabError):
    """cgroup v2: a group has processes itself, or hands controllers down, but never both."""

    def __init__(self, group: object, first_try: str = "") -> None:
        self.group = group
        super().__init__(
            f"the kernel answered EBUSY in {group}",
            "in cgroup v2 a group (but the topmost) has either processes of its own or groups "
            "below it that get controllers by its cgroup.subtree_control, never both",
            (f"{first_try}; or " if first_try else "")
            + "give the processes a group of their own, beside the limited ones: "
            f"mkdir {group}/programs; echo PID > {group}/programs/cgroup.procs; then try again",
        )


class NoLimit(LabError):
    """A program that takes all it gets was not started: nothing limits what it would take."""


class NamespaceNotHere(LabError):
    """This kernel has no namespaces of a kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(
            f"this kernel has no {kind} namespaces",
            f"there is no /proc/self/ns/{kind}: it was built without them, or its architecture, "
            "as User-Mode Linux, has none",
            "choose the kernel “this machine”, if that one has it: ./lab doctor tells",
        )


class NotAnIdMap(LabError):
    """A line that is none of a uid_map or gid_map file."""

    def __init__(self, line: str) -> None:
        super().__init__(
            f"{line!r} is no line of a user or group map",
            "",
            "write three numbers: the first inside, the first outside, how many",
        )


class UncoveredArchitecture(LabError):
    """This machine's processors have system calls that we have no table of."""

    def __init__(self, machine: str, known: Iterable[str]) -> None:
        self.machine = machine
        super().__init__(
            f"the system calls of {machine} are not covered",
            f"covered are {', '.join(sorted(known))}",
            "use a machine with one of these processors",
        )


class UnknownSystemCall(LabError):
    """Linux has no system call of that name on this architecture."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        close = get_close_matches(name, sorted(known), n=3)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
        super().__init__(
            f"there is no system call {name!r}", hint, "see syscalls(2) for the list: man syscalls"
        )


class UnknownErrno(LabError):
    """A word that names no error number, as EPERM does."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        close = get_close_matches(name, sorted(known), n=3)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
        super().__init__(f"there is no error {name!r}", hint, "see errno(3) for the list")


class UnknownLinuxCapability(LabError):
    """A word that names none of the privileges into which Linux divides root's power."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"Linux has no capability {name!r}", nearest(name, known))


class LibraryMissing(LabError):
    """A shared library is not installed: libseccomp builds filters, libcap names capabilities."""

    def __init__(self, library: str, package: str) -> None:
        self.library = library
        super().__init__(f"the library {library} is missing", "", f"sudo apt-get install {package}")


class FilterUnreadable(LabError):
    """The filters that a process runs under cannot be read out here."""


class FilterRefused(LabError):
    """A filter cannot be built, or the kernel does not take it."""


class FilterTooComplex(LabError):
    """A filter has more ways through it than can be told apart in reasonable time."""


class TrialFailed(LabError):
    """The helper process that tries system calls under filters has itself failed."""


class RuntimeMissing(LabError):
    """There is no OCI runtime such as runc on this machine."""


class ContainerEnded(LabError):
    """A container runtime ended before its container was seen running."""


class UnknownDanger(LabError):
    """There is no dangerous program of that name to be started in a group."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown program {name!r}", nearest(name, known))


class StepFailed(LabError):
    """A step of a container that is built by hand failed; `step` is its name, `errno` the error."""

    def __init__(self, step: str, errno: int, what: str, why: str, remedy: str) -> None:
        self.step, self.errno = step, errno
        super().__init__(what, why, remedy)


class SourceMissing(LabError):
    """A step's source text cannot be found, so that no script can be made of it."""


class NotInANewNamespace(LabError):
    """Something that is harmless only in a namespace of its own was asked for elsewhere."""

    def __init__(self, what: str, kind: str) -> None:
        super().__init__(
            f"{what} is not called",
            f"the sandbox has no {kind} namespace of its own",
            'make it with Sandbox(new={"user", "pid", "mount"})',
        )


class NoNetwork(LabError):
    """A network was asked for, where a sandbox has none of its own."""

    def __init__(self) -> None:
        super().__init__(
            "this sandbox has no network of its own",
            "it shares this machine's, which experiments must not change",
            'make it with Sandbox(new={"net"})',
        )


class BadAddress(LabError):
    """Something is no IPv4 address, or not with what belongs to it."""

    def __init__(self, text: str, why: str, accepted: str) -> None:
        super().__init__(f"{text!r} cannot be used here", why, f"write it like {accepted}")


class AddressInUse(LabError):
    """An address, or a port, is taken."""


class UnknownLink(LabError):
    """A network namespace has no link of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no link {name!r} in this network", nearest(name, known))


class NetworkRefused(LabError):
    """The kernel did not make or change a link, an address, a route or a queue."""


class NoAnswer(LabError):
    """Nobody answered at an address and port; `why` is the kernel's word for it."""


class FilterOnNotebook(LabError):
    """A seccomp filter was to be loaded into the notebook's own process."""

    def __init__(self) -> None:
        super().__init__(
            "a filter is not loaded into the notebook's own process",
            "it could never be taken off again, and one that is too strict ends the notebook",
            "load it into what runs in a sandbox: with Sandbox(filter=filter) as box: box.run(…)",
        )


class EngineElsewhere(LabError):
    """An engine runs its containers on another kernel than ours: /proc does not show them."""


class ProgressNotKept(LabError):
    """The file that holds the student's progress cannot be written."""


class ProgressUnreadable(LabError):
    """A file that should hold progress, or an export of it, holds something else."""


class FileInTheWay(LabError):
    """A file would be written where something else of that name is."""


class RegistryMissing(LabError):
    """There is no registry's program here, and none could be fetched."""


class RegistryFailed(LabError):
    """A registry did not start, or does not answer."""


class DockerfileMissing(LabError):
    """A build's context has no Dockerfile of the name that was asked for."""

    def __init__(self, name: str, where: str, there: Iterable[str], why: str = "") -> None:
        super().__init__(
            f"there is no {name} in {where}",
            why or nearest(name, there),
            'name it as it is called in the context: dockerfile="…"',
        )


class ContextTooLarge(LabError):
    """A build's context is more than one would want to send to an engine."""

    def __init__(self, size: int, largest: Iterable[tuple[str, int]]) -> None:
        named = [f"{name} ({bytes_ / 1e6:.0f} MB)" for name, bytes_ in largest]
        super().__init__(
            "the build's context is too large",
            f"{size / 1e6:.0f} MB would be sent to the engine; the largest: {', '.join(named)}",
            "name what the build does not need in a file .dockerignore, one pattern a line",
        )


class BuildLogUnreadable(LabError):
    """A text is no log of a build that could be read; `why` says what was looked for."""


class BuildFailed(LabError):
    """A build ended in an error: `step` is where, `steps` are all so far.

    `exit_status` is that of the program of a `RUN`, `output` what it printed.
    """

    def __init__(
        self,
        why: str,
        steps: Iterable[Any] = (),
        step: Any = None,
        *,
        exit_status: int | None = None,
        what: str = "the build failed",
        remedy: str = "",
    ) -> None:
        self.steps, self.step, self.exit_status = tuple(steps), step, exit_status
        self.output = step.output if step else ""
        at = f" in step {step.name}, {step.instruction}" if step else ""
        super().__init__(f"{what}{at}", why, remedy)


class BuildStopped(BuildFailed):
    """A build was stopped from outside; `steps` are those so far."""

    def __init__(self, steps: Iterable[Any], step: Any = None) -> None:
        super().__init__(
            "somebody asked for it", steps, step, what="the build was stopped",
            remedy="run it again: what was finished comes from the cache",
        )  # fmt: skip


class StoreChanged(BuildFailed):
    """An image that the builder was looking at has been removed by somebody else meanwhile."""

    def __init__(self, why: str, steps: Iterable[Any] = (), step: Any = None) -> None:
        super().__init__(
            why, steps, step, what="another program removed an image during the build",
            remedy="build again",
        )  # fmt: skip


class DockerfileWrong(BuildFailed):
    """The builder does not understand a Dockerfile."""

    def __init__(self, why: str, steps: Iterable[Any] = ()) -> None:
        super().__init__(
            why, steps, what="the Dockerfile cannot be read",
            remedy="the instructions: https://docs.docker.com/reference/dockerfile/",
        )  # fmt: skip


class NotInContext(BuildFailed):
    """A `COPY` or `ADD` named what was not sent to the engine."""

    def __init__(self, why: str, steps: Iterable[Any], step: Any) -> None:
        super().__init__(
            why, steps, step,
            remedy="paths are relative to the context, nothing outside of it can be copied, and "
            "what .dockerignore names is not in it",
        )  # fmt: skip


class BaseImageMissing(BuildFailed):
    """The image after a `FROM` is not here, and could not be pulled."""

    def __init__(self, why: str, steps: Iterable[Any], step: Any) -> None:
        super().__init__(
            why, steps, step,
            remedy="docker images lists what is here; without a network, build on "
            "labsupport/busybox (engine.base_image() makes it)",
        )  # fmt: skip


class TerminalClosed(LabError):
    """Something was typed into a terminal whose program has ended."""


class NotPrinted(LabError):
    """A terminal did not print within its time what was waited for."""


class NotOnThisBench(LabError):
    """An image was asked for by a name that nothing has been built under."""


class ShippingRefused(LabError):
    """A login, a push or a pull was refused; `why` has the engine's words."""


class LoginRefused(ShippingRefused):
    """A registry does not let this user in with this token, or nobody has logged in."""


class NameNotYours(ShippingRefused):
    """An image's name leads to where this user may not write."""


class RegistryOutOfReach(ShippingRefused):
    """The registry that an image's name leads to does not answer."""


class NotHere(ShippingRefused):
    """The engine has no image of the name that is to be pushed."""


class NotThere(ShippingRefused):
    """The registry has no image of the name that is to be pulled."""


class RateLimited(ShippingRefused):
    """Docker Hub has counted too many pulls from this address or user."""


class NoRoom(ShippingRefused):
    """A disk is full: the registry's, or the engine's."""


class StepsUnknown(LabError):
    """A build left no images of its steps, so what each instruction did cannot be compared."""


class NotAnImage(LabError):
    """A file or folder holds no image in a layout that we know."""


class ImageMissing(LabError):
    """An engine has no image of that name."""


class ImageNotKept(LabError):
    """There is no room for an image's archive in the folder for temporary files."""


class ImageTruncated(LabError):
    """An archive, or a layer in it, ends before it should."""

    def __init__(self, why: str) -> None:
        super().__init__("the image is cut off", why, "save or copy it again")


class ImageClosed(LabError):
    """A file was to be read out of an image that has been closed."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} cannot be read", "the image has been closed", "open it again: Image.open(…)"
        )


class BadManifest(LabError):
    """What an image says of itself is no JSON, of another form, or not true."""


class BadLayer(LabError):
    """A layer is no tar archive as the engines would take it."""


class DigestMismatch(LabError):
    """Something in an image is not what its digest says: it was changed, or damaged."""

    def __init__(self, what: str, said: str, found: str) -> None:
        self.said, self.found = said, found
        super().__init__(
            f"{what} does not match its digest",
            f"the image says {said}, and its content has {found}",
            "it was changed or damaged: save or copy it again, from a source that you trust",
        )


class PathLeadsOut(LabError):
    """A file in an archive has a name that leads out of it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the file name {name[:200]!r} leads out of the image",
            "an engine that obeyed it would write to a folder of its host's",
            "do not load this image: no honest builder makes such names",
        )


class LinkLeadsOut(LabError):
    """A link in an archive, or in an OCI folder, leads to what is not in it."""

    def __init__(self, name: str, target: str) -> None:
        super().__init__(
            f"the link {name[:200]!r} leads out of the image",
            f"its target is {target[:200]!r}",
            "do not load this image: no honest builder makes such links",
        )


class DuplicateMember(LabError):
    """An archive has two files of one name, and the engines would not agree on which to take."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the archive has more than one {name[:200]!r}",
            "which of them is meant cannot be told",
            "save the image again",
        )


_WITH_LIMITS = "if you trust it: Image.open(path, limits=labsupport.engine.images.Limits(…))"


class TooManyFiles(LabError):
    """An image has more files, or more layers, than we take."""

    def __init__(self, most: int, what: str = "files") -> None:
        super().__init__(
            f"the image has too many {what}",
            f"more than {most:,} are not read",
            _WITH_LIMITS,
        )


class TooManyBytes(LabError):
    """A layer becomes much larger than it is stored: a decompression bomb, perhaps."""

    def __init__(self, size: int, stored: int, allowed: int) -> None:
        super().__init__(
            "a layer becomes too big when it is decompressed",
            f"{stored:,} bytes became {size:,} and more; at most {allowed:,} are read",
            _WITH_LIMITS,
        )


class TooMuchMetadata(LabError):
    """A file of JSON, or the headers of a tar archive, are larger than they can honestly be."""

    def __init__(self, what: str, most: int) -> None:
        super().__init__(
            f"too long to be honest: {what}", f"at most {most:,} bytes are read", _WITH_LIMITS
        )


class GiantFile(LabError):
    """A file is larger than all layers may be (a sparse one, perhaps), or than we return."""

    def __init__(self, path: str, size: int, most: int) -> None:
        super().__init__(
            f"the file {path[:200]!r} is too large",
            f"it says that it has {size:,} bytes, and {most:,} are the most that is read",
            _WITH_LIMITS,
        )


class SeveralImages(LabError):
    """An archive holds several images, and which is meant was not said."""

    def __init__(self, names: Iterable[str]) -> None:
        names = sorted(names)
        super().__init__(
            f"the archive holds {len(names)} images",
            ", ".join(names),
            f"say which: Image.open(path, name={names[0]!r})",
        )


class NoSuchImage(LabError):
    """An archive holds no image of that name, or none for that kind of machine."""


class NoSuchFile(LabError):
    """An image, or one of its layers, has no file of that name."""

    def __init__(self, path: str, where: str, like: str = "") -> None:
        super().__init__(
            f"there is no file {path!r} in {where}", f"did you mean {like!r}?" if like else ""
        )


class UnknownLayer(LabError):
    """A layer was chosen that an image does not have, or of an image that is not shown."""

    def __init__(
        self, layer: int, image: str | None, images: Iterable[str], numbers: Iterable[int]
    ) -> None:
        of = f" of {image!r}" if image is not None else ""
        known = ", ".join(map(str, numbers)) or f"no such image; shown are {', '.join(images)}"
        super().__init__(f"there is no layer {layer}{of}", f"there are: {known}")


class BuilderMissing(LabError):
    """The engine has no builder of that name."""

    def __init__(self, builder: str, engine: str) -> None:
        super().__init__(
            f"there is no builder {builder!r} in this engine",
            f"{engine} has {'its own, whatever is asked for' if engine == 'podman' else 'others'}",
            'builder="classic" takes what every engine has; Docker has "buildkit", too',
        )


class NotAHistory(LabError):
    """A file holds no history of an image as `docker history` prints it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"{path} holds no history", why, 'wanted: {"history": [{"created_by": …, "size": …}]}'
        )


class AppBaseMissing(LabError):
    """The base image of the tutorials' app has not been made on this machine."""

    def __init__(self, why: str) -> None:
        super().__init__("the base image of the app is missing", why, "./lab base (half a minute)")


class BaseBuildFailed(LabError):
    """The base image of the tutorials' app cannot be made, or a step of making it failed."""


class NotAnOverlay(LabError):
    """A process sees no overlay at a mount point, or one whose layers the kernel does not tell."""

    def __init__(self, pid: int, point: str, fstype: str) -> None:
        self.fstype = fstype
        super().__init__(
            f"process {pid} has no overlay at {point}",
            f"the kernel says that {fstype} is mounted there",
        )


class LayersOutOfReach(LabError):
    """The folders of a container's layers cannot be looked into from here."""

    def __init__(self, why: str) -> None:
        super().__init__("the container's layers cannot be seen", why, "choose the kernel “Lab VM”")


class SiteToolMissing(LabError):
    """What builds the static site is not installed."""


class SiteBroken(LabError):
    """The static site was not built, or has links that lead nowhere or pictures without words."""


class ContextUnreadable(LabError):
    """A file of a build's context may not be read."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"{name} cannot be sent to the engine",
            why.lower(),
            "chmod it, or name it in .dockerignore",
        )


class CommandMissing(LabError):
    """A program that is typed in a terminal is not installed here."""


class DiskBuildFailed(LabError):
    """The virtual machine's disk cannot be made, or a step of making it failed."""


class DiskMissing(LabError):
    """There is no disk for a virtual machine on this machine."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "there is no disk for a virtual machine",
            why,
            "./lab vm-disk (once: two to five minutes, 0.3 GB)",
        )


class MachineNotStarted(LabError):
    """Something was asked of a virtual machine that does not run (yet, or any more)."""


class MachineFailed(LabError):
    """A virtual machine did not start, or has ended by itself."""


class AppMissing(LabError):
    """The folder of the tutorials' app is not there."""


class TextMissing(LabError):
    """A piece of text that is to be changed is not in its file, or not only once."""


class NameTaken(LabError):
    """An image that is not ours has the name that ours would get."""


class EngineTooNew(LabError):
    """The engine no longer speaks a version of its API that our SDK knows."""


class ImageForAnotherCpu(LabError):
    """An image's programs are for a processor that the engine's machine has not."""


class ImageNotUnpacked(LabError):
    """An image's files cannot be written into a folder as they are."""


class RuntimeFailed(LabError):
    """A container runtime did not run what it was given."""


class RaceNotRun(LabError):
    """The race's results are asked for, and there are none yet."""


class UnfitScale(LabError):
    """Outputs are to be shown so small or so large that nobody could read them."""
