"""A container of the engine: its filter read out, and tried in a child."""

import os
import shutil

import pytest

from labsupport import Filter, capabilities, probe
from labsupport.build.bases import base_image
from labsupport.engine.client import Engine
from labsupport.seccomp.syscall_table import BYPASS_SECCOMP, numbers

DOCKERD = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not DOCKERD or not probe().can("seccomp.read"),
    reason="needs root, dockerd (apt-get install docker.io) and seccomp.read",
)
CONTAINERS = {
    "default": {},
    "cap-add": {"cap_add": ["SYS_ADMIN", "SYS_PTRACE"]},
    "cap-drop": {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]},
}


@pytest.fixture(scope="module")
def engine():
    inside_vm = os.environ.get("LAB_IN_VM") == "1"
    with Engine.connect() if inside_vm else Engine.start_private() as engine:
        yield engine


@pytest.fixture(scope="module")
def run(engine):
    """Return what starts a container, and gives its PID 1."""

    def start(**options):
        container = engine.client.containers.run(
            base_image(engine).id, ["sleep", "600"], detach=True, network_mode="none", **options
        )
        container.reload()
        started.append(container)
        return container.attrs["State"]["Pid"]

    started = []
    yield start
    for container in started:
        container.remove(force=True)


@pytest.fixture(scope="module", params=list(CONTAINERS))
def container(request, run):
    return run(**CONTAINERS[request.param])


def test_reading_and_trying_agree_for_every_system_call(container):
    agreement = Filter.of(container).agreement()

    assert agreement.disagreements == ()
    assert agreement.calls == len(set(numbers()) - BYPASS_SECCOMP)
    assert len(agreement.trials) > agreement.calls  # some depend on arguments


def test_what_the_default_profile_refuses(run):
    pid = run()
    verdicts = {verdict.name: verdict for verdict in Filter.of(pid).verdicts()}

    for name in ("reboot", "mount", "unshare", "keyctl", "swapon", "init_module", "quotactl"):
        assert verdicts[name].errno == "EPERM", name
    assert verdicts["openat"].action == "allow"
    assert verdicts["clone"].depends_on_arguments == (0,)
    assert len(capabilities(pid).effective) == 14
