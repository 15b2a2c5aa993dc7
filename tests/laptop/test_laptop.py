"""The course on an ordinary laptop: systemd, cgroup v2, AppArmor, Docker 26. Hours without KVM."""

import json
import shutil

import pytest

from labsupport import probe
from labsupport.build.bases import find_archive
from labsupport.doctor import qemu
from tests.laptop import disk, machine

AT_HOST = ("02", "06", "07", "08", "09", "11")
IN_THE_LAB_VM = ("00", "02", "06")
MUST_HAVE = "engine registry cgroup.memory cgroup.cpu cgroup.pids cgroup.io seccomp.read"
DELEGATED = "systemd-run --user --scope --quiet -p Delegate=yes"
PATIENTLY = "--nbval-kernel-startup-timeout=900 --nbval-cell-timeout=3600"
NBVAL = f"-p tests.notebooks --nbval-lax {PATIENTLY}"
HERE = "--nbval-current-env"
OPENED = """
./lab --no-browser >log 2>&1 & lab=$!
until grep -s 'token=' log; do sleep 2; kill -0 $lab || { cat log; exit 1; }; done
kill $lab; wait $lab || true
"""
TRIED = """
from labsupport import Build, Engine
from labsupport.build.bases import base_image
base_image(engine := Engine.connect())
for line in ("COPY --chmod=700 it /it", "COPY --link it /it", "RUN <<END\\ntrue\\nEND"):
    files = {"Dockerfile": "FROM labsupport/busybox\\n" + line + "\\n", "it": "exit"}
    print("works" * bool(Build.run(engine, files, network="none").image_id))
"""
# what a remedy begins with: what carries it out, and what to ask the doctor by afterwards
CARRIED_OUT = {
    "systemd-run --user --scope -p Delegate=yes ./lab": ("true", f"{DELEGATED} ./lab"),
    "run ./lab as root": ("true", "sudo ./lab"),
    'sudo usermod -aG docker "$USER"': ('sudo usermod -aG docker "$USER"', "./lab"),
    "./lab registry": ("./lab registry", "./lab"),
}
# hardware, and packages that no notebook here needs
NOT_TRIED = {"kvm", "qemu", "browser", "bpf.trace"}

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def laptop(request):
    """Return a laptop, switched on. Without KVM, only for tests that are asked for by name."""
    named = any("::" in argument for argument in request.config.args)
    if not shutil.which(qemu.PROGRAM):  # the doctor's "qemu" asks for another disk, too
        pytest.skip(f"needs qemu: there is no {qemu.PROGRAM}")
    if not named and (no := probe().why_not("kvm")):
        pytest.skip(f"needs kvm: {no}")
    with machine.booted() as booted:
        machine.bring_the_course(booted)
        yield booted


@pytest.fixture
def run(laptop):
    """Run a script in a user's clone of the course, and return what it printed."""

    def run(script, user="student"):
        clone = "[ -d course ] || git clone --quiet /srv/course course"
        done = machine.run(laptop, f"set -e; {clone}; cd course; {script}", user)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def notebook(number, before=""):
    """Return the line that runs a notebook there as `./lab test` does."""
    there = f"export PATH={disk.VENV}/bin:$PATH PYTHONPATH=$PWD LAB_PLACE=host"
    return f"{there}; {before} python -m pytest -q {NBVAL} {HERE} notebooks/{number}_*.ipynb"


@pytest.mark.parametrize("number", AT_HOST)
def test_a_notebook_runs_as_root_with_its_docker(run, number):
    if number == "11" and not find_archive():
        pytest.skip("needs the app's base, to bring it to the laptop: ./lab base")
    before = f"python -m labsupport registry && LAB_MUST_HAVE='{MUST_HAVE}'"
    assert " passed" in run(notebook(number, before=before), "root")


def test_what_is_young_in_dockerfiles_works(run):
    said = run(f"PYTHONPATH=$PWD {disk.VENV}/bin/python -c '{TRIED}'", "root")
    assert said.split()[-3:] == ["works"] * 3  # before, that the engine is waited for


def test_a_delegated_user_limits_memory_cpu_and_pids_without_root(run):
    must_have = "LAB_MUST_HAVE='cgroup.memory cgroup.cpu cgroup.pids'"
    assert " passed" in run(notebook("06", before=f"{must_have} {DELEGATED}"))


@pytest.mark.parametrize("user", ["visitor", "student"])
def test_the_two_commands_open_the_course(run, user):
    """A clone, and `./lab`, as who may not install packages and as who may."""
    assert "/lab/tree/00_start_here.ipynb?token=" in run(OPENED, user)


def test_each_no_of_the_doctor_turns_to_yes_by_its_remedy(run):
    before = json.loads(run("./lab doctor --json"))["capabilities"]
    no = {name: each["remedy"] for name, each in before.items() if not each["can"]}
    for name in no.keys() - NOT_TRIED:
        [remedy] = [start for start in CARRIED_OUT if no[name].startswith(start)]
        command, lab = CARRIED_OUT[remedy]
        run(command)
        after = json.loads(run(f"{lab} doctor --json"))["capabilities"]
        assert after[name]["can"], f"{name}: {no[name]}: {after[name]}"


@pytest.mark.parametrize("number", IN_THE_LAB_VM)
def test_a_notebook_runs_in_the_lab_vm(run, number):
    """From the environment that `./lab` has made, which has the kernel of that name."""
    kernel = "--nbval-kernel-name=lab-vm"
    line = f".venv/bin/python -m pytest -q {NBVAL} {kernel} notebooks/{number}_*.ipynb"
    assert " passed" in run(f"./lab kernels >&2; {line}")
