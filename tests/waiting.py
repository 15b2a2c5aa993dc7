"""Waiting for what comes a moment later, and owners: programs that are killed as by `kill -9`."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def wait_until(
    true: Callable[[], Any], seconds: float = 30, why: Callable[[], str] = lambda: ""
) -> Any:
    """Wait until a condition holds, and return what it is then; fail if it never does.

    Programs that tests start sleep for a minute at least, and must not end by themselves meanwhile.
    """
    until = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > until:
            pytest.fail(f"not so after {seconds} s; {why()}")
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def sleeper(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `sleep 1000` with some variables more, and kill it afterwards."""
    env = {**os.environ, **environment}
    with subprocess.Popen(["sleep", "1000"], env=env) as process:
        # exec tells Popen a moment before it sets the name
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def owner(code: str, **options: Any) -> Iterator[tuple[int, str]]:
    """Run Python until it prints a line; yield its PID and the line, and kill it afterwards."""
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            assert process.stdout
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.kill()
