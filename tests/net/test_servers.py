"""The two small servers: that they answer from their sandboxes is asserted by 02."""

import shutil

import pytest

from labsupport import Sandbox
from labsupport.errors import LabError, MissingCapability, TimedOut
from labsupport.net.servers import database, serve, web_server


def test_a_server_that_nobody_has_started_does_not_answer():
    with pytest.raises(TimedOut, match="does not answer"):
        web_server("some words").ask(timeout=0.1)


def test_a_server_in_a_sandbox_logs_who_asks_and_gives_way_to_the_next():
    with Sandbox(new={"net"}) as box:
        box.net.set_up("lo")
        first = serve(box, "one", at="127.0.0.1:80")
        assert box.net.ask("127.0.0.1") == "one"
        assert first.log[-1].startswith("127.0.0.1:")
        assert "httpd" in repr(first)
        second = serve(box, "two", at="127.0.0.1:80")
        assert box.net.ask("127.0.0.1") == "two"
        assert first.process.returncode is not None
        with pytest.raises(LabError, match="nobody serves"):
            serve(box, "three", at="10.9.9.9:80")
        assert second.process.returncode is None


def test_a_missing_program_is_told_with_its_package(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(MissingCapability, match="apt install busybox-static"):
        web_server()
    with pytest.raises(MissingCapability, match="apt install redis-tools"):
        database()
