"""A container of the engine: its filter read out, tried in a child, and tried inside it."""

import json
import os
import shutil

import pytest

from labsupport import Filter, capabilities, probe
from labsupport.engine.client import Engine
from labsupport.linux.filters import attempts
from labsupport.linux.filters.agreement import judged, samples
from labsupport.linux.filters.bpf import decode
from labsupport.linux.filters.syscall_table import BYPASS_SECCOMP, numbers

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
def run(engine, tmp_path_factory):
    """Return what starts a container that sees this machine's files at /host."""
    request = tmp_path_factory.mktemp("trial") / "request"

    def start(**options):
        volumes = {"/": {"bind": "/host", "mode": "ro"},
                   str(request.parent): {"bind": "/trial", "mode": "rw"}}  # fmt: skip
        container = engine.client.containers.run(
            engine.base_image().id, ["sleep", "600"], detach=True, network_mode="none",
            volumes=volumes, **options,
        )  # fmt: skip
        container.reload()
        started.append(container)
        return container, container.attrs["State"]["Pid"], request

    started = []
    yield start
    for container in started:
        container.remove(force=True)


@pytest.fixture(scope="module", params=list(CONTAINERS))
def container(request, run):
    return run(**CONTAINERS[request.param])


def test_reading_and_trying_agree_for_every_system_call(container):
    agreement = Filter.of(container[1]).agreement()

    assert agreement.disagreements == ()
    assert agreement.calls == len(set(numbers()) - BYPASS_SECCOMP)
    assert len(agreement.trials) > agreement.calls  # some depend on arguments


@pytest.mark.parametrize("container", ["default", "cap-add"], indirect=True)  # both may chroot
def test_trying_inside_the_container_agrees_as_well(container):
    inside, pid, file = container
    programs = [decode(program) for program in Filter.of(pid).programs]
    calls = [call for each in attempts.every_call() for call in samples(programs, each[0])]
    file.write_text(json.dumps({"programs": [], "calls": calls}))
    # by files: Docker 20 now and then loses what a program says, when it ends at once
    line = 'exec chroot /host "$@" < /trial/request > /trial/answer 2> /trial/complaint'
    inside.exec_run(["sh", "-c", line, "sh", *attempts.command()])

    said = [file.with_name(name).read_text() for name in ("answer", "complaint")]
    tried = attempts.trials(calls, *said)
    assert judged(programs, tried).disagreements == ()


def test_what_the_default_profile_refuses(run):
    _, pid, _ = run()
    verdicts = {verdict.name: verdict for verdict in Filter.of(pid).verdicts()}

    for name in ("reboot", "mount", "unshare", "keyctl", "swapon", "init_module", "quotactl"):
        assert verdicts[name].errno == "EPERM", name
    assert verdicts["openat"].action == "allow"
    assert verdicts["clone"].depends_on_arguments == (0,)
    assert len(capabilities(pid).effective) == 14


def test_a_capability_moves_the_count(run):
    _, default, _ = run()
    _, more, _ = run(cap_add=["SYS_ADMIN"])

    assert Filter.of(more).count()["denied"] < Filter.of(default).count()["denied"]
    assert Filter.of(more).verdict("mount").action == "allow"


def test_an_unconfined_container_has_no_filter(run):
    _, pid, _ = run(security_opt=["seccomp=unconfined"])

    assert Filter.of(pid).programs == ()
