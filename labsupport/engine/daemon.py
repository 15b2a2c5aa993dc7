"""Start a Docker daemon of our own: in the Lab VM for its whole life, elsewhere for one owner.

We do not guess whether it is ready: dockerd says so on a socket, as it would to systemd; see
sd_notify(3). In the Lab VM its images, and files too large for memory, are on an empty disk that
the host gives the guest (`LAB_DISK`, see labsupport.vm.guest); without one, they are in memory.
"""

import atexit
import fcntl
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from labsupport.doctor.addresses import LONGEST_SOCKET_PATH
from labsupport.errors import LabError
from labsupport.ownership import marks

DATA = Path("/run/labsupport/engine/data")
GUEST_FOLDER = DATA.parent
USUAL_SOCKET = Path("/var/run/docker.sock")
LATE = "timeout waiting for containerd"
"""What dockerd says after 15 s; containerd is in memory then, and is faster a second time."""
PATIENCE = 8 if os.environ.get("LAB_IN_PAGE") == "1" else 1
"""How many times as long as elsewhere an engine may take: the page emulates each instruction."""
READY_SECONDS = 120.0 * PATIENCE  # two, as a rule; where a machine is emulated, twenty and more
LAST_LINES = 5

# No firewall rules: in the guest there is no outside to translate addresses for, and they take two
# seconds; on a host, making them is not our business. Ports are published by docker-proxy.
_OPTIONS: Mapping[str, object] = {"iptables": False, "ip6tables": False, "log-level": "warn"}
# The reaper makes the bridge, and writes its name and its range here.
_NETWORKS = ("--bridge={bridge}", "--default-address-pool=base={networks},size=24")


def scratch() -> Path:
    """Return a folder for files that are too large for memory: on the disk once it is prepared."""
    # where there is no such disk, it is the usual folder for temporary files
    folder = DATA / "scratch"  # Docker leaves alone what it does not know
    return folder if folder.is_dir() else Path(tempfile.gettempdir())


def prepare(data: Path = DATA) -> None:
    """Give the guest's disk a file system, and mount it where the engine keeps its images.

    Nobody will look at this disk again, so there is no journal, nothing is made ready before it is
    used, nothing waits for the host's disk; and what is deleted, the host gets back.
    """
    device = os.environ.get("LAB_DISK")
    if not device or os.path.ismount(data):
        return
    options = "noatime,barrier=0,discard,noinit_itable"
    features = ["-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=1"]
    _run(["mkfs.ext4", "-q", "-F", *features, device])
    data.mkdir(exist_ok=True)
    _run(["mount", "-t", "ext4", "-o", options, device, str(data)])
    (data / "scratch").mkdir(mode=0o700)


def _run(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        why, remedy = f"no program `{argv[0]}`", "sudo apt-get install e2fsprogs"
        raise LabError("the engine has no disk", why, remedy) from error
    if done.returncode:
        raise LabError("the engine has no disk", f"{argv[0]}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Daemon:
    """A running dockerd: where it listens, and the process that ends with it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What `DOCKER_HOST` would be."""
        return f"unix://{self.folder / 'docker.sock'}"

    def stop(self) -> None:
        """End it with all its containers, and remove its folder; only for a private one."""
        if self.process and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()


_of_this_process: Daemon | None = None
_lock = threading.Lock()


def of_this_process() -> Daemon:
    """Return the private daemon that all of this process shares, started when first asked for.

    What the process starts (`docker` in a terminal, say) finds it by `DOCKER_HOST`. It ends with
    the process, however that ends.
    """
    global _of_this_process  # noqa: PLW0603 (one for all)
    with _lock:
        if _of_this_process is None:
            _of_this_process = private()
            atexit.register(_of_this_process.stop)
        os.environ["DOCKER_HOST"] = _of_this_process.address
        return _of_this_process


def forget_if_ended() -> None:
    """Forget this process's private daemon if it has ended, so that another one may be started."""
    global _of_this_process  # noqa: PLW0603
    with _lock:
        own = _of_this_process
        if own and not _answers(own.folder / "docker.sock"):
            own.stop()
            if os.environ.get("DOCKER_HOST") == own.address:
                del os.environ["DOCKER_HOST"]
            _of_this_process = None


def guest() -> str:
    """Name the guest that this is, which has one engine for its whole life; "" elsewhere."""
    if os.environ.get("LAB_IN_VM") == "1":
        return "the Lab VM"
    return "the page's machine" if os.environ.get("LAB_IN_PAGE") == "1" else ""


def in_guest(folder: Path = GUEST_FOLDER) -> Daemon:
    """Find the guest's own daemon, or start it: in two seconds, in the page in half a minute.

    It lives as long as the guest. It also answers at the usual address, so that `docker` in a
    terminal finds it.
    """
    dockerd = _program()
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers(folder / "docker.sock"):
            return Daemon(folder)
        _cover_settings()
        prepare(folder / "data")
        with (folder / "log").open("w+b") as log:
            argv = [dockerd, *_containerd(folder, log)]
            try:
                _start([], argv, folder, _of_guest(), log)
            except LabError as error:
                if LATE not in error.why:
                    raise
                _start([], argv, folder, _of_guest(), log)
        if USUAL_SOCKET.is_symlink() or not USUAL_SOCKET.exists():
            USUAL_SOCKET.unlink(missing_ok=True)
            USUAL_SOCKET.symlink_to(folder / "docker.sock")
    return Daemon(folder)


def _of_guest() -> Mapping[str, object]:
    """Return the page's own options: crun makes a container in a tenth of runc's instructions."""
    if os.environ.get("LAB_IN_PAGE") != "1":
        return {}
    return {"default-runtime": "crun", "runtimes": {"crun": {"path": str(_CRUN)}}}


_CRUN = Path(__file__).parents[1] / "page/crun"
_CONTAINERD = """version = 2
root = "{folder}/data/containerd"
state = "{folder}/exec/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/containerd.sock"
"""


def _containerd(folder: Path, log: IO[bytes]) -> list[str]:
    """Start containerd in the page, where it takes longer than the 15 s for which dockerd waits.

    Returns the options that tell dockerd where it is; none elsewhere.
    """
    if os.environ.get("LAB_IN_PAGE") != "1":
        return []
    settings = folder / "containerd.toml"
    settings.write_text(_CONTAINERD.format(folder=folder))
    _launch(["containerd", f"--config={settings}"], folder, log)
    return [f"--containerd={folder / 'containerd.sock'}"]


def private() -> Daemon:
    """Start a daemon that has nothing in common with the machine's own, and ends with us.

    It has a bridge of its own: containers reach each other and this machine, and the world is out
    of reach (no address translation), except through the network `host`. Ports are published at
    127.0.0.1 from that bridge; from a network that was made later, at all addresses unless told
    otherwise.
    """
    dockerd = _program()
    if os.geteuid() != 0:
        raise LabError("cannot start an engine of our own", "only root can", "see DOCKER_HOST")
    folder = Path(tempfile.gettempdir(), f"{marks.prefix('e')}{secrets.token_hex(2)}")
    if len(str(folder)) + len("/exec/containerd/containerd.sock.ttrpc") > LONGEST_SOCKET_PATH:
        why = f"{folder} is too long for a socket's address"
        raise LabError("cannot start an engine of our own", why, "TMPDIR=/tmp")
    folder.mkdir(mode=0o700)
    ends = [f"--cgroup={folder.name}", f"--remove={folder}", f"--bridge={folder / 'data'}"]
    reaper = [*marks.reaping("--cover=/etc/docker", "--cover=/run/containerd", *ends), "--"]
    options = {
        "ip": "127.0.0.1",
        "ip-forward": False,
        "cgroup-parent": f"/{folder.name}",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
    }
    with (folder / "log").open("w+b") as log:
        return Daemon(folder, _start(reaper, [dockerd, *_NETWORKS], folder, options, log))


def _start(
    prefix: Sequence[str], dockerd: Sequence[str], folder: Path, options: Mapping[str, object],
    log: IO[bytes],
) -> subprocess.Popen[bytes]:  # fmt: skip
    (folder / "daemon.json").write_text(json.dumps({**_OPTIONS, **options}))
    argv = [*prefix, *dockerd, f"--config-file={folder / 'daemon.json'}"]
    argv += [f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}"]
    argv += [f"--pidfile={folder / 'pid'}", f"--host=unix://{folder / 'docker.sock'}"]
    (folder / "pid").unlink(missing_ok=True)
    return _launch(argv, folder, log, stdin=subprocess.PIPE if prefix else subprocess.DEVNULL)


def _launch(
    argv: Sequence[str], folder: Path, log: IO[bytes], stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program that says when it is ready, and wait for that."""
    environment = {name: text for name, text in os.environ.items() if name != "DOCKER_HOST"}
    # containerd leaves a file with its stacks in TMPDIR when dockerd loses patience with it
    own = {"HOME": str(folder), "TMPDIR": str(folder), "NOTIFY_SOCKET": str(folder / "notify")}
    environment |= own
    (folder / "notify").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(folder / "notify"))
        process = subprocess.Popen(
            argv, env={**environment, "PATH": f"{_legacy(folder)}:{os.environ['PATH']}"},
            stdin=stdin, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait(ready, process, log)
        except BaseException:  # an interrupted cell, too
            process.terminate()
            process.wait()
            raise
    (folder / "notify").unlink(missing_ok=True)
    return process


def _legacy(folder: Path) -> Path:
    """Make a folder in which iptables is the legacy one.

    Docker's name server redirects a container's questions by it, and Debian's User-Mode Linux
    does not take the rules of the one that is built on nftables. BuildKit looks for a `runc`;
    the page has room for one runtime.
    """
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    crun = shutil.which("crun")
    if crun and not shutil.which("runc") and not (programs / "runc").is_symlink():
        (programs / "runc").symlink_to(crun)
    for name in ("iptables", "ip6tables"):
        legacy = shutil.which(f"{name}-legacy")
        if legacy and not (programs / name).is_symlink():
            (programs / name).symlink_to(legacy)
    return programs


def _wait(ready: socket.socket, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    ended = os.pidfd_open(process.pid)
    try:
        told = select.select([ready.fileno(), ended], [], [], READY_SECONDS)[0]
    finally:
        os.close(ended)
    if ready.fileno() in told and b"READY=1" in ready.recv(4096):
        return
    how = f"it ended with status {process.wait()}" if ended in told else "it still runs"
    log.seek(0)
    last = log.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    what = "did not start" if ended in told else f"not ready in {READY_SECONDS:.0f} s"
    why = "\n".join(last) or f"{how} and printed nothing"
    raise LabError(f"dockerd {what}", why, "try `dockerd --debug` in a terminal")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _cover_settings() -> None:
    """Hide the host's settings of Docker, which the guest's root may not even be able to read."""
    if not os.path.ismount("/etc/docker"):
        Path("/etc/docker").mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/etc/docker"], check=True)


def _program() -> str:
    if not (dockerd := shutil.which("dockerd")):
        remedy = "sudo apt-get install docker.io (the Lab VM uses the programs of its host)"
        raise LabError("there is no Docker engine", "no program `dockerd` was found", remedy)
    return dockerd
