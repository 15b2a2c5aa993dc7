"""What reading an image of 500 MB with 20,000 files adds to `docker save`: seconds and memory.

A quarter of the files are in two layers, so 625 MB are read.

    python benchmarks/images.py [ROUNDS]

The image is made in a private engine, so this needs root and dockerd. `docker save` writes to a
file in the folder for temporary files; reading verifies all digests and compares all layers. Each
runs in a process of its own, in turn; it prints the median seconds and the peak memory of a
process.
"""

import io
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labsupport.build.bases import base_image
from labsupport.engine.client import Engine

LAYERS, FILES, FILE_BYTES, DELETED = 4, 5000, 25_000, 500
TAG = "labsupport/benchmark:latest"

PROGRAM = """
import json, sys, time
import docker
from labsupport.image.image import Image
what, name, path = sys.argv[1:]
client = docker.DockerClient(base_url="{address}")
began = time.perf_counter()
if what == "save":
    with open(path, "wb") as file:
        for chunk in client.images.get(name).save(named=name):
            file.write(chunk)
elif what == "of":
    class Engine: client = client
    image = Image.of(Engine, name)
    image.wasted_bytes, image.lost_files(), image.tree()
else:
    image = Image.open(path)
    image.wasted_bytes, image.lost_files(), image.tree()
seconds = time.perf_counter() - began
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([seconds, int(status["VmHWM"].split()[0]) / 1024]))
"""


def context() -> Iterator[tuple[str, bytes]]:
    """Yield what is to be built: layers of files, the last of which deletes some."""
    noise = random.Random(1).randbytes(FILE_BYTES * 2)
    folders = [f"part{at}" for at in range(LAYERS)]
    steps = [f"ADD {folder}.tar /{folder}/" for folder in folders]
    steps.append(f"RUN cd /part0 && seq 0 {DELETED - 1} | xargs rm && touch /part1/*")
    yield "Dockerfile", "\n".join(["FROM labsupport/busybox", *steps]).encode()
    for at, folder in enumerate(folders):
        with io.BytesIO() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                for number in range(FILES):
                    start = (number + at) % FILE_BYTES
                    add(tar, str(number), noise[start : start + FILE_BYTES])
            yield f"{folder}.tar", packed.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def build(engine: Engine) -> None:
    base_image(engine)
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, content in context():
                add(tar, name, content)
        packed.seek(0)
        engine.client.images.build(
            fileobj=packed, custom_context=True, tag=TAG, network_mode="none", rm=True
        )


def measure(address: str, what: str, path: Path) -> tuple[float, float]:
    argv = [sys.executable, "-c", PROGRAM.format(address=address), what, TAG, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    seconds, mebibytes = json.loads(done.stdout)
    return seconds, mebibytes


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows: dict[str, list[tuple[float, float]]] = {"save": [], "of": [], "open": []}
    with Engine.start_private() as engine, tempfile.TemporaryDirectory() as folder:
        build(engine)
        path = Path(folder) / "image.tar"
        for _ in range(rounds):
            for what, results in rows.items():
                results.append(measure(engine.address, what, path))
        size = path.stat().st_size
    print(f"an archive of {size / 1e6:.0f} MB, {rounds} rounds on {os.cpu_count()} CPUs")
    saving = statistics.median(seconds for seconds, _ in rows["save"])
    memory = max(mebibytes for _, mebibytes in rows["save"])
    names = {"save": "docker save to a file", "of": "Image.of(engine)", "open": "Image.open(file)"}
    for what, results in rows.items():
        seconds = statistics.median(seconds for seconds, _ in results)
        most = max(mebibytes for _, mebibytes in results)
        print(
            f"{names[what]:24} {seconds:6.2f} s = {seconds / saving:4.2f} of save"
            f"   {most:5.0f} MiB = save {most - memory:+.0f}"
        )


if __name__ == "__main__":
    main()
