"""How long it takes to start a container and run `true` in it: by hand, by a runtime, by an engine.

All on this machine, one after the other, several times; the run in the middle counts. An engine
does not tell where its time goes, so what it does beside the runtime is measured by leaving it out:
without a network, and the runtime alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from labsupport.engine.client import Engine
from labsupport.engine.labels import owner_labels
from labsupport.engine.oci_runtime import Bundle
from labsupport.linux.workshop.building import Step
from labsupport.linux.workshop.handmade import Workshop

PROGRAM = ("busybox", "true")
ROUNDS = 3


@dataclass(frozen=True)
class Start:
    """A start of one kind; `parts` are (what, seconds) in their order."""

    name: str
    parts: tuple[tuple[str, float], ...]

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(seconds for _, seconds in self.parts)

    def __repr__(self) -> str:
        return f"<{self.name}: {1000 * self.seconds:.0f} ms>"


def by_hand(workshop: Workshop, steps: Iterable[Step]) -> Start:
    """Start a container that is built by hand; its script has written down when it did what."""
    chosen = list(steps)

    def once() -> Start:
        made = workshop.start(chosen, PROGRAM)
        made.process.wait()
        ended = time.monotonic()
        at = {next(iter(line)): line["at"] for line in made.told()}
        parts = (
            ("Python starts", at["begun"] - made.asked),
            ("the steps", at["execute"] - at["begun"]),
            ("the program", ended - at["execute"]),
        )
        return Start("by hand", parts)

    return _middle(once)


def by_runtime(workshop: Workshop, bundle: Bundle) -> Start:
    """Start it by runc or crun, on the same stage."""
    numbers = iter(range(ROUNDS))

    def once() -> Start:
        done = workshop.stage.run(bundle.run(f"start-{next(numbers)}"), cwd="/")
        return Start(bundle.runtime, ((f"{bundle.runtime} and the program", done.seconds),))

    return _middle(once)


def by_engine(engine: Engine, network: str = "bridge") -> Start:
    """Start it by the engine, as `docker run` does: create, start, wait; then it is removed."""
    image = engine.base_image()

    def once() -> Start:
        began = time.monotonic()
        container = engine.client.containers.create(
            image, list(PROGRAM), network_mode=network, labels=owner_labels()
        )
        try:
            created = time.monotonic()
            container.start()
            started = time.monotonic()
            container.wait()
            ended = time.monotonic()
        finally:
            container.remove(force=True)
        parts = (
            ("create", created - began), ("start", started - created), ("wait", ended - started)
        )  # fmt: skip
        return Start(f"{engine.kind} run, network {network}", parts)

    return _middle(once)


def explained(bridged: Start, bare: Start, runtime: Start) -> Start:
    """Split an engine's start by what was left out elsewhere: the network, all but the runtime.

    `bridged` and `bare` are starts of the engine with and without a network.
    """
    with_, without = dict(bridged.parts), dict(bare.parts)
    start = min(with_["start"], without["start"])
    alone = min(runtime.seconds, start)
    parts = (
        ("layers, settings", without["create"]),
        (f"{runtime.name} alone", alone),
        ("containerd, shim", start - alone),
        ("network", max(0.0, bridged.seconds - bare.seconds)),
        ("the program", without["wait"]),
    )
    return Start(bridged.name.partition(",")[0], parts)


def _middle(once: Callable[[], Start]) -> Start:
    found = sorted((once() for _ in range(ROUNDS)), key=lambda start: start.seconds)
    return found[ROUNDS // 2]
