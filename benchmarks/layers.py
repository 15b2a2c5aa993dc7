"""How long it takes to stack folders by hand, and to prepare the layer explorer of a large image.

    python benchmarks/layers.py [ROUNDS]

The image has two layers of 10,000 files each over busybox, half of them replaced by the second.
Medians and the slowest, in milliseconds.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from labsupport import Image, LayerExplorer, Overlay
from labsupport.build import bases
from labsupport.image import layer_explorer

FILES = 10_000


def milliseconds(action: Callable[[], object], rounds: int) -> tuple[float, float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), max(times)


def by_hand() -> None:
    with Overlay({"base": {"a": "1", "b": "2"}, "app": {"c": "3"}}) as overlay:
        overlay.run(["rm", "a"])
        assert overlay.look().lies_in("a") is None


def large_image(folder: str) -> Image:
    first = {f"srv/files/{number}.txt": f"{number}\n" for number in range(FILES)}
    second = {f"srv/files/{number}.txt": "new\n" for number in range(FILES // 2, FILES * 3 // 2)}
    path = Path(folder) / "image.tar"
    path.write_bytes(
        bases.archive_of_steps("large:latest", [("COPY first /", first), ("COPY second /", second)])
    )
    return Image.open(path)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    by_hand()
    with tempfile.TemporaryDirectory() as folder, large_image(folder) as image:
        shown = layer_explorer.towers({"large": image})
        actions: dict[str, Callable[[], object]] = {
            "layers by hand: make, mount, delete, look": by_hand,
            "explorer: compare 20,000 files": lambda: layer_explorer.towers({"large": image}),
            "explorer: its picture": lambda: layer_explorer.page(shown).svg(),
            "explorer: all of it": lambda: LayerExplorer(image),
        }
        for what, action in actions.items():
            middle, slowest = milliseconds(action, rounds)
            print(f"{what:45} {middle:8.1f} ms  (slowest {slowest:.1f})")


if __name__ == "__main__":
    main()
