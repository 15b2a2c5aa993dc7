"""The wheel: what is in git is in it, and it has a version that the changes name."""

import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from tests.toys import CHECKOUT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="needs hatchling (./lab test installs it)")
    folder = tmp_path_factory.mktemp("dist")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(argv, cwd=CHECKOUT, check=True, capture_output=True)
    [path] = folder.iterdir()
    return zipfile.ZipFile(path)


def test_each_file_of_the_package_is_in_it_and_nothing_else(wheel):
    argv = ["git", "-C", str(CHECKOUT), "ls-files", "-co", "--exclude-standard", "labsupport"]
    ours = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert len(ours) > 100
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == set(ours)


def test_its_version_is_the_newest_that_the_changes_tell_of(wheel):
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\S+?),? ", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == version
    assert f"labsupport-{version}.dist-info/METADATA" in wheel.namelist()


def test_it_brings_the_command(wheel):
    [entries] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "labsupport = labsupport.__main__:main" in wheel.read(entries).decode()
