"""The probes against the real kernel, as root and as an ordinary user, and their refusals.

Most refusals are real ones too: the rule that forbids something is set up in a namespace of the
test's own. Takes about 15 s.
"""

import grp
import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from errno import EACCES, EINVAL, ENOENT, EPERM
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from labsupport import Engine, probe
from labsupport.cgroup import life
from labsupport.doctor import addresses, guest, runner, tries
from labsupport.doctor.machine import CORE, Machine, Refusal, vm_offers
from labsupport.doctor.tries import CAPABILITIES
from labsupport.errors import EngineDown, LabError
from labsupport.kernel.mounts import CONTROLLERS, Hierarchy, find, version
from labsupport.kernel.proc import CAP_SYS_ADMIN
from labsupport.kernel.refusals import READ_FILTER, TRACE_CALLS, Facts, explain
from tests import census
from tests.engine.help import answering
from tests.toys import CHECKOUT, stand_in
from tests.waiting import owner, wait_until

IS_ROOT = os.geteuid() == 0
NAMESPACES = [name for name in CAPABILITIES if name.startswith("ns.")]


def doctor(*prefix, run=subprocess.run, **environ):
    """Probe in a process of its own: behind `prefix` commands, by `run`, with `environ`."""
    settings = [f"{name}={value}" for name, value in environ.items()]
    argv = ["env", "-u", "LAB_PRETEND_MISSING", *settings, *prefix]
    argv += [sys.executable, "-m", "labsupport", "doctor", "--json"]
    told = run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)["capabilities"]


@pytest.fixture(scope="module")
def here():
    """What the doctor says of this machine to who runs this."""
    return doctor()


@pytest.fixture(scope="module", params=["root", "ordinary user"])
def found(request):
    """Return how programs are run, as root and as an ordinary user, and what the doctor says."""
    if request.param == "root" and not IS_ROOT:
        pytest.skip("needs root")
    if request.param == "root":
        return subprocess.run, request.getfixturevalue("here")
    as_user = request.getfixturevalue("as_user")
    return as_user, doctor(run=as_user)


def can_do(run, *argv):
    return run(argv, capture_output=True, check=False).returncode == 0


def userns(run):
    return [] if IS_ROOT and run is subprocess.run else ["--user", "--map-root-user"]


LINK = ["ip", "link", "add", "lab-a", "type", "veth", "peer", "name", "lab-b"]
TYPED = {
    **{name: ["unshare", f"--{name.removeprefix('ns.')}", "true"] for name in NAMESPACES},
    "ns.pid": ["unshare", "--pid", "--fork", "--mount-proc", "true"],
    "ns.user": ["unshare", "--user", "--map-root-user", "true"],
    "net.admin": ["unshare", "--net", *LINK],
    "psi": ["cat", "/proc/pressure/memory"],
}


@pytest.mark.parametrize("name", TYPED)
def test_the_verdict_is_that_of_the_command_that_a_student_types(found, name):
    run, told = found
    program, *options = TYPED[name]
    if program == "unshare":
        options[:0] = userns(run)
    assert told[name]["can"] == can_do(run, program, *options)


@pytest.mark.parametrize("name", ["memory", "cpu", "pids", "io"])
def test_the_verdict_on_a_controller_is_that_of_mkdir(found, name):
    run, told = found
    place = find(name)
    if place is None:
        assert not told[f"cgroup.{name}"]["can"]
        return
    if place.version == 2:
        pytest.skip("on cgroup v2 more than mkdir is asked for; tested in the Lab VM")
    group = place.own / f"lab-test-{os.getpid()}"
    made = can_do(run, "mkdir", str(group))
    if made:
        group.rmdir()
    assert told[f"cgroup.{name}"]["can"] == made


def test_a_filter_can_be_read_by_root_only(found):
    run, told = found
    if run is not subprocess.run or not IS_ROOT:
        assert "only root" in told["seccomp.read"]["reason"]
    elif "CONFIG_CHECKPOINT_RESTORE" not in told["seccomp.read"].get("remedy", ""):
        assert told["seccomp.read"] == {"can": True, "found": "read back 4 instructions"}


def test_system_calls_are_watched_by_root_only(found):
    run, told = found
    if run is not subprocess.run or not IS_ROOT:
        assert "only root of the machine itself" in told["bpf.trace"]["reason"]
        return
    program = "tracepoint:raw_syscalls:sys_enter { exit(); }"
    tracing = "[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing"
    typed = ["unshare", "--mount", "sh", "-ec", f"{tracing}; bpftrace -e '{program}'"]
    installed = shutil.which("bpftool") is not None
    assert told["bpf.trace"]["can"] == (installed and can_do(run, *typed))


def test_a_user_without_bpftrace_is_told_of_all_that_is_missing(monkeypatch):
    monkeypatch.setattr(tries.refusals, "gather", lambda: Facts(euid=1000, has_apt=True))
    monkeypatch.setattr(tries.shutil, "which", lambda _: None)
    with pytest.raises(runner.Refused) as no:
        tries.trace_calls()
    assert "apt-get install bpftrace bpftool" in no.value.remedy
    assert no.value.remedy.endswith("as root")


def test_a_paravirtual_kvm_is_not_taken_for_a_real_one(found):
    _, told = found
    if not Path("/sys/module/kvm_pvm").exists():
        pytest.skip("needs a KVM that runs only guests made for it")
    assert not told["kvm"]["can"]


def test_the_module_that_makes_dev_kvm_is_named(monkeypatch):
    """Without it, kvm itself can be loaded, and there is still no /dev/kvm."""
    monkeypatch.setattr(guest.os, "open", Mock(side_effect=FileNotFoundError(ENOENT, "")))
    with pytest.raises(runner.Refused) as no:
        guest.kvm()
    assert "modprobe kvm_intel" in no.value.remedy  # with sudo, or "(as root)"


def test_every_no_has_a_reason_and_every_yes_a_finding(found):
    _, told = found
    assert list(told) == list(CAPABILITIES)
    for name, answer in told.items():
        assert answer["found"] if answer["can"] else answer["reason"], name
        assert "the probe itself failed" not in answer.get("reason", ""), name


# ---- nothing is left -------------------------------------------------------------------------


def traces():
    mounts = sorted(
        line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
    )
    places = {find(name) for name in CONTROLLERS} - {None}
    groups = {g for place in places for g in place.mount.glob("**/labsupport-probe-*")}
    links = [name for _, name in socket.if_nameindex() if name.startswith("probe")]
    return mounts, groups, links


def nothing_more_than(before):
    """Assert that there is nothing new, once the probings of others have ended, too."""
    mounts, groups, links = before
    wait_until(lambda: not traces()[1] - groups)
    assert traces()[::2] == (mounts, links)


@pytest.mark.parametrize("who", ["self", "ordinary user"])
def test_nothing_is_left_of_two_probings(request, who):
    run = request.getfixturevalue("as_user") if who == "ordinary user" else subprocess.run
    mark = f"mark-{uuid.uuid4()}"
    before = traces()
    for _ in range(2):
        doctor(run=run, LAB_TEST_MARK=mark)
    nothing_more_than(before)
    assert not census.carrying(f"LAB_TEST_MARK={mark}")


STUCK = """
import sys, os, signal, subprocess
sys.path.insert(0, sys.argv[1])
from labsupport.doctor import runner, tries
from labsupport.kernel.mounts import find
def stuck():
    subprocess.run(["sleep", "60"])
def stuck_in_a_group():
    with tries._new_group(find("pids").own):
        signal.pause()
fine = lambda: "ok"
batches = [{"program": stuck, "behind": fine}, {"group": stuck_in_a_group}, {"fine": fine}]
batches.append({"dead": lambda: os.kill(os.getpid(), signal.SIGSYS), "behind the dead": fine})
print(runner.run(batches, 0.3))
"""


def test_a_stuck_probe_is_ended_with_its_children_and_says_so():
    mark = f"mark-{uuid.uuid4()}"
    before = traces()
    probing = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", STUCK, str(CHECKOUT)],
        env={**os.environ, "LAB_TEST_MARK": mark},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(
        lambda: len(census.carrying(f"LAB_TEST_MARK={mark}")) >= 2, 10
    )  # so the mark does find them
    said = probing.communicate(timeout=60)[0]
    for name in ("fine", "behind", "behind the dead"):
        assert f"'{name}': {{'found': 'ok'}}" in said
    assert "ended by SIGSYS" in said
    assert said.count("there was no answer within 0.3 s") == (2 if IS_ROOT else 1)
    assert not census.carrying(f"LAB_TEST_MARK={mark}")
    nothing_more_than(before)


WAITS_IN_A_GROUP = """
import time
from labsupport.doctor import tries
from labsupport.kernel.mounts import find
with tries._new_group(find("pids").own) as group:
    print(group, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not IS_ROOT, reason="needs root: it makes a control group")
def test_the_group_of_a_killed_probe_is_swept():
    with owner(WAITS_IN_A_GROUP) as (_, said):
        group = Path(said)
        assert group.is_dir()
    [left] = [left for left in life.find() if group.name in left.what]
    left.remove()
    assert not group.exists()


# ---- real refusals ---------------------------------------------------------------------------


def needs_user_namespaces():
    if not can_do(subprocess.run, "unshare", "--user", "--map-root-user", "true"):
        pytest.skip("needs user namespaces")


def in_own_namespaces(script):
    """Return a prefix: become root in new user, mount and PID namespaces, and run `script`."""
    needs_user_namespaces()
    options = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
    return ["unshare", *options, "sh", "-ec", f'{script}\nexec "$@"', "sh"]


def test_a_sysctl_that_forbids_a_namespace_is_named():
    told = doctor(*in_own_namespaces("echo 0 > /proc/sys/user/max_net_namespaces"))
    assert "user.max_net_namespaces is 0" in told["ns.net"]["reason"]
    assert "sysctl -w user.max_net_namespaces=" in told["ns.net"]["remedy"]
    assert "user.max_net_namespaces is 0" in told["net.admin"]["reason"]
    assert told["ns.uts"]["can"]


def test_a_covered_proc_is_told_from_other_refusals():
    # as container engines cover parts of it; the cover is locked in a further user namespace
    cover = in_own_namespaces("mount -t tmpfs none /proc/tty")
    told = doctor(*cover, "unshare", "--user", "--map-root-user", "--mount")
    assert "/proc are covered" in told["ns.pid"]["reason"]
    assert "systempaths=unconfined" in told["ns.pid"]["remedy"]
    assert told["ns.mount"]["can"]


def test_cgroups_mounted_read_only_are_told():
    place = find("memory")
    if place is None:
        pytest.skip("needs a mounted memory controller")
    told = doctor(*in_own_namespaces(f"mount -o remount,bind,ro {place.mount}"))
    assert "mounted read-only" in told["cgroup.memory"]["reason"]


DENY = """
import os, struct, sys
from labsupport.kernel import syscalls as sc
number = int(sys.argv.pop(1))
program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
sc.seccomp_set_filter(b"".join(struct.pack("HBBI", *line) for line in program))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_where_no_disk_can_be_made_its_traffic_cannot_be_limited(here):
    if not IS_ROOT:
        pytest.skip("needs root, to hide /dev/loop-control")
    nodes = "mount -t tmpfs dev /dev; mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9"
    told = doctor("unshare", "--mount", "sh", "-ec", f'{nodes}\nexec "$@"', "sh")
    assert "loop-control" in told["cgroup.io"]["reason"]
    assert told["cgroup.memory"] == here["cgroup.memory"]


@pytest.mark.parametrize(
    ("known", "is_there", "remedy"),
    [
        (Facts(euid=1000, has_sudo=True), True, "run ./lab as root"),
        (Facts(euid=1000, has_sudo=True), False, "sudo modprobe loop"),
        (Facts(in_container=True), False, "start the container with --privileged"),
    ],
)
def test_the_remedy_for_a_missing_loop_device_is_one_that_helps(known, is_there, remedy):
    assert tries.no_loop_device(known, is_there=is_there) == remedy


def test_a_seccomp_filter_that_forbids_unshare_is_suspected():
    number = {"x86_64": "272", "aarch64": "97"}[os.uname().machine]
    told = doctor(sys.executable, "-c", DENY, number)
    for name in NAMESPACES:
        assert "seccomp filter (Seccomp: 2" in told[name]["reason"]
    assert told["seccomp"]["can"]
    assert "runs under one itself" in told["seccomp.read"]["reason"]


@pytest.mark.parametrize(
    ("number", "names"), [("434", ("ns.pid", "cgroup.pids", "engine", "vm")), ("435", NAMESPACES)]
)
def test_what_helper_processes_need_is_tried(here, number, names):
    """Old kernels and filters know neither pidfd_open nor clone3."""
    told = doctor(sys.executable, "-c", DENY, number)
    for name in names:
        assert not told[name]["can"], name
    assert "it takes Linux 5.3 or newer" in told["ns.pid"]["reason"]
    assert told["engine.cli"] == here["engine.cli"]


def test_a_user_without_a_name_and_a_home_gets_the_table():
    prefix = ["env", "-u", "HOME"]
    if IS_ROOT:
        prefix = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *prefix]
    else:
        needs_user_namespaces()
        prefix = ["unshare", "--user", *prefix]
    told = doctor(*prefix)
    assert list(told) == list(CAPABILITIES)
    assert "the probe itself failed" not in str(told)


def test_the_table_is_written_whatever_the_locale_is(tmp_path):
    """Neither of its marks can be written in this one, nor can all of our modules be read."""
    made = subprocess.run(["localedef", "-i", "zh_CN", "-f", "GBK", tmp_path / "old"], check=False)
    if made.returncode:
        pytest.skip("needs localedef and its sources (package locales)")
    argv = ["env", f"LOCPATH={tmp_path}", "LC_ALL=old", sys.executable]
    table = subprocess.run([*argv, "-m", "labsupport", "doctor"], capture_output=True, check=True)
    assert b"  ns.pid " in table.stdout
    modules = "import labsupport.machine.boot_console, labsupport.sandbox.terminal"
    subprocess.run([*argv, "-c", modules], check=True)


def test_a_missing_program_is_named_with_its_package():
    told = doctor(PATH="/usr/sbin:/sbin")
    assert "is on the PATH" in told["browser"]["reason"]
    assert "install" in told["browser"]["remedy"]


@pytest.mark.parametrize(
    ("kernel", "reason"), [("/etc/passwd", "is not a kernel"), ("/bin/false", "does not run here")]
)
def test_a_kernel_that_is_none_is_not_taken(kernel, reason):
    told = doctor(LAB_KERNEL=kernel)
    assert f"{kernel} {reason}" in told["vm"]["reason"]
    assert "build-kernel" in told["vm"]["remedy"]


def test_in_the_vm_remedies_point_outside_of_it():
    told = doctor(LAB_IN_VM="1", DOCKER_HOST="unix:///nowhere")
    assert told["engine"]["can"] == (shutil.which("dockerd") is not None)  # it is started
    assert "this is the Lab VM already" in told["vm"]["reason"]
    if not told["kvm"]["can"]:
        assert told["kvm"]["remedy"].startswith("choose the kernel “this machine”")
    remedy = Facts(in_vm=True, has_apt=True).install("nftables")
    assert remedy.startswith("outside of the Lab VM, as root: apt-get install nftables")


# ---- engines that answer, or not -------------------------------------------------------------


def test_the_page_starts_an_engine_and_has_no_room_for_large_builds(monkeypatch):
    monkeypatch.setenv("LAB_IN_PAGE", "1")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert ("found" in runner.outcome_of(addresses.engine)) == bool(shutil.which("dockerd"))
    assert "BuildKit" in runner.outcome_of(addresses.builds)["reason"]


def test_an_engine_that_its_socket_starts_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", "1.41", after=2):
        assert addresses.engine() == f"unix://{tmp_path}/s"


@pytest.fixture
def refusal(monkeypatch):
    """Return what asks in an environment for an engine, and returns why there is none."""

    def ask(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return SimpleNamespace(**runner.outcome_of(addresses.engine))

    return ask


def test_a_socket_nobody_listens_at_means_that_the_daemon_is_down(tmp_path, refusal):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
    no = refusal(DOCKER_HOST=f"unix://{tmp_path}/s")
    assert "the daemon is down" in no.reason
    assert "docker" in no.remedy
    assert "nothing listens" in refusal(DOCKER_HOST="127.0.0.1:9").reason  # without a scheme, too


def test_an_engine_that_needs_keys_is_not_asked_but_must_listen(refusal):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert "Connection refused" in refusal(DOCKER_HOST=address, DOCKER_TLS_VERIFY="1").reason
        server.listen()
        assert address in addresses.engine()


@pytest.mark.parametrize(
    "address",
    ["ssh://me@there", "127.0.0.1:1:2", "/var/run/docker.sock", "tcp://localhost:http", "unix://"],
)
def test_the_doctor_and_the_notebook_say_the_same_of_an_address(refusal, address):
    told = refusal(DOCKER_HOST=address)
    with pytest.raises(EngineDown) as error:
        Engine.connect()
    assert error.value.what == told.reason
    assert address in told.reason
    assert told.remedy == error.value.remedy
    assert "systemctl" not in told.remedy


def test_a_context_that_is_gone_is_named(refusal):
    no = refusal(DOCKER_CONTEXT="elsewhere", DOCKER_HOST="")
    assert "'elsewhere'" in no.reason
    assert "docker context ls" in no.remedy


def test_a_socket_of_a_group_without_a_name_is_told_by_its_number(tmp_path, monkeypatch):
    def nameless(number):
        raise KeyError(number)

    monkeypatch.setattr(grp, "getgrgid", nameless)
    assert f"--group-add {tmp_path.stat().st_gid}" in addresses.join_group(str(tmp_path))


def test_a_socket_in_a_folder_that_is_not_ours_is_not_there():
    """As /run/podman, which systemd makes for root alone."""
    told = addresses._seen_from_here(OSError(EACCES, ""), "/nowhere/podman.sock")
    assert told.errno == ENOENT


@pytest.mark.parametrize(
    ("status", "packages"), [(0, "docker-cli docker-buildx docker-compose"), (100, "docker.io")]
)
def test_the_remedy_names_the_packages_that_this_release_has(
    tmp_path, monkeypatch, status, packages
):
    for name in ("apt-cache", "apt-get"):
        stand_in(tmp_path / name, f"exit {status}")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(runner.Refused) as no:
        addresses.command_line()
    assert f"apt-get install {packages}" in no.value.remedy
    down = addresses.why_no_engine({}, Facts(has_apt=True), "")
    assert down.remedy.endswith(packages.replace("docker-cli", "docker.io docker-cli"))


# ---- reasons for machines that we do not have ------------------------------------------------

USER_FACTS = Facts(euid=1000, has_sudo=True)
ROOT_FACTS = Facts(capabilities=1 << CAP_SYS_ADMIN)
MAP = "becoming root in a user namespace"


@pytest.mark.parametrize(
    ("capability", "step", "errno", "known", "reason", "remedy"),
    [
        (
            "ns.pid", MAP, EPERM, Facts(euid=1000, has_sudo=True, apparmor_restricts_userns=True),
            "AppArmor", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "overlay", MAP, EPERM, Facts(euid=1000, userns_clone=False),
            "unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "ns.uts", "making a UTS namespace", EPERM,
            Facts(euid=0, seccomp=2, in_container=True), "this container's seccomp filter",
            "--security-opt seccomp=unconfined",
        ),
        ("ns.time", "making a time namespace", EINVAL, ROOT_FACTS, "this kernel", "CONFIG_TIME_NS"),
        ("seccomp.read", READ_FILTER, EINVAL, ROOT_FACTS, "kernel", "CONFIG_CHECKPOINT_RESTORE"),
        ("seccomp.read", READ_FILTER, EACCES, USER_FACTS, "only root", "as root"),
        ("bpf.trace", TRACE_CALLS, EPERM, Facts(euid=1000, bpf_disabled="2"), "is 2", "as root"),
        ("bpf.trace", TRACE_CALLS, EPERM, Facts(seccomp=2), "seccomp filter", ""),
        ("bpf.trace", TRACE_CALLS, ENOENT, ROOT_FACTS, "kernel", "CONFIG_FTRACE_SYSCALLS"),
        ("ns.pid", MAP, EPERM, USER_FACTS, "no rule that this course knows", "dmesg"),
    ],
)  # fmt: skip
def test_a_refusal_is_explained(capability, step, errno, known, reason, remedy):
    tried = CAPABILITIES[capability]
    why, what = explain(step, errno, known, tried.kinds, tried.option)
    assert reason in why
    assert remedy in what


def fake_proc(tmp_path, mounts, groups):
    (tmp_path / "mountinfo").write_text(
        "".join(f"1 1 0:1 / {point} rw - {kind} none {how}\n" for kind, point, how in mounts)
    )
    (tmp_path / "cgroup").write_text("".join(f"{line}\n" for line in groups))
    return tmp_path


def v2_tree(tmp_path, controllers, *, on=""):
    top = tmp_path / "unified"
    top.mkdir()
    (top / "cgroup.controllers").write_text(controllers)
    (top / "cgroup.subtree_control").write_text(on)
    return top


V1 = [("cgroup", f"/c/{name}", name) for name in ("memory", "cpu", "pids", "blkio")]


@pytest.mark.parametrize(
    ("v1_mounts", "v2_controllers", "expected"),
    [(V1, "", 1), (V1[:2], "io pids", "hybrid"), ([], "cpu io memory pids", 2), ([], "", None)],
)
def test_the_cgroup_version_is_where_the_controllers_are(
    tmp_path, v1_mounts, v2_controllers, expected
):
    top = v2_tree(tmp_path, v2_controllers)
    proc = fake_proc(tmp_path, [*v1_mounts, ("cgroup2", top, "rw")], ["2:memory:/", "0::/"])
    assert version(proc) == expected


def test_a_controller_that_is_off_is_named_with_the_command_that_turns_it_on(tmp_path):
    top = v2_tree(tmp_path, "memory pids", on="memory")
    place = find("pids", fake_proc(tmp_path, [("cgroup2", top, "rw")], ["0::/"]))
    no = tries.why_no_parent("pids", place, [top], Facts())
    assert no.reason == f"controller pids is off below {top} (on: memory)"
    assert no.remedy == f"as root: echo +pids > {top}/cgroup.subtree_control"


def test_a_group_with_processes_cannot_hand_a_controller_down(tmp_path):
    top = v2_tree(tmp_path, "memory pids")
    (top / "cgroup.procs").write_text("1\n")
    (top / "cgroup.type").write_text("domain\n")
    place = Hierarchy(2, top, top)
    assert "has processes itself" in tries.why_no_parent("pids", place, [top], Facts()).reason


def test_a_user_under_systemd_is_told_how_to_get_a_group(tmp_path):
    place = Hierarchy(2, tmp_path, tmp_path)
    no = tries.why_no_parent("memory", place, [], Facts(euid=1000, has_systemd_run=True))
    assert no.remedy == "systemd-run --user --scope -p Delegate=yes ./lab"


# ---- the Machine itself ----------------------------------------------------------------------


def machine(missing=()):
    refused = {name: Refusal("not here", "get it") for name in missing}
    found = {name: "yes" for name in CAPABILITIES if name not in refused}
    return Machine("host", "6.1", "x86_64", 2, "jovyan", found, refused)


def test_probing_again_is_free_and_fresh_probing_is_not(monkeypatch):
    monkeypatch.delenv("LAB_PRETEND_MISSING", raising=False)
    first = probe()
    assert probe() is first
    monkeypatch.setenv("LAB_PRETEND_MISSING", "seccomp, psi")
    assert not probe().can("seccomp")
    assert probe().why_not("psi").reason == "pretended missing"
    monkeypatch.delenv("LAB_PRETEND_MISSING")
    assert probe() is first
    assert probe(fresh=True) is not first


@pytest.mark.parametrize(
    ("missing", "wanted", "expected"),
    [
        ([], "auto", "host"),
        (["psi", "engine"], "auto", "host"),
        (["cgroup.memory"], "auto", "vm"),
        (["cgroup.memory", "vm"], "auto", "host"),
        ([], "vm", "vm"),
        (["ns.pid"], "host", "host"),
    ],
)
def test_notebooks_leave_this_machine_only_if_the_core_is_missing(missing, wanted, expected):
    assert machine(missing=missing).notebooks_run_at(wanted) == expected
    assert set(CORE) <= set(CAPABILITIES)


def test_a_misspelt_place_is_an_error():
    with pytest.raises(LabError, match="unknown place 'hots' in LAB_PLACE"):
        machine().notebooks_run_at("hots")


def test_the_vm_is_not_offered_for_what_it_lacks():
    assert vm_offers("ns.pid", "Linux 6.1, /usr/bin/linux.uml")
    assert not vm_offers("psi", "Linux 6.1, /usr/bin/linux.uml")
    assert vm_offers("psi", "Linux 6.1, /home/me/.cache/labsupport/kernels/linux-6.1-abc")
    assert vm_offers("ns.time", "Linux 6.1, /home/me/.cache/labsupport/kernels/linux-6.1-abc")
    assert not vm_offers("kvm", "Linux 6.1, /home/me/.cache/labsupport/kernels/linux-6.1-abc")


def test_the_table_has_words_for_those_who_see_no_colour():
    made = machine(missing=["psi"])
    html = made._repr_html_().partition("<details>")[2]
    assert html.count("scope='row'") == len(CAPABILITIES)
    assert html.count("scope='col'") == 5
    for table, words in ((html, ("✗&nbsp;no", "get it")), (str(made), ("✗ no   psi", "→ get it"))):
        assert all(word in table for word in (*words, "not here"))


def test_it_says_which_notebooks_lack_something():
    told = machine(missing=["qemu", "browser"])
    assert told.finding() == "qemu is missing, which matters in 12"
    shown = told._repr_html_().partition("<details>")[0]
    assert "get it" in shown
    assert "browser" not in shown  # no notebook needs one
    assert "All that the notebooks need is here" in machine()._repr_html_()
    assert "All that the notebooks need is here" in str(machine(missing=["browser"]))


def test_nothing_a_machine_says_becomes_markup():
    spiteful = Refusal("<script>", "<u>")
    told = Machine("host", "<i>", "x", 1, "u", {}, dict.fromkeys(CAPABILITIES, spiteful))
    for tag in ("<script>", "<u>", "<i>"):
        assert tag not in told._repr_html_()


def test_compose_is_a_plug_in_or_the_older_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    stand_in(tmp_path / "docker", "exit 1")
    with pytest.raises(runner.Refused, match="docker compose is not installed"):
        addresses.compose()
    stand_in(tmp_path / "docker-compose", "exit 0")
    assert addresses.compose() == "docker-compose"
    stand_in(tmp_path / "docker", "exit 0")
    assert addresses.compose() == "docker compose"
