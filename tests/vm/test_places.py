"""Where a notebook runs, for every kind of machine and wish, and the kernelspecs. No guest; 1 s."""

import json
import os
import sys
from pathlib import Path

import pytest

from labsupport.errors import LabError
from labsupport.kernel.mounts import Hierarchy
from labsupport.vm import kernelspecs, places
from labsupport.vm.places import Choice, Facts, choose

NO_VM = LabError("there is no kernel", "none was found", "install one")


@pytest.mark.parametrize(
    ("facts", "choice"),
    [
        (Facts(), Choice("host")),
        (Facts(lacking="not root"), Choice("vm")),
        (Facts(no_vm=NO_VM), Choice("host")),
        (Facts(wanted="vm"), Choice("vm", strict=True)),
        (Facts(wanted="vm", no_vm=NO_VM), Choice("vm", strict=True)),
        (Facts(wanted="host", lacking="not root"), Choice("host", strict=True)),
        (Facts(notebook="host", lacking="not root"), Choice("host", strict=True)),
        (Facts(notebook="host", wanted="vm"), Choice("host", strict=True)),
        (Facts(by_hand="vm", notebook="host", wanted="host"), Choice("vm", strict=True)),
        (Facts(in_guest=True, wanted="vm"), Choice("host")),
    ],
)
def test_the_place(facts, choice):
    assert choose(facts) == choice


def test_who_would_need_the_lab_vm_and_cannot_have_it_is_told_both_reasons():
    choice = choose(Facts(lacking="you are not root", no_vm=NO_VM))
    assert choice.place == "host"
    for words in ("you are not root", "none was found", "install one"):
        assert words in choice.notice


@pytest.mark.parametrize(
    ("environment", "lacking", "is_wanted"),
    [
        ({}, "you are not root", True),
        ({}, "", False),
        ({"LAB_PLACE": "vm"}, "", True),
        ({"LAB_PLACE": "host"}, "you are not root", False),
        ({"LAB_KERNEL": "/not/there"}, "you are not root", False),
    ],
)
def test_a_kernel_is_built_where_the_lab_vm_would_be_chosen(
    monkeypatch, environment, lacking, is_wanted
):
    def find_kernel():
        raise NO_VM

    monkeypatch.setattr(places, "find_kernel", find_kernel)
    monkeypatch.setattr(places, "lacking_here", lambda: lacking)
    assert places.wants_kernel(environment) == is_wanted
    monkeypatch.setattr(places, "find_kernel", Path)
    assert not places.wants_kernel(environment)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"metadata": {"lab": {"place": "host"}}, "cells": []}', "host"),
        *((text, "auto") for text in (
            "", "{}", "[]", "no JSON", '{"metadata": {"lab": "host"}}', '{"metadata": null}',
            '{"metadata": {"lab": {"place": "the moon"}}}', '{"metadata": {"lab": {"place": []}}}',
        )),
    ],
)  # fmt: skip
def test_a_notebook_may_ask_for_a_place(tmp_path, text, place):
    (tmp_path / "n.ipynb").write_text(text)
    assert places.asked_by_notebook(str(tmp_path / "n.ipynb")) == place
    assert places.asked_by_notebook("") == "auto"


def test_an_unknown_place_is_named():
    with pytest.raises(LabError, match="did you mean 'host'"):
        places.gather("auto", {"LAB_PLACE": "hots"})


def test_only_hierarchies_that_can_be_written_count(monkeypatch):
    tmp, proc = Hierarchy(1, Path("/tmp"), Path("/tmp")), Hierarchy(1, Path("/nowhere"), Path("/"))
    monkeypatch.setattr(places.proc, "has_capability", lambda _number: True)
    monkeypatch.setattr(places.mounts, "trees", lambda: {"cpu": tmp, "memory": tmp, "pids": proc})
    assert places.lacking_here() == "no cgroups with pids can be made here"


def read(prefix, name):
    file = prefix / "share" / "jupyter" / "kernels" / name / "kernel.json"
    return dict(json.loads(file.read_text()))


def test_three_kernels_are_installed_and_again(tmp_path):
    kernelspecs.install(tmp_path)
    kernelspecs.install(tmp_path)
    names = {"python3": "auto", "lab-host": "host", "lab-vm": "vm"}
    for name, place in names.items():
        spec = read(tmp_path, name)
        start = [sys.executable, "-m", "labsupport.vm.launcher", "--place", place]
        assert spec["argv"] == [*start, "-f", "{connection_file}"]
        assert spec["interrupt_mode"] == "message"
    folder = tmp_path / "share" / "jupyter" / "kernels"
    assert {entry.name for entry in folder.iterdir()} == set(names)
    assert not list(folder.glob("*/.*"))


def test_an_environment_that_cannot_be_written_is_named(tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "share").write_text("in the way")
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(LabError, match=r"(?s)share.*What to do"):
        kernelspecs.install(tmp_path)
