"""What dead owners leave is found by its mark; nothing else is."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from labsupport import Sandbox, ownership


def sleeper(**environment):
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, **environment})
    while "sleep" not in Path(f"/proc/{process.pid}/cmdline").read_text():
        time.sleep(0.001)
    return process


@pytest.fixture
def dead_mark():
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = ownership.mark(owner.pid)
    owner.communicate(b"\n")
    return mark


def test_a_mark_lives_as_long_as_its_process(dead_mark):
    assert ownership.is_alive(ownership.mark())
    assert not ownership.is_alive(dead_mark)
    assert not ownership.is_alive(f"{os.getpid()}:1")
    assert not ownership.is_alive("nonsense")


def test_only_marked_processes_of_dead_owners_are_removed(dead_mark, capsys):
    left = sleeper(LABSUPPORT_OWNER=dead_mark)
    owned = sleeper(LABSUPPORT_OWNER=ownership.mark())
    unmarked = sleeper(LABSUPPORT_OWNER="")

    assert ownership.main(["--dry-run"]) == 0
    assert f"would remove: process {left.pid} (sleep)" in capsys.readouterr().out
    assert left.poll() is None
    assert ownership.main([]) == 0
    assert f"removed: process {left.pid}" in capsys.readouterr().out
    assert left.wait(5) == -9
    assert owned.poll() is None
    assert unmarked.poll() is None
    for process in (owned, unmarked):
        process.kill()
        process.wait()


def test_programs_in_sandboxes_carry_the_mark():
    with Sandbox() as box:
        environment = box.run(["env"]).stdout.splitlines()
    assert f"LABSUPPORT_OWNER={ownership.mark()}" in environment


def test_folders_of_dead_owners_are_removed(dead_mark, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    left = tmp_path / f"labsupport-web-{dead_mark.replace(':', '-')}-{boot}-abc"
    owned = tmp_path / f"{ownership.prefix('web')}abc"
    foreign = tmp_path / "labsupport-notes"
    hosts = tmp_path / f"labsupport-web-{dead_mark.replace(':', '-')}-00000000-abc"  # seen in a VM
    for folder in (left, owned, foreign, hosts):
        folder.mkdir()
        (folder / "file").write_text("x")
    assert ownership.main([]) == 0
    assert not left.exists()
    assert owned.exists()
    assert foreign.exists()
    assert hosts.exists()
