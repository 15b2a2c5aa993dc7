"""Two servers with one address: how long their networks take, against one bare namespace.

    python benchmarks/network.py [ROUNDS]

It sets up four sandboxes, two cables and four addresses; the ratio is to `unshare --net true`.
"""

import statistics
import subprocess
import sys
import time

from labsupport import Sandbox
from labsupport.net.network_map import network
from labsupport.sandbox.launch import may_make_namespaces

UNSHARE = ["unshare", *([] if may_make_namespaces() else ["-r"]), "--net", "true"]


def set_up() -> dict[str, Sandbox]:
    boxes = {name: Sandbox(new={"net"}).open() for name in ("a", "b", "c", "d")}
    for client, server in (("a", "b"), ("c", "d")):
        boxes[client].net.connect(boxes[server])
        boxes[client].net.set_up("eth0", "10.0.0.1/24")
        boxes[server].net.set_up("eth0", "10.0.0.2/24")
    return boxes


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    times: dict[str, list[float]] = {}

    def timed(name: str, began: float) -> None:
        times.setdefault(name, []).append((time.perf_counter() - began) * 1000)

    for number in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(UNSHARE, check=True)
        timed("unshare --net true", began)
        began = time.perf_counter()
        boxes = set_up()
        timed("two-server network", began)
        began = time.perf_counter()
        network(boxes)
        timed("reading its map", began)
        for box in boxes.values():
            box.close()
        if number == 0:  # it starts the zygote
            times = {}
    base = statistics.median(times["unshare --net true"])
    print(f"{rounds} rounds, medians")
    for name, each in times.items():
        median = statistics.median(each)
        print(f"{name:20} {median:6.2f} ms   {median / base:5.2f}   worst {max(each):.1f} ms")


if __name__ == "__main__":
    main()
