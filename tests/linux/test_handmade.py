"""Containers built by hand: what they are is asked of the kernel, and nothing of them is left."""

import ast
import linecache
import os
import subprocess
import sys
import time

import nbformat
import pytest

from labsupport import Workshop, capabilities, namespaces, ownership, status
from labsupport.errors import SourceMissing, StepFailed
from labsupport.linux.procfs import all_pids
from labsupport.linux.seccomp import Filter
from labsupport.linux.workshop import steps as by_hand
from labsupport.linux.workshop.breakouts import Host
from labsupport.linux.workshop.steps import (
    STEPS,
    few_capabilities,
    own_cgroup,
    own_filter,
    own_mounts,
    own_name,
    own_network,
    own_pids,
    own_root,
    own_users,
)
from tests import census
from tests.toys import CHECKOUT

ALL = tuple(step for step in STEPS if step is not own_cgroup)
KEPT = ("CHOWN", "SETUID", "SETGID", "SETFCAP")


@pytest.fixture(scope="module")
def shop():
    with Workshop() as workshop:
        workshop.kept = KEPT
        workshop.filter = Filter.deny(["unshare"])
        yield workshop


@pytest.fixture(scope="module")
def host(shop):
    return Host(shop)


def defined(source, name):
    """Define a function as a cell would: with a source that can be found."""
    file = f"<cell {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = {**vars(by_hand)}
    exec(compile(source, file, "exec"), scope)
    return scope[name]


def test_all_steps_make_a_container_that_is_its_own_in_all_kinds(shop):
    made = shop.start(ALL, ["sleep", "100"])
    inside, outside = namespaces(made.pid), namespaces(shop.stage.pid)
    facts = capabilities(made.pid)
    assert {kind for kind in inside if inside[kind] != outside[kind]} >= {
        "user", "pid", "mount", "net", "uts", "ipc"
    }  # fmt: skip
    assert status(made.pid).pids[-1] == 1
    assert len(facts.effective) == len(KEPT) == len(facts.bounding)
    assert facts.no_new_privs
    assert facts.seccomp == "filter"
    made.close()


def test_closing_one_ends_all_of_its_processes(shop):
    before = set(all_pids())
    made = shop.start(ALL, ["sleep", "100"])
    pid = made.pid
    assert len(set(all_pids()) - before) >= 3
    made.close()
    until = time.monotonic() + 5
    while pid in all_pids() and time.monotonic() < until:
        time.sleep(0.01)
    assert pid not in all_pids()


CLOSES = [
    (own_mounts, {"mount"}),
    (own_root, {"root"}),
    (own_pids, {"pid"}),
    (own_name, {"uts", "ipc"}),
    (own_network, {"net"}),
    (few_capabilities, {"capabilities"}),
    (own_filter, {"seccomp"}),
]


def test_a_process_keeps_nothing_in(host, shop):
    ordinary = {"user"} if "user" in shop.stage.new else set()
    assert host.try_all([]).held == ordinary


def test_all_steps_keep_in_all_but_the_swarm(host):
    lights = host.try_all(ALL)
    assert {light.name for light in lights} - lights.held == {"cgroup"}


@pytest.mark.parametrize(("step", "closed"), CLOSES, ids=lambda it: getattr(it, "__name__", ""))
def test_without_a_step_its_ways_out_are_open(host, step, closed):
    if step is own_mounts:  # without it, pivot_root would take the stage's root away
        left = [own_pids]
    elif step is own_pids:
        left = [own_mounts, own_root]
    else:
        left = [each for each in ALL if each is not step]
    assert not closed & host.try_all(left).held


def test_root_without_a_user_namespace_is_root_outside(host, shop):
    if "user" in shop.stage.new:
        pytest.skip("needs root: an ordinary user has no other user to give away")
    light = host.try_all([each for each in ALL if each is not own_users])["user"]
    assert not light.held
    assert "user 0 outside" in light.evidence


def test_a_swarm_is_stopped_by_its_control_group(host, shop):
    from labsupport import Cgroup, probe

    if not probe().can("cgroup.pids"):
        pytest.skip("needs cgroup.pids")
    with Cgroup(pids=20) as group:
        shop.cgroup = group
        try:
            lights = host.try_all(STEPS)
        finally:
            shop.cgroup = None
        assert len(lights.held) == len(lights.lights)
        assert group.usage().pids_refused >= 1


@pytest.mark.parametrize(
    ("steps", "failed", "words"),
    [
        ([own_pids, few_capabilities, own_mounts], "own_mounts", "gone since few_capabilities"),
        ([own_filter, own_pids], "own_pids", "take own_filter last"),
        ([own_mounts, own_pids, own_root, own_network], "own_network", "own_pids has forked"),
        ([own_users, own_mounts, own_root], "own_root", "take the step that makes the PID"),
        ([own_mounts, own_users, own_pids, own_root], "own_root", "belongs to the old one"),
    ],
    ids=["privileges", "filter", "outside", "pids", "users"],
)
def test_an_impossible_order_is_explained(shop, steps, failed, words):
    with pytest.raises(StepFailed) as caught:
        shop.run(steps, ["true"])
    assert caught.value.step == failed
    assert words in str(caught.value)


def test_a_cgroup_that_is_out_of_sight_is_explained(shop, tmp_path_factory):
    file = shop.folder / "cgroup.procs"
    file.write_text("")

    class Group:
        procs_paths = (str(file),)

    shop.cgroup = Group()
    try:
        with pytest.raises(StepFailed, match=r"no longer in sight after own_root"):
            shop.run([own_pids, own_mounts, own_root, own_cgroup], ["true"])
    finally:
        shop.cgroup = None


def test_a_mistake_in_a_step_is_told_with_its_line(shop):
    bad = defined("def own_typo(c):\n    linux.unshared(0)\n", "own_typo")
    with pytest.raises(StepFailed, match=r"own_typo failed, in: linux\.unshared\(0\)"):
        shop.run([bad], ["true"])


def test_a_program_that_is_not_there_is_told(shop):
    with pytest.raises(StepFailed, match="execute failed"):
        shop.run([], ["no-such-program"])


def test_a_step_without_a_source_is_refused(shop):
    scope = {}
    exec("def own_nothing(c): pass", scope)
    with pytest.raises(SourceMissing):
        shop.run([scope["own_nothing"]], ["true"])
    with pytest.raises(SourceMissing):
        shop.run(["own_root"], ["true"])


def test_a_saved_script_runs_by_itself(shop, monkeypatch):
    """Whatever `python3` is first on the PATH: that one has no labsupport."""
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    command = shop.save(ALL, ["sh", "-c", "echo $$"])
    assert shop.stage.run(command).stdout == "1\n"


def tree(source):
    """A function without its words: annotations and docstrings."""
    function = ast.parse(source).body[0]
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    if ast.get_docstring(function):
        del function.body[0]
    return ast.dump(function)


def test_the_steps_are_those_of_the_notebook():
    module = ast.parse((CHECKOUT / "labsupport/linux/workshop/steps.py").read_text())
    here = {n.name: tree(ast.unparse(n)) for n in module.body if isinstance(n, ast.FunctionDef)}
    cells = nbformat.read(CHECKOUT / "notebooks/08_build_a_container.ipynb", as_version=4).cells
    sources = [c.source for c in cells if c.cell_type == "code" and c.source.startswith("def ")]
    there = {ast.parse(source).body[0].name: tree(source) for source in sources}
    assert there == here


OPENED = """
import sys, time
from labsupport import Workshop
from labsupport.linux.workshop.breakouts import Host
from labsupport.linux.workshop.steps import STEPS, own_cgroup, few_capabilities, own_filter
workshop = Workshop().open()
host = Host(workshop).targets
wanted = [s for s in STEPS if s not in (own_cgroup, few_capabilities, own_filter)]
made = workshop.start(wanted, ["sleep", "1000"])
print(made.pid, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_after_kill_9():
    process = subprocess.Popen([sys.executable, "-c", OPENED], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    mark = ownership.mark(process.pid)
    running = census.owned_by(mark) | census.descendants(process.pid) | {pid}
    assert os.path.exists(f"/proc/{pid}")
    process.kill()
    process.wait()
    until = time.monotonic() + 5
    while (left := running & set(all_pids())) and time.monotonic() < until:
        time.sleep(0.02)
    process.stdout.close()
    assert left == set()
    ownership.sweep()
    assert census.owned_by(mark) == set()
