"""`./lab page`: the course as a static page in which the cells run on a Linux of their own.

A folder for any static host: JupyterLite with the notebooks, and a 32-bit PC (v86) whose saved
state has Python warm. It is made of Debian's packages, PyPI's and npm's; what has been made is kept
in the user's cache, and made again only when its recipe changes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import Any

import zstandard

from labsupport.course.catalogue import chapters
from labsupport.doctor.guest import user_kernels
from labsupport.doctor.machine import needs_of
from labsupport.errors import LabError
from labsupport.figure import style
from labsupport.making import building, kernel
from labsupport.making.building import Progress
from labsupport.making.site import NOT_LIVE
from labsupport.page import sources
from labsupport.page.pack import pack

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
SUITE = "trixie"
MEMORY_MIB = 384
"""The guest's. Docker's programs do not stay in the file cache of 256, and are slower by half."""
SPACE_BYTES = 4_000_000_000
V86 = "v86@0.5.462"
LITE = (
    "jupyterlite-core==0.8.*",
    "jupyter_server",
    "jupyterlab_widgets",
    "anywidget",
    "ipywidgets",
)
"""What JupyterLite is made of, in an environment of its own."""
DEBIAN = (
    "python3", "python3-ipython", "python3-matplotlib", "python3-zmq", "python3-tornado",
    "python3-psutil", "python3-zstandard", "python3-bcrypt", "python3-pil", "iproute2", "procps",
    "nftables", "iptables", "mount", "libseccomp2", "libcap2-bin", "strace", "busybox-static",
    "e2fsprogs", "redis-server", "redis-tools", "iputils-ping", "uidmap", "crun",
    "docker.io", "docker-cli", "docker-registry", "tini",
)  # fmt: skip
"""The guest's packages: all that is not pure Python comes from Debian."""
PYTHON = (
    "ipykernel>=7.4", "jupyter_client", "jupyter_core", "traitlets", "comm", "matplotlib-inline",
    "ipywidgets", "anywidget", "psygnal", "docker", "requests", "urllib3", "idna", "certifi",
    "charset_normalizer", "platformdirs", "pyroute2", "system-calls", "typing_extensions",
    "packaging", "nest_asyncio2",
)  # fmt: skip
_LIB, _DIST = "/usr/lib/i386-linux-gnu", "/usr/lib/python3/dist-packages"
LEFT_OUT = (  # patterns of paths in the guest
    "/boot/*", "/usr/lib/modules", "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*",
    "/usr/share/bash-completion/*", "/usr/share/i18n", "/usr/share/zoneinfo/*", "/usr/share/gcc*",
    "/usr/share/perl*", "/usr/share/unicode", "/usr/share/matplotlib/sample_data",
    "/usr/include/*", "/var/cache/*",
    "/var/lib/apt/*", "/var/log/*", "/dev/*", "/proc/*", "/sys/*", "/tmp/*", "/run/*", "*.a",  # noqa: S108
    "*.opt-1.pyc", "*/tests", f"{_LIB}/libicu*", f"{_LIB}/perl*", f"{_LIB}/libLLVM*",
    f"{_DIST}/scipy", f"{_DIST}/sympy", f"{_DIST}/pythran", f"{_DIST}/lxml", f"{_DIST}/mpmath",
    f"{_DIST}/gast", f"{_DIST}/fs", f"{_DIST}/fontTools", f"{_DIST}/setuptools",
    "/usr/bin/ctr", "/usr/bin/containerd-shim", "/usr/bin/*-runc-v1", "/usr/*bin/runc",
)  # fmt: skip
"""What the cells never touch."""
NOTEBOOKS = [
    path
    for path in sorted((CHECKOUT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if path.name[:2] not in NOT_LIVE
]
NOT_HERE = """# Not in the page

This notebook needs what the page's machine does not have: a second virtual machine (12), or a
kernel that can be traced (14). Run it on a Linux machine with `./lab open`. All others run here.
"""
PACKAGES = {
    "mmdebstrap": "mmdebstrap", "arch-test": "arch-test", "node": "nodejs", "npm": "npm",
    "gcc": "gcc", "make": "make",
}  # fmt: skip
"""What the page is made with: programs, and Debian's packages that have them."""
_EXTENSION = {
    "name": "lab-page",
    "version": "0.1.0",
    "jupyterlab": {
        "extension": True,
        "_build": {"load": "static/remoteEntry.js", "extension": "./extension"},
    },
}


def main(argv: Sequence[str]) -> int:
    """Make the page, unless it is there already; serve it on loopback, or try notebooks in it."""
    parser = argparse.ArgumentParser(prog="lab page", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build/page", help="its folder")
    parser.add_argument("--mirror", default="", help="Debian mirror to use")
    parser.add_argument("--serve", nargs="?", type=int, const=8000, metavar="PORT",
                        help="open it at http://127.0.0.1:PORT (8000)")  # fmt: skip
    parser.add_argument("--run", nargs="*", metavar="NOTEBOOK",
                        help="run notebooks (02), or all, in its machine, in Node")  # fmt: skip
    chosen = parser.parse_args(argv)

    def work() -> bool:
        machine = build(chosen.output, chosen.mirror)
        if chosen.run is not None:
            return run_notebooks(machine, chosen.run)
        if chosen.serve is not None:
            serve(chosen.output, chosen.serve)
        return True

    return building.status_of(work)


def build(output: Path, mirror: str = "") -> Path:
    """Make the page in the folder `output`; return its machine's folder. Raises `LabError`."""
    require_tools()
    cache = user_kernels().parent / "page"
    cache.mkdir(parents=True, exist_ok=True)
    with building.alone(cache, "./lab page"):
        bz_image = make_kernel(cache)
        machine = make_machine(cache, bz_image, make_root(cache, mirror))
        make_site(cache, machine, output)
    files = [path for path in output.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"there: {output / 'index.html'} ({len(files)} files, {size:.0f} MB)")
    return machine


def serve(folder: Path, port: int) -> None:
    """Serve a folder on loopback until interrupted. Raises `LabError`: the port is taken."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing about each file."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=str(folder)))
    except OSError as error:
        what = f"port {port} cannot be listened at"
        raise LabError(what, str(error.strerror), "./lab page --serve ANOTHER") from error
    print(f"open http://127.0.0.1:{port}/ (to end: Ctrl-C)", flush=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


def run_notebooks(machine: Path, names: Sequence[str]) -> bool:
    """Run notebooks in the saved machine, print a table; return whether no cell failed."""
    paths = [path for path in NOTEBOOKS if path.name.startswith(tuple(names or ("",)))]
    if not paths:
        raise LabError(
            f"no notebook {' '.join(names)}", "their names begin with a number", "--run 02"
        )
    print(f"{'notebook':30} {'passed':>7} {'skipped':>7} {'failed':>7} {'seconds':>8}", flush=True)
    done = [_run_notebook(machine, path) for path in paths]
    return all(done)


def cells_of(machine: Path, path: Path) -> list[dict[str, Any]]:
    """Run a notebook in the saved machine; return for each cell what became of it."""
    argv = ["node", str(HERE / "run.mjs"), "notebook", str(machine), str(MEMORY_MIB), str(path)]
    argv += ["engine"] if asks_for_engine(path) else []
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    (machine / f"{path.stem}.jsonl").write_text(done.stdout)
    return [json.loads(line) for line in done.stdout.splitlines()]


def asks_for_engine(notebook: Path) -> bool:
    """Tell whether most of its cells that need something need an engine: one that runs already."""
    needs = needs_of(notebook)
    return 2 * sum("engine" in names for names in needs) > len(needs)


def _run_notebook(machine: Path, path: Path) -> bool:
    cells = cells_of(machine, path)
    count = {kind: sum(cell["is"] == kind for cell in cells) for kind in OUTCOMES}
    seconds = sum(cell["seconds"] for cell in cells)
    counts = " ".join(f"{count[kind]:7}" for kind in OUTCOMES)
    print(f"{path.stem:30} {counts} {seconds:8.0f}", flush=True)
    for cell in cells:
        if cell["is"] == "failed":
            print(f"  {cell['id']}: {cell['error']}", flush=True)
    return not count["failed"]


OUTCOMES = ("passed", "skipped", "failed")


def require_tools() -> None:
    """Raise `LabError` unless all that the page is made with is installed."""
    missing = [package for tool, package in PACKAGES.items() if not shutil.which(tool)]
    if not (SEABIOS / "bios.bin").exists():
        missing.append("seabios")
    if missing:
        remedy = f"sudo apt-get install {' '.join(missing)}"
        raise LabError("the page cannot be made here", f"not found: {', '.join(missing)}", remedy)


SEABIOS = Path("/usr/share/seabios")


def make_kernel(cache: Path) -> Path:
    """Build the guest's kernel, unless it is there; return its bzImage."""
    wanted = fragment()
    archive = kernel.find_source()
    recipe = kernel.recipe_hash(wanted, MENDS)
    made = cache / f"bzImage-{kernel.source_version(archive)}-{recipe}.bin"
    if made.exists():
        return made
    kernel.require_tools()
    with building.scratch("page-kernel", cache, SPACE_BYTES, "free some space") as folder:
        kernel.unpack(archive, folder)
        kernel.apply(folder, MENDS)
        kernel.configure(folder, wanted, archive.name, PLATFORM, "tinyconfig")
        with Progress("compiling the page's Linux", FILES_TO_COMPILE) as progress:
            jobs = f"--jobs={len(os.sched_getaffinity(0))}"
            kernel.run([*kernel.make("bzImage", PLATFORM), jobs], folder, progress)
        shutil.copyfile(folder / ".config", made.with_suffix(".config"))
        shutil.copyfile(folder / "arch/x86/boot/bzImage", made)
    return made


PLATFORM = ("ARCH=i386", "CC=gcc -m32")
FILES_TO_COMPILE = 1_400
# What Linux 6.12 gets wrong on 32 bits. The square of how far a group is above memory.high does not
# fit an unsigned long: what is left of it is a delay of zero, and the group is not held back.
HOLD_BACK = kernel.Mend(
    "mm/memcontrol.c",
    "\tunsigned long penalty_jiffies;\n\n\tif (!max_overage)",
    "\tu64 penalty_jiffies;\n\n\tif (!max_overage)",
)
# Jiffies are negative for the first five minutes, to bring to light what cannot stand that.
# blk-throttle.c cannot: with io.max it finds a slice that ends before it begins, and panics.
COUNT_FROM_ZERO = kernel.Mend(
    "include/linux/jiffies.h",
    "#define INITIAL_JIFFIES ((unsigned long)(unsigned int) (-300*HZ))",
    "#define INITIAL_JIFFIES 0UL",
)
MENDS = ((HOLD_BACK,), (COUNT_FROM_ZERO,))


def fragment() -> kernel.Fragment:
    """Return the Lab VM's configuration without what only User-Mode Linux has, and the PC's own."""
    own = kernel.Fragment.read(HERE / "linux.config")
    shared = kernel.Fragment.read()
    of_uml = (
        *("HOSTFS", "SSL", "STDERR_CONSOLE", "BLK_DEV_UBD", "UML_RANDOM", "LOCALVERSION"),
        "TIME_NS",
    )
    left = [line for line in shared.lines if not any(f"CONFIG_{word}=" in line for word in of_uml)]
    return kernel.Fragment((*left, *own.lines), shared.optional)


def make_root(cache: Path, mirror: str = "") -> Path:
    """Make the guest's Debian, with the pure Python packages in it; return its tar."""
    recipe = json.dumps([SUITE, DEBIAN, PYTHON])
    made = cache / f"root-{hashlib.sha256(recipe.encode()).hexdigest()[:10]}.tar"
    if made.exists():
        return made
    with building.scratch("page-root", cache, SPACE_BYTES, "free some space") as folder:
        with Progress("downloading Python packages"):
            _download(folder / "packages")
        options = [
            *("--variant=minbase", "--architectures=i386", "--format=tar"),
            f"--include={','.join(DEBIAN)}",
            f"--customize-hook=copy-in {folder / 'packages'} /opt",
        ]
        line = f"deb {mirror or 'http://deb.debian.org/debian'} {SUITE} main"
        target = (SUITE, folder / "root.tar", line)
        status, log = building.debian(options, target, 460, folder, dict(os.environ))
        if status:
            raise LabError(f"mmdebstrap ended with status {status}", log, "./lab page --mirror URL")
        shutil.move(folder / "root.tar", made)
    return made


def _download(folder: Path) -> None:
    options = "--platform any --implementation py --abi none --only-binary=:all: --no-deps"
    words = ["install", "--quiet", "--target", str(folder), "--python-version", "3.13"]
    _run([sys.executable, "-m", "pip", *words, *options.split(), "--no-compile", *PYTHON], CHECKOUT)


def make_machine(cache: Path, bz_image: Path, root: Path) -> Path:
    """Unpack and pack the guest's files, boot it, and save its state; return the folder."""
    recipe = [bz_image.name, root.name, MEMORY_MIB, LEFT_OUT, V86]
    machine = cache / f"machine-{_digest(*recipe, *_inside())}"
    if (machine / ENGINE).exists():
        return machine
    machine.mkdir(exist_ok=True)
    with building.scratch("page", cache, SPACE_BYTES, "free some space") as folder:
        with Progress("unpacking the machine's files"):
            furnish(folder, root)
        with Progress("packing the machine's files", 16_000) as progress:
            pack(folder, machine, LEFT_OUT, progress.step)
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix=.", V86], machine)
        sources.write(machine, folder, bz_image)
    shutil.copyfile(bz_image, machine / "bzImage")
    shutil.copyfile(SEABIOS / "bios.bin", machine / "bios.bin")
    shutil.copyfile(SEABIOS / "vgabios-stdvga.bin", machine / "vgabios.bin")
    (machine / "v86").mkdir(exist_ok=True)
    for name in ("libv86.mjs", "v86.wasm"):
        shutil.copyfile(machine / "node_modules/v86/build" / name, machine / "v86" / name)
    with Progress("starting the machine, until Docker runs in it (five to twenty minutes)"):
        _run(["node", str(HERE / "run.mjs"), "make", str(machine), str(MEMORY_MIB)], HERE)
    with Progress("packing the machine's states"):
        for state in (STATE, ENGINE):
            raw = (machine / state.removesuffix(".zst")).read_bytes()
            (machine / "packing").write_bytes(ZSTD.compress(raw))
            (machine / "packing").rename(machine / state)
    for old in {*cache.glob("machine-*")} - {machine}:
        shutil.rmtree(old)
    return machine


STATE = "state.bin.zst"
ENGINE = "engine.bin.zst"
"""The same machine later, when Docker runs in it: what differs from the first state."""
WINDOW = zstandard.ZstdCompressionParameters.from_level(19, window_log=25)
ZSTD = zstandard.ZstdCompressor(compression_params=WINDOW)
"""For a reader who has 32 MiB for what has been unpacked; level 22 takes long, and saves 1 %."""


def _inside() -> list[Path]:
    """Return the files of the course that are in the machine, or make it."""
    names = ("build.py", "extension.js", "front.html", "worker.js", "service-worker.js")
    ours = {HERE / name for name in names}
    found = [*(CHECKOUT / "labsupport").rglob("*"), *(CHECKOUT / "notebooks").rglob("*")]
    outside = {CHECKOUT / "labsupport/making"}
    here = [
        path
        for path in found
        if path.is_file() and not {*path.parts} & _NOT_INSIDE and not outside & {*path.parents}
    ]
    return sorted({*here} - ours)


_NOT_INSIDE = {"__pycache__", ".ipynb_checkpoints"}


def _digest(*recipe: object) -> str:
    """Ten hexadecimal digits that change with a recipe; of a file, its content counts."""
    parts = [
        part.read_bytes() if isinstance(part, Path) else repr(part).encode() for part in recipe
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:10]


def furnish(folder: Path, root: Path) -> None:
    """Unpack the guest's Debian, and put the course into it."""
    _run(["tar", "-xpf", str(root), "--exclude=./dev/*", "--no-same-owner"], folder)
    lab = folder / "opt/lab"
    shutil.copytree(folder / "opt/packages", lab / "packages")
    unused = shutil.ignore_patterns(*_NOT_INSIDE)
    shutil.copytree(CHECKOUT / "labsupport", lab / "labsupport", ignore=unused)
    shutil.copytree(CHECKOUT / "notebooks", folder / "root/notebooks", ignore=unused)
    (lab / "notebooks").symlink_to("/root/notebooks")  # where labsupport looks for them
    shutil.rmtree(folder / "opt/packages")
    shutil.copyfile(HERE / "init", folder / "sbin/lab-init")
    (folder / "sbin/lab-init").chmod(0o755)
    # the guest would compile them at each start, twenty times as slowly
    how = "--invalidation-mode=unchecked-hash"
    where = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    where += ["chroot", str(folder)]
    _run([*where, "python3", "-m", "compileall", "-q", how, "/opt/lab"], folder)


def make_site(cache: Path, machine: Path, output: Path) -> None:
    """Build JupyterLite with the notebooks and our kernel, and lay the machine beside it."""
    recipe = _digest(machine.name, LITE, NOT_HERE, *NOTEBOOKS, *sorted(HERE.glob("*")))
    if (output / MARK).exists() and recipe in (output / MARK).read_text():
        return
    tools = _lite(cache)
    with building.scratch("page-site", cache, SPACE_BYTES, "free some space") as folder:
        _write_contents(folder / "contents")
        config = {"appName": "Containers, live", "exposeAppInBrowser": True}
        lite = {"jupyter-lite-schema-version": 0, "jupyter-config-data": config}
        (folder / "jupyter-lite.json").write_text(json.dumps(lite))
        (folder / "overrides.json").write_text(json.dumps(SETTINGS))
        made = folder / "site"
        argv = [str(tools / "bin/jupyter"), "lite", "build", "--contents", "contents"]
        with Progress("building JupyterLite"):
            _run([*argv, "--output-dir", str(made), "--no-sourcemaps"], folder)
        _be_patient(made / "extensions/anywidget/static")
        _lay(machine, made)
        (made / MARK).write_text(f"Made by ./lab page, which replaces this folder: {recipe}\n")
        _replace(output, made)


def _be_patient(folder: Path) -> None:
    """Give a widget a minute to begin: after anywidget's two seconds it would never change."""
    found = {file: file.read_text(encoding="utf-8") for file in folder.glob("*.js")}
    hasty = {file: text for file, text in found.items() if HASTY in text}
    if not hasty:
        raise LabError("anywidget's patience was not found", f"no file in {folder} has {HASTY}")
    for file, text in hasty.items():
        file.write_text(text.replace(HASTY, "AbortSignal.timeout(60000)"), encoding="utf-8")


HASTY = "AbortSignal.timeout(2000)"
MARK = ".lab-page"
SETTINGS = {
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},
    "@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": 10},
    "@jupyterlab/filebrowser-extension:browser": {"showLastModifiedColumn": False},
}
"""JupyterLab's: the reader's light or dark theme; work is kept soon, as a tab is closed quickly."""


def _lite(cache: Path) -> Path:
    """Make an environment with JupyterLite and our kernel for it, unless it is there."""
    tools = cache / f"jupyterlite-{_digest(LITE)}"
    if not (tools / "bin/jupyter-lite").exists():
        with Progress("installing JupyterLite"):
            venv.create(tools, with_pip=True, clear=True)
            _run([str(tools / "bin/pip"), "install", "--quiet", *LITE], cache)
    extension = tools / "share/jupyter/labextensions/lab-page"
    (extension / "static").mkdir(parents=True, exist_ok=True)
    (extension / "package.json").write_text(json.dumps(_EXTENSION))
    shutil.copyfile(HERE / "extension.js", extension / "static/remoteEntry.js")
    return tools


def _replace(output: Path, made: Path) -> None:
    """Put a folder in the place of an earlier page. Raises `LabError`: it is something else."""
    if output.exists() and any(output.iterdir()) and not (output / MARK).exists():
        raise LabError(
            f"{output} was not replaced", "it was not made by ./lab page", "--output DIR"
        )
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, output)


def _lay(machine: Path, site: Path) -> None:
    """Lay the machine and the page of its sources into the site."""
    folder = site / "extensions/lab-page/static/machine"
    (folder / "state").mkdir(parents=True)
    for name in ("files", "v86"):
        shutil.copytree(machine / name, folder / name)
    for file in (HERE / "machine.js", HERE / "worker.js"):
        shutil.copyfile(file, folder / file.name)
    state, engine = (_lay_state(machine / name, folder) for name in (STATE, ENGINE))
    asking = [path.name for path in NOTEBOOKS if asks_for_engine(path)]
    made = {"memory": MEMORY_MIB, "state": state, "engine": {**engine, "notebooks": asking}}
    (folder / "machine.json").write_text(json.dumps(made))
    shutil.copytree(machine / "sources", site / "sources")
    shutil.copyfile(HERE / "service-worker.js", site / "service-worker.js")
    first = front(state["size"], engine["size"])
    (site / "index.html").write_text(first, encoding="utf-8")
    for name in ("console.webp", "pid_map.png"):
        shutil.copyfile(CHECKOUT / "docs" / name, site / name)


def _lay_state(state: Path, folder: Path) -> dict[str, Any]:
    """Lay a state into the machine's folder, named by what it holds; return its URL and size."""
    url = f"state/{_digest(state)}.zst"
    shutil.copyfile(state, folder / url)
    return {"url": url, "size": state.stat().st_size}


def front(size_bytes: int, engine_bytes: int) -> str:
    """Return the first page: what this is, and the chapters, but those that are not here."""
    rows = "\n".join(
        f'<li><span>{each.number}</span> <a href="lab/index.html?path={each.file}">'
        f"{html.escape(each.title)}</a> {html.escape(each.asks).replace('`', '')} "
        f"<span>{each.minutes or each.reading_minutes} min</span></li>"
        for each in chapters()
        if each.file in {path.name for path in NOTEBOOKS}
    )
    page = Template((HERE / "front.html").read_text(encoding="utf-8"))
    sizes = {"megabytes": round(size_bytes / 1e6), "more": round(engine_bytes / 1e6)}
    return page.substitute(rows=rows, **sizes)


def _write_contents(folder: Path) -> None:
    """Write the notebooks; JupyterLite takes each text in one piece, as a server would give it."""
    folder.mkdir()
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["metadata"] |= METADATA
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
            for out in cell.get("outputs", ()):
                _join(out)
                _name(out)
        (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    cell = {"cell_type": "markdown", "id": "not-here", "metadata": {}, "source": NOT_HERE}
    stub = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for path in (CHECKOUT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        if path.name[:2] in NOT_LIVE:
            (folder / path.name).write_text(json.dumps(stub))


METADATA = {
    "kernelspec": {
        "name": "python3", "display_name": "Python (Linux in this page)", "language": "python",
    },
    "language_info": {
        "name": "python", "mimetype": "text/x-python", "file_extension": ".py",
        "codemirror_mode": {"name": "ipython", "version": 3},
        "pygments_lexer": "ipython3", "nbconvert_exporter": "python",
    },
}  # fmt: skip
"""What the kernel says of itself: a notebook that says the same is not changed by being opened."""


def _join(output: dict[str, object]) -> None:
    for holder in (output, output.get("data")):
        if isinstance(holder, dict):
            for key, value in holder.items():
                if key != "traceback" and isinstance(value, list):
                    holder[key] = "".join(map(str, value))


def _name(output: dict[str, Any]) -> None:
    """Give a saved picture its words: JupyterLab shows a PNG without them."""
    facts = output.get("metadata", {}).get("image/png", {})
    if alt := facts.get("alt"):
        picture = base64.b64decode(output["data"]["image/png"])
        shown = style.bundle(picture, alt, width=facts.get("width"))
        output["data"] = {kind: shown[kind] for kind in ("text/html", "text/plain")}


def _run(argv: Sequence[str], folder: Path) -> None:
    status, log = building.run(argv, folder, dict(os.environ))
    if status:
        raise LabError(
            f"{Path(argv[0]).name} ended with status {status}", log, "see its last lines"
        )
