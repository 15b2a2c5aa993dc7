"""`./lab page`: the course as a static page in which the cells run on a Linux of their own.

A folder for any static host: JupyterLite with the notebooks, and a 32-bit PC (v86) whose saved
state has Python warm. It is made of Debian's packages, PyPI's and npm's; what has been made is kept
in the user's cache, and made again only when its recipe changes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import zstandard

from labsupport.doctor.guest import user_kernels
from labsupport.errors import LabError
from labsupport.making import building, kernel
from labsupport.making.building import Progress
from labsupport.page.pack import pack

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
SUITE = "trixie"
MEMORY_MIB = 256
SPACE_BYTES = 4_000_000_000
V86 = "v86@0.5.462"
LITE = (
    "jupyterlite-core==0.8.*",
    "jupyter_server",
    "jupyterlab_widgets",
    "anywidget",
    "ipywidgets",
)
DEBIAN = (
    "python3", "python3-ipython", "python3-matplotlib", "python3-zmq", "python3-tornado",
    "python3-psutil", "python3-zstandard", "python3-bcrypt", "python3-pil", "iproute2", "procps",
    "nftables", "iptables", "mount", "libseccomp2", "libcap2-bin", "strace", "busybox-static",
    "e2fsprogs", "redis-server", "redis-tools", "iputils-ping", "uidmap",
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
    "/usr/share/perl*", "/usr/share/matplotlib/sample_data", "/usr/include/*", "/var/cache/*",
    "/var/lib/apt/*", "/var/log/*", "/dev/*", "/proc/*", "/sys/*", "/tmp/*", "/run/*", "*.a",  # noqa: S108
    "*.opt-1.pyc", "*/tests", f"{_LIB}/libicu*", f"{_LIB}/perl*", f"{_LIB}/libLLVM*",
    f"{_DIST}/scipy", f"{_DIST}/sympy", f"{_DIST}/pythran", f"{_DIST}/lxml", f"{_DIST}/mpmath",
    f"{_DIST}/gast", f"{_DIST}/fs",
)  # fmt: skip
"""What the cells never touch."""
_NOT_IN_THE_PAGE = ("12_",)
_REMEDY = "sudo apt-get install mmdebstrap arch-test nodejs npm seabios zstd"
_EXTENSION = {
    "name": "lab-page",
    "version": "0.1.0",
    "jupyterlab": {
        "extension": True,
        "_build": {"load": "static/remoteEntry.js", "extension": "./extension"},
    },
}


def main(argv: Sequence[str]) -> int:
    """Make the page, and serve it on loopback if that is asked for."""
    parser = argparse.ArgumentParser(prog="lab page", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build/page", help="its folder")
    parser.add_argument("--serve", action="store_true", help="open it at http://127.0.0.1:8000")
    parser.add_argument("--mirror", default="", help="Debian mirror to use")
    chosen = parser.parse_args(argv)
    status = building.status_of(lambda: build(chosen.output, chosen.mirror).is_dir())
    if status == 0 and chosen.serve:
        folder = ["--bind", "127.0.0.1", "--directory", str(chosen.output), "8000"]
        return subprocess.call([sys.executable, "-m", "http.server", *folder])
    return status


def build(output: Path, mirror: str = "") -> Path:
    """Make the page in the folder `output`; return it. Raises `LabError`."""
    require_tools()
    cache = user_kernels().parent / "page"
    cache.mkdir(parents=True, exist_ok=True)
    with building.alone(cache, "./lab page"):
        bz_image = make_kernel(cache)
        root = make_root(cache, mirror)
        machine = make_machine(cache, bz_image, root)
        make_site(cache, machine, output)
    print(f"{output / 'index.html'}")
    return output


def require_tools() -> None:
    """Raise `LabError` unless all that the page is made with is installed."""
    tools = ("mmdebstrap", "arch-test", "node", "npm", "gcc", "make")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if not (SEABIOS / "bios.bin").exists():
        missing.append("seabios")
    if missing:
        raise LabError("the page cannot be made here", f"not found: {', '.join(missing)}", _REMEDY)


SEABIOS = Path("/usr/share/seabios")


def make_kernel(cache: Path) -> Path:
    """Build the guest's kernel, unless it is there; return its bzImage."""
    wanted = fragment()
    archive = kernel.find_source()
    made = cache / f"bzImage-{kernel.source_version(archive)}-{wanted.hash}"
    if made.exists():
        return made
    kernel.require_tools()
    with building.scratch("page-kernel", cache, SPACE_BYTES, "free some space") as folder:
        kernel.unpack(archive, folder)
        kernel.configure(folder, wanted, archive.name, PLATFORM, "tinyconfig")
        with Progress("compiling the page's Linux", FILES_TO_COMPILE) as progress:
            jobs = f"--jobs={len(os.sched_getaffinity(0))}"
            kernel.run([*kernel.make("bzImage", PLATFORM), jobs], folder, progress)
        shutil.copyfile(folder / "arch/x86/boot/bzImage", made)
    return made


PLATFORM = ("ARCH=i386", "CC=gcc -m32")
FILES_TO_COMPILE = 1_900


def fragment() -> kernel.Fragment:
    """Return the Lab VM's configuration without what only User-Mode Linux has, and the PC's own."""
    own, shared = kernel.Fragment.read(HERE / "kernel.config"), kernel.Fragment.read()
    of_uml = (
        "HOSTFS",
        "SSL",
        "STDERR_CONSOLE",
        "BLK_DEV_UBD",
        "UML_RANDOM",
        "LOCALVERSION",
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
    recipe = hashlib.sha256(f"{bz_image.name} {root.name}".encode())
    for file in sorted((CHECKOUT / "labsupport").rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            recipe.update(file.read_bytes())
    machine = cache / f"machine-{recipe.hexdigest()[:10]}"
    if (machine / "state.bin.zst").exists():
        return machine
    machine.mkdir(exist_ok=True)
    with building.scratch("page", cache, SPACE_BYTES, "free some space") as folder:
        furnish(folder, root)
        with Progress("packing the machine's files", 17_000) as progress:
            pack(folder, machine, LEFT_OUT, progress.step)
    shutil.copyfile(bz_image, machine / "bzImage")
    shutil.copyfile(SEABIOS / "bios.bin", machine / "bios.bin")
    shutil.copyfile(SEABIOS / "vgabios-stdvga.bin", machine / "vgabios.bin")
    _run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", f"--prefix={machine}", V86],
        machine,
    )
    (machine / "v86").mkdir(exist_ok=True)
    for name in ("libv86.mjs", "v86.wasm"):
        shutil.copyfile(machine / "node_modules/v86/build" / name, machine / "v86" / name)
    with Progress("starting the machine, until Python is warm (two to five minutes)"):
        _run(["node", str(HERE / "run.mjs"), "make", str(machine), str(MEMORY_MIB)], HERE)
    raw = (machine / "state.bin").read_bytes()
    (machine / "state.bin.zst").write_bytes(zstandard.compress(raw, 15))
    return machine


def furnish(folder: Path, root: Path) -> None:
    """Unpack the guest's Debian, and put the course into it."""
    _run(["tar", "-xf", str(root), "--exclude=./dev/*", "--no-same-owner"], folder)
    lab = folder / "opt/lab"
    shutil.copytree(folder / "opt/packages", lab / "packages")
    unused = shutil.ignore_patterns("__pycache__", "*.ipynb")
    shutil.copytree(CHECKOUT / "labsupport", lab / "labsupport", ignore=unused)
    shutil.copytree(CHECKOUT / "notebooks", folder / "root/notebooks", ignore=unused)
    shutil.rmtree(folder / "opt/packages")
    shutil.copyfile(HERE / "init", folder / "sbin/lab-init")
    (folder / "sbin/lab-init").chmod(0o755)
    # the guest would compile them at each start, twenty times as slowly
    how = "--invalidation-mode=unchecked-hash"
    where = ["unshare", "--mount", "chroot", str(folder)]
    _run([*where, "python3", "-m", "compileall", "-q", how, "/opt/lab"], folder)


def make_site(cache: Path, machine: Path, output: Path) -> None:
    """Build JupyterLite with the notebooks and our kernel, and lay the machine beside it."""
    tools = cache / "jupyterlite"
    if not (tools / "bin/jupyter").exists():
        venv.create(tools, with_pip=True)
        _run([str(tools / "bin/pip"), "install", "--quiet", *LITE], cache)
    extension = tools / "share/jupyter/labextensions/lab-page"
    (extension / "static").mkdir(parents=True, exist_ok=True)
    (extension / "package.json").write_text(json.dumps(_EXTENSION))
    shutil.copyfile(HERE / "extension.js", extension / "static/remoteEntry.js")
    with building.scratch("page-site", cache, SPACE_BYTES, "free some space") as folder:
        _write_contents(folder / "contents")
        config = {"appName": "Containers, live"}
        lite = {"jupyter-lite-schema-version": 0, "jupyter-config-data": config}
        (folder / "jupyter-lite.json").write_text(json.dumps(lite))
        made = folder / "site"
        argv = [str(tools / "bin/jupyter"), "lite", "build", "--contents", "contents"]
        with Progress("building JupyterLite"):
            _run([*argv, "--output-dir", str(made), "--no-sourcemaps"], folder)
        _lay(machine, made / "extensions/lab-page/static/machine")
        (made / MARK).write_text("Made by ./lab page, which replaces this folder.\n")
        _replace(output, made)


MARK = ".lab-page"


def _replace(output: Path, made: Path) -> None:
    """Put a folder in the place of an earlier page. Raises `LabError`: it is something else."""
    if output.exists() and any(output.iterdir()) and not (output / MARK).exists():
        raise LabError(
            f"{output} was not replaced", "it was not made by ./lab page", "--output DIR"
        )
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, output)


def _lay(machine: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("files", "v86"):
        shutil.copytree(machine / name, folder / name)
    for file in (machine / "state.bin.zst", HERE / "machine.js", HERE / "worker.js"):
        shutil.copyfile(file, folder / file.name)
    (folder / "machine.json").write_text(
        json.dumps({"memory": MEMORY_MIB, "state": "state.bin.zst"})
    )


def _write_contents(folder: Path) -> None:
    """Write the notebooks; JupyterLite takes each text in one piece, as a server would give it."""
    folder.mkdir()
    for path in sorted((CHECKOUT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if path.name.startswith(_NOT_IN_THE_PAGE):
            continue
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
            for out in cell.get("outputs", ()):
                _join(out)
        (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")


def _join(output: dict[str, object]) -> None:
    for holder in (output, output.get("data")):
        if isinstance(holder, dict):
            for key, value in holder.items():
                if key != "traceback" and isinstance(value, list):
                    holder[key] = "".join(map(str, value))


def _run(argv: Sequence[str], folder: Path) -> None:
    status, log = building.run(argv, folder, dict(os.environ))
    if status:
        raise LabError(
            f"{Path(argv[0]).name} ended with status {status}", log, "see its last lines"
        )
