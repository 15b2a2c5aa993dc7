"""The Lab VM in an ordinary, locked-down container, as on Binder or in a JupyterHub. About 20 s.

The container has this machine's own files under a bare root, read-only, so there is nothing to
download or to build. Its process 1 is not an init, as is usual there.
"""

import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.toys import CHECKOUT

LOCKED = {
    "user": "1000", "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"],
    "network_mode": "none", "mem_limit": "2g", "nano_cpus": 1_000_000_000,
}  # fmt: skip
CHARGED_MB = 350
Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(vm_kernel, engine):
    """Return what runs a program in such a container and returns its output."""
    environment = {"HOME": "/tmp", "LAB_KERNEL": str(vm_kernel), "PYTHONDONTWRITEBYTECODE": "1"}
    pythons = [Path(sys.prefix), Path(sys.base_prefix)]  # the environment, and what it is made from
    needed = outermost([Path("/usr"), CHECKOUT, vm_kernel, *pythons])
    volumes = [f"{path}:{path}:ro" for path in needed]
    engine.client.api.import_image_from_data(bare_root(), "labtest/bare")

    def run(*argv):
        container = engine.client.containers.run(
            "labtest/bare", list(argv), environment=environment, volumes=volumes,
            detach=True, **LOCKED,
        )  # fmt: skip
        try:
            status = container.wait(timeout=60)["StatusCode"]
            assert status == 0, container.logs().decode()
            return container.logs(stderr=False).decode()
        finally:
            container.remove(force=True)

    return run


def outermost(paths):
    """Leave out what is in another one."""
    return [path for path in dict.fromkeys(paths) if not set(path.parents) & set(paths)]


def bare_root():
    """A root with the few folders that any has, and this machine's links to `/usr`."""
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, mode in {"etc": 0o755, "run": 0o755, "tmp": 0o1777}.items():
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, mode
                tar.addfile(folder)
            for name in ("bin", "lib", "lib64", "sbin"):
                if os.path.islink(f"/{name}"):
                    tar.add(f"/{name}", name)
        return packed.getvalue()


def test_the_container_is_locked_down(run):
    status = dict(line.split(":", 1) for line in run("cat", "/proc/self/status").splitlines())
    assert status["Uid"].split()[0] == "1000"
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")


def test_a_program_runs_as_root_in_a_guest(run):
    said = run(sys.executable, "-m", "labsupport", "vm", "--", "sh", "-c", "uname -r; id -u")
    release, user = said.split()
    assert release != os.uname().release
    assert user == "0"


def test_auto_takes_the_guest_which_is_small_and_dies_with_its_launcher(run):
    program = Path(__file__).with_name("killed_kernel.py")
    found = json.loads(run(sys.executable, str(program)))
    assert found["said"] == "0 vm"
    assert found["charged_mb"] <= CHARGED_MB
    assert found["running"] > 2
    assert found["left"] == []
    assert len(found["zombies"]) <= 1  # the keeper, if it was orphaned: nobody else reaps
    own = CHECKOUT.relative_to("/tmp").parts[:1] if CHECKOUT.is_relative_to("/tmp") else ()
    assert set(found["files"]) <= set(own)
