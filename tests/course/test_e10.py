"""Exercises of 10: the right answer passes, typical wrong ones get their reason. Real builds."""

import pytest

from labsupport.course.e10 import TOOLS
from labsupport.engine.client import Engine
from tests.engine.help import said_by
from tests.engines import why_none

pytestmark = pytest.mark.skipif(bool(why_none()), reason=why_none() or "an engine is there")
INSTALL = "apt-get update && apt-get install -y build-essential git pipenv"
NUMBERS = ("10.1", "10.2", "10.3")


@pytest.fixture(scope="module", autouse=True)
def engine():
    """An engine of the tests' own, which the exercises find as a student's would be found."""
    with Engine.start_private() as engine, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.address)
        patch.delenv("LAB_IN_VM", raising=False)
        yield engine


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.untouched(*NUMBERS)
def test_an_untouched_start_is_refused(number, begun):
    assert not begun(number, 7).check()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.right(*NUMBERS)
def test_the_solution_passes(number, seed, begun):
    exercise = begun(number, seed)
    exec(exercise.solution().body, {"exercise": exercise})
    verdict = exercise.check()
    assert verdict, verdict


@pytest.mark.parametrize("number", NUMBERS)
def test_seeds_vary_the_task(number, begun):
    told = []
    for seed in range(1, 6):
        exercise = begun(number, seed)
        answer = getattr(exercise, "word", exercise.solution().body)
        told.append((exercise.start().body, answer))
    assert len(set(told)) > 1


@pytest.mark.wrong("10.1")
def test_removing_in_a_later_step_does_not_halve(begun):
    exercise = begun("10.1")
    exercise.dockerfile += "RUN apt-get purge -y build-essential git pipenv && apt-get clean\n"
    saw = exercise.check().saw
    assert "deleted by a later layer, and are still there" in saw


@pytest.mark.wrong("10.1")
def test_leaving_out_what_the_app_needs_is_told(begun):
    exercise = begun("10.1")
    exercise.dockerfile = f"FROM labsupport/busybox\nADD {exercise.code} /\n"
    assert "/venv/" in exercise.check().saw


@pytest.mark.right("10.1")
def test_one_run_that_tidies_up_after_itself_is_as_good(begun):
    exercise = begun("10.1")
    tidy = "apt-get purge -y build-essential git pipenv && apt-get clean && rm -r /var/lib/apt"
    exercise.dockerfile = (
        f"FROM labsupport/toys\nADD Pipfile /\nRUN {INSTALL} && pipenv sync && {tidy}\n"
        f"ADD {exercise.code} /\n"
    )
    verdict = exercise.check()
    assert verdict, verdict


@pytest.mark.wrong("10.1")
def test_an_app_that_is_left_out_is_told(begun):
    exercise = begun("10.1")
    exec(exercise.solution().body, {"exercise": exercise})
    exercise.dockerfile = exercise.dockerfile.replace(f"ADD {exercise.code} /", "")
    assert f"the app itself, `/{exercise.code}`" in exercise.check().saw


@pytest.mark.wrong("10.2")
def test_a_build_that_fails_is_told_with_its_step(begun):
    exercise = begun("10.2")
    exercise.dockerfile = f"{TOOLS}RUN pipenv sync\nADD . /\n"
    saw = exercise.check().saw
    assert "there is no image" in saw
    assert "pipenv sync" in saw


def test_the_step_that_is_done_anew_is_named(begun):
    assert "`RUN pipenv sync` was done anew" in begun("10.2").check().saw


@pytest.mark.wrong("10.2")
def test_leaving_the_code_out_is_no_answer(begun):
    exercise = begun("10.2")
    exercise.dockerfile = f"{TOOLS}ADD Pipfile /\nRUN pipenv sync\n"
    assert "is not in the image" in exercise.check().saw


@pytest.mark.wrong("10.2")
def test_a_list_written_into_the_dockerfile_is_no_answer(begun):
    exercise = begun("10.2")
    lines = "\\n".join(exercise.libraries)
    exercise.dockerfile = (
        f"{TOOLS}RUN echo -e '{lines}' > /Pipfile && pipenv sync\nADD {exercise.code} /\n"
    )
    assert "was added to `Pipfile`" in exercise.check().saw


@pytest.mark.wrong("10.3")
def test_the_layer_that_deletes_is_not_the_one_that_gives_away(begun):
    exercise = begun("10.3")
    (lost, *_) = exercise.built.lost_files()
    exercise.layer, exercise.token = lost.removed_in.number, exercise.word
    assert "only says that" in exercise.check().saw


@pytest.mark.wrong("10.3", times=3)
def test_another_layer_is_told(begun):
    exercise = begun("10.3")
    exercise.layer = 1
    assert "has not been set" in exercise.check().saw
    exercise.token = exercise.word
    assert "has no such file" in exercise.check().saw
    exercise.layer = 99
    assert "is none of the image's" in exercise.check().saw


@pytest.mark.wrong("10.3")
def test_a_wrong_token_is_told(begun):
    exercise = begun("10.3")
    exec(exercise.solution().body, {"exercise": exercise})
    exercise.token = "token-12345678"
    assert "is not the token" in exercise.check().saw


def test_an_engine_takes_that_image_and_sees_no_token(begun, engine):
    exercise = begun("10.3", 3)
    with exercise.archive.open("rb") as archive:
        (loaded,) = engine.client.images.load(archive)
    assert loaded.attrs["RootFS"]["Layers"] == [layer.diff_id for layer in exercise.built.layers]
    seen = said_by(
        engine.client,
        loaded,
        ["sh", "-c", "cat /etc/app/* /etc/netrc /srv/* /var/*; true"],
        stderr=True,
    )
    loaded.remove()
    assert b"nothing to see here" in seen
    assert b"token" not in seen


def test_nothing_is_left(begun, engine):
    exercise = begun("10.2")
    exercise.check(), exercise.stop()
    names = {tag.partition(":")[0] for image in engine.client.images.list() for tag in image.tags}
    assert names <= {"labsupport/busybox", "labsupport/toys"}
    assert engine.client.containers.list(all=True, ignore_removed=True) == []
    secret = begun("10.3")
    secret.stop()
    assert not secret.archive.exists()
