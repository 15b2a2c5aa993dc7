"""A group's limits as a table: the file here, what it says, and its name in v1 and v2."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HEAD = ("limit", "its file here", "it says", "in cgroup v1", "in cgroup v2")
NAMES = {
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "swap": ("memory.memsw.limit_in_bytes (memory and swap together)", "memory.swap.max"),
    "pids": ("pids.max", "pids.max"),
    "cpu": ("cpu.cfs_quota_us, of cpu.cfs_period_us", "cpu.max (quota and period)"),
    "cpu_weight": ("cpu.shares (1024 is the default)", "cpu.weight (100 is the default)"),
    "io": ("blkio.throttle.…", "io.max"),
    "io read": ("blkio.throttle.read_bps_device", "io.max, rbps="),
    "io write": ("blkio.throttle.write_bps_device", "io.max, wbps="),
}
V1_UNLIMITED = 1 << 62


@dataclass(frozen=True)
class LimitTable:
    """`LimitTable(group.files())`, to be displayed."""

    files: Mapping[str, tuple[Path, str]]

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each limit, as under `HEAD`."""
        return [
            (what, path.name, says(text), *NAMES[what]) for what, (path, text) in self.files.items()
        ]

    @property
    def folders(self) -> list[str]:
        """The folders in which the files lie: one in v2, one for each controller in v1."""
        return sorted({str(path.parent) for path, _ in self.files.values()})

    def __repr__(self) -> str:
        lines = [f"{what:<11}{file}: {text}" for what, file, text, *_ in self.rows()]
        return "\n".join([*lines, *(f"in {folder}" for folder in self.folders)])

    def _repr_html_(self) -> str:
        body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in self.rows())
        head = "".join(f"<th scope='col' style='text-align:left'>{word}</th>" for word in HEAD)
        folders = "<br>".join(f"<code>{html.escape(folder)}</code>" for folder in self.folders)
        return (
            f"<table style='font-size:1em'><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
            f"</table><details><summary>where these files lie</summary>{folders}</details>"
        )


def _cells(row: tuple[str, ...]) -> Iterator[str]:
    yield f"<td style='text-align:left'>{html.escape(row[0])}</td>"
    for number, cell in enumerate(row[1:]):
        text = html.escape(cell)
        bold = f"<b><code>{text}</code></b>" if number == 1 else f"<code>{text}</code>"
        yield f"<td style='text-align:left'>{bold}</td>"


def says(text: str) -> str:
    """Quote a limit's file; v1's number for "no limit" is explained."""
    if text.isdigit() and int(text) >= V1_UNLIMITED:
        return f"{text} (no limit)"
    if text == "-1":
        return "-1 (no limit)"
    return text or "(nothing: no limit)"
