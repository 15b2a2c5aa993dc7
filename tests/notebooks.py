"""nbval, made honest: what was not run is skipped, what failed silently fails.

nbval runs a notebook's cells as tests. Its holes, and what is done about each here:

- a cell that `# needs:` what this machine lacks is a reported skip, and a failure where
  `LAB_MUST_HAVE` names it;
- a failing magic (which hides the rest of its cell) and a failing `!command` fail;
- `raises-exception` demands an exception;
- a dead kernel is noticed within a second, not after the cell's time-out;
- `NBVAL_CHECK_OUTPUT` on a cell that was saved without having been run fails;
- the kernel is asked to end, not killed, so that what its cells started ends with it.

This knows nbval 0.11's insides: test_nbval_plugin.py holds every line above against toy notebooks.
"""

import os
import re
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import nbval.kernel
import nbval.plugin
import pytest
from jupyter_client.manager import KernelManager
from jupyter_core.paths import jupyter_runtime_dir
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, NbCellError
from traitlets import default

from labsupport.ownership import marks

SKIPPED = "application/vnd.labsupport.skipped+json"
SHELL_LINE = re.compile(r"^\s*!(?!!)", re.MULTILINE)
HEARTBEAT_SECONDS = 0.5
GOODBYE_SECONDS = 10
ANSWER_SECONDS = 300


class PortlessManager(KernelManager):
    """Meets its kernel at Unix sockets.

    Ports are chosen first and bound later: sometimes another program takes one meanwhile, and
    nbval waits a minute in vain.
    """

    @default("transport")
    def _unix(self) -> str:
        return "ipc"

    @default("ip")
    def _sockets(self) -> str:
        folder = Path(jupyter_runtime_dir())
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return str(folder / f"nbval-{secrets.token_hex(6)}")


class HonestKernel(RunningKernel):
    """nbval's kernel, which also notices its death, keeps its last reply, and ends politely."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.reply: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    def _ensure_iopub_up(self) -> None:
        """Ask until both channels answer; nbval waits for 10 s, too short for a slow computer."""
        for _ in range(30):
            asked = self.kc.kernel_info()
            self.await_reply(asked, timeout=ANSWER_SECONDS)
            with suppress(Empty):
                return self.await_idle(asked, 1)
        raise RuntimeError("the kernel answers, but tells nothing on its channel IOPub")

    def execute_cell_input(self, cell_input: str, allow_stdin: bool | None = None) -> str:
        """Run a cell, and ask for the exit status of its last `!command` if it has one."""
        self.reply = {}
        asked = {"status": "_exit_code"} if SHELL_LINE.search(cell_input) else {}
        return self.kc.execute(
            cell_input, store_history=False, allow_stdin=allow_stdin, stop_on_error=False,
            user_expressions=asked,
        )  # fmt: skip

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait for a message; raise `RuntimeError` as soon as the kernel is dead."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                message = super().get_message(stream, timeout=min(HEARTBEAT_SECONDS, left))
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died while this cell was running") from None
                if left <= HEARTBEAT_SECONDS:
                    raise
                continue
            if message["msg_type"] == "execute_reply":
                self.reply = message["content"]
            return message

    def exit_status(self) -> int:
        """Return the status of the last `!command` of the cell that was just run; 0 without one."""
        answer = self.reply.get("user_expressions", {}).get("status", {})
        return int(answer["data"]["text/plain"]) if answer.get("status") == "ok" else 0

    def stop(self) -> None:
        """Let the kernel run its exit handlers, which end what the cells have started."""
        self.kc.stop_channels()
        self.km.shutdown_wait_time = GOODBYE_SECONDS
        self.km.shutdown_kernel(now=False)
        del self.km


def pytest_configure(config: pytest.Config) -> None:
    # What tests guess and solve is not kept as progress.
    mine = marks.prefix("progress")  # which the next notebook sweeps, had we no time to
    scratch = TemporaryDirectory(prefix=mine, ignore_cleanup_errors=True)
    os.environ["LAB_PROGRESS"] = f"{scratch.name}/progress.jsonl"
    config.add_cleanup(scratch.cleanup)
    nbval.plugin.RunningKernel = HonestKernel
    nbval.kernel.KernelManager = PortlessManager
    if names := must_have():
        from labsupport import probe

        machine = probe()
        for name in names:
            machine.can(name)  # a misspelt name is an error


def must_have() -> set[str]:
    """Return the capabilities whose absence is a failure."""
    return set(os.environ.get("LAB_MUST_HAVE", "").replace(",", " ").split())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    if not isinstance(item, IPyNbCell):
        return (yield)
    try:
        result = yield
    except NbCellError:  # an exception, another output than saved, a time-out
        _skip_if_not_run(item)
        raise
    _skip_if_not_run(item)
    _fail_if_never_compared(item)
    _fail_if_silent(item)
    return result


def _outputs(item: IPyNbCell) -> list[dict[str, Any]]:
    return item.test_outputs or []


def _raised(item: IPyNbCell) -> bool:
    return any(output["output_type"] == "error" for output in _outputs(item))


def _skip_if_not_run(item: IPyNbCell) -> None:
    """Report a skip if the cell was replaced by a notice, and nothing was raised after it."""
    notices = [output.get("data", {}).get(SKIPPED) for output in _outputs(item)]
    missing = {name: why for notice in notices if notice for name, why in notice["missing"].items()}
    if not missing or _raised(item) or item.parent.kernel.reply.get("status") == "error":
        return
    skip_or_fail(missing)


def skip_or_fail(missing: Mapping[str, object]) -> NoReturn:
    """Skip for lack of something, and say why it is missing; fail if `LAB_MUST_HAVE` names it."""
    reasons = "; ".join(f"needs {name}: {why}" for name, why in sorted(missing.items()))
    if broken := sorted(must_have() & missing.keys()):
        pytest.fail(f"LAB_MUST_HAVE names {', '.join(broken)}, but this {reasons}", pytrace=False)
    pytest.skip(reasons)


def _fail_if_never_compared(item: IPyNbCell) -> None:
    if item.options["check"] and item.cell.execution_count is None:
        pytest.fail(
            "NBVAL_CHECK_OUTPUT, but the notebook was saved without running this cell: "
            "there is nothing to compare with. Run all cells and save it.",
            pytrace=False,
        )


def _fail_if_silent(item: IPyNbCell) -> None:
    kernel, tolerant = item.parent.kernel, item.options["check_exception"]
    if tolerant and not _raised(item):
        pytest.fail("tagged raises-exception, but nothing was raised", pytrace=False)
    if tolerant:
        return
    if kernel.reply.get("status") == "error":
        pytest.fail("the kernel refused the cell: a failing or unknown %magic?", pytrace=False)
    if status := kernel.exit_status():
        pytest.fail(f"the last !command ended with status {status}", pytrace=False)
