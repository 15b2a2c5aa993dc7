"""The two small servers, for real."""

import shutil

import pytest

from labsupport import Sandbox
from labsupport.errors import MissingCapability, TimedOut
from labsupport.servers import database, web_server


def test_both_answer_from_their_sandboxes():
    pages, store = web_server("some words"), database()
    with Sandbox() as web, Sandbox() as db:
        web.start(pages.argv)
        db.start(store.argv)
        assert pages.ask() == "some words"
        assert store.ask() == "PONG"
    with pytest.raises(TimedOut, match="does not answer"):
        pages.ask(timeout=0.1)


def test_two_web_servers_get_different_ports():
    assert web_server().address != web_server().address


def test_a_missing_program_is_told_with_its_package(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(MissingCapability, match="apt install busybox-static"):
        web_server()
    with pytest.raises(MissingCapability, match="apt install redis-tools"):
        database()
