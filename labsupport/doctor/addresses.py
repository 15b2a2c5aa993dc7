"""Where programs and engines are: an engine listens at a chosen address, or at a usual socket.

No SDK is loaded, so that `./lab doctor` and `Engine.connect` look at the same places.
"""

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EACCES, ECONNREFUSED, ENOENT
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from labsupport.doctor.runner import Refused
from labsupport.errors import EngineDown, LabError
from labsupport.kernel import refusals

# Where a registry's program is; light, since a probe asks, too.

NAMES = ("docker-registry", "registry")  # Debian's name, and that of the project itself
PACKAGE = "docker-registry"
# In this Python's environment, which the Lab VM sees, too; sys.prefix names another under -S.
KEPT = Path(sys.executable).parents[1] / "share" / "labsupport" / PACKAGE
REMEDY = "./lab registry (it has apt fetch the package docker-registry, and installs nothing)"


def find() -> Path | None:
    """Find an installed program, or the one that `./lab registry` has fetched."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return Path(found)
    return KEPT if os.access(KEPT, os.X_OK) else None


def need() -> Path:
    """Find the program. Raises `LabError`."""
    if found := find():
        return found
    why = f"no program {' or '.join(NAMES)} is installed, and {KEPT} is not there"
    raise LabError("there is no registry", why, REMEDY)


_WITHOUT_SETTINGS = {"DOCKER_CONFIG": "/nowhere"}  # as in notebooks: a user's plug-ins are not seen


def join_group(path: str) -> str:
    """Say how a user gets at a file whose group may use it."""
    import grp

    number = Path(path).stat().st_gid
    try:
        group = grp.getgrgid(number).gr_name
    except KeyError:
        return (
            f"it belongs to group {number}, which has no name here: docker run --group-add {number}"
        )
    if group == "root":
        return "run ./lab as root"
    return f'sudo usermod -aG {group} "$USER", then log in again (or: sg {group} -c ./lab)'


ALL_USERS = ["0", "0", "4294967295"]
"""The uid_map outside of all user namespaces; user_namespaces(7)."""
LONGEST_SOCKET_PATH = 107  # bytes; unix(7)


@dataclass(frozen=True)
class Chosen:
    """The address asked for, what asked for it, and the name of Docker's context if it is one.

    `plain` tells that HTTP can be spoken there without keys or another program.
    """

    address: str
    asked_by: str
    context: str = ""
    plain: bool = True


def chosen(environment: Mapping[str, str]) -> Chosen | None:
    """Find the address in `DOCKER_HOST`, `DOCKER_CONTEXT`, Docker's settings or `CONTAINER_HOST`.

    Raises `EngineDown`: a context does not exist or cannot be read, or names what is not an address
    that we can use.
    """
    found = _chosen(environment)
    if not found:
        return None
    try:
        parts = _parts(found.address)
        good = parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
    except ValueError:  # its port is not a number
        good = False
    names = f"{found.asked_by} names {found.address}"
    if not good:
        remedy = "write it as unix:///var/run/docker.sock or tcp://HOST:2375"
        raise EngineDown(f"{names}, which is not an address", remedy=remedy)
    if parts.scheme == "ssh":
        forward = f"ssh -fNL /tmp/docker.sock:/var/run/docker.sock {parts.netloc}"
        what = f"{names}, and the course's Docker SDK does not speak SSH"
        raise EngineDown(what, remedy=f"{forward}; export DOCKER_HOST=unix:///tmp/docker.sock")
    return found


def _chosen(environment: Mapping[str, str]) -> Chosen | None:
    if address := environment.get("DOCKER_HOST"):
        keys = environment.get("DOCKER_TLS_VERIFY") or environment.get("DOCKER_CERT_PATH")
        return Chosen(address, "DOCKER_HOST", plain=_is_plain(address) and not keys)
    folder = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = environment.get("DOCKER_CONTEXT") or _current_context(folder)
    if name != "default":
        return _context(folder / "contexts", name)
    if address := environment.get("CONTAINER_HOST"):
        return Chosen(address, "CONTAINER_HOST", plain=_is_plain(address))
    return None


def _parts(address: str) -> SplitResult:
    """Take an address apart; without a scheme it is `tcp`, as for the program docker."""
    return urlsplit(address if "://" in address else f"tcp://{address}")


def usual_sockets(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """List the sockets of Docker and Podman, and of those that bring one of them in a VM."""
    home = Path.home()
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    found = [
        Path("/var/run/docker.sock"),
        runtime / "docker.sock",  # rootless Docker
        home / ".docker/run/docker.sock",  # Docker Desktop
        home / ".docker/desktop/docker.sock",
        runtime / "podman/podman.sock",
        Path("/run/podman/podman.sock"),
        home / ".rd/docker.sock",  # Rancher Desktop
        home / ".colima/default/docker.sock",
        home / ".orbstack/run/docker.sock",
    ]
    return [path for path in found if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH]


def _is_plain(address: str) -> bool:
    return "://" not in address or address.startswith(("unix://", "tcp://", "http://"))


def _current_context(folder: Path) -> str:
    """Read the name in `config.json`; without one, or with one that Docker cannot read, default."""
    try:
        settings = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return "default"
    return settings.get("currentContext") or "default" if isinstance(settings, dict) else "default"


def _context(folder: Path, name: str) -> Chosen:
    import hashlib

    number = hashlib.sha256(name.encode()).hexdigest()
    file = folder / "meta" / number / "meta.json"
    try:
        address = json.loads(file.read_bytes())["Endpoints"]["docker"]["Host"]
    except FileNotFoundError as error:
        why = f"it should be {name!r}, and there is no {file}"
        remedy = "docker context ls; docker context use default"
        raise EngineDown("Docker's current context does not exist", why, remedy) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineDown(
            "Docker's context cannot be read", f"{file}: {error!r}", "docker context ls"
        ) from error
    has_keys = (folder / "tls" / number / "docker").is_dir()
    asked_by = f"Docker's context {name!r}"
    return Chosen(address, asked_by, name, plain=_is_plain(address) and not has_keys)


# Does an engine answer? It is asked by hand: one HTTP request over its socket, as `curl
# --unix-socket` would do.

_CONNECT_SECONDS = 1.5
_ANSWER_SECONDS = 4.0  # a daemon that its socket starts is not ready at once


def _connect(address: str) -> socket.socket:
    parts = _parts(address)
    if parts.scheme == "unix":
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(_CONNECT_SECONDS)
        try:
            link.connect(parts.path)
        except OSError:
            link.close()
            raise
        return link
    to = parts.hostname or "", parts.port or 2375
    return socket.create_connection(to, timeout=_CONNECT_SECONDS)


def reach(address: str) -> None:
    """Connect, and hang up. Raises `OSError`."""
    try:
        _connect(address).close()
    except OSError as error:
        raise _seen_from_here(error, urlsplit(address).path) from error


def get(address: str, path: str, seconds: float) -> tuple[int, bytes]:
    """Ask an engine; return the status of its answer (0 if it is not HTTP) and the body."""
    with _connect(address) as link:
        link.settimeout(seconds)
        link.sendall(f"GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    is_http = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return (int(words[1]) if is_http else 0), body


def _seen_from_here(error: OSError, path: str) -> OSError:
    """Take a socket in a folder that this user may not enter for one that is not there.

    Another user's engine is none that a group would open: systemd makes /run/podman for root alone.
    """
    hidden = error.errno == EACCES and not os.path.exists(path)
    return FileNotFoundError(ENOENT, os.strerror(ENOENT), path) if hidden else error


def engine(seconds: float = _ANSWER_SECONDS) -> str:
    """Some socket answers /_ping within `seconds`; the Lab VM, and root, can start dockerd."""
    found = chosen(os.environ)
    if found and not found.plain:
        return _listens(found.address)
    sockets = [f"unix://{path}" for path in usual_sockets(os.environ)]
    failures: dict[str, OSError] = {}
    for address in [found.address] if found else sockets:
        try:
            status, _ = get(address, "/_ping", seconds)
        except OSError as error:
            failures[address] = _seen_from_here(error, urlsplit(address).path)
            continue
        if status == 200:
            return address
        failures[address] = OSError(0, f"/_ping answered {status or 'something that is not HTTP'}")
    known = refusals.gather()
    has_docker = installed() == "dockerd"
    if has_docker and os.environ.get("LAB_IN_PAGE") == "1":
        return "dockerd, started on first use: half a minute, here"
    if has_docker and known.in_vm:
        return "dockerd, started on first use"
    is_ill = any(not error.errno for error in failures.values())  # it answers, but not well
    if not found and not is_ill and may_be_private(known):
        return "a private one is started when first asked for"
    raise why_no_engine(failures, known, installed())


def _listens(address: str) -> str:
    try:
        reach(address)
    except OSError as error:
        remedy = f"look at it: docker --host {address} info"
        raise Refused(f"nothing answers at {address}: {error}", remedy) from error
    return f"{address} (somebody listens; it was not asked, since it needs keys)"


def may_be_private(known: refusals.Facts) -> bool:
    """Tell whether this process may start an engine for itself alone: as the machine's root."""
    users = Path("/proc/self/uid_map").read_text().split()
    is_root = known.euid == 0 and known.privileged and users == ALL_USERS
    return is_root and shutil.which("dockerd") is not None


def installed() -> str:
    """Return the engine's program that is here, "" if none is."""
    return next(filter(shutil.which, ("dockerd", "podman")), "")


def why_no_engine(failures: dict[str, OSError], known: refusals.Facts, program: str) -> Refused:
    """Explain from the sockets' failures, the most telling first, why no engine answers.

    `program` is what is `installed`.
    """
    by_errno = {error.errno: address for address, error in reversed(failures.items())}
    if address := by_errno.get(EACCES):
        remedy = join_group(urlsplit(address).path)
        return Refused(f"this user may not use the engine's socket {address}", remedy)
    if address := by_errno.get(ECONNREFUSED):
        return Refused(f"nothing listens at {address}: the daemon is down", known.start("docker"))
    for address, error in failures.items():
        if error.errno != ENOENT:
            reason = f"the engine at {address} does not answer: {error.strerror or error}"
            remedy = "try again in a minute if it is being started"
            return Refused(reason, f"{remedy}; else: docker --host {address} info")
    if program == "podman":
        reason = "podman is installed, and none of its sockets is there"
        return Refused(reason, "systemctl --user start podman.socket")
    if program:
        return Refused("the Docker daemon is not running", known.start("docker"))
    looked = ", ".join(address.removeprefix("unix://") for address in failures)
    packages = " ".join(dict.fromkeys(["docker.io", *packages_of_docker()]))
    return Refused(
        f"no engine was found (looked at {looked})", known.install(packages, "docker or podman")
    )


def builds() -> str:
    """The base image of the tutorials' app, and BuildKit to build on it; there is room for both."""
    if os.environ.get("LAB_IN_PAGE") == "1":
        raise Refused("neither BuildKit nor an image of 200 MB fits into the page's machine")
    if not shutil.which("podman"):
        command_line()
    return "./lab base makes the tutorials' base image"


def registry() -> str:
    """A registry's program."""
    if program := find():
        return f"the program {program.name}"  # not its path: this is read in saved notebooks
    remedy = "./lab registry (it fetches the program, and installs nothing)"
    raise Refused("the program docker-registry is not here", remedy)


def command_line() -> str:
    """The program docker; which engine it speaks to depends on its environment."""
    if program := shutil.which("docker"):
        return program
    reason = "the command docker is not installed (notebooks speak to the engine by its API)"
    raise Refused(reason, refusals.gather().install(" ".join(packages_of_docker()), "docker"))


def compose() -> str:
    """The command that reads compose files: `docker compose`, or the older `docker-compose`."""
    import subprocess

    argv = [command_line(), "compose", "version"]
    if subprocess.run(argv, env=_WITHOUT_SETTINGS, capture_output=True, check=False).returncode:
        if not shutil.which("docker-compose"):
            install = refusals.gather().install("docker-compose", "docker compose")
            raise Refused("docker compose is not installed", install)
        return "docker-compose"
    return "docker compose"


def packages_of_docker() -> list[str]:
    """Name the packages of the command docker and its plug-ins: since Debian 13, their own."""
    import subprocess

    split = ["docker-cli", "docker-buildx", "docker-compose"]
    if apt := shutil.which("apt-cache"):
        asked = subprocess.run([apt, "show", split[0]], capture_output=True, check=False)
        return ["docker.io"] if asked.returncode else split
    return ["docker.io"]
