"""Builds on real engines: BuildKit and the classic builder of a private Docker, and Podman's."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

import docker
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from labsupport.build import build
from labsupport.build.bases import base_image
from labsupport.build.build import Build
from labsupport.build.log import failure
from labsupport.engine import command_line, listing
from labsupport.engine.client import Engine
from labsupport.engine.listing import IMAGE_OWNER, image_labels
from labsupport.errors import BuildFailed, LabError, StoreChanged
from tests import census, podmans
from tests.engine.help import said_by
from tests.toys import CHECKOUT, stand_in
from tests.waiting import wait_until

PATIENCE_SECONDS = 30
BASE = "labsupport/busybox"
STAGES = f"""
ARG WORD=unused
FROM {BASE} AS maker
RUN echo made; echo aside >&2; dd if=/dev/zero of=/made bs=1k count=100
FROM {BASE}
ENV MEANING=42
COPY --from=maker /made /kept
COPY note.txt /
RUN test "$MEANING" = 42 && rm /note.txt
CMD ["cat", "/kept"]
"""


@dataclass(frozen=True)
class Site:
    """An engine, and which of its builders is asked."""

    name: str
    engine: Engine

    def build(self, context, **options):
        return Build.run(self.engine, context, network="none", **options)

    def images(self):
        return {image.id for image in self.engine.client.images.list(all=True)}


@pytest.fixture(scope="module")
def podman_engine():
    if why := podmans.why_none():
        pytest.skip(why)
    with podmans.podman("overlay") as address:
        client = docker.DockerClient(base_url=address, timeout=60)
        with Engine._of(client, address) as engine:
            base_image(engine)
            yield engine


@pytest.fixture
def buildkit(engine):
    if command_line.buildkit_command() is None:
        pytest.skip("needs a command docker that builds with BuildKit (docker-buildx)")
    return Site("BuildKit", engine)


PODMAN = pytest.param("Podman", marks=pytest.mark.thorough("engine"))


@pytest.fixture(params=["BuildKit", "the classic builder", PODMAN])
def site(request, monkeypatch):
    if request.param == "BuildKit":
        return request.getfixturevalue("buildkit")
    if request.param == "Podman":
        return Site(request.param, request.getfixturevalue("podman_engine"))
    monkeypatch.setattr(command_line, "buildkit_command", lambda: None)
    return Site(request.param, request.getfixturevalue("engine"))


def dockerfile(*lines):
    return {"Dockerfile": "\n".join([f"FROM {BASE}", *lines])}


def instructions(steps):
    return [step.instruction for step in steps if step.keyword not in {"FROM", "ARG"}]


def base_sizes(site):
    return [entry["Size"] for entry in site.engine.client.api.history(BASE)]


# --- what a build tells --------------------------------------------------------------------------


def test_a_build_has_the_steps_of_the_dockerfile_and_no_others(site):
    build = site.build(dockerfile("ENV A=1", "RUN true", "CMD sh"), tag="t/steps:1")

    worked = ["RUN true"] if site.name == "BuildKit" else ["ENV A=1", "RUN true", "CMD sh"]
    assert instructions(build.steps) == worked
    assert [step.total for step in build.steps] == [len(worked) + 1] * (len(worked) + 1)
    assert all(step.ended and not step.failed for step in build.steps)
    assert (build.tag, build.builder) == ("t/steps:1", site.name)
    image = site.engine.client.images.get("t/steps:1")
    assert image.id == build.image_id
    assert image.labels[IMAGE_OWNER] == image_labels()[IMAGE_OWNER]


def said_of(site, folder, tag):
    """Return what the builder's command says, as a cell with `%%shell as said` keeps it."""
    builder = command_line.builder_of(site.engine)
    argv = [*builder.command, "--network=none", f"--tag={tag}", str(folder)]
    env = {**os.environ, **builder.environment}
    done = subprocess.run(argv, env=env, stdout=-1, stderr=-2, text=True, check=False)
    return done.stdout


def test_what_a_typed_build_said_is_read_and_a_failed_one_is_not_taken_for_an_older_image(
    site, tmp_path
):
    file = tmp_path / "Dockerfile"
    file.write_text(f"FROM {BASE}\nRUN echo one")
    for _ in ("made", "from the cache"):
        build = Build.read(site.engine, said_of(site, tmp_path, "t/read:1"), "t/read:1")
        assert instructions(build.steps) == ["RUN echo one"]
        assert site.engine.client.images.get("t/read:1").id == build.image_id
    assert instructions(build.cached_steps) == ["RUN echo one"]
    file.write_text(f"FROM {BASE}\nRUN echo two; exit 7")
    said = said_of(site, tmp_path, "t/read:1")
    for name in ("t/read:1", "t/nothing:1"):
        with pytest.raises(BuildFailed, match="exit status 7"):
            Build.read(site.engine, said, name)


BUILDKIT = """#5 [1/2] FROM docker.io/library/alpine:3
#5 DONE 0.0s
#6 [2/2] RUN sleep 100
"""
CLASSIC = "Step 1/2 : FROM alpine\n ---> fe5c000a4768\nStep 2/2 : COPY a /\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (f"{BUILDKIT}#6 CANCELED\nERROR: failed to solve: Canceled: by you\n", "by you"),
        (f"{BUILDKIT}#6 DONE 1.0s\n#7 exporting to image\n#7 ERROR: write /x: no space left\n",
         "no space left"),
        (f"{CLASSIC}COPY failed: stat a: file does not exist\n\n", "file does not exist"),
        (f"{CLASSIC}COPY failed: stat a: no\nmake: *** [Makefile:7: image] Error 7\n", "Error 7"),
        ("Step 1/1 : FROM no\npull access denied for no, which is not there\n", "denied for no"),
        ("", "the build failed"),
    ],
)  # fmt: skip
def test_of_whatever_a_failed_build_said_an_older_image_is_not_its_result(engine, said, why):
    with pytest.raises(BuildFailed, match=why):
        Build.read(engine, said, BASE)


def test_a_step_tells_seconds_and_all_its_output_whatever_the_dockerfile_s_name(site):
    odd = ("#9 [2/3] is not a step", "Step 5/9 : nor is this")
    echo = "; ".join(f"echo '{line}'" for line in odd)
    text = f"FROM {BASE}\nRUN seq 3000; {echo}; sleep 0.5\n"
    build = site.build({"other": text}, dockerfile="other", cache=False)

    step = build.steps[-1]
    assert step.seconds >= 0.5
    assert build.seconds >= step.seconds
    assert step.output.splitlines() == [*map(str, range(1, 3001)), *odd]


def test_stages_keep_their_names_and_bytes_are_those_of_the_image_s_history(site):
    build = site.build({"Dockerfile": STAGES, "note.txt": "x" * 5000})

    told = [(step.stage, step.keyword) for step in build.steps if step.keyword in {"RUN", "COPY"}]
    assert told == [("maker", "RUN"), *[("stage-1", "COPY")] * 2, ("stage-1", "RUN")]
    last = [step for step in build.steps if step.stage == "stage-1"]
    added = {step.instruction: step.bytes for step in last}
    assert added["COPY --from=maker /made /kept"] >= 102400
    assert 5000 <= added["COPY note.txt /"] < 102400
    history = site.engine.client.api.history(build.image_id)
    whole, sizes = sum(filter(None, added.values())), [entry["Size"] for entry in history]
    # BuildKit tells once of a base that two stages have
    assert whole in {sum(sizes), sum(sizes) - sum(base_sizes(site))}


def test_text_for_people_has_a_line_for_each_step(buildkit):
    build = buildkit.build(dockerfile("RUN echo '<b>'"), tag="t/html:1", cache=False)

    assert re.search(r"^\[2/2\] RUN echo '<b>' \d+\.\d s$", repr(build), re.MULTILINE)
    assert re.search(r"built t/html:1 in .* s by BuildKit$", repr(build))
    assert "&lt;b&gt;" in build._repr_html_()
    assert build._repr_html_().count("<tr>") == 3


# --- contexts ------------------------------------------------------------------------------------


def test_a_mapping_obeys_dockerignore_and_scripts_can_be_executed(buildkit):
    build = buildkit.build({
        **dockerfile("COPY . /sent", "CMD /sent/say; ls /sent"),
        "say": "#!/bin/sh\necho said", "bytes": b"\x00\xff",
        "secret": "no", ".dockerignore": "secret",
    })  # fmt: skip

    said = said_by(buildkit.engine.client, build.image_id)
    assert said.decode().split() == ["said", "Dockerfile", "bytes", "say"]


def test_a_missing_dockerfile_is_told_with_what_is_there(buildkit, tmp_path):
    (tmp_path / "Dockerfile_cmd").touch()
    with pytest.raises(LabError, match=r"no Dockerfile in .*did you mean 'Dockerfile_cmd'"):
        buildkit.build(tmp_path)
    with pytest.raises(LabError, match="no such folder"):
        buildkit.build(tmp_path / "nowhere")
    with pytest.raises(LabError, match="the mapping"):
        buildkit.build({"dockerfile": ""})


# --- failures ------------------------------------------------------------------------------------


def test_a_failing_program_is_told_with_its_status_and_last_words_and_leaves_nothing(site):
    before = site.images()
    lines = ["RUN echo before", "RUN echo hello; echo woe >&2; exit 7", "RUN never"]
    with pytest.raises(BuildFailed, match="exit status 7") as failed:
        site.build(dockerfile(*lines))

    told = str(failed.value)
    assert lines[1] in told
    assert {"hello", "woe"} <= {*told.split()}
    assert site.engine.client.containers.list(all=True, ignore_removed=True) == []
    assert site.images() == before


@pytest.mark.parametrize(("gone", "works"), [(2, True), (3, False)])
def test_an_image_that_another_removes_meanwhile_is_no_reason_to_give_up(monkeypatch, gone, works):
    """Podman compares with an image that is just being removed: rare, so its words are here."""
    said = "checking if cached image exists from a previous build: getting top layer info: layer "
    tries = []

    def once(*_):
        tries.append(1)
        if len(tries) <= gone:
            raise failure(f"{said}not known", [])
        return Build((), "sha256:1")

    monkeypatch.setattr("labsupport.build.build._once", once)
    monkeypatch.setattr("labsupport.build.build.builder_of", lambda *_, **__: None)
    if works:
        assert Build.run(None, dockerfile()).image_id == "sha256:1"
    else:
        with pytest.raises(StoreChanged, match="build again"):
            Build.run(None, dockerfile())
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (f"FROM {BASE}\nRUM true", "(?i)cannot be read: .*unknown instruction: .?RUM"),
        (f"FROM {BASE}\nCOPY nowhere /", "nowhere.*\n.*dockerignore"),
        ("FROM localhost:1/nowhere/nothing:1\nRUN true", "build on labsupport/busybox"),
    ],
)
def test_each_cause_has_its_own_remedy(site, text, match):
    with pytest.raises(BuildFailed, match=match):
        site.build({"Dockerfile": text})


@pytest.mark.parametrize(
    ("version", "plugins", "builds"),
    [("20.10.24+dfsg1", "", True), ("28.2.2", "", False), ("28.2.2", "docker/buildx v0.13", True)],
)
def test_a_newer_command_builds_with_buildkit_only_by_its_plugin(
    tmp_path, version, plugins, builds
):
    lines = f'[ "$1" = buildx ] && echo "{plugins}" || echo "Docker version {version}"'
    program = stand_in(tmp_path / "docker", lines)
    assert command_line._builds_with_buildkit(str(program)) is builds


# --- the end of it -------------------------------------------------------------------------------


SCRIPT = """
import sys, docker
from labsupport.engine.client import Engine
from labsupport.build.build import Build
address, seconds = sys.argv[1:]
engine = Engine._of(docker.DockerClient(base_url=address), address)
text = f"FROM labsupport/busybox\\nRUN sleep {seconds}"
try:
    Build.run(engine, {"Dockerfile": text}, network="none")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, "7775"), (signal.SIGKILL, "7776")])
def test_a_build_ends_with_its_notebook(buildkit, number, seconds):
    before = buildkit.images()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, buildkit.engine.address, seconds],
        stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
    )  # fmt: skip
    wait_until(lambda: census.running(f"sleep {seconds}"))
    process.send_signal(number)
    said = process.communicate(timeout=PATIENCE_SECONDS)[0]

    assert said.strip() == ("interrupted" if number == signal.SIGINT else "")
    wait_until(lambda: not census.running(f"sleep {seconds}"))
    for leftover in listing.find_in(buildkit.engine.client):
        leftover.remove()
    assert buildkit.images() == before


def test_a_notebook_shows_which_step_a_long_build_is_at_until_it_is_done(engine, monkeypatch):
    shell = InteractiveShell.instance(display_pub_class=CapturingDisplayPublisher)
    monkeypatch.setattr(build, "QUIET_SECONDS", 0)
    base_image(engine)
    try:
        Site("", engine).build({"Dockerfile": f"FROM {BASE}\nRUN echo slow; sleep 0.1"})
    finally:
        InteractiveShell.clear_instance()
    told = [each["data"].get("text/plain", "") for each in shell.display_pub.outputs]
    assert any(re.fullmatch(r"building, \d s: RUN echo slow; sleep 0.1", line) for line in told)
    assert told[-1] == ""
