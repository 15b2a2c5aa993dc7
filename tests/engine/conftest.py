"""An engine for the tests of one module; and a place where none is found."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from labsupport.engine import finding
from labsupport.engine.client import Engine


@pytest.fixture(scope="module")
def engine():
    with Engine.start_private() as engine:
        yield engine


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No engine is named, and none of the usual sockets is there."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "LAB_IN_VM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "settings"))
    monkeypatch.setattr(finding, "usual_sockets", lambda: [tmp_path / "usual.sock"])
    return tmp_path


@pytest.fixture
def nobody(tmp_path):
    """Go on as a user without any rights."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    os.seteuid(65534)
    yield
    os.seteuid(0)
