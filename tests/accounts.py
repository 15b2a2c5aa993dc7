"""An ordinary user made for a run of the tests, and everything of theirs removed afterwards."""

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import wait_until

USERS_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"  # as Debian has it
KEPT = ("LANG", "LC_ALL", "CI", "CHROMIUM", "TERM", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class User:
    """A user whose rights a program can be run with; `is_me` means that no change is needed."""

    name: str
    uid: int
    home: Path
    is_me: bool = False

    def command(self, argv: Sequence[str], env: Mapping[str, str] = {}) -> list[str]:
        """Return what runs `argv` as this user, in an environment of their own (`env` added)."""
        kept = {name: os.environ[name] for name in os.environ if name in KEPT or name[:4] == "LAB_"}
        mine = {"HOME": str(self.home), "USER": self.name, "LOGNAME": self.name}
        scratch = {"TMPDIR": str(self.home / "tmp"), "PATH": USERS_PATH}
        words = [f"{name}={value}" for name, value in {**kept, **mine, **scratch, **env}.items()]
        return ["runuser", "-u", self.name, "--", "env", "-i", *words, *argv]

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as this user; `options` are those of `subprocess.run`."""
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        env, check = options.pop("env", {}), options.pop("check", False)
        if self.is_me:
            return subprocess.run(argv, env={**os.environ, **env}, check=check, **options)
        return subprocess.run(self.command(argv, env), check=check, **options)

    def processes(self) -> list[tuple[int, str]]:
        """Return PID and command of each of this user's processes."""
        each = psutil.process_iter(["pid", "uids", "cmdline"])
        ours = [it.info for it in each if it.info["uids"] and it.info["uids"].real == self.uid]
        return [(it["pid"], " ".join(it["cmdline"] or ())) for it in ours]


def me() -> User:
    """Return the user who runs this."""
    entry = pwd.getpwuid(os.geteuid())
    return User(entry.pw_name, entry.pw_uid, Path(entry.pw_dir), is_me=True)


@contextmanager
def made_user(prefix: str = "labtest") -> Iterator[User]:
    """Make a user (this needs root); on exit end their processes and remove all that is theirs."""
    name = f"{prefix}{os.getpid()}"
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
    try:
        entry = pwd.getpwnam(name)
        user = User(name, entry.pw_uid, Path(entry.pw_dir))
        (user.home / "tmp").mkdir()
        os.chown(user.home / "tmp", entry.pw_uid, entry.pw_gid)
        yield user
        _end_processes(user)
    finally:
        subprocess.run(
            ["userdel", "--force", "--remove", name], check=True, stderr=subprocess.DEVNULL
        )


def _end_processes(user: User) -> None:
    def left() -> list[tuple[int, str]]:
        for pid, _command in user.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return user.processes()

    wait_until(lambda: not left(), why=lambda: f"left: {user.processes()}")
