"""Requests recorded on their way to a real engine (5 s)."""

import shutil
import subprocess

import pytest

from labsupport.engine.api_calls import ApiCall, ApiCalls
from labsupport.engine.client import Engine
from labsupport.engine.labels import owner_labels


@pytest.fixture
def engine(an_engine):
    with Engine.connect() as engine:
        yield engine


@pytest.fixture
def recorded(engine):
    image = engine.base_image()
    with ApiCalls(engine) as calls:
        container = engine.client.containers.create(
            image, ["true"], network_mode="none", labels=owner_labels()
        )
        container.start()
        container.wait()
        container.remove()
    return calls, container.id


def test_each_request_is_noted_in_order_with_its_answer(recorded):
    calls, identity = recorded
    assert [call.what for call in calls] == ["create", "inspect", "start", "wait", "remove"]
    assert [call.method for call in calls] == ["POST", "GET", "POST", "POST", "DELETE"]
    assert [call.status for call in calls] == [201, 200, 204, 200, 204]
    assert [call.number for call in calls] == [1, 2, 3, 4, 5]
    assert next(iter(calls)).made == identity
    times = [call.at_seconds for call in calls]
    assert times == sorted(times)


def test_ids_are_cut_in_short_and_whole_in_the_path(recorded):
    calls, identity = recorded
    start = list(calls)[2]
    assert start.short == f"POST /containers/{identity[:6]}…/start"
    assert identity in start.path


def test_what_was_sent_is_told_without_what_says_nothing(recorded):
    sent = next(iter(recorded[0])).sent
    assert '"Cmd": ["true"]' in sent
    assert "null" not in sent


def test_nothing_is_noted_afterwards(engine, recorded):
    calls, _ = recorded
    engine.client.ping()
    assert len(calls) == 5


def test_the_line_for_curl_asks_the_same(engine):
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    with ApiCalls(engine) as calls:
        engine.client.version()
    (step,) = calls.shell()
    answer = subprocess.run(["sh", "-c", step.shell], capture_output=True, text=True, check=True)
    assert f'"{engine.version}"' in answer.stdout


def test_a_refusal_is_noted_too(engine):
    with ApiCalls(engine) as calls, pytest.raises(Exception, match="No such"):
        engine.client.containers.get("no-such-container")
    assert [call.status for call in calls] == [404]


def test_answers_that_stream_are_left_to_whom_they_are_for(engine):
    engine.base_image()
    with ApiCalls(engine) as calls:
        packed = b"".join(engine.client.images.get("labsupport/busybox").save())
    assert len(packed) > 1_000_000
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("POST", "/v1.41/containers/create?name=x", "create"),
        ("GET", "/v1.41/containers/json?all=1", "inspect"),
        ("DELETE", "/v1.41/images/abc", "remove"),
        ("HEAD", "/_ping", "ping"),
        ("POST", "/build", "build"),
    ],
)
def test_a_request_has_a_short_name(method, path, what):
    assert ApiCall(1, method, path, 200, 0.0, 0.0).what == what
