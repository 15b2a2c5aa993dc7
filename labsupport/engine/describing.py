"""What an engine says about itself, read from two answers: `GET /version` and `GET /info`."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTAINERDS = "io.containerd.snapshotter"


@dataclass(frozen=True)
class Description:
    """See `Engine`; the names are the same."""

    kind: str
    version: str
    newest_api: str
    kernel_release: str
    cpu: str
    cgroup_version: int
    storage_driver: str
    image_store: str
    rootless: bool


def describe(version: Mapping[str, Any], info: Mapping[str, Any]) -> Description:
    """Read both answers; Docker and Podman differ in what they leave out."""
    parts = " ".join(part.get("Name", "") for part in version.get("Components") or [])
    status = [value for name, value in info.get("DriverStatus") or () if name == "driver-type"]
    return Description(
        kind="podman" if "podman" in parts.lower() else "docker",
        version=version["Version"],
        newest_api=version["ApiVersion"],
        kernel_release=version.get("KernelVersion") or info["KernelVersion"],
        cpu=version["Arch"],
        cgroup_version=int(info.get("CgroupVersion") or 1),
        storage_driver=info["Driver"],
        image_store="containerd"
        if any(value.startswith(CONTAINERDS) for value in status)
        else "classic",
        rootless=any("rootless" in option for option in info.get("SecurityOptions") or []),
    )


def table(rows: Mapping[str, str], caption: str) -> str:
    """Draw names and values as an HTML table with a caption."""
    left = "style='text-align:left'"
    body = "".join(
        f"<tr><th scope='row' {left}>{html.escape(name)}</th>"
        f"<td {left}>{html.escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    return (
        f"<table style='font-size:1em'><caption style='text-align:left;caption-side:top'>"
        f"<b>{html.escape(caption)}</b></caption><tbody>{body}</tbody></table>"
    )
