"""What is made, is made in a folder of its own."""

import tempfile

import pytest


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A folder for temporary files; nothing may be left in it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
