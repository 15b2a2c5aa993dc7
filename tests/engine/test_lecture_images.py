"""The lecture's public images: pulled from a registry, or refused soon and for the right reason.

The registries are small servers on this machine, which speak just enough of the protocol to refuse.
"""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager

import pytest

from labsupport.engine import lecture_images
from labsupport.engine.client import Engine
from labsupport.engine.made_image import make_image
from labsupport.errors import ImageForAnotherCpu, NotThere, RateLimited, RegistryOutOfReach
from tests.engine.help import needs_dockerd

pytestmark = needs_dockerd


@contextmanager
def registry(status: int, code: str, words: str):
    """Refuse every request; Docker speaks plain HTTP to the loopback. Status 0 answers never."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        default_request_version = "HTTP/1.0"  # a TLS hello is answered in HTTP, as by registries

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if not status:
                over.wait(30)
                return
            root = self.path == "/v2/"
            body = json.dumps({"errors": [{"code": code, "message": words}]}).encode()
            self.send_response(200 if root else status)
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "code", "words", "error"),
    [
        (429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", RateLimited),
        (404, "MANIFEST_UNKNOWN", "manifest unknown", NotThere),
    ],
)
def test_a_registry_that_refuses_is_quoted(engine, monkeypatch, status, code, words, error):
    with registry(status, code, words) as address:
        monkeypatch.setitem(lecture_images.NAMES, "alpine", f"{address}/library/alpine:latest")
        with pytest.raises(error) as caught:
            engine.lecture_image("alpine")
    assert caught.value.remedy
    if engine.image_store == "classic":  # containerd asks with HEAD, and no words come
        assert words.lower() in caught.value.why.lower()


def test_a_registry_that_never_answers_is_not_waited_for(engine, monkeypatch):
    monkeypatch.setattr(lecture_images, "SILENCE_SECONDS", 0.5)
    with registry(0, "", "") as address:
        monkeypatch.setitem(lecture_images.NAMES, "alpine", f"{address}/library/alpine:latest")
        with pytest.raises(RegistryOutOfReach, match=r"nothing was heard(.|\n)*base_image"):
            engine.lecture_image("alpine")


def test_a_registry_that_is_not_there_is_told(engine, monkeypatch):
    monkeypatch.setitem(lecture_images.NAMES, "alpine", "127.0.0.1:1/library/alpine:latest")
    with pytest.raises(RegistryOutOfReach, match="connection refused"):
        engine.lecture_image("alpine")


def test_the_lab_vm_has_no_way_out_and_does_not_try(engine, monkeypatch):
    monkeypatch.setenv("LAB_IN_VM", "1")
    monkeypatch.setattr(lecture_images, "_refusals", lambda *_: pytest.fail("it was pulled"))
    with pytest.raises(RegistryOutOfReach, match="no network to the outside"):
        engine.lecture_image("python")


def test_what_is_here_is_not_pulled(engine, monkeypatch):
    make_image(engine, "labsupport/stands-in:latest", {"/hello": (b"hello", 0o644)})
    monkeypatch.setitem(lecture_images.NAMES, "alpine", "labsupport/stands-in:latest")
    monkeypatch.setattr(lecture_images, "_refusals", lambda *_: pytest.fail("it was pulled"))
    assert engine.lecture_image("alpine").tags == ["labsupport/stands-in:latest"]


def test_an_image_for_another_cpu_is_told(engine: Engine, monkeypatch):
    other = "arm64" if engine.cpu == "amd64" else "amd64"
    name = "labsupport/foreign:latest"
    make_image(engine, name, {"/hello": (b"hello", 0o644)}, architecture=other)
    monkeypatch.setitem(lecture_images.NAMES, "alpine", name)
    with pytest.raises(
        ImageForAnotherCpu, match=rf"for {other}(.|\n)*--platform linux/{engine.cpu}"
    ):
        engine.lecture_image("alpine")


def test_a_name_that_the_lecture_has_not_is_refused(engine):
    with pytest.raises(ValueError, match="did you mean 'alpine'"):
        engine.lecture_image("alpin")
