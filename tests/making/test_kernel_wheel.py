"""A wheel of the Lab VM's own kernel: made, installed by pip, found, booted (8 s)."""

import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from labsupport.doctor import guest
from labsupport.doctor.guest import KERNEL_PACKAGE, KERNEL_RECIPE
from labsupport.making import kernel, kernel_wheel
from tests.toys import CHECKOUT

own = guest.own_kernel([guest.user_kernels(), guest.SYSTEM_KERNELS])
BOOT = """
from labsupport import probe
from labsupport.vm.guest import LabVM
print(probe(fresh=True).found["vm"])
with LabVM.boot("256M") as vm:
    print(vm.run(["uname", "-r"]).stdout)
"""


def test_a_wheel_must_have_the_kernel_of_todays_recipe():
    """Red where the configuration or a mend has changed: write the new hash into `guest.py`."""
    assert kernel.recipe_hash(kernel.Fragment.read()) == KERNEL_RECIPE


@pytest.mark.parametrize(("recipe", "is_ours"), [(KERNEL_RECIPE, True), ("0123456789", False)])
def test_the_kernel_of_another_version_is_not_taken(tmp_path, monkeypatch, recipe, is_ours):
    program = tmp_path / KERNEL_PACKAGE / f"linux-6.1.7-{recipe}"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(guest, "user_kernels", lambda: tmp_path / "none")
    monkeypatch.setattr(guest, "SYSTEM_KERNELS", tmp_path / "none")
    assert guest.own_kernel() == (program if is_ours else None)


@pytest.mark.thorough("doctor", "vm")
@pytest.mark.skipif(
    os.environ.get("LAB_IN_VM") == "1"
    or not (own and own.name.endswith(KERNEL_RECIPE))
    or not list(kernel.SOURCES.glob("linux-source-*.tar.*")),
    reason="needs our own kernel (./lab vm build-kernel), its source, and no Lab VM around it",
)
def test_a_student_without_a_compiler_boots_it(tmp_path):
    wheel = kernel_wheel.pack(own, kernel.find_source(), tmp_path)
    packed = zipfile.ZipFile(wheel)
    [licence] = [name for name in packed.namelist() if name.endswith("GPL-2.0")]
    assert b"GNU GENERAL PUBLIC LICENSE" in packed.read(licence)
    source = packed.read(f"{KERNEL_PACKAGE}/SOURCE.txt").decode()
    assert re.search(rf"made of {kernel.find_source().name} \(SHA-256 [0-9a-f]{{64}}\)", source)

    argv = [sys.executable, "-m", "pip", "install", "--no-index", "--target", tmp_path, wheel]
    subprocess.run(argv, check=True, capture_output=True)
    student = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": f"{tmp_path}/empty"}
    student["PYTHONPATH"] = f"{tmp_path}:{CHECKOUT}"
    argv = [sys.executable, "-c", BOOT]
    done = subprocess.run(argv, env=student, capture_output=True, text=True, check=True)
    version = own.name.split("-")[1]
    assert done.stdout.split() == [
        *("Linux", f"{version}-lab,", f"{tmp_path}/{KERNEL_PACKAGE}/{own.name}", f"{version}-lab")
    ]


@pytest.mark.skipif(not (own and shutil.which("readelf")), reason="needs our own kernel, binutils")
def test_the_wheels_tag_is_what_the_kernel_needs():
    told = subprocess.run(["readelf", "-dV", own], capture_output=True, text=True, check=True)
    assert re.findall(r"\(NEEDED\).*\[(.*)\]", told.stdout) == ["libc.so.6"]
    newest = max(int(minor) for minor in re.findall(r"GLIBC_2\.(\d+)", told.stdout))
    assert kernel_wheel.needed_glibc(own.read_bytes()) == newest
