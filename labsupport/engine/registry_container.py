"""A registry in a container, where there is no program of it but an image: `registry:2`.

Its life hangs on our connection, as in `labsupport.engine.held`: PID 1 is a shell that ends when
its input is closed, and the engine then removes the container with all that it has stored.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.engine import base_image
from labsupport.engine.labels import owner_labels
from labsupport.engine.registry_running import Log, settings
from labsupport.errors import LabError, RegistryFailed

if TYPE_CHECKING:
    from docker.models.images import Image

IMAGES = ("registry:2", "registry:3")
_PORT = "5000/tcp"
_SCRIPT = "registry serve /lab/config.yml & cat > /dev/null"


def find() -> Image | None:
    """Find the image in the engine of this place, if there is one; nothing is pulled."""
    from docker.errors import ImageNotFound

    from labsupport.engine.client import Engine

    try:
        engine = Engine.connect()
    except LabError:  # no engine, no image; what is missing is said elsewhere
        return None
    for name in IMAGES:
        try:
            return engine.client.images.get(name)
        except ImageNotFound:
            continue
    engine.close()
    return None


class InContainer:
    """A registry that runs in a container, its port published on the loopback."""

    def __init__(self, image: Image, folder: Path, port: int) -> None:
        from docker.errors import APIError

        client: Any = image.client
        self._folder = folder
        self._container = client.containers.create(
            image, ["-c", _SCRIPT], entrypoint="/bin/sh", stdin_open=True, auto_remove=True,
            labels=owner_labels(), ports={_PORT: ("127.0.0.1", port or None)},
        )  # fmt: skip
        config = settings("0.0.0.0:5000", "/data", "/lab/users")
        files = {"lab/config.yml": config, "lab/users": (folder / "users").read_text()}
        members = {name: base_image.a_file(text.encode()) for name, text in files.items()}
        self._container.put_archive("/", base_image.pack(members))
        self._input: Any = self._container.attach_socket(params={"stdin": 1, "stream": 1})
        lines = _lines(self._container.attach(stream=True, logs=True, stdout=True, stderr=True))
        self.log = Log(lines)
        try:
            self._container.start()
            self.log.wait_for_address()
            self._container.reload()
        except APIError as error:
            self.end()
            raise RegistryFailed("the registry did not start", str(error.explanation)) from error
        except BaseException:
            self.end()
            raise
        published = self._container.attrs["NetworkSettings"]["Ports"][_PORT][0]
        self.address = f"127.0.0.1:{published['HostPort']}"

    @property
    def is_running(self) -> bool:
        """Whether it still does."""
        from docker.errors import NotFound

        try:
            self._container.reload()
        except NotFound:
            return False
        return bool(self._container.status == "running")

    def end(self) -> None:
        """End it; the engine removes the container, and we its folder."""
        from docker.errors import APIError

        if self._input is None:
            return
        self._input.close()
        self._input = None
        try:
            self._container.remove(force=True, v=True)
        except APIError as error:  # it has gone, or is about to, by itself
            if error.status_code not in (404, 409):
                raise
        shutil.rmtree(self._folder, ignore_errors=True)


def _lines(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Put a stream together that comes in parts as they were written."""
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
    if rest:
        yield rest
