"""Listing images while others remove some: rare, so the engine's refusal is made here."""

import types

import pytest
from docker.errors import APIError

from labsupport.engine import listing

RACE = 'checking if image "70b6" is dangling: locating image with ID "70b6": image not known'


def refusing(times, words, status=500):
    """Return a client whose engine refuses to list so many times, and how often it was asked."""
    asked = []

    def images(**options):
        asked.append(options)
        if len(asked) <= times:
            answer = types.SimpleNamespace(status_code=status)
            raise APIError("refused", response=answer, explanation=words)
        return [{"Id": "sha256:1", "RepoTags": None}]

    return types.SimpleNamespace(api=types.SimpleNamespace(images=images)), asked


def test_an_image_that_goes_meanwhile_is_no_reason_to_give_up():
    client, asked = refusing(3, RACE)
    assert listing.images(client, all=True) == [{"Id": "sha256:1", "RepoTags": None}]
    assert asked == [{"all": True}] * 4


@pytest.mark.parametrize(("words", "status"), [("no space left on device", 500), (RACE, 403)])
def test_any_other_refusal_is_told_at_once(words, status):
    client, asked = refusing(3, words, status)
    with pytest.raises(APIError):
        listing.images(client)
    assert len(asked) == 1


def test_it_does_not_ask_for_ever():
    client, asked = refusing(1000, RACE)
    with pytest.raises(APIError):
        listing.images(client)
    assert len(asked) == listing.TRIES


@pytest.mark.parametrize(
    ("tags", "name"),
    [(["a:1", "b:2"], "a:1"), (["<none>:<none>"], "0123456789ab"), (None, "0123456789ab")],
)
def test_an_image_is_called_by_a_name_or_else_by_its_id(tags, name):
    assert listing.first_name({"Id": "sha256:0123456789abcdef", "RepoTags": tags}) == name
