"""Listing while others remove something: rare, so the engine's refusal is made here."""

import types

import pytest
from docker.errors import APIError, NotFound

from labsupport.engine import listing

RACE = 'checking if image "70b6" is dangling: locating image with ID "70b6": image not known'


def refusing(times, words, status=500):
    """Return a client whose engine refuses to list `times` times, and how often it was asked."""
    asked = []

    def images(**options):
        asked.append(options)
        if len(asked) <= times:
            answer = types.SimpleNamespace(status_code=status)
            raise APIError("refused", response=answer, explanation=words)
        return [{"Id": "sha256:1", "RepoTags": None}]

    return types.SimpleNamespace(api=types.SimpleNamespace(images=images)), asked


@pytest.mark.parametrize("words", [RACE, "layer not known"])
def test_an_image_that_goes_meanwhile_is_no_reason_to_give_up(words):
    client, asked = refusing(3, words)
    assert listing.images(client, all=True) == [{"Id": "sha256:1", "RepoTags": None}]
    assert asked == [{"all": True}] * 4


@pytest.mark.parametrize(
    ("words", "status", "times"),
    [("no space left on device", 500, 1), (RACE, 403, 1), (RACE, 500, listing.TRIES)],
)
def test_any_other_refusal_is_told_at_once_and_none_is_waited_out_for_ever(words, status, times):
    client, asked = refusing(1000, words, status)
    with pytest.raises(APIError):
        listing.images(client)
    assert len(asked) == times


GONE = "container 0c5b does not exist in database: no such container"


def with_containers(refusal):
    """Return a client whose engine lists two containers, and refuses to tell of the first one."""

    def get(identity):
        if identity == "1":
            raise refusal
        return f"container {identity}"

    return types.SimpleNamespace(
        api=types.SimpleNamespace(containers=lambda **options: [{"Id": "1"}, {"Id": "2"}]),
        containers=types.SimpleNamespace(get=get),
    )


def refusal(status, words, kind=APIError):
    return kind("refused", response=types.SimpleNamespace(status_code=status), explanation=words)


@pytest.mark.parametrize("told", [refusal(404, "No such", NotFound), refusal(500, GONE)])
def test_a_container_that_goes_meanwhile_is_left_out(told):
    assert listing.containers(with_containers(told), all=True) == ["container 2"]


@pytest.mark.parametrize("told", [refusal(500, "no space left on device"), refusal(409, GONE)])
def test_a_container_that_the_engine_cannot_tell_of_is_not_left_out(told):
    with pytest.raises(APIError):
        listing.containers(with_containers(told), all=True)
