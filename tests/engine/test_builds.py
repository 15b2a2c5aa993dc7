"""Builds on real engines: the classic builder and BuildKit of a private Docker, and Podman's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import docker
import pytest

from labsupport import Build
from labsupport.engine import labels, leftovers
from labsupport.engine.build import context as contexts
from labsupport.engine.build.failing import failure
from labsupport.engine.build.marking import Marked
from labsupport.engine.build.running import Order, Outcome, Running
from labsupport.engine.client import Engine
from labsupport.errors import (
    BaseImageMissing,
    BuilderMissing,
    BuildFailed,
    BuildStopped,
    ContextTooLarge,
    DockerfileMissing,
    DockerfileWrong,
    NotInContext,
    StoreChanged,
)
from tests import podman
from tests.engine.help import said_by
from tests.toys import CHECKOUT

HAS_DOCKERD = os.geteuid() == 0 and shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
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


@pytest.fixture(scope="module")
def docker_engine():
    if not HAS_DOCKERD:
        pytest.skip("needs root and dockerd (apt-get install docker.io)")
    with Engine.start_private() as engine:
        engine.base_image()
        yield engine


@pytest.fixture(scope="module")
def podman_engine():
    if why := podman.why_none():
        pytest.skip(why)
    with podman.service() as address:
        client = docker.DockerClient(base_url=address, timeout=60)
        with Engine._of(client, address) as engine:
            engine.base_image()
            yield engine


@pytest.fixture(params=["classic", "buildkit", "podman"])
def builder(request):
    """An engine, and the name of the builder to ask it for."""
    if request.param == "podman":
        return request.getfixturevalue("podman_engine"), "classic"
    return request.getfixturevalue("docker_engine"), request.param


@pytest.fixture(params=["docker", "podman"])
def engine(request):
    """Docker with the classic builder, or Podman: those that make an image of each step."""
    return request.getfixturevalue(f"{request.param}_engine")


def dockerfile(*lines: str) -> dict[str, str]:
    return {"Dockerfile": "\n".join([f"FROM {BASE}", *lines])}


def run(engine, context, builder="classic", **options):
    return Build.run(engine, context, network="none", builder=builder, **options)


# --- what a build tells --------------------------------------------------------------------------


def test_a_build_has_the_steps_of_the_dockerfile_and_no_others(engine):
    build = run(engine, dockerfile("ENV A=1", "RUN true", "CMD sh"), tag="t/steps:1")

    assert [step.instruction for step in build.steps] == [
        f"FROM {BASE}", "ENV A=1", "RUN true", "CMD sh",
    ]  # fmt: skip
    assert [(step.number, step.total, step.stage) for step in build.steps] == [
        (1, 4, ""), (2, 4, ""), (3, 4, ""), (4, 4, ""),
    ]  # fmt: skip
    assert all(step.ended and not step.failed for step in build.steps)
    assert build.tag == "t/steps:1"
    assert engine.client.images.get("t/steps:1").id == build.image_id


def test_every_builder_tells_seconds_and_output(builder):
    engine, name = builder
    build = run(engine, dockerfile("RUN echo heard; sleep 0.5"), name, cache=False)

    step = build.steps[-1]
    assert step.seconds >= 0.5
    assert build.seconds >= step.seconds
    assert step.output == "heard\n"
    assert build.builder == ("podman" if engine.kind == "podman" else name)
    assert engine.client.images.get(build.image_id)


def test_bytes_are_those_of_the_image_s_history(builder):
    engine, name = builder
    build = run(engine, {"Dockerfile": STAGES, "note.txt": "x" * 5000}, name)

    added = {step.instruction: step.bytes for step in build.steps if step.stage == "stage-1"}
    assert added["COPY --from=maker /made /kept"] >= 102400
    assert 5000 <= added["COPY note.txt /"] < 102400
    assert next(bytes_ for text, bytes_ in added.items() if text.startswith("RUN")) < 102400
    base, whole = (
        sum(entry["Size"] for entry in engine.client.api.history(image))
        for image in (BASE, build.image_id)
    )
    froms = [bytes_ for text, bytes_ in added.items() if text.startswith("FROM")]
    assert froms in ([base], [])  # BuildKit shares one FROM, and tells it of either stage
    assert sum(added.values()) - sum(froms) == whole - base


def test_bytes_of_other_stages_are_known_of_builders_that_make_images_of_steps(engine):
    build = run(engine, {"Dockerfile": STAGES, "note.txt": "x"})

    made = next(step for step in build.steps if step.stage == "maker" and step.keyword == "RUN")
    assert made.bytes >= 102400
    assert engine.client.images.get(made.image_id)


def test_stages_keep_their_names(builder):
    engine, name = builder
    build = run(engine, {"Dockerfile": STAGES, "note.txt": "x"}, name)

    names = [step.stage for step in build.steps if step.keyword in {"RUN", "COPY"}]
    assert names == ["maker", "stage-1", "stage-1", "stage-1"]
    assert "aside" in next(step for step in build.steps if "aside" in str(step)).instruction


def test_a_repeated_build_is_cached_and_a_change_is_where_it_ends(builder):
    engine, name = builder
    lines = ["RUN sleep 0.3; echo done", "COPY note.txt /", "RUN cat /note.txt"]
    first = {**dockerfile(*lines), "note.txt": "one"}
    run(engine, first, name)

    again = run(engine, first, name)
    changed = run(engine, {**first, "note.txt": "two"}, name)
    anew = run(engine, first, name, cache=False)

    def cached(build):
        return [step.instruction for step in build.cached_steps if step.keyword != "FROM"]

    assert cached(again) == lines
    assert cached(changed) == lines[:1]
    assert cached(anew) == []
    assert again.steps[1].output == ""


def test_stages_of_one_base_are_cached_after_a_build_without_cache(engine):
    context = {"Dockerfile": STAGES, "note.txt": "x"}
    run(engine, context, cache=False)

    again = run(engine, context)

    anew = [step for step in again.steps if not step.cached and step.keyword not in {"FROM", "ARG"}]
    assert anew == []


def test_arguments_labels_and_the_dockerfile_s_name(builder):
    engine, name = builder
    text = f"FROM {BASE}\nARG WORD\nRUN echo $WORD\nCMD sh"
    build = run(
        engine, {"other.Dockerfile": text}, name, dockerfile="other.Dockerfile",
        args={"WORD": "from outside"}, labels={"lesson": "nine"}, tag="t/word:1",
    )  # fmt: skip

    image = engine.client.images.get("t/word:1")
    assert image.labels["lesson"] == "nine"
    assert image.labels[labels.OWNER] == labels.owner_labels()[labels.OWNER]
    assert build.steps[-1 if name == "buildkit" else -2].output == "from outside\n"


def test_progress_is_told_while_the_build_goes_on(builder):
    engine, name = builder
    seen, times = [], {}

    def note(step):
        seen.append(step)
        times.setdefault(step.output, time.monotonic())

    run(engine, dockerfile("RUN echo early; sleep 1; echo late"), name, cache=False, on_step=note)

    assert times["early\nlate\n"] - times["early\n"] > 0.5
    assert not next(step for step in seen if "early" in step.instruction).ended
    assert seen[-1].ended


def test_text_for_people_has_a_line_for_each_step(docker_engine):
    build = run(docker_engine, dockerfile("RUN echo '<b>'"), tag="t/html:1", cache=False)

    assert re.search(r"^\[2/2\] RUN echo '<b>' \d+\.\d s$", repr(build), re.MULTILINE)
    assert "built t/html:1 in " in repr(build)
    assert "&lt;b&gt;" in build._repr_html_()
    assert build._repr_html_().count("<tr>") == 3


# --- contexts ------------------------------------------------------------------------------------


def test_a_folder_is_sent_without_what_dockerignore_names(builder, tmp_path):
    engine, name = builder
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /sent\nRUN find /sent -type f")
    (tmp_path / ".dockerignore").write_text("# not these\nbig\n*.log\n!kept.log\n")
    for file in ("app.py", "a.log", "kept.log", "big/blob"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"x" * (1 << 20 if "big" in file else 10))

    build = run(engine, tmp_path, name)

    files = {Path(line).name for line in build.steps[-1].output.split()}
    assert {"app.py", "kept.log"} <= files
    assert not files & {"a.log", "blob"}
    assert build.context_bytes < 1 << 20


def test_links_empty_folders_and_modes_are_sent_and_sockets_are_not(builder, tmp_path):
    engine, name = builder
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /sent\nRUN ls -lR /sent")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o750)
    (tmp_path / "link").symlink_to("run")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        build = run(engine, tmp_path, name)

    listed = build.steps[-1].output
    assert re.search(r"^drwx.* empty$", listed, re.MULTILINE)
    assert re.search(r"^-rwxr-x--- .* root +root .* run$", listed, re.MULTILINE)
    assert re.search(r"^lrwx.* link -> run$", listed, re.MULTILINE)
    assert "socket" not in listed


def test_a_mapping_obeys_dockerignore_and_scripts_can_be_executed(docker_engine):
    build = run(docker_engine, {
        **dockerfile("COPY . /sent", "CMD /sent/say; ls /sent"),
        "say": "#!/bin/sh\necho said", "bytes": b"\x00\xff",
        "secret": "no", ".dockerignore": "secret",
    })  # fmt: skip

    said = said_by(docker_engine.client, build.image_id)
    assert said.decode().split() == ["said", "Dockerfile", "bytes", "say"]


def test_a_missing_dockerfile_is_told_with_what_is_there(docker_engine, tmp_path):
    (tmp_path / "Dockerfile_cmd").touch()
    with pytest.raises(
        DockerfileMissing, match=r"no Dockerfile in .*did you mean 'Dockerfile_cmd'"
    ):
        run(docker_engine, tmp_path)
    with pytest.raises(DockerfileMissing, match="no such folder"):
        run(docker_engine, tmp_path / "nowhere")
    with pytest.raises(DockerfileMissing, match="the mapping"):
        run(docker_engine, {"dockerfile": ""})


def test_a_context_that_is_too_large_is_refused_before_it_is_sent(
    docker_engine, tmp_path, monkeypatch
):
    monkeypatch.setattr(contexts, "MOST_BYTES", 1 << 20)
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/lib").write_bytes(bytes(2 << 20))

    with pytest.raises(ContextTooLarge, match=r"venv \(2 MB\).*\n.*\.dockerignore"):
        run(docker_engine, tmp_path)


# --- failures ------------------------------------------------------------------------------------


def test_a_failing_program_is_told_with_its_status_and_last_words(builder):
    engine, name = builder
    lines = ["RUN echo before", "RUN echo hello; echo woe >&2; exit 7", "RUN never"]
    with pytest.raises(BuildFailed, match="exit status 7") as failed:
        run(engine, dockerfile(*lines), name)

    error = failed.value
    assert error.exit_status == 7
    assert error.step.instruction == lines[1]
    assert sorted(error.output.split()) == ["hello", "woe"]
    assert "woe" in str(error)
    assert [step.instruction for step in error.steps if step.keyword == "RUN"] == lines[:2]
    assert [step.failed for step in error.steps][-1] is True
    assert engine.client.containers.list(all=True, ignore_removed=True) == []


def test_a_failure_tells_the_bytes_of_what_had_been_done(engine):
    with pytest.raises(BuildFailed) as failed:
        run(engine, dockerfile("RUN dd if=/dev/zero of=/big bs=1k count=200", "RUN exit 7"))

    base, big, last = failed.value.steps
    assert base.bytes > 1_000_000
    assert 204800 <= big.bytes < 300_000
    assert last.bytes is None


def test_the_remedy_leads_into_the_image_before_the_failure(docker_engine):
    with pytest.raises(BuildFailed) as failed:
        run(docker_engine, dockerfile("RUN echo here > /clue", "RUN cat /no-clue"))

    image = failed.value.remedy.split()[-2]
    clue = said_by(docker_engine.client, image, ["cat", "/clue"])
    assert clue == b"here\n"


@pytest.mark.parametrize(("gone", "works"), [(2, True), (3, False)])
def test_an_image_that_another_removes_meanwhile_is_no_reason_to_give_up(monkeypatch, gone, works):
    """Podman compares with an image that is just going; that is rare, so it is said here."""
    said = "checking if cached image exists from a previous build: getting top layer info: layer "
    tries = []

    class Podmans:
        order, builder = Order(""), "podman"

        def __init__(self, *_):
            tries.append(self)

        def wait(self):
            if len(tries) <= gone:
                raise failure(f"{said}not known", [], Marked(""))
            return Outcome((), "sha256:1", 0.1, 1)

    monkeypatch.setattr("labsupport.engine.builds.Running", Podmans)
    if works:
        assert Build.run(None, "").image_id == "sha256:1"
    else:
        with pytest.raises(StoreChanged, match="build again"):
            Build.run(None, "")
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("lines", "error", "match"),
    [
        (["RUM true"], DockerfileWrong, "(?i)unknown instruction: .?RUM"),
        (["COPY nowhere /"], NotInContext, "nowhere.*\n.*dockerignore"),
    ],
)
def test_each_cause_has_its_own_error(builder, lines, error, match):
    engine, name = builder
    with pytest.raises(error, match=match):
        run(engine, dockerfile(*lines), name)


def test_a_missing_base_image_is_told(builder):
    engine, name = builder
    with pytest.raises(BaseImageMissing, match="labsupport/busybox"):
        run(engine, {"Dockerfile": "FROM localhost:1/nowhere/nothing:1\nRUN true"}, name)


def test_the_line_of_a_mistake_is_that_of_the_student_s_dockerfile(docker_engine):
    with pytest.raises(DockerfileWrong, match="line 5"):
        run(docker_engine, {"Dockerfile": f"FROM {BASE} AS a\n\nFROM {BASE}\n# so\nRUM true\n"})


def test_podman_has_no_buildkit(podman_engine):
    with pytest.raises(BuilderMissing, match="podman"):
        run(podman_engine, dockerfile(), "buildkit")


def test_an_engine_that_hangs_up_is_told(docker_engine):
    def hang_up(step):
        if step.output == "go\n" and not step.ended:
            running._response.raw.shutdown()

    order = Order(dockerfile("RUN echo go; sleep 20"), network="none")
    running = Running(docker_engine, order, hang_up)
    with pytest.raises(BuildFailed, match="hung up"):
        running.wait()


# --- the end of it -------------------------------------------------------------------------------


def sleepers(seconds: str) -> list[int]:
    """Processes that sleep so long, wherever they are."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if file.read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                found.append(int(file.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def until_none(seconds: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while sleepers(seconds):
        assert time.monotonic() < until, f"still there: {sleepers(seconds)}"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["classic", "buildkit"])
def test_a_build_can_be_stopped_from_another_thread(docker_engine, name):
    started = threading.Event()
    running = Running(
        docker_engine,
        Order(
            dockerfile("RUN echo first", "RUN echo go; sleep 7771"), network="none", builder=name
        ),
        lambda step: started.set() if step.output == "go\n" else None,
    )

    def stop():
        assert started.wait(PATIENCE_SECONDS)
        running.stop()
        running.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(BuildStopped, match=r"step \[3/3\]") as stopped:
        Build.of(running)
    thread.join()

    assert stopped.value.steps[1].output == "first\n"
    assert docker_engine.client.containers.list(all=True, ignore_removed=True) == []
    until_none("7771")
    again = run(docker_engine, dockerfile("RUN echo first"), name)
    assert again.steps[1].cached


def test_podman_ends_a_stopped_build_when_its_step_is_over(podman_engine):
    started = threading.Event()
    lines = ["RUN echo go; sleep 2.7772", "RUN sleep 7773"]
    running = Running(
        podman_engine, Order(dockerfile(*lines), network="none"),
        lambda step: started.set() if step.output == "go\n" else None,
    )  # fmt: skip
    threading.Thread(target=lambda: started.wait(PATIENCE_SECONDS) and running.stop()).start()
    with pytest.raises(BuildStopped):
        Build.of(running)

    until_none("2.7772")
    time.sleep(1)
    assert sleepers("7773") == []


def test_a_build_that_was_stopped_before_it_began_does_nothing(docker_engine):
    running = Running(docker_engine, Order(dockerfile("RUN sleep 7774"), network="none"))
    running.stop()
    with pytest.raises(BuildStopped):
        running.wait()
    assert sleepers("7774") == []


SCRIPT = """
import sys, docker
from labsupport.engine.client import Engine
from labsupport import Build
address, seconds, builder = sys.argv[1:]
engine = Engine._of(docker.DockerClient(base_url=address), address)
text = f"FROM labsupport/busybox AS a\\nRUN echo 1 > /one-{seconds}\\n" \\
       f"FROM labsupport/busybox\\nCOPY --from=a /one-{seconds} /\\nRUN echo go; sleep {seconds}"
try:
    Build.run(engine, {"Dockerfile": text}, network="none", builder=builder,
              on_step=lambda step: print(step.output, flush=True))
except KeyboardInterrupt:
    print("interrupted", engine.client.containers.list(all=True, ignore_removed=True), flush=True)
"""


def start(engine, seconds: str, builder: str) -> subprocess.Popen[str]:
    """Start a build in another process, and wait until it sleeps."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, engine.address, seconds, builder],
        stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
    )  # fmt: skip
    assert process.stdout is not None
    while "go" not in (line := process.stdout.readline()):
        assert line, "it ended"
    return process


def test_an_interrupted_build_has_gone_when_the_interrupt_comes_back(docker_engine):
    process = start(docker_engine, "7775", "classic")
    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=PATIENCE_SECONDS)[0].split("\n")[-2] == "interrupted []"
    until_none("7775")


@pytest.mark.parametrize(("name", "seconds"), [("classic", "7776"), ("buildkit", "7777")])
def test_what_a_killed_build_leaves_is_known_by_its_label(docker_engine, name, seconds):
    before = {image.id for image in docker_engine.client.images.list(all=True)}
    process = start(docker_engine, seconds, name)
    process.kill()
    process.wait()
    until_none(seconds)

    until = time.monotonic() + PATIENCE_SECONDS
    while docker_engine.client.containers.list(all=True, ignore_removed=True):
        assert time.monotonic() < until
        time.sleep(0.05)
    left = [image for image in docker_engine.client.images.list(all=True) if image.id not in before]
    assert (left != []) == (name == "classic")
    assert all(labels.is_left(image.labels[labels.OWNER]) for image in left)

    for leftover in leftovers.find_in(docker_engine.client):
        leftover.remove()
    assert {image.id for image in docker_engine.client.images.list(all=True)} <= before


def test_a_failed_build_leaves_only_what_carries_our_label(engine):
    with pytest.raises(BuildFailed):
        run(engine, {"Dockerfile": STAGES.replace("42 &&", "43 &&"), "note.txt": "y"})

    ours = labels.owner_labels()[labels.OWNER]
    owners = [image.labels.get(labels.OWNER) for image in engine.client.images.list(all=True)]
    assert set(owners) <= {ours, labels.COURSE, *(o for o in owners if o and labels.is_left(o))}


def test_a_dockerfile_of_one_line_is_a_build_of_one_step(engine):
    build = run(engine, dockerfile())

    assert [str(step).split(" 0")[0] for step in build.steps] == [f"[1/1] FROM {BASE}"]
    assert build.steps[0].bytes > 1_000_000


def test_what_is_no_utf8_is_sent_as_it_is(docker_engine, tmp_path):
    (tmp_path / "Dockerfile").write_bytes(f"FROM {BASE}\n# ".encode() + b"\xe9\nRUN true\n")
    assert len(run(docker_engine, tmp_path).steps) == 2


def test_much_output_comes_whole(builder):
    engine, name = builder
    build = run(engine, dockerfile("RUN seq 3000"), name, cache=False)

    assert build.steps[-1].output == "".join(f"{number}\n" for number in range(1, 3001))
