"""What notebook 11 begins with: `hello-world`, the app's folder, and programs for two CPUs."""

from __future__ import annotations

import html
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from labsupport.build.bases import hello_program, make_image
from labsupport.engine import daemon
from labsupport.errors import LabError
from labsupport.ownership import marks
from labsupport.ownership.marks import Closing

if TYPE_CHECKING:
    from labsupport.engine.client import Engine

CPUS = {"amd64": "x86_64", "arm64": "aarch64"}
"""As images name them, and as Linux does."""
FOR_EACH_CPU = """FROM scratch
ARG TARGETARCH
COPY hello-$TARGETARCH /hello
CMD ["/hello"]
"""
REAL, OURS = "hello-world", "labsupport/hello-world:latest"
GREETING = """
Hello from an image of this course.
It shows that your engine works: it found this image, made a container of it,
had the kernel start the one program in it, and handed on what that wrote.
(Docker's own image hello-world says the same; it could not be pulled here.)

"""
APP = Path(__file__).parents[2] / "notebooks" / "apps" / "simple_translate"


def hello_world(engine: Engine) -> str:
    """Return the name of an image that says hello: Docker's own, or without a network ours.

    Docker's is taken if it is here or can be pulled.
    """
    from docker.errors import APIError, ImageNotFound

    with suppress(ImageNotFound):
        engine.client.images.get(REAL)
        return REAL
    if not daemon.guest():  # from where there is no way out
        with suppress(APIError):  # no network, or a limit: the lesson does not depend on it
            engine.client.images.pull(REAL, tag="latest")
            return REAL
    make_image(engine, OURS, {"/hello": (hello_program(GREETING), 0o755)}, Cmd=["/hello"])
    return OURS


class AppFolder(Closing):
    """`app = AppFolder()`: a copy of the translator, to be changed; `app.path` is the folder.

    `app.hello` is another one, with a program for each of two CPUs and one Dockerfile for both.
    It ends with `close()`, or with the notebook: the next start removes what is left.
    """

    def __init__(self) -> None:
        if not APP.is_dir():
            remedy = "use a checkout of the course: git clone …"
            raise LabError("the tutorials' app is not here", f"there is no folder {APP}", remedy)
        self._folder = Path(tempfile.mkdtemp(prefix=marks.prefix("app")))
        self.path = self._folder / APP.name
        shutil.copytree(APP, self.path, ignore=shutil.ignore_patterns("__pycache__"))
        self.hello = self._folder / "hello"
        self.hello.mkdir()
        (self.hello / "Dockerfile").write_text(FOR_EACH_CPU)
        for cpu, machine in CPUS.items():
            program = self.hello / f"hello-{cpu}"
            program.write_bytes(hello_program(f"Hello from {cpu}\n", machine))
            program.chmod(0o755)

    def close(self) -> None:
        """Remove the folder; may be called twice."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __repr__(self) -> str:
        sizes = {path.name: path.stat().st_size for path in sorted(self.path.iterdir())}
        lines = (f"{size:>7,} B  {name}" for name, size in sizes.items())
        return "\n".join([f"{self.path.name}/", *lines])

    def _repr_html_(self) -> str:
        parts = [f"<pre style='margin:0'>{html.escape(repr(self))}</pre>"]
        for name in ("Dockerfile", "cli.py"):
            text = html.escape((self.path / name).read_text())
            parts.append(f"<details><summary>{name}</summary><pre>{text}</pre></details>")
        return "".join(parts)
