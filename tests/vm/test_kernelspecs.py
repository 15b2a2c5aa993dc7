"""The kernelspecs that `./lab kernels` installs. About 1 s."""

import json
import os
import sys

import pytest

from labsupport.errors import LabError
from labsupport.vm import kernelspecs


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
