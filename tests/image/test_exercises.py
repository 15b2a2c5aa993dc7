"""Exercises of 10: the right answer passes, typical wrong ones get their reason. Real builds."""

import re

import pytest

from labsupport.build.bases import APP_BASE_TAG as BASE
from labsupport.build.bases import find_archive
from labsupport.engine.client import Engine
from labsupport.image.exercises import BEGINNING, TIDY
from tests.engine.help import said_by


def installs(test):
    """Mark a test in whose builds pip and Pipenv work, for 10 s each."""
    has_base = pytest.mark.skipif(
        find_archive() is None, reason="needs the base image of the app (./lab base)"
    )
    return has_base(pytest.mark.thorough("build", "engine")(test))


pytestmark = pytest.mark.usefixtures("an_engine")
PIPENV = "RUN pip install pipenv"
SETTINGS = BEGINNING.removesuffix(f"{PIPENV}\n")


def small(*lines):
    """Return a Dockerfile of two stages, with other lines after what comes from the first."""
    tools = BEGINNING.replace(BASE, f"{BASE} AS tools")
    last = f"FROM {BASE}\nCOPY --from=tools /.venv /.venv\n"
    return f"{tools}ADD Pipfile* /\nRUN pipenv sync\n{last}" + "".join(
        f"{line}\n" for line in lines
    )


@installs
@pytest.mark.wrong("10.1")
def test_removing_in_a_later_step_does_not_halve(begun):
    exercise = begun("10.1")
    exercise.dockerfile += f"RUN {TIDY}\n"
    saw = exercise.check().saw
    assert "were deleted by a later layer, and are still there" in saw


@installs
@pytest.mark.wrong("10.1")
@pytest.mark.parametrize(
    "cheat",
    [
        "mkdir /.venv/{name} && ln -s /usr/bin/python3 /.venv/bin/python"
        " && touch /.venv/{name}/__init__.py",
        "cp /bin/echo /.venv/bin/python && echo {name} > /.venv/{name}",
    ],
    ids=["nothing is in it", "a Python that says anything"],
)
def test_without_what_the_app_needs_a_small_image_is_no_answer(begun, cheat):
    exercise = begun("10.1")
    made = f"mkdir -p /.venv/bin && {cheat.format(name=exercise.libraries[0])}"
    exercise.dockerfile = f"FROM {BASE}\nADD {exercise.code} /\nRUN {made}\n"
    assert "cannot use" in exercise.check().saw


@installs
def test_one_run_that_tidies_up_after_itself_is_as_good(begun):
    exercise = begun("10.1")
    work = f"pip install pipenv && pipenv sync && {TIDY}"
    exercise.dockerfile = f"{SETTINGS}ADD Pipfile* /\nRUN {work}\nADD {exercise.code} /\n"
    verdict = exercise.check()
    assert verdict, verdict


@installs
@pytest.mark.wrong("10.1", times=2)
def test_an_app_that_is_left_out_or_another_is_told(begun):
    exercise = begun("10.1")
    exercise.dockerfile = small()
    assert f"the app itself, `/{exercise.code}`" in exercise.check().saw
    exercise.dockerfile = small(f"RUN echo 'print()' > /{exercise.code}")
    assert "is an old one" in exercise.check().saw


@installs
def test_the_step_that_is_run_again_is_named(begun):
    assert "`RUN pipenv sync` was run again" in begun("10.2").check().saw


@installs
@pytest.mark.wrong("10.2")
@pytest.mark.parametrize(
    ("lines", "saw"),
    [
        ([PIPENV, "RUN pipenv sync", "ADD . /"], r"(?s)there is no image.*pipenv sync"),
        ([PIPENV, "ADD Pipfile* /", "RUN pipenv sync"], "is not in the image"),
        # a list written into the Dockerfile
        (["ENV PYTHONPATH=/packages", "RUN pip install --target /packages {libraries} && "
          "mkdir -p /.venv/bin && ln -s /usr/bin/python3 /.venv/bin/python", "ADD {code} /"],
         r"after \w+ was added to `Pipfile.lock`, .* cannot use"),
        # beside Pipenv, which brings some of the libraries along
        ([PIPENV, "RUN pip install {libraries} && mkdir -p /.venv/bin && "
          "ln -s $(which python3) /.venv/bin/python", "ADD {code} /"],
         r"after \w+ was added to `Pipfile.lock`, .* cannot use|decides nothing"),
    ],
    ids=["it fails", "without the code", "a list", "a list beside Pipenv"],
)  # fmt: skip
def test_what_is_built_otherwise_is_no_answer(begun, lines, saw):
    exercise = begun("10.2")
    values = {"libraries": " ".join(exercise.libraries), "code": exercise.code}
    exercise.dockerfile = SETTINGS + "".join(f"{line.format(**values)}\n" for line in lines)
    assert re.search(saw, exercise.check().saw)


@pytest.mark.wrong("10.3")
@pytest.mark.parametrize(
    ("layer", "token", "saw"),
    [
        (lambda e: e.built.lost_files()[0].removed_in.number, lambda e: e.word, "only says that"),
        (lambda e: 1, lambda e: None, "has not been set"),
        (lambda e: 1, lambda e: e.word, "has no such file"),
        (lambda e: 99, lambda e: e.word, "is not one of the image's"),
        (lambda e: e.built.lost_files()[0].added_in.number, lambda e: "token-12345678",
         "is not the token"),
    ],
)  # fmt: skip
def test_another_layer_or_token_is_told(begun, layer, token, saw):
    exercise = begun("10.3")
    exercise.layer, exercise.token = layer(exercise), token(exercise) or exercise.token
    assert saw in exercise.check().saw


def test_an_engine_takes_that_image_and_sees_no_token(begun):
    exercise = begun("10.3", 3)
    look = ["sh", "-c", "cat /etc/app/* /etc/netrc /srv/* /var/*; true"]
    with Engine.connect() as engine:
        (loaded,) = engine.client.images.load(exercise.archive.read_bytes())
        seen = said_by(engine.client, loaded, look, stderr=True)
        loaded.remove()
    assert loaded.attrs["RootFS"]["Layers"] == [layer.diff_id for layer in exercise.built.layers]
    assert b"nothing to see here" in seen
    assert b"token" not in seen
