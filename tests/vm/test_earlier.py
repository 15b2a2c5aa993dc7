"""A new kernel says that the notebook's earlier one is gone. No guest; a few seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from labsupport.vm import kernelspecs, notice

SECONDS = 60


@pytest.fixture
def specs(tmp_path: Path) -> KernelSpecManager:
    kernelspecs.install(tmp_path / "prefix")
    folder = tmp_path / "prefix" / "share" / "jupyter" / "kernels"
    return KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)


@contextmanager
def kernel(
    specs: KernelSpecManager, file: Path, notebook: str
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Run a kernel of the course at the host, as a server would for this notebook."""
    manager = KernelManager(
        kernel_name="lab-host", kernel_spec_manager=specs, connection_file=str(file)
    )
    manager.start_kernel(env={**os.environ, "JPY_SESSION_NAME": notebook})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def said(client: BlockingKernelClient, code: str = "None") -> str:
    """Run a cell, and return what it wrote to its streams."""
    found: list[str] = []

    def hear(message: dict) -> None:
        if message["msg_type"] == "stream":
            found.append(message["content"]["text"])

    client.execute_interactive(code, timeout=SECONDS, output_hook=hear)
    return "".join(found)


def test_only_a_second_kernel_of_a_notebook_says_so_and_says_it_once(
    specs: KernelSpecManager, tmp_path: Path
) -> None:
    with kernel(specs, tmp_path / "kernel-a.json", "/one.ipynb") as (manager, client):
        assert notice.WORDS not in said(client)
        manager.restart_kernel(now=True)  # JupyterLab says so itself
        client.wait_for_ready(timeout=SECONDS)
        assert notice.WORDS not in said(client)
    with kernel(specs, tmp_path / "kernel-b.json", "/two.ipynb") as (_, client):
        assert notice.WORDS not in said(client)
    with kernel(specs, tmp_path / "kernel-c.json", "/one.ipynb") as (_, client):
        assert said(client).count(notice.WORDS) == 1
        assert notice.WORDS not in said(client)


def test_what_an_ended_server_left_is_removed(tmp_path: Path) -> None:
    gone = {"JPY_SESSION_NAME": "/one.ipynb", "JPY_PARENT_PID": str(1 << 22)}  # above any PID
    here = {**gone, "JPY_PARENT_PID": str(os.getpid())}
    first, second = (str(tmp_path / f"kernel-{name}.json") for name in "ab")
    assert notice.of_earlier_kernel(first, gone) == ""
    assert notice.of_earlier_kernel(second, here) == ""
    assert len(list(tmp_path.iterdir())) == 1
    assert notice.of_earlier_kernel(first, here) == notice.WORDS


@pytest.mark.parametrize("missing", ["JPY_SESSION_NAME", "JPY_PARENT_PID"])
def test_a_kernel_of_no_notebook_or_no_server_leaves_nothing(tmp_path: Path, missing: str) -> None:
    known = {"JPY_SESSION_NAME": "/one.ipynb", "JPY_PARENT_PID": str(os.getpid())}
    known.pop(missing)
    assert notice.of_earlier_kernel(str(tmp_path / "kernel.json"), known) == ""
    assert list(tmp_path.iterdir()) == []
