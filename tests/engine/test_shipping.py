"""Login, push, pull and clean-up with a real engine and a real registry (about 15 s)."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import fields, replace
from pathlib import Path

import pytest
from docker.errors import ImageNotFound, NotFound

from labsupport.engine import registry_program, shipping, shipping_refusals
from labsupport.engine.belongings import (
    MINE,
    SOMEBODYS,
    THE_COURSES,
    Belongings,
    clean_up,
    stranger,
)
from labsupport.engine.builds import Build
from labsupport.engine.client import Engine
from labsupport.engine.docker_hub import DockerHub
from labsupport.engine.labels import OWNER, owner_labels
from labsupport.engine.registry import Registry
from labsupport.errors import (
    LoginRefused,
    NameNotYours,
    NoRoom,
    NotHere,
    NotThere,
    RateLimited,
    RegistryFailed,
    RegistryOutOfReach,
    ShippingRefused,
)
from tests.engine.help import said_by
from tests.engines import why_none

pytestmark = [
    pytest.mark.skipif(bool(why_none()), reason=why_none() or "an engine is there"),
    pytest.mark.skipif(
        registry_program.find() is None, reason="needs a registry's program (./lab registry)"
    ),
]
APP = "FROM labsupport/busybox\nRUN echo old > /a\nCOPY say /say\n"


@pytest.fixture(scope="module")
def engine():
    with Engine.start_private() as engine:
        engine.base_image()
        yield engine


@pytest.fixture
def registry():
    with Registry.start() as registry:
        yield registry


@pytest.fixture
def ship(engine, registry):
    """Build an app of three layers, under the name that leads to the registry."""

    def build(tag="1", say="hello", dockerfile=APP):
        name = registry.name("app", tag)
        Build.run(engine, {"Dockerfile": dockerfile, "say": say}, name)
        return name

    yield build
    clean_up(engine)


def tar_of(name: str) -> bytes:
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(name))
        return packed.getvalue()


def outcomes(trip):
    return [layer.outcome for layer in trip.layers]


def what_a_pull_may_fetch(engine):
    """The base image is still here, and in containerd's store all, until it is swept."""
    found = [["already here", "fetched", "fetched"]]
    return [*found, ["already here"] * 3] if engine.image_store == "containerd" else found


def test_the_first_push_sends_all_layers_and_the_registry_has_them(engine, registry, ship):
    name = ship()
    trip = shipping.push(engine, name, registry)

    assert outcomes(trip) == ["sent"] * 3
    assert "busybox" in trip.layers[0].made_by
    assert "COPY" in trip.layers[2].made_by
    assert registry.catalogue() == {"student/app": ["1"]}
    puts = {
        request.blob: request.stored_bytes for request in registry.log() if request.stored_bytes
    }
    assert {layer.digest: layer.blob_bytes for layer in trip.layers}.items() <= puts.items()
    assert {request.user for request in registry.log() if request.stored_bytes} == {"student"}


def test_after_a_change_only_the_changed_layer_goes(engine, registry, ship):
    shipping.push(engine, ship(), registry)
    before = len(registry.log())
    trip = shipping.push(engine, ship("2", "hello again"), registry)

    assert outcomes(trip) == ["already there", "already there", "sent"]
    sent = [request for request in registry.log()[before:] if request.stored_bytes]
    assert trip.line_bytes == trip.layers[2].blob_bytes < 500
    assert trip.layers[2].digest in {request.blob for request in sent}
    assert len(sent) == 2  # the layer, and the image's configuration


def test_what_is_removed_here_comes_back_by_a_pull(engine, registry, ship):
    name = ship()
    shipping.push(engine, name, registry)
    engine.client.images.remove(name, force=True)
    with pytest.raises(ImageNotFound):
        engine.client.images.get(name)
    trip = shipping.pull(engine, name, registry)

    assert outcomes(trip) in what_a_pull_may_fetch(engine)
    said = said_by(engine.client, name, ["cat", "/say"])
    assert said == b"hello"
    sent = {
        request.blob: request.sent_bytes for request in registry.log() if request.method == "GET"
    }
    assert sent[trip.layers[2].digest] == trip.layers[2].blob_bytes
    assert trip.layers[0].digest not in sent


def test_without_the_registrys_word_it_is_told_what_went_but_not_how_much(engine, registry, ship):
    """Docker Hub is such: our own is made to keep silent about what it has."""

    class Silent(Registry):
        def contents(self, name):
            return []

    silent = Silent(**{each.name: getattr(registry, each.name) for each in fields(registry)})
    name = ship()
    assert outcomes(shipping.push(engine, name, silent)) == ["sent"] * 3
    assert outcomes(shipping.push(engine, name, silent)) == ["already there"] * 3
    engine.client.images.remove(name, force=True)
    trip = shipping.pull(engine, name, silent)
    assert outcomes(trip) in what_a_pull_may_fetch(engine)
    assert trip.total_bytes == 0


def test_layers_of_another_repository_are_taken_over(engine, registry, ship):
    shipping.push(engine, ship(), registry)
    copy = registry.name("copy", "1")
    engine.client.images.get(registry.name("app", "1")).tag(copy)
    trip = shipping.push(engine, copy, registry)

    assert not trip.travelled
    assert trip.line_bytes == 0
    assert registry.catalogue() == {"student/app": ["1"], "student/copy": ["1"]}


def test_the_engine_tries_a_login_and_nothing_is_written(engine, registry, tmp_path, monkeypatch):
    config = Path.home() / ".docker" / "config.json"
    before = config.read_bytes() if config.exists() else None
    assert registry.login(engine) == "Login Succeeded"
    with pytest.raises(LoginRefused, match="401"):
        registry.login(engine, token="a wrong one")

    assert (config.read_bytes() if config.exists() else None) == before
    assert {request.status for request in registry.log()} == {200, 401}


@pytest.mark.parametrize("token", ["", "a wrong one"])
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_without_the_token_nothing_goes_either_way(engine, registry, ship, verb, token):
    name = ship()
    shipping.push(engine, name, registry)
    with pytest.raises(LoginRefused, match=r"docker login 127\.0\.0\.1"):
        getattr(shipping, verb)(engine, name, replace(registry, password=token))


def test_a_name_that_leads_nowhere_is_explained(engine, registry, ship):
    engine.client.images.get(ship()).tag("nobodys-app", "1")
    try:
        with pytest.raises(ShippingRefused, match=r"docker\.io/library/nobodys-app") as refusal:
            shipping.push(engine, "nobodys-app:1", registry)
    finally:
        engine.client.images.remove("nobodys-app:1")
    assert isinstance(refusal.value, RegistryOutOfReach | NameNotYours)


def test_what_is_not_here_and_what_is_not_there_are_told_apart(engine, registry):
    with pytest.raises(NotHere, match="docker tag IMAGE"):
        shipping.push(engine, registry.name("none", "1"), registry)
    with pytest.raises(NotThere, match="was it pushed"):
        shipping.pull(engine, registry.name("none", "1"), registry)


def test_a_registry_that_has_gone_is_out_of_reach(engine, ship, registry):
    name = ship()
    registry.stop()
    with pytest.raises(RegistryOutOfReach, match="is it up"):
        shipping.push(engine, name, registry)


def test_a_full_disk_is_told(tmp_path):
    """The registry's disk is a small one, in a mount namespace of the test's own.

    The engine's own words are in it as it says them after five tries, which take it 50 seconds.
    """
    program = """if True:
        import base64
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen
        from labsupport.engine.registry import Registry
        from labsupport.engine import shipping_refusals
        KIND = "application/octet-stream"
        with Registry.start() as registry:
            login = base64.b64encode(f"student:{registry.password}".encode()).decode()
            def ask(method, url, data=None):
                head = {"Authorization": f"Basic {login}", "Content-Type": KIND}
                return urlopen(Request(url, data, head, method=method))
            begun = ask("POST", f"http://{registry.address}/v2/student/app/blobs/uploads/")
            try:
                ask("PATCH", begun.headers["Location"], bytes(1 << 20))
            except HTTPError as error:
                words = f"received unexpected HTTP status: {error.code} {error.reason}"
            refusal = shipping_refusals.read("push", "app", registry.explain(words))
            print(type(refusal).__name__, refusal)
    """
    mount = 'mount -t tmpfs -o size=600k tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, tmp_path, sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("NoRoom"), done.stderr
    assert "no space left on device" in done.stdout


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("toomanyrequests: You have reached your pull rate limit.", RateLimited),
        ("denied: requested access to the resource is denied", NameNotYours),
        ("pull access denied, …: authorization failed: no basic auth credentials", LoginRefused),
        ("tag does not exist: 127.0.0.1:5000/student/app:1", NotHere),
        ("write /x: no space left on device", NoRoom),
        ("http: server gave HTTP response to HTTPS client", RegistryOutOfReach),
        ("manifest for a/b:1 not found: manifest unknown", NotThere),
        ("something else", ShippingRefused),
    ],
)
def test_an_engines_words_have_one_cause(words, error):
    found = shipping_refusals.read("push", "app", words)
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("app", "docker.io"),
        ("user/app:1", "docker.io"),
        ("127.0.0.1:5000/user/app", "127.0.0.1:5000"),
        ("ghcr.io/user/app", "ghcr.io"),
        ("localhost/app", "localhost"),
    ],
)
def test_where_a_name_leads(name, where):
    assert shipping_refusals.registry_of(name) == where


@pytest.mark.parametrize("rest", ["no such host", "dial udp 10.0.0.1:53: connect: unreachable"])
def test_the_name_servers_address_is_not_repeated(rest):
    words = f"dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: {rest}"
    said = str(shipping_refusals.read("push", "app", words))
    assert "lookup registry-1.docker.io: " in said
    assert "10.0.0.1" not in said


def test_podman_is_told_how_to_take_a_registry_without_a_certificate():
    words = 'Get "https://127.0.0.1:5/v2/": http: server gave HTTP response to HTTPS client'
    found = shipping_refusals.read("login", "127.0.0.1:5/", words)
    assert '[[registry]] location = "127.0.0.1:5" insecure = true' in str(found)


def test_docker_hub_asks_for_both_and_shows_no_token(monkeypatch):
    answers = {"user": "alice", "token": "dckr_pat_1"}
    monkeypatch.setattr("builtins.input", lambda _words: answers["user"])
    monkeypatch.setattr("labsupport.engine.docker_hub.getpass", lambda _words: answers["token"])
    hub = DockerHub.ask()

    assert hub.name("app", "1") == "alice/app:1"
    assert "dckr_pat_1" not in repr(hub) + str(hub)
    assert hub.auth == {"username": "alice", "password": "dckr_pat_1"}
    for ask in (hub.log, hub.catalogue, lambda: hub.open("student/app/manifests/1")):
        with pytest.raises(RegistryFailed, match=r"Registry\.start"):
            ask()
    for missing, word in (("user", "no user name"), ("token", "no token")):
        monkeypatch.setitem(answers, missing, " ")
        with pytest.raises(LoginRefused, match=word):
            DockerHub.ask()
        monkeypatch.setitem(answers, missing, "x")


def test_only_what_is_ours_is_cleaned_up(engine, registry, ship):
    """A stranger's container, image, network and volume carry no label of ours."""
    client = engine.client
    client.api.import_image_from_data(tar_of("bin/x"), repository="strangers-image", tag="1")
    theirs = client.containers.create("strangers-image:1", ["/bin/x"], name="strangers")
    network, volume = client.networks.create("st-net"), client.volumes.create("st-vol")
    name = ship()
    client.containers.run(name, ["sleep", "600"], detach=True, network_mode="none")
    client.volumes.create("our-vol", labels=owner_labels())
    before = Belongings.of(engine)
    gone = clean_up(engine)
    after = Belongings.of(engine)

    assert {thing.kind for thing in gone} == {"container", "image", "volume"}
    assert not after.mine
    assert after.identities == {thing.identity for thing in before.others}
    assert {thing.name for thing in after.whose(SOMEBODYS)} == {
        "strangers", "strangers-image:1", "st-net", "st-vol",
    }  # fmt: skip
    assert [thing.name for thing in after.whose(THE_COURSES)] == ["labsupport/busybox:latest"]
    theirs.remove()
    client.images.remove("strangers-image:1")
    network.remove()
    volume.remove()


def test_a_stranger_survives_a_clean_up_and_ends_with_its_owner(engine):
    with stranger(engine) as other:
        (seen,) = Belongings.of(engine).whose(SOMEBODYS)
        assert seen.key == other.container.id
        assert not clean_up(engine)
        assert other.exec(["echo", "still here"]) == "still here\n"
    assert not Belongings.of(engine).whose(SOMEBODYS)


def test_an_image_that_somebody_elses_container_uses_stays(engine, ship):
    name = ship()
    container = engine.client.containers.run(
        name, ["sleep", "600"], detach=True, network_mode="none", labels={OWNER: "other@there"}
    )
    try:
        assert not clean_up(engine)
        assert [thing.kind for thing in Belongings.of(engine).whose(MINE)] == ["image"]
    finally:
        container.remove(force=True)
    clean_up(engine)
    with pytest.raises(NotFound):
        engine.client.images.get(name)


def test_the_log_is_plain_data(engine, registry, ship):
    shipping.push(engine, ship(), registry)
    rows = [(r.method, r.repository, r.status, r.user) for r in registry.log()]
    assert ("PUT", "student/app", 201, "student") in rows
    assert json.dumps(rows)
