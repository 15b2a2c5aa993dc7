"""Layers are stacked as the kernel's overlayfs stacks them, whatever they are."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labsupport import Image
from tests.image_making import docker, folder, member, pack, symlink, tar

# Read what a mount shows, in a namespace that goes with the mount.
LOOK = """
import json, os, subprocess, sys
lower, where = sys.argv[1:]
options = f"ro,lowerdir={lower}"
subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, where], check=True)
found = {}
for folder, folders, files in os.walk(where):
    for name in folders + files:
        path = os.path.join(folder, name)
        if os.path.islink(path):
            what = ["symlink", os.readlink(path)]
        elif os.path.isdir(path):
            what = ["folder", ""]
        elif os.path.exists(path):
            what = ["file", open(path).read()]
        else:  # in a folder of one layer alone, a whiteout is listed though it hides nothing
            continue
        found[path.removeprefix(where)] = what
print(json.dumps(found))
"""

NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
THINGS = st.one_of(
    st.sampled_from(["folder", "opaque", "deleted", "symlink"]),
    st.integers(0, 99).map(lambda number: f"file {number}"),
)


def sound(layer):
    """Tell whether each thing is in folders: what a disk could hold."""
    return all(
        layer.get(path[:at], "folder") in ("folder", "opaque")
        for path in layer
        for at in range(1, len(path))
    )


LAYER = st.dictionaries(PATHS, THINGS, max_size=8).filter(sound)


def as_tar(layer):
    members = []
    for path, thing in layer.items():
        name = "/".join(path)
        if thing == "deleted":
            members.append(member("/".join([*path[:-1], f".wh.{path[-1]}"])))
        elif thing == "symlink":
            members.append(symlink(name, "target"))
        elif thing.startswith("file"):
            members.append(member(name, thing.encode()))
        else:
            members.append(folder(name))
            if thing == "opaque":
                members.append(member(f"{name}/.wh..wh..opq"))
    return tar(members)


def as_upper(layer, where):
    """Write a layer as overlayfs keeps it; see "whiteouts and opaque directories" in its docs."""
    where.mkdir()
    for path, thing in layer.items():
        it = where.joinpath(*path)
        it.parent.mkdir(parents=True, exist_ok=True)
        if thing == "deleted":
            os.mknod(it, stat.S_IFCHR, 0)
        elif thing == "symlink":
            it.symlink_to("target")
        elif thing.startswith("file"):
            it.write_text(thing)
        else:
            it.mkdir(exist_ok=True)
            if thing == "opaque":
                os.setxattr(it, "trusted.overlay.opaque", b"y")


def shown_by_the_kernel(layers, where):
    for number, layer in enumerate(layers):
        as_upper(layer, where / str(number))
    (where / "empty").mkdir()  # one lower folder alone is refused
    (where / "merged").mkdir()
    lowers = [str(where / str(number)) for number in reversed(range(len(layers)))]
    argv = ["unshare", "--mount", sys.executable, "-c", LOOK]
    argv += [":".join([*lowers, str(where / "empty")]), str(where / "merged")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return {path: tuple(what) for path, what in json.loads(done.stdout).items()}


def shown_by_us(layers, where):
    (where / "it.tar").write_bytes(pack(docker([as_tar(layer) for layer in layers])))
    with Image.open(where / "it.tar") as image:
        found = {}
        for path, entry in image.tree().items():
            text = image.read(path).decode() if entry.kind == "file" else entry.target
            found[path] = (entry.kind, text)
        return found, image


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount and to make whiteouts")
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(layers=st.lists(LAYER, min_size=1, max_size=4))
def test_the_tree_is_what_overlayfs_shows(layers, tmp_path_factory):
    where = tmp_path_factory.mktemp("stack")
    try:
        assert shown_by_us(layers, where)[0] == shown_by_the_kernel(layers, where)
    finally:
        shutil.rmtree(where)


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(layers=st.lists(LAYER, min_size=1, max_size=4))
def test_changes_lead_from_each_tree_to_the_next(layers, tmp_path_factory):
    where = tmp_path_factory.mktemp("changes")
    before, real_before = {}, set()
    for number in range(1, len(layers) + 1):
        after, image = shown_by_us(layers[:number], where)
        layer = image.layers[-1]
        files, added, changed = {*layer.files}, {*layer.added}, {*layer.changed}
        assert added == files - real_before
        assert changed <= files & real_before
        assert real_before - {*after} <= {*layer.deleted} <= real_before - files
        for path in {*before} & {*after}:
            assert before[path] == after[path] or path in changed | added | {*layer.deleted}
        entries = image.tree().items()
        real_before = {path for path, at in entries if path in image.layers[at.layer - 1].files}
        before = after
    sizes = sum(len(text) for kind, text in before.values() if kind == "file")
    assert image.wasted_bytes >= image.size_bytes - sizes
    lost = {(file.path, file.added_in.number) for file in image.lost_files()}
    assert all(image.layers[number - 1].files[path].kind == "file" for path, number in lost)
    shutil.rmtree(where)
