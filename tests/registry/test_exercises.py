"""Exercises of 11: other right answers pass, typical wrong ones get their reason (about 40 s)."""

import pytest

from labsupport import Exercise
from labsupport.build.bases import base_image
from labsupport.build.build import Build
from labsupport.doctor import addresses
from labsupport.engine.client import Engine
from labsupport.registry.exercises import APP, TIDIED_UP, DoesNotStart
from labsupport.registry.shipping import push
from tests.engines import why_none

pytestmark = [
    pytest.mark.skipif(bool(why_none()), reason=why_none() or "an engine is there"),
    pytest.mark.skipif(
        addresses.find() is None, reason="needs a registry's program (./lab registry)"
    ),
]
CAUSES = sorted(DoesNotStart.FAULTS)


@pytest.fixture(scope="module", autouse=True)
def engine():
    with Engine.start_private() as engine, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.address)
        base_image(engine)
        yield engine


@pytest.fixture(scope="module")
def seeds():
    """Return a seed for each cause."""
    found: dict[str, int] = {}
    for seed in range(200):
        exercise = Exercise.of("11.2", seed)
        exercise.random.choice(range(6)), exercise.random.randrange(1000)
        causes = sorted(CAUSES)
        exercise.random.shuffle(causes)
        found.setdefault(causes[0], seed)
    return found


def solve(exercise):
    exec(exercise.solution().body, {"exercise": exercise})


def build(exercise, dockerfile):
    Build.run(exercise.engine, {"Dockerfile": dockerfile}, exercise.wanted)


# ---- 11.1: a new version


@pytest.mark.right("11.1")
def test_on_top_of_what_was_shipped_passes_too(begun):
    exercise = begun("11.1", 1)
    app = APP.format(saying=exercise.saying)
    files = {"Dockerfile": f"FROM {exercise.shipped}\nCOPY app.sh /app/app.sh\n", "app.sh": app}
    Build.run(exercise.engine, files, exercise.wanted)
    push(exercise.engine, exercise.wanted, exercise.registry)
    assert exercise.check()


@pytest.mark.wrong("11.1")
def test_the_tidied_up_dockerfile_sends_the_words_again(begun):
    exercise = begun("11.1", 1)
    assert (exercise.folder / "Dockerfile").read_text() == TIDIED_UP
    (exercise.folder / "app.sh").write_text(APP.format(saying=exercise.saying))
    Build.run(exercise.engine, exercise.folder, exercise.wanted)
    push(exercise.engine, exercise.wanted, exercise.registry)
    verdict = exercise.check()
    assert not verdict
    assert "works, but its new layers have 40" in verdict.saw
    assert "COPY" in verdict.saw


@pytest.mark.wrong("11.1")
def test_built_but_not_pushed_is_not_shipped(begun):
    exercise = begun("11.1", 1)
    Build.run(exercise.engine, exercise.folder, exercise.wanted)
    assert "tagged and pushed" in exercise.check().saw


@pytest.mark.wrong("11.1")
def test_the_old_version_under_a_new_name_is_not_new(begun):
    exercise = begun("11.1", 1)
    exercise.engine.client.images.get(exercise.shipped).tag(exercise.wanted)
    push(exercise.engine, exercise.wanted, exercise.registry)
    assert f"not `{exercise.saying}`" in exercise.check().saw


@pytest.mark.wrong("11.1")
def test_few_bytes_by_leaving_the_words_away_is_refused(begun):
    exercise = begun("11.1", 1)
    files = {
        "Dockerfile": 'FROM labsupport/busybox\nCOPY app.sh /app/app.sh\nCMD ["/app/app.sh"]\n',
        "app.sh": APP.format(saying=exercise.saying),
    }
    Build.run(exercise.engine, files, exercise.wanted)
    push(exercise.engine, exercise.wanted, exercise.registry)
    assert "lost its words" in exercise.check().saw


@pytest.mark.wrong("11.1")
def test_words_that_are_only_talked_of_are_not_counted(begun):
    """The cheat: the sentence is there, and the words are not."""
    exercise = begun("11.1", 1)
    app = f'#!/bin/sh\necho "{exercise.saying}"\necho "400000 bytes of words"\n'
    dockerfile = 'FROM labsupport/busybox\nCOPY --chmod=755 app.sh /app/\nCMD ["/app/app.sh"]\n'
    Build.run(exercise.engine, {"Dockerfile": dockerfile, "app.sh": app}, exercise.wanted)
    push(exercise.engine, exercise.wanted, exercise.registry)
    assert "does not count" in exercise.check().saw


# ---- 11.2: an image that does not start


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.right("11.2")
def test_each_cause_has_its_words_and_its_cure(cause, begun, seeds):
    exercise = begun("11.2", seeds[cause])
    assert exercise.cause == cause
    assert "does not start" in exercise.task()
    assert "no image" in exercise.check().saw
    solve(exercise)
    verdict = exercise.check()
    assert verdict, verdict


@pytest.mark.right("11.2")
def test_to_start_it_by_the_interpreter_that_is_there_is_a_cure(begun, seeds):
    exercise = begun("11.2", seeds["no interpreter"])
    build(exercise, f'FROM {exercise.given}\nENTRYPOINT ["sh", "/app/run"]\n')
    assert exercise.check()


@pytest.mark.wrong("11.2")
@pytest.mark.parametrize("start", ['["echo", "{0}"]', '["sh", "-c", "echo {0}", "/app/run"]'])
def test_another_program_that_says_the_same_is_no_cure(begun, seeds, start):
    exercise = begun("11.2", seeds["no x"])
    build(exercise, f"FROM {exercise.given}\nENTRYPOINT {start.format(exercise.saying)}\n")
    assert "not the program in /app" in exercise.check().saw


@pytest.mark.wrong("11.2")
def test_another_name_is_no_cure(begun, seeds):
    exercise = begun("11.2", seeds["no interpreter"])
    exercise.engine.client.images.get(exercise.given).tag(exercise.wanted)
    assert "no such file or directory" in exercise.check().saw


@pytest.mark.wrong("11.2")
def test_root_is_no_cure(begun, seeds):
    exercise = begun("11.2", seeds["the user"])
    build(exercise, f"FROM {exercise.given}\nUSER root\n")
    assert "as the user 'root'" in exercise.check().saw


@pytest.mark.wrong("11.2")
def test_something_else_that_says_the_same_is_no_cure(begun, seeds):
    exercise = begun("11.2", seeds["the path"])
    build(exercise, f'FROM labsupport/busybox\nCMD ["echo", "{exercise.saying}"]\n')
    assert "does not begin with the given one's layers" in exercise.check().saw


@pytest.mark.wrong("11.2")
def test_a_mended_file_with_the_wrong_words_is_told(begun, seeds):
    exercise = begun("11.2", seeds["no x"])
    build(exercise, f'FROM {exercise.given}\nENTRYPOINT ["echo", "hello"]\n')
    assert "'hello'" in exercise.check().saw
