"""Archives that are made here, opened."""

from contextlib import ExitStack

import pytest

from labsupport import Image
from tests.image_making import docker, pack, tar


@pytest.fixture
def opened(tmp_path):
    """Open an archive: packed already, or its files, or a list of layers (or of their members)."""

    def opened(made, **options):
        if isinstance(made, list):
            made = docker([tar(each) if isinstance(each, list) else each for each in made])
        path = tmp_path / "it.tar"
        path.write_bytes(made if isinstance(made, bytes) else pack(made))
        return ends.enter_context(Image.open(path, **options))

    with ExitStack() as ends:
        yield opened
