"""Waiting for what comes a moment later, and owners: programs that are killed as by `kill -9`."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def wait_until(
    true: Callable[[], Any], seconds: float = 5, why: Callable[[], str] = lambda: ""
) -> Any:
    """Wait until a condition holds, and return what it is then; fail if it never does."""
    until = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > until:
            pytest.fail(f"not so after {seconds} s; {why()}")
        time.sleep(0.02)
    return found


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
