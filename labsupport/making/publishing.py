"""`./lab notebooks`: run the notebooks and save them with their outputs, for those who only read.

They run in the Lab VM (where everything is there), unless a notebook's metadata asks for this
machine (`place`, or `saved_at` if only its saved outputs are from there), or another kernel is
asked for here. A notebook is saved only if every cell ran, none was
skipped except for lack of what no Lab VM has (the notice stays, and says so), and no output holds
a path of this machine.
"""

import argparse
import base64
import html
import io
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from labsupport.doctor.machine import NEVER_IN_VM
from labsupport.doctor.needs import MIME as SKIPPED
from labsupport.errors import LabError, nearest

# A live output holds its picture twice: as it is, and within its HTML, where the text alternative
# is. In a saved notebook the picture is an output of its own, followed by its words and its table.
# It is a PNG: JupyterLab shows no SVG in a notebook that it has not run.

PNG, SVG, HTML, TEXT = "image/png", "image/svg+xml", "text/html", "text/plain"
_IMG = re.compile(r"<img [^>]*src='data:image/[^']*'[^>]*>")
_WIDTH = re.compile(r" width='(\d+)'")


def apart(output: Any) -> list[Any]:
    """Return an output (as nbformat has it) as two: the picture, then its words and its table."""
    data = output.get("data", {})
    image = _IMG.search(data.get(HTML, ""))
    if image is None or not {PNG, SVG} & data.keys():
        return [output]
    words = data[TEXT]
    facts: dict[str, Any] = {"alt": words}
    if width := _WIDTH.search(image.group()):
        facts["width"] = int(width[1])
    drawn = base64.b64decode(data[PNG]) if PNG in data else as_png(data[SVG])
    picture = {PNG: base64.b64encode(smaller(drawn)).decode(), TEXT: words}
    below = (
        "<details><summary>The picture in words</summary>"
        f"<p>{html.escape(words)}</p></details>{data[HTML].replace(image.group(), '')}"
    )
    return [_shown(picture, {PNG: facts}), _shown({HTML: below, TEXT: words}, {})]


def _shown(data: dict[str, str], metadata: dict[str, Any]) -> Any:
    import nbformat

    make: Any = nbformat.from_dict  # untyped
    return make({"output_type": "display_data", "data": data, "metadata": metadata})


def as_png(svg: str) -> bytes:
    """Draw SVG, with the fonts that matplotlib brings along.

    Raises `LabError`: what draws it is not installed.
    """
    try:
        import matplotlib as mpl
        import resvg_py
        from PIL import Image
    except ImportError as error:
        raise LabError("no picture can be saved", str(error), "pip install -e '.[dev]'") from error
    fonts = [str(path) for path in Path(mpl.get_data_path(), "fonts/ttf").glob("DejaVuSans*.ttf")]
    drawn = resvg_py.svg_to_bytes(svg_string=svg, font_files=fonts, skip_system_fonts=True)
    file = io.BytesIO()
    with Image.open(io.BytesIO(bytes(drawn))) as image:
        few_colours(image.convert("RGB")).save(file, "png")
    return file.getvalue()


def few_colours(image: Any, exact: int = 48) -> Any:
    """Reduce a PIL image in RGB to 128 colours; the `exact` most frequent ones stay as they are.

    An octree alone averages the colours that it puts together: paper turns grey, and light areas
    become paper.
    """
    import numpy as np
    from PIL import Image

    counted = sorted(image.getcolors(image.width * image.height), reverse=True)
    colours = np.array([colour for _, colour in counted])
    rough = image.quantize(128 - exact, method=Image.Quantize.FASTOCTREE).getpalette()
    palette = np.concatenate([colours[:exact], np.reshape(rough, (-1, 3))])[:128]
    nearest = ((colours[:, None] - palette[None]) ** 2).sum(axis=2).argmin(axis=1)
    entry = np.zeros(1 << 24, np.uint8)  # by colour; only the pages of those here are touched
    entry[colours @ (1, 1 << 8, 1 << 16)] = nearest
    pixels = np.frombuffer(image.convert("RGBA").tobytes(), "<u4") & 0xFFFFFF
    few = Image.frombytes("P", image.size, entry[pixels].tobytes())
    few.putpalette(palette.astype(np.uint8).tobytes())
    return few


def smaller(png: bytes) -> bytes:
    """Compress a PNG as well as PNG can be."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(file, "png", optimize=True)
    return file.getvalue()


NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
PRIVATE = re.compile(
    r"/home/(?!jovyan\b|student\b|user\b)[\w.-]+|/root/\w|/tmp/tmp\w{6,}|/Users/\w+"
)
KEPT_METADATA = ("kernelspec", "language_info", "lab")


def main(argv: list[str]) -> int:
    """Run the notebooks and save what happened."""
    parser = argparse.ArgumentParser(prog="lab notebooks", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="such as 02 (default: all of them)")
    parser.add_argument("--kernel", default="", help="kernelspec to run in (default: lab-vm)")
    options = parser.parse_args(argv)
    for path in _chosen(options.names):
        began = time.monotonic()
        print(f"{path.name} …", end=" ", flush=True)
        publish(path, options.kernel)
        print(f"{time.monotonic() - began:.1f} s, {path.stat().st_size // 1000} kB")
    return 0


def publish(path: Path, kernel: str = "") -> None:
    """Run one notebook from top to bottom, by default where it wants to be, and save it in place.

    What no Lab VM can run is taken from another run, on this machine, if it can be run there.

    Raises `LabError`: a cell failed or was skipped, or an output is not for everyone's eyes.
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    kept = {key: notebook.metadata[key] for key in KEPT_METADATA if key in notebook.metadata}
    asked = notebook.metadata.get("lab", {})
    at_host = "host" in (asked.get("place"), asked.get("saved_at"))
    _run(notebook, path, kernel or ("lab-host" if at_host else "lab-vm"))
    if not kernel and not at_host and (lacking := _skipped(notebook)):
        here = nbformat.read(path, as_version=4)
        _run(here, path, "lab-host")
        for number in lacking - _skipped(here):
            notebook.cells[number] = here.cells[number]
    notebook.metadata = nbformat.from_dict(kept)
    may_lack = frozenset() if at_host else NEVER_IN_VM
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            _tidy(path.name, number, cell, may_lack)
    nbformat.write(notebook, path)


def _run(notebook: Any, path: Path, kernel: str) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    folder = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, kernel_name=kernel, timeout=900, startup_timeout=300, resources=folder,
        record_timing=False, coalesce_streams=True,
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix="lab-progress-") as scratch:
            client.execute(env={**os.environ, "LAB_PROGRESS": f"{scratch}/progress.jsonl"})
    except CellExecutionError as error:
        raise _unfit(path.name, str(error)) from error


def _skipped(notebook: Any) -> set[int]:
    return {
        number
        for number, cell in enumerate(notebook.cells)
        if any(SKIPPED in output.get("data", {}) for output in cell.get("outputs", []))
    }


def _tidy(name: str, number: int, cell: Any, may_lack: frozenset[str] = NEVER_IN_VM) -> None:
    """Leave the still picture where a live one was, and refuse what must not be published."""
    # a display of progress whose work has ended holds no data
    shown = ("text", "data", "ename")
    cell.outputs = [each for each in cell.outputs if any(map(each.get, shown))]
    for output in cell.outputs:
        data = output.get("data", {})
        if SKIPPED in data and not may_lack.issuperset(data[SKIPPED]["missing"]):
            raise _unfit(name, f"cell {number} was skipped: {data[SKIPPED]['missing']}")
        if WIDGET in data and len(data) > 1:
            del data[WIDGET]  # without its kernel it would show an error instead of the picture
    cell.outputs = [each for output in cell.outputs for each in apart(output)]
    text = json.dumps(cell.outputs).replace(str(NOTEBOOKS.parent), "/root/here")
    if found := PRIVATE.search(text):
        raise _unfit(name, f"cell {number} shows a path of this machine: {found.group()}")


def _chosen(names: list[str]) -> list[Path]:
    paths = {path.stem: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}
    chosen = []
    for name in names:
        start = name.removesuffix(".ipynb")
        found = [path for stem, path in paths.items() if stem.startswith(start)]
        if not found:
            raise LabError(f"unknown command {f'notebooks {name}'!r}", nearest(name, paths))
        chosen += found
    return chosen or list(paths.values())


def _unfit(notebook: str, why: str) -> LabError:
    """Say why a notebook's outputs cannot be saved for readers; the file is left as it was."""
    return LabError(f"{notebook} was not saved", why, "correct the cell, or run it elsewhere")
