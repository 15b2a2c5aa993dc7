"""Make the pictures of the README: `.venv/bin/python docs/pictures.py`.

The animation is a real run, recorded while it happens in the Lab VM (or on this machine's own
kernel: `--here`): a memory hog, a fork bomb and a disk writer in a control group with limits. The
other three are outputs of the saved notebooks.
"""

import asyncio
import base64
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
NOTEBOOKS = DOCS.parent / "notebooks"
TAKEN = {
    "pid_map": ("02_pid_namespaces", "pid-27"),
    "nine_steps": ("08_build_a_container", "hand-74f"),
    "deleted_and_there": ("10_layers", "lay-73"),
}
"""The notebook and the cell of each still picture."""
SECONDS, FRAMES_PER_SECOND = 10, 8
ACTIONS = {0.5: "hog", 3.5: "bomb", 6.0: "", 6.3: "writer"}  # second by second; "" stops all
LINES, LINE_HIGH = 3, 26  # of the console's log


def main() -> None:
    """Make all of them, beside this file."""
    for name, (notebook, cell) in TAKEN.items():
        (DOCS / f"{name}.png").write_bytes(picture_of(NOTEBOOKS / f"{notebook}.ipynb", cell))
    argv = [sys.executable, __file__, "record"]
    if "--here" in sys.argv:
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    else:
        said = in_the_lab_vm(argv)
    (DOCS / "console.webp").write_bytes(base64.b64decode(said.rpartition("\n>")[2]))


def in_the_lab_vm(argv: list[str]) -> str:
    """Run a program there and return what it printed."""
    from labsupport import LabVM

    with LabVM.boot() as guest:
        done = guest.run(argv, cwd=DOCS.parent, timeout=180)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def picture_of(notebook: Path, cell: str) -> bytes:
    """Return the picture that a cell of a saved notebook has shown."""
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    outputs = next(each for each in cells if each.id == cell).outputs
    return base64.b64decode(
        next(o.data["image/png"] for o in outputs if "image/png" in o.get("data", {}))
    )


async def record() -> list[tuple[bytes, list[str]]]:
    """Run the console with real programs; return each picture, and the log beside it."""
    from labsupport import Cgroup, CgroupConsole, Disk
    from labsupport.cgroup import console as module

    module.READINGS_PER_SECOND, module.READINGS_PER_FRAME = FRAMES_PER_SECOND, 1  # type: ignore[misc]
    frames: list[tuple[bytes, list[str]]] = []
    with (
        Disk("16M") as disk,
        Cgroup(memory="32M", swap=0, pids=20, cpu=0.5, io={disk.device: "2M"}) as group,
    ):
        console = CgroupConsole(group, disk=disk.device)
        told = console.picture
        told.observe(lambda change: frames.append((change.new, [*console.lines])), "image")
        await asyncio.gather(console.run(SECONDS), act(console))
        frames.append((console.picture.image, [*console.lines]))
        console.stop_all()
        if not console.count("oom_kill"):
            sys.exit("the kernel killed nothing: run this again")
    return frames[1:]  # the first was drawn before it began


async def act(console: Any) -> None:
    """Start and stop programs."""
    before = 0.0
    for at, what in ACTIONS.items():
        await asyncio.sleep(at - before)
        before = at
        console.start(what) if what else console.stop_all()


def as_animation(frames: list[tuple[bytes, list[str]]]) -> bytes:
    """Put the frames one after the other; the last one stays for three seconds."""
    sheets = [sheet(svg, lines) for svg, lines in frames]
    held = [round(1000 / FRAMES_PER_SECOND)] * (len(sheets) - 1) + [3000]
    file = io.BytesIO()
    more: dict[str, Any] = {"append_images": sheets[1:], "duration": held, "loop": 0}
    sheets[0].save(file, "webp", save_all=True, lossless=True, method=4, **more)
    return file.getvalue()


def sheet(svg: bytes, lines: list[str]) -> Any:
    """Draw the last lines of the log below the picture, as the notebook has them."""
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    from labsupport.making.publishing import as_png

    picture = Image.open(io.BytesIO(as_png(svg.decode()))).convert("RGB")
    whole = Image.new("RGB", (picture.width, picture.height + LINES * LINE_HIGH + 12), "white")
    whole.paste(picture)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans Mono"), 15)
    pen = ImageDraw.Draw(whole)
    for number, line in enumerate(lines[-LINES:]):
        pen.text((16, picture.height + number * LINE_HIGH), line, "#1a1a1a", font)
    return whole


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        print("\n>" + base64.b64encode(as_animation(asyncio.run(record()))).decode())
    else:
        main()
