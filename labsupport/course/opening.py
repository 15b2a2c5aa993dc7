"""Open the course: JupyterLab on its first page, one line that says where, one Ctrl-C that ends it.

`./lab` comes here. JupyterLab runs in this very process, so that ending it ends everything.
"""

import argparse
import glob
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import platformdirs
from jupyter_client.manager import KernelManager
from jupyter_server.serverapp import ServerApp
from traitlets.config import Config

from labsupport.doctor.guest import BUILT_MEANWHILE
from labsupport.errors import LabError
from labsupport.vm import places

LOOPBACK = "127.0.0.1"
FIRST_PAGE = "00_start_here.ipynb"
CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "notebooks"
OURS = "[0-9][0-9]_*.ipynb"
BUILD = ("setpriv", "--pdeathsig", "TERM", "nice", sys.executable,
         "-m", "labsupport", "vm", "build-kernel")  # fmt: skip


def find(start: str) -> Path:
    """Return the checkout's first notebook whose name begins so. Raises `LabError`."""
    found = sorted(FOLDER.glob(f"{glob.escape(Path(start).stem)}*.ipynb"))
    if not found:
        remedy = "run ./lab in a complete clone (git restore notebooks brings them back)"
        raise LabError("this notebook is missing", f"there is no {FOLDER / start}", remedy)
    return found[0]


def has_display() -> bool:
    """Tell whether a browser could show itself here."""
    return "CI" not in os.environ and any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def keep_settings_out() -> None:
    """Let nobody's own settings, kernels and extensions of Jupyter in, and write ours elsewhere."""
    # theirs may name parts that are not installed here; those of this environment remain
    for name in [name for name in os.environ if name in _USERS_OWN]:
        del os.environ[name]
    folder = Path(platformdirs.user_cache_dir("labsupport"), "jupyter")
    if os.access(sys.prefix, os.W_OK):  # which `./lab` has made for this user
        folder = Path(sys.prefix, "share", "labsupport", "jupyter")
    os.environ["JUPYTER_CONFIG_DIR"] = str(folder / "config")
    os.environ["JUPYTER_DATA_DIR"] = str(folder / "data")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"


_USERS_OWN = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTERLAB_SETTINGS_DIR",
              "JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_NO_CONFIG")  # fmt: skip


def settings(page: Path, port: int | None, browser: bool) -> list[str]:
    """Return JupyterLab's options. Without a `port`, the next free one from 8888 on is taken."""
    chosen = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"] if port else []
    return [
        f"--ServerApp.ip={LOOPBACK}",
        *chosen,
        f"--ServerApp.root_dir={page.parent}",
        f"--LabApp.default_url=/lab/tree/{page.name}",
        f"--ServerApp.open_browser={browser}",
        f"--ServerApp.allow_root={os.geteuid() == 0}",
        "--ServerApp.answer_yes=True",  # one Ctrl-C is enough
        "--MappingKernelManager.kernel_info_timeout=600",  # a slow computer boots a Lab VM as long
        "--ServerApp.log_level=WARN",
        "--LabApp.log_level=WARN",
        f"--LabApp.app_settings_dir={CHECKOUT / 'binder'}",  # no question about news, as there
    ]


def announce(server: ServerApp, page: Path, browser: bool) -> None:
    """Say where the course is, once the server answers."""
    address = f"http://{LOOPBACK}:{server.port}{server.base_url}lab/tree/{page.name}"
    lead = "The course is open in your browser, and here" if browser else "Open this in a browser"
    print(f"\n{lead}:\n\n    {address}?token={server.identity_provider.token}\n")
    print("Ctrl-C ends JupyterLab and everything that its notebooks started.", flush=True)


def build_kernel(open_course: ExitStack) -> None:
    """Build a kernel for the Lab VM until the course is closed; it tells how far it is here."""
    print(
        "\nThe Lab VM has no kernel that runs here. One is built now, once, beside the open course "
        "(five\nminutes on two cores). Until then, notebooks run on this machine "
        "itself, and some cells are\nskipped; afterwards, *Kernel > Restart* moves a notebook into "
        "the Lab VM.",
        flush=True,
    )
    builder = open_course.enter_context(subprocess.Popen(BUILD, stdin=subprocess.DEVNULL))
    open_course.callback(builder.terminate)


def is_a_fault(record: logging.LogRecord) -> bool:
    """Tell whether a line of the log is about more than a first visit to a fresh clone.

    Nobody has signed the course's own notebooks here, and the page shows their outputs all the
    same; Jupyter's pings are in milliseconds, which Tornado takes for seconds; and Jupyter asks a
    new kernel whether it is there until it answers: what it answers more often comes too late.
    """
    said = record.getMessage()
    ours = {f"Notebook {path.name} is not trusted" for path in FOLDER.glob(OURS)}
    return said not in ours and not said.startswith(_HARMLESS)


_HARMLESS = ("The websocket_ping_timeout (90000) cannot", "Got events for closed stream")


def serve(page: Path, port: int | None, browser: bool) -> None:
    """Run JupyterLab until Ctrl-C, or until the terminal closes."""
    # It reads where a user's settings and workspaces are when it is imported.
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    # Not an argument: everyone on this machine could read it in the process list.
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(24)
    config = Config({"IdentityProvider": {"token": token}})
    if "transport_encryption" in KernelManager.class_trait_names():  # older ones have no such trait
        config.KernelManager.transport_encryption = "auto"
    server = LabApp.initialize_server(argv=settings(page, port, browser), config=config)
    for log in (server.log, logging.getLogger("tornado.general")):
        log.addFilter(is_a_fault)
    for number in (signal.SIGHUP, signal.SIGINT):  # KeyboardInterrupt is lost while an object goes
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGTERM))
    server.io_loop.add_callback(announce, server, page, browser)
    with ExitStack() as open_course:
        if places.wants_kernel(os.environ):
            os.environ[BUILT_MEANWHILE] = "1"
            server.io_loop.add_callback(build_kernel, open_course)
        server.start()


def main(argv: Sequence[str] | None = None) -> int:
    """Open the course; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="./lab", description="Open the course in JupyterLab. ./lab help explains the rest."
    )
    parser.add_argument("notebook", nargs="?", default=FIRST_PAGE, help="or the start of its name")
    parser.add_argument("--port", type=int, help="this one and no other (else 8888 or a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    options = parser.parse_args(argv)
    try:
        page = find(options.notebook)
        keep_settings_out()
        serve(page, options.port, browser=has_display() and not options.no_browser)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
