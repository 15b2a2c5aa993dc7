"""`./lab doctor` and the dispatcher, run as a student would run them."""

import json
import os
import subprocess
import sys

import pytest

from labsupport import __main__ as commands
from labsupport.doctor.tries import CAPABILITIES
from tests.toys import CHECKOUT


def lab(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "labsupport", *arguments], cwd=CHECKOUT,
        env={**os.environ, "LAB_PRETEND_MISSING": "", "LAB_PLACE": "auto", **environ},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_json_has_its_stable_keys():
    told = json.loads(lab("doctor", "--json").stdout)
    assert told["schema"] == 1
    assert set(told) == {
        *("schema", "place", "kernel_release", "arch", "cgroup_version", "user", "probe_seconds"),
        *("capabilities", "lab_place", "notebooks_run_at", "core_missing", "vm_would_add"),
    }
    assert told["kernel_release"] == os.uname().release
    assert list(told["capabilities"]) == list(CAPABILITIES)


def test_the_page_names_place_and_every_capability():
    told = lab("doctor")
    assert told.returncode == 0
    assert os.uname().release in told.stdout.splitlines()[0]
    for name in CAPABILITIES:
        assert f"  {name} " in told.stdout
    assert told.stdout.splitlines()[1].startswith("Notebooks would run")
    assert "\033[" not in told.stdout  # colour is for terminals


USAGE = "usage: ./lab"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, USAGE),
        ([], 2, USAGE),
        (["doctor", "-x"], 2, USAGE),
        (["docter"], 2, "did you mean 'doctor'?"),
        (["doctor"], 1, "lab: unknown capability 'ns.pdi': did you mean 'ns.pid'?"),
    ],
)
def test_help_wrong_use_and_an_error_of_ours(arguments, status, words):
    told = lab(*arguments, LAB_PRETEND_MISSING="ns.pdi")
    assert told.returncode == status
    assert words in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def test_only_commands_that_are_here_are_offered():
    nowhere = commands.Command("x", "", "", "no_such_module")
    no_folder = commands.Command("x", "", "", "no/such/folder/")
    assert not nowhere.is_here
    assert not no_folder.is_here
    assert "doctor" in commands.usage()


def test_every_command_that_is_offered_explains_itself():
    for command in commands.COMMANDS:
        if command.is_here and command.name not in ("test", "open"):
            told = lab(command.name, "--help")
            assert told.returncode == 0, command.name
            assert "usage" in told.stdout, command.name


def test_a_reader_that_goes_away_causes_no_traceback():
    told = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m labsupport doctor | true"], cwd=CHECKOUT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stderr == ""
