"""Containers built by hand: the kernel says what they are, and nothing of them is left."""

import ast
import linecache
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from labsupport import Workshop
from labsupport.errors import LabError, StepFailed
from labsupport.handmade import building as by_hand
from labsupport.handmade.breakouts import Host, Lights, Poster
from labsupport.handmade.building import (
    STEPS,
    few_capabilities,
    no_more_users,
    own_cgroup,
    own_filter,
    own_mounts,
    own_name,
    own_network,
    own_pids,
    own_root,
    own_users,
)
from labsupport.handmade.side_by_side import Portrait, compare, differing
from labsupport.kernel.procfs import all_pids
from labsupport.ownership import marks
from labsupport.seccomp.filter import Filter
from tests import census
from tests.handmade.samples import LIGHTS
from tests.toys import CHECKOUT
from tests.waiting import owner, wait_until

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


CLOSES = [
    (own_mounts, {"mount"}), (own_root, {"root"}), (own_pids, {"pid"}), (own_name, {"uts", "ipc"}),
    (own_network, {"net"}), (few_capabilities, {"capabilities"}), (own_filter, {"seccomp"}),
]  # fmt: skip


@pytest.mark.parametrize(("step", "closed"), CLOSES, ids=lambda it: getattr(it, "__name__", ""))
def test_without_a_step_its_ways_out_are_open(host, step, closed):
    if step is own_mounts:  # without it, the kernel refuses pivot_root: `/` is shared
        left = [own_pids]
    elif step is own_pids:
        left = [own_mounts, own_root]
    else:
        left = [each for each in ALL if each is not step]
    assert not closed & host.try_all(left).held


def test_a_step_that_forgets_to_leave_the_host_does_it_no_harm(shop):
    copied = defined("def own_copy(c):\n    linux.unshare(linux.CLONE_NEWNS)\n", "own_copy")
    for steps in ([own_root], [copied, own_root]):
        with pytest.raises(StepFailed, match="pivot_root: Invalid argument"):
            shop.run(steps, ["true"])
    assert shop.stage.run(["ls", str(shop.folder)]).returncode == 0


HARMS = {
    "uts": "linux.sethostname('other')",
    "pid": "run('pkill -x sleep')",
    "ipc": "run('ipcrm --all=shm')",
}


@pytest.mark.parametrize("kind", HARMS)
def test_who_puts_an_end_to_what_is_outside_is_not_kept_in(host, kind):
    harm = defined(f"def harm(c):\n    {HARMS[kind]}\n", "harm")
    left = [step for step in ALL if kind not in dict(CLOSES).get(step, ())]
    left = [own_mounts, own_root] if kind == "pid" else left
    assert kind not in host.try_all([harm, *left]).held
    assert kind in host.try_all(ALL).held


def test_a_line_that_is_missing_is_lent(host, shop):
    mine = defined("def own_pids(c):\n    ...\n", "own_pids")
    assert shop.script([mine, own_mounts]).lent == ("own_pids",)
    assert shop.script([own_pids, own_mounts]).lent == ()
    row = host.try_all([mine, own_mounts, own_root])
    assert (row["pid"].word, row["root"].word, row["net"].word) == ("lent", "held", "got out")


def test_a_line_that_is_missing_in_what_a_step_uses_is_lent(shop):
    source = "def own_network(c):\n    plug_cable()\n\n\ndef plug_cable():\n    ...\n"
    script = shop.script([defined(source, "own_network")])
    assert script.lent == ("own_network",)
    assert "netns {pid}" in script.text


def test_nothing_stands_in_for_a_step_of_the_readers_own(shop):
    with pytest.raises(LabError, match=r"a line of own_idea is still `\.\.\.`"):
        shop.script([defined("def own_idea(c):\n    ...\n", "own_idea")])


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


def import_nothing_more(c):
    """As after a change of root, where Python's own files are out of reach."""
    import sys

    def refuse(event, arguments):
        if event == "import":
            raise ImportError(f"{arguments[0]} is imported now")

    sys.addaudithook(refuse)


def pythons():
    """This Python, and others that are installed: each has loaded other modules by itself."""
    beside = Path(sys.base_prefix).parent.glob("3.*/bin/python3")
    named = (shutil.which(f"python3.{minor}") for minor in range(11, 20))
    asked = "import sys; print(sys.version_info >= (3, 11) and sys.version_info[:2])"
    versions = {}
    for path in [*map(str, beside), *filter(None, named), sys.executable]:
        done = subprocess.run([path, "-c", asked], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout != "False\n":
            versions[done.stdout] = path
    return versions.values()


def test_once_the_steps_begin_nothing_is_imported(shop, monkeypatch):
    bad = defined("def own_typo(c):\n    linux.unshared(0)\n", "own_typo")
    for python in pythons():
        monkeypatch.setattr(sys, "executable", python)
        done = shop.run([import_nothing_more, *ALL], ["echo", "done"])
        assert (python, done.stdout, done.stderr) == (python, "done\n", "")
        with pytest.raises(StepFailed, match="execute failed"):
            shop.run([import_nothing_more, *ALL], ["no-such-program"])
        with pytest.raises(StepFailed, match=r"own_typo failed, in: linux\.unshared\(0\)"):
            shop.run([import_nothing_more, own_mounts, own_root, bad], ["true"])


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


def test_the_steps_are_those_of_the_notebook_with_the_folded_line():
    module = ast.parse((CHECKOUT / "labsupport/handmade/building.py").read_text())
    known = {n.name: tree(ast.unparse(n)) for n in module.body if isinstance(n, ast.FunctionDef)}
    cells = nbformat.read(CHECKOUT / "notebooks/08_build_a_container.ipynb", as_version=4).cells
    there = {}
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and "    ...  # " in cell.source:
            below = "\n".join(each.source for each in cells[number:] if "```python" in each.source)
            line = re.findall(r"```python\n(.+)\n```", below)[0]
            source = re.sub(r"^ +\.\.\.  # .*$", lambda _, line=line: line, cell.source, flags=re.M)
            defined_here = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
            there |= {n.name: tree(ast.unparse(n)) for n in defined_here}
    assert there == {name: known[name] for name in there}
    assert {step.__name__ for step in (*STEPS, no_more_users)} <= there.keys()


OPENED = """
import sys, time
from labsupport import Workshop
from labsupport.handmade.breakouts import Host
from labsupport.handmade.building import STEPS, own_cgroup, few_capabilities, own_filter
workshop = Workshop().open()
host = Host(workshop).targets
wanted = [s for s in STEPS if s not in (own_cgroup, few_capabilities, own_filter)]
made = workshop.start(wanted, ["sleep", "1000"])
print(made.pid, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_after_kill_9():
    with owner(OPENED) as (notebook, pid):
        mark = marks.mark(notebook)
        running = census.owned_by(mark) | census.descendants(notebook) | {int(pid)}
        assert os.path.exists(f"/proc/{pid}")
    wait_until(lambda: not running & set(all_pids()))
    marks.sweep()
    assert census.owned_by(mark) == set()


def test_what_changed_is_named_with_its_evidence():
    assert LIGHTS.finding().endswith("New: mounts")
    assert LIGHTS.told() == ["mounts:  try mounts  →  evidence of mounts"]
    assert Lights(LIGHTS.lights, LIGHTS.lights).told() == []


def test_what_was_lent_is_told_and_does_not_shine():
    lent = replace(LIGHTS.lights[0], lent=True)
    lights = Lights((lent, *LIGHTS.lights[1:]), LIGHTS.before, ("own_mounts",), ("own_mounts",))
    assert lights.told()[-1] == "lent, since your line is still missing: own_mounts"
    assert "mounts: lent" in lights.words()
    poster = Poster((LIGHTS, lights))
    assert poster.finding().endswith("0 of 1 lines are yours")


def test_a_comparison_marks_what_differs():
    ours = Portrait(
        own=frozenset({"pid"}), root_is=0, capabilities=8, no_new_privs=True, filters=1, hidden=(),
        read_only=(), devices=("null", "tty", "zero"), root="a folder on ext4", cgroup="/",
    )  # fmt: skip
    both = {"ours": ours, "theirs": replace(ours, root_is=100000)}
    assert differing(both) == ["root inside is, outside"]
    table = compare(both)
    assert table.finding == "1 of 10 things differ between ours, theirs"
    assert table.rows[1][:3] == ("≠ root inside is, outside", "user 0: root", "user 100000")
    assert table.rows[7][:2] == ("= in /dev", "3: null, tty …")
