"""The course's image, as far as it can be judged without building it.

`binder/check` runs every notebook in the built image; that takes longer than a test may.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tests.test_imports import imported
from tests.toys import CHECKOUT, stand_in

RECIPE = CHECKOUT / "binder" / "Dockerfile"
FILES = (*(f"binder/{name}" for name in ("Dockerfile", "start", "apt.txt", "requirements.txt",
                                          "check", "overrides.json")),
         ".dockerignore", "compose.yaml", ".devcontainer/devcontainer.json",
         "deploy/values.yaml", "deploy/jupyterhub_config.py", "deploy/README.md")  # fmt: skip
FOREIGN = re.compile(
    r"BEGIN CERTIFICATE|\.crt\b|\.pem\b|ca-certificates|PIP_|SSL_CERT|CURL_CA|index-url|find-links"
    r"|trusted-host|proxy=",
    re.IGNORECASE,
)


@dataclass
class Stage:
    """One FROM, and the instructions below it: name and rest, continued lines joined."""

    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def of(self, name):
        return [rest for found, rest in self.lines if found == name]

    def copied(self):
        """Return sources and target of each COPY out of the checkout."""
        words = [shlex.split(rest) for rest in self.of("COPY") if "--from=" not in rest]
        plain = [[word for word in line if not word.startswith("--")] for line in words]
        return [(line[:-1], line[-1]) for line in plain]


def instructions(text):
    uncommented = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", uncommented).splitlines()
    parts = [line.strip().partition(" ") for line in lines if line.strip()]
    return [(name.upper(), rest.strip()) for name, _, rest in parts]


def read_recipe():
    stages = []
    for name, rest in instructions(RECIPE.read_text()):
        if name == "FROM":
            stages.append(Stage(rest.partition(" AS ")[2]))
        elif stages:
            stages[-1].lines.append((name, rest))
    return stages


STAGES = read_recipe()
BY_NAME = {stage.name: stage for stage in STAGES}
LAST = STAGES[-1]
MAKERS = [stage for stage in STAGES if stage.copied() and any("labsupport" in str(line)
          for line in stage.copied()) and stage is not LAST]  # fmt: skip


def ignored(path):
    """Whether .dockerignore leaves this path, or a folder that it is in, out of the build."""
    parts = Path(path).parts
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    rules = [line for line in (CHECKOUT / ".dockerignore").read_text().split("\n") if line]
    return any(
        fnmatch(one, rule.removeprefix("**/")) or (rule.startswith("**/") and fnmatch(one, rule))
        for rule in rules
        for one in above
    )


def test_what_is_copied_is_there():
    for stage in STAGES:
        for sources, _ in stage.copied():
            for source in sources:
                assert (CHECKOUT / source).exists(), f"{stage.name}: COPY {source}"
                assert source == "." or not ignored(source), source
        for rest in stage.of("COPY"):
            if copied := re.match(r"--from=(\S+)", rest):
                assert copied[1] in BY_NAME


def copy_into(stage, folder):
    for sources, target in stage.copied():
        place = folder / target.removeprefix("/build/")
        for source in sources:
            if (CHECKOUT / source).is_dir():
                skip = shutil.ignore_patterns("__pycache__")
                shutil.copytree(CHECKOUT / source, place, ignore=skip, dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHECKOUT / source, place)


def started(stage):
    """Return the modules of ours that the stage's commands start."""
    said = " ".join(stage.of("RUN"))
    return {*re.findall(r"python -m (labsupport[\w.]*)", said),
            *re.findall(r"from (labsupport[\w.]*) import main", said)}  # fmt: skip


def is_module(folder, name):
    path = folder / Path(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize("stage", MAKERS, ids=lambda stage: stage.name)
def test_a_stage_has_the_modules_that_it_runs(stage, tmp_path):
    assert started(stage)
    copy_into(stage, tmp_path)
    allowed = pip_installs(BY_NAME["tools"])
    program = (
        "import sys; sys.path.insert(0, ''); old = set(sys.modules)\n"
        f"import {', '.join(started(stage))}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - old}\n"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'labsupport'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= allowed
    for file in tmp_path.rglob("labsupport/*/*.py"):
        for name in imported(file):  # in its functions, too
            if name.startswith("labsupport.") and is_module(CHECKOUT, name):
                assert is_module(tmp_path, name), f"{file.relative_to(tmp_path)} imports {name}"


def pip_installs(stage):
    said = re.search(r"pip install (.*)", " ".join(stage.of("RUN")))
    assert said
    return {word for word in said[1].split() if not word.startswith("-")}


def test_nobody_is_root_in_it():
    assert "NB_UID=1000" in LAST.of("ARG")
    assert LAST.of("USER") == ["$NB_UID"]
    last_run = max(number for number, (name, _) in enumerate(LAST.lines) if name == "RUN")
    assert [name for name, _ in LAST.lines].index("USER") > last_run


def check():
    source = (CHECKOUT / "binder" / "check").read_text()
    found = {"__name__": "check", "__file__": str(CHECKOUT / "binder" / "check")}
    exec(compile(source, "check", "exec"), found)
    return found


@pytest.mark.parametrize(
    ("status", "skipped", "held", "well"),
    [
        (0, [], 1e9, True),
        (0, ["needs ns.time: not in this kernel"], 1e9, False),
        (0, ["needs ns.pid: no; needs qemu: not installed"], 1e9, True),
        (0, ["needs engine: there is no dockerd"], 1e9, False),
        (1, [], 1e9, False),
        (0, [], 1.6e9, False),
    ],
)
def test_the_check_tells_well_from_ill(tmp_path, status, skipped, held, well):
    said = {"status": status, "outcomes": {}, "skipped": skipped, "most": held, "at_the_end": held}
    lines = f"cat >/dev/null; printf '\\0measured %s' '{json.dumps(said)}'"
    engine = stand_in(tmp_path / "engine", lines)
    assert check()["run"](str(engine), "image", "00.ipynb") is well


def test_what_is_somebodys_own_stays_outside():
    own = (".git", ".venv/bin/python", "labsupport/__pycache__/a.pyc", ".mypy_cache/x",
           "tests/node_modules/axe-core", "notebooks/.ipynb_checkpoints/00.ipynb", ".hypothesis/x",
           "notebooks/my_progress.jsonl")  # fmt: skip
    assert [path for path in own if not ignored(path)] == []


def test_no_network_of_ours_is_named():
    assert [path for path in FILES if FOREIGN.search((CHECKOUT / path).read_text())] == []


SERVICES = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_compose_gives_no_privileges(service):
    assert service["ports"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["cap_drop"] == ["ALL"]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & service.keys()
    assert [volume.partition(":")[0] for volume in service["volumes"]] == ["notebooks"]
    assert service["mem_limit"] == "2g"


def test_only_where_there_is_no_lab_vm_capabilities_are_given():
    assert set(SERVICES) == {"course", "arm64"}
    assert "cap_add" not in SERVICES["course"]
    assert SERVICES["course"]["security_opt"] == ["no-new-privileges:true"]
    assert SERVICES["arm64"]["profiles"] == ["arm64"]
    assert SERVICES["arm64"]["build"]["args"] == {"KERNEL": "none"}


def test_a_dev_container_is_the_same_image_without_privileges():
    home = CHECKOUT / ".devcontainer"
    text = re.sub(r"^\s*//.*\n", "", (home / "devcontainer.json").read_text(), flags=re.MULTILINE)
    described = json.loads(text)
    assert (home / described["build"]["dockerfile"]).resolve() == RECIPE
    assert (home / described["build"]["context"]).resolve() == CHECKOUT
    assert f"NB_USER={described['remoteUser']}" in LAST.of("ARG")
    assert {"--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(described["runArgs"])


def test_a_hub_gives_no_privileges():
    student = yaml.safe_load((CHECKOUT / "deploy" / "values.yaml").read_text())["singleuser"]
    assert student["uid"] == 1000
    assert student["allowPrivilegeEscalation"] is False
    assert student["extraPodConfig"]["securityContext"]["runAsNonRoot"] is True
    assert student["memory"]["limit"] == "2G"
    assert student["defaultUrl"].startswith("/lab/tree/")
