"""Exercises of 11: other right answers pass, typical wrong ones get their reason (about 40 s)."""

import pytest

from labsupport import Exercise
from labsupport.build.build import Build
from labsupport.registry.exercises import APP, TIDIED_UP, DoesNotStart
from labsupport.registry.shipping import push
from tests.fixtures_course import refused, solve

pytestmark = [pytest.mark.needs("registry"), pytest.mark.usefixtures("an_engine")]
CAUSES = sorted(DoesNotStart.FAULTS)


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


def build(exercise, dockerfile):
    Build.run(exercise.engine, {"Dockerfile": dockerfile}, exercise.wanted)


def ship(exercise, files):
    Build.run(exercise.engine, files, exercise.wanted)
    push(exercise.engine, exercise.wanted, exercise.registry)


# ---- 11.1: a new version


def test_on_top_of_what_was_shipped_passes_too(begun):
    exercise = begun("11.1", 1)
    app = APP.format(saying=exercise.saying)
    files = {"Dockerfile": f"FROM {exercise.shipped}\nCOPY app.sh /app/app.sh\n", "app.sh": app}
    ship(exercise, files)
    assert exercise.check()


@pytest.mark.wrong("11.1")
def test_the_tidied_up_dockerfile_sends_the_words_again(begun):
    exercise = begun("11.1", 1)
    assert (exercise.folder / "Dockerfile").read_text() == TIDIED_UP
    (exercise.folder / "app.sh").write_text(APP.format(saying=exercise.saying))
    ship(exercise, exercise.folder)
    assert "works, but its new layers have 40" in (saw := refused(exercise))
    assert "COPY" in saw


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


CHEAT = '#!/bin/sh\necho "{saying}"\necho "400000 bytes of words"\n'


@pytest.mark.wrong("11.1")
@pytest.mark.parametrize(("app", "said"), [(APP, "lost its words"), (CHEAT, "does not count")])
def test_few_bytes_by_leaving_the_words_away_is_refused(begun, app, said):
    """Or by only talking of them."""
    exercise = begun("11.1", 1)
    lines = 'FROM labsupport/busybox\nCOPY --chmod=755 app.sh /app/\nCMD ["/app/app.sh"]\n'
    ship(exercise, {"Dockerfile": lines, "app.sh": app.format(saying=exercise.saying)})
    assert said in exercise.check().saw


# ---- 11.2: an image that does not start


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_has_its_words_and_its_cure(cause, begun, seeds):
    exercise = begun("11.2", seeds[cause])
    assert exercise.cause == cause
    assert "does not start" in exercise.task()
    assert "no image" in exercise.check().saw
    solve(exercise)
    verdict = exercise.check()
    assert verdict, verdict


@pytest.mark.parametrize("also", ["", "USER 1000:1000\n"])
def test_to_start_it_by_the_interpreter_that_is_there_is_a_cure(begun, seeds, also):
    exercise = begun("11.2", seeds["no interpreter"])
    build(exercise, f'FROM {exercise.given}\n{also}ENTRYPOINT ["sh", "/app/run"]\n')
    assert exercise.check()


@pytest.mark.wrong("11.2")
@pytest.mark.parametrize(
    ("cause", "dockerfile", "said"),
    [
        ("no x", 'FROM {0}\nENTRYPOINT ["sh", "-c", "echo {1}", "/app/run"]\n', "not the program"),
        ("no x", 'FROM {0}\nENTRYPOINT ["echo", "hello"]\n', "'hello'"),
        ("the user", "FROM {0}\nUSER root\n", "as the user 'root'"),
        ("the path", 'FROM labsupport/busybox\nCMD ["echo", "{1}"]\n', "does not begin with the"),
    ],
    ids=["a-shell", "wrong-words", "root", "another-image"],
)
def test_what_only_says_the_same_is_no_cure(begun, seeds, cause, dockerfile, said):
    exercise = begun("11.2", seeds[cause])
    build(exercise, dockerfile.format(exercise.given, exercise.saying))
    assert said in exercise.check().saw


@pytest.mark.wrong("11.2")
def test_another_name_is_no_cure(begun, seeds):
    exercise = begun("11.2", seeds["no interpreter"])
    exercise.engine.client.images.get(exercise.given).tag(exercise.wanted)
    assert "no such file or directory" in exercise.check().saw
