"""`./lab` before there is anything (about 5 s in all).

A stand-in Python and a stand-in apt record what is asked of them, in a folder of the test's own.
`.ci/run` does for real what they stand in for.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pip
import pytest

from labsupport.making import kernel
from tests.toys import CHECKOUT, stand_in

PYTHON = """#!/bin/sh
# A Python that makes environments out of itself, and answers what ./lab asks.
echo "$*" >>"$RECORD"
case "$*" in
*wants_kernel*) [ ! -e "$RECORD.kernel" ] || exit 1; exit ${NO_KERNEL_WANTED:-1} ;;
*version_info*3,*11*) exit ${TOO_OLD:-0} ;;
*ensurepip*) exit ${NO_ENSUREPIP:-0} ;;
*version_info*) echo python3.11-venv ;;
--version | -VV) echo "Python ${VERSION:-3.11.9}" ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo home = / >"$3/pyvenv.cfg" ;;
"-m pip --version") echo "${PIP-pip 23}"; [ "${PIP-pip}" ] ;;
"-m pip install "*labsupport_kernel) [ "$WHEEL" ] && : >"$RECORD.kernel" ;;
"-m pip install "*) echo "${PIP_SAYS:-Successfully installed}"; $TAKES; exit ${PIP_STATUS:-0} ;;
esac
"""
DPKG = """#!/bin/sh
for name; do case " $INSTALLED " in *" $name "*) echo "install ok installed" ;; esac; done
"""
APT = """#!/bin/sh
case "$*" in *--simulate*" $REPLACES") exit 100 ;; *--simulate*) exit 0 ;; esac
echo "apt-get $*" >>"$RECORD"
"""
ASKED_OF_PIP = """
from pip._internal.commands import create_command
options, _ = create_command("install").parse_args(["anything"])
print(options.index_url, options.prefix_path)
"""
# It lets programs run, but none write to the system's folders.
SUDO = """#!/bin/sh
[ "$1" = -n ] && shift
case "$1" in tee) cat >/dev/null ;; chmod | rm) ;; *) exec "$@" ;; esac
"""
APT_CACHE = """#!/bin/sh
case " $UNKNOWN " in *" $2 "*) exit 100 ;; esac
case " $ONLY_SUGGESTED " in *" $2 "*) exit 0 ;; esac
echo "Package: $2"
"""


@dataclass
class Script:
    """A copy of `lab` in a folder with what it reads, and a PATH that begins with stand-ins."""

    folder: Path
    programs: Path
    env: dict[str, str] = field(default_factory=dict)

    def stand_in(self, name, text):
        stand_in(self.programs / name, text)

    def run(self, *arguments, **env):
        record = {"RECORD": str(self.folder / "record"), "PATH": f"{self.programs}:/usr/bin:/bin"}
        return subprocess.run(
            [self.folder / "lab", *arguments],
            env={"LAB_PYTHON": str(self.programs / "python"), **record, **self.env, **env}, cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    def asked(self):
        """Return what was asked of the stand-ins since the last time, a command a line."""
        record = self.folder / "record"
        asked = record.read_text() if record.exists() else ""
        record.unlink(missing_ok=True)
        return asked

    def installed(self) -> list[str]:
        """Return the packages of each installation since the last time."""
        return re.findall(r"^apt-get .*-install-recommends (.*)$", self.asked(), re.MULTILINE)


@pytest.fixture
def lab(tmp_path):
    """Return a script in a folder of its own: nothing set up, no package missing, not root."""
    folder = tmp_path / "a course"
    for name in ("lab", "pyproject.toml", "binder/apt.txt", "tests/apt.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    (folder / "binder" / "apt.txt").write_text("# why\nalpha # a\nbeta\n")
    (folder / "tests" / "apt.txt").write_text("gamma\n")
    script = Script(folder, tmp_path / "bin", {"INSTALLED": "alpha beta gamma"})
    script.programs.mkdir()
    script.stand_in("python", PYTHON)
    script.stand_in("dpkg-query", DPKG)
    script.stand_in("apt-get", APT)
    script.stand_in("apt-cache", APT_CACHE)
    script.stand_in("sudo", "#!/bin/sh\nexit 1\n")
    script.stand_in("id", "#!/bin/sh\necho 1000\n")
    return script


def test_it_is_sound_posix_shell():
    assert subprocess.run(["sh", "-n", CHECKOUT / "lab"], check=False).returncode == 0
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    subprocess.run(["shellcheck", "--shell=sh", CHECKOUT / "lab"], check=True)


@pytest.mark.parametrize("word", ["help", "-h", "--help"])
def test_help_sets_nothing_up(lab, word):
    run = lab.run(word)

    assert run.returncode == 0
    assert "./lab test" in run.stdout
    assert not lab.asked()
    assert not (lab.folder / ".venv").exists()


def test_it_sets_up_once_and_hands_over(lab):
    first = lab.run("doctor", "--json")
    asked = lab.asked()
    second = lab.run("doctor", "--json")

    assert first.returncode == second.returncode == 0
    assert f"-e {lab.folder}\n" in asked
    assert " --no-user " in asked  # whatever the student's pip.conf says
    assert asked.splitlines()[-1] == "-m labsupport doctor --json"
    assert [line for line in lab.asked().splitlines() if "pip" in line or "venv" in line] == []
    assert second.stderr == ""


def test_the_users_own_settings_do_not_reach_in(lab):
    lab.stand_in(
        "python", PYTHON.replace("case", 'echo "$PIP_PREFIX$PYTHONPATH" >>"$RECORD"\ncase')
    )
    assert lab.run("doctor", PIP_PREFIX="/theirs", PYTHONPATH="/theirs").returncode == 0
    assert "/theirs" not in lab.asked()


@pytest.mark.parametrize("section", ["global", "install"])
def test_a_users_pip_conf_names_a_mirror_and_no_place(lab, tmp_path, section):
    """What pip itself makes of that file and of ours, in an environment such as ours."""
    theirs = tmp_path / "config" / "pip" / "pip.conf"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(f"[{section}]\nindex-url = https://mirror.example/\nprefix = /theirs\n")
    lab.run("doctor")
    venv = tmp_path / "real"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    if (ours := lab.folder / ".venv" / "pip.conf").exists():
        shutil.copy(ours, venv)
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(theirs.parents[1])}
    env["PYTHONPATH"] = str(Path(pip.__file__).parents[1])
    argv = [venv / "bin" / "python", "-c", ASKED_OF_PIP]
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout

    assert said.split() == ["https://mirror.example/", "None"]


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_python_can_write_whatever_the_locale(lab, locale):
    lab.run("doctor")
    (lab.folder / ".venv/bin/python").write_text('#!/bin/sh\necho "$LC_ALL"\n')
    assert lab.run("doctor", LC_ALL=locale).stdout.split()[-1] == "C.UTF-8"


@pytest.mark.parametrize(
    ("arguments", "handed"),
    [
        ([], "-m labsupport.course.opening"),
        (["--port", "99"], "-m labsupport.course.opening --port 99"),
        (["test", "--only", "unit"], "-m tests --only unit"),
        (["vm", "--", "a b"], "-m labsupport vm -- a b"),
    ],
)
def test_each_command_goes_where_it_belongs(lab, arguments, handed):
    assert lab.run(*arguments).returncode == 0
    assert lab.asked().splitlines()[-1] == handed


def test_the_tests_need_more_packages_and_the_course_then_none(lab):
    lab.run("test")
    assert f"-e {lab.folder}[dev]\n" in lab.asked()
    lab.run()
    assert "pip" not in lab.asked()


@pytest.mark.parametrize("first", [{}, {"PIP_STATUS": "1", "PIP_SAYS": "Network is unreachable"}])
def test_after_a_change_or_a_failed_download_the_next_run_goes_on(lab, first):
    lab.run("doctor", **first)
    if not first:
        (lab.folder / "pyproject.toml").write_text("[project]\n")
    lab.asked()
    assert lab.run("doctor").returncode == 0
    asked = lab.asked()
    assert "-m pip install" in asked
    assert "-m venv" not in asked


def test_an_interrupted_set_up_is_made_again(lab):
    lab.run("doctor")
    (lab.folder / ".venv" / "lab-unfinished").write_text("4194305\n")  # above any PID
    lab.asked()
    run = lab.run("doctor")

    assert run.returncode == 0
    assert "interrupted" in run.stderr
    assert "-m venv" in lab.asked()
    assert not (lab.folder / ".venv" / "lab-unfinished").exists()


def test_a_second_set_up_waits_for_the_first(lab):
    lab.run("doctor")
    (lab.folder / ".venv" / "lab-unfinished").write_text(f"{os.getpid()}\n")
    with subprocess.Popen(["sh", "-c", f"sleep 1.5; rm '{lab.folder}/.venv/lab-unfinished'"]):
        started = time.monotonic()
        run = lab.run("doctor")

    assert run.returncode == 0
    assert f"PID {os.getpid()}" in run.stderr
    assert time.monotonic() - started > 1


def test_a_folder_that_is_no_environment_is_not_touched(lab):
    (lab.folder / ".venv").mkdir()
    (lab.folder / ".venv" / "thesis.tex").write_text("years of work")
    run = lab.run("doctor")

    assert run.returncode == 1
    assert "not a virtual environment" in run.stderr
    assert (lab.folder / ".venv" / "thesis.tex").exists()


@pytest.mark.parametrize("left", ["pyvenv.cfg", "lab-unfinished"])
def test_an_environment_that_others_made_is_not_removed(lab, left):
    """One without pip, as uv makes it."""
    shutil.copytree(lab.programs, lab.folder / ".venv" / "bin")
    (lab.folder / ".venv" / left).write_text("4194305\n")
    run = lab.run("doctor", PIP="")

    assert run.returncode == 1
    assert "./lab has not made it" in run.stderr
    assert (lab.folder / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize(
    ("env", "found", "remedy"),
    [
        ({"TOO_OLD": "1", "VERSION": "3.9.2"}, "not Python 3.11 or newer (Python 3.9.2)", "unset"),
        ({"NO_ENSUREPIP": "1"}, "ensurepip", "sudo apt-get install python3.11-venv"),
        (
            {"PIP_STATUS": "1", "PIP_SAYS": "Temporary failure in name resolution"},
            "is there a network?",
            "HTTPS_PROXY",
        ),
        (  # pip's last line is then about a distribution that it did not find
            {"PIP_STATUS": "1", "PIP_SAYS": "Retrying after connection broken by 'ProtocolError'"},
            "is there a network?",
            "it goes on where it stopped",
        ),
        ({"PIP_STATUS": "1", "PIP_SAYS": "ERROR: no space"}, "ERROR: no space", "lab-setup.log"),
        ({"LAB_VENV": "/proc/nowhere"}, "cannot write to /proc/nowhere", "LAB_VENV="),
    ],
)
def test_what_is_missing_is_one_sentence_and_its_remedy(lab, env, found, remedy):
    run = lab.run("doctor", **env)

    assert run.returncode == 1
    last, what_to_do = run.stderr.splitlines()[-2:]
    assert found in last
    assert remedy in what_to_do
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(("system", "word"), [("Darwin", "macOS"), ("MINGW64_NT-10", "WSL")])
def test_other_systems_are_told_what_to_use(lab, system, word):
    lab.stand_in("uname", f"#!/bin/sh\necho {system}\n")
    run = lab.run()
    assert run.returncode == 1
    assert word in run.stderr
    assert "README.md" in run.stderr


def test_without_root_the_one_command_is_printed_and_the_course_goes_on(lab):
    run = lab.run(INSTALLED="alpha")

    assert run.returncode == 0
    assert "  sudo apt-get install --no-remove --no-install-recommends beta\n" in run.stderr
    asked = lab.asked()
    assert "apt-get" not in asked
    assert "labsupport.course.opening" in asked
    assert lab.run(INSTALLED="alpha").stderr == ""  # once is enough; ./lab doctor says it again


@pytest.mark.parametrize("how", ["UNKNOWN", "ONLY_SUGGESTED"])
def test_with_sudo_what_is_missing_is_installed_and_what_is_unknown_left_out(lab, how):
    lab.stand_in("sudo", SUDO)
    run = lab.run("test", INSTALLED="alpha", **{how: "gamma"})

    assert "no package gamma" in run.stderr
    assert lab.installed() == ["beta"]
    lab.run("test", INSTALLED="alpha", UNKNOWN="gamma")
    assert "apt-get" not in lab.asked()


@pytest.mark.parametrize(
    ("unknown", "installed"),
    [("", "docker-cli docker-buildx docker-compose"), ("docker-cli", "docker-buildx"),
     ("docker-cli docker-buildx", "")],
    ids=["Debian 13", "Ubuntu", "Debian 12"],
)  # fmt: skip
def test_what_debian_13_has_split_off_docker_is_installed_where_it_has(lab, unknown, installed):
    (lab.folder / "binder" / "apt.txt").write_text("docker-cli\ndocker-buildx\ndocker-compose\n")
    lab.stand_in("sudo", SUDO)
    run = lab.run(UNKNOWN=unknown)

    assert "no package" not in run.stderr
    assert lab.installed() == [installed] * bool(installed)


def test_no_package_is_replaced(lab):
    lab.stand_in("sudo", SUDO)
    run = lab.run(INSTALLED="gamma", REPLACES="alpha")

    assert "alpha would have to replace" in run.stderr
    assert lab.installed() == ["beta"]


def test_what_builds_a_kernel_is_installed_where_one_is_wanted_and_only_to_open_the_course(lab):
    lab.stand_in("sudo", SUDO)
    lab.run("doctor", NO_KERNEL_WANTED="0")
    assert "apt-get" not in lab.asked()
    assert "a compiler" in lab.run(NO_KERNEL_WANTED="0").stderr
    assert lab.installed() == [kernel._APT.removeprefix("sudo apt-get install ")]


def test_a_wheel_with_a_kernel_is_taken_where_pip_is_told_of_one_but_from_no_index(lab):
    lab.stand_in("sudo", SUDO)
    said = lab.run(NO_KERNEL_WANTED="0", WHEEL="there").stderr

    [line] = [line for line in lab.asked().splitlines() if line.endswith(" labsupport_kernel")]
    assert " --no-index " in line
    assert "from a wheel" in said
    assert "compiler" not in said
    assert lab.run(NO_KERNEL_WANTED="0").stderr == ""


def test_what_takes_minutes_says_what_it_is_at(lab):
    lab.stand_in("sleep", "#!/bin/sh\nexec /bin/sleep 0.01\n")
    said = lab.run(TAKES="/bin/sleep 1", PIP_SAYS="Collecting numpy").stderr

    assert "1 min: Collecting numpy" in said
    assert said.count("Collecting numpy") > 1
    assert "Terminated" not in said


def test_root_is_cautioned(lab):
    lab.stand_in("id", "#!/bin/sh\necho 0\n")
    assert lab.run().stderr.count("running as root") == 1
