"""Podman's API service, with a store of its own that goes with it."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_SECONDS = 20
IS_HYBRID = Path("/sys/fs/cgroup/unified").exists()  # crun does not run there


def why_none() -> str:
    """Tell why there is none here; "" if there is one."""
    if os.geteuid() != 0 or not shutil.which("podman"):
        return "needs root and podman (apt-get install podman)"
    if IS_HYBRID and not shutil.which("runc"):
        return "needs runc, since crun does not run on hybrid cgroups (apt-get install runc)"
    return ""


@contextmanager
def service() -> Iterator[str]:
    """Start the service, and yield what `DOCKER_HOST` would be."""
    with tempfile.TemporaryDirectory(prefix="labpodman-") as folder:
        home = Path(folder)
        store = ["podman", f"--root={home}/root", f"--runroot={home}/run", f"--tmpdir={home}/tmp",
                 "--storage-driver=vfs", "--cgroup-manager=cgroupfs"]  # fmt: skip
        runtime = [f"--runtime={shutil.which('runc')}"] if IS_HYBRID else []
        address = home / "podman.sock"
        with (home / "log").open("w+") as log:
            argv = [*store, *runtime, "system", "service", "--time=0", f"unix://{address}"]
            process = subprocess.Popen(argv, stdout=log, stderr=log)
            try:
                until = time.monotonic() + PATIENCE_SECONDS
                while not address.exists():
                    assert process.poll() is None, (home / "log").read_text()
                    assert time.monotonic() < until, "podman's service does not begin"
                    time.sleep(0.05)
                yield f"unix://{address}"
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE_SECONDS)
