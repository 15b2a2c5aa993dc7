"""Logging in: a key for the occasion, known hosts of our own; the user's are never touched."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labsupport.completed import Completed
from labsupport.errors import ProgramNotFound, TimedOut

USER = "student"
_LONGEST_SOCKET = 90  # bytes of a Unix socket's path, with what ssh adds to it
CONNECT_SECONDS = 30


def make_key(path: Path) -> str:
    """Make a key pair (Ed25519, no passphrase) at `path` and `path.pub`; return the public half."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)]
    try:
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    except FileNotFoundError as error:
        raise ProgramNotFound(
            "a key cannot be made", "no program `ssh-keygen`", "sudo apt-get install openssh-client"
        ) from error
    return path.with_name(path.name + ".pub").read_text().split()[1]


@dataclass(frozen=True)
class Login:
    """How to reach a machine: its port on this machine's loopback, a key, and who is trusted."""

    port: int
    key: Path
    known_hosts: Path

    def trust(self, host_key: str) -> None:
        """Write down which host key is the machine's, so that nobody else is taken for it."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key}\n")

    def with_key(self, key: Path) -> Login:
        """Return the same with another key."""
        return replace(self, key=key)

    def options(self, *, shared: bool = True) -> list[str]:
        """Return ssh's options: nothing is read from or written to the user's own `~/.ssh`."""
        chosen = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "BatchMode": "yes",
            "ConnectTimeout": CONNECT_SECONDS,
        }
        socket = self.key.with_name("s")
        if shared and len(bytes(socket)) < _LONGEST_SOCKET:
            chosen |= {"ControlMaster": "auto", "ControlPath": socket, "ControlPersist": "yes"}
        written = {
            name: f'"{each}"' if isinstance(each, Path) else each for name, each in chosen.items()
        }
        return ["-F", "none", *(f"-o{name}={value}" for name, value in written.items())]

    def command(self, line: str, *, shared: bool = True) -> list[str]:
        """Return the ssh command that has the machine's shell run a line."""
        target = ["-p", str(self.port), f"{USER}@127.0.0.1"]
        return ["ssh", *self.options(shared=shared), *target, line]

    def copy_command(self, source: Path, destination: str) -> list[str]:
        """Return the scp command that copies a file or folder into the machine."""
        options = ["-q", "-r", *self.options(), "-P", str(self.port)]
        return ["scp", *options, str(source), f"{USER}@127.0.0.1:{destination}"]


def run(command: Sequence[str], told: Sequence[str], *, text: str, timeout: float) -> Completed:
    """Run ssh or scp to its end; the result says `told` instead. Raises `TimedOut`."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{told[0]} in the machine", f"not done after {timeout:g} s") from error
    out, err = (each.decode(errors="replace") for each in (done.stdout, done.stderr))
    return Completed(tuple(told), out, err, done.returncode, time.monotonic() - began)
