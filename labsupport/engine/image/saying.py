"""The JSON of an image, which says what is in it: read with care, for it may say anything."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from labsupport.engine.image.blobs import Blob
from labsupport.engine.image.limits import Meter
from labsupport.errors import BadManifest, DigestMismatch, TooManyFiles

_LONGEST_LIST = 10_000


class Said:
    """A value out of an image's JSON, and where it was; each question names the form expected."""

    def __init__(self, value: object, where: str) -> None:
        self.value, self.where = value, where

    def __getitem__(self, key: str) -> Said:
        """Return a member of an object; one that is not there has the value None."""
        return Said(self.object().get(key), f"{self.where}: {key}")

    def object(self) -> dict[str, Any]:
        """Return it as an object; nothing is an empty one."""
        return self._as(dict, "an object") or {}

    def items(self) -> list[Said]:
        """Return it as a list; nothing is an empty one."""
        values: list[object] = self._as(list, "a list") or []
        if len(values) > _LONGEST_LIST:
            raise TooManyFiles(_LONGEST_LIST, f"items in {self.where}")
        return [Said(value, f"{self.where}[{at}]") for at, value in enumerate(values)]

    def text(self) -> str:
        """Return it as text; nothing is an empty one."""
        return self._as(str, "text") or ""

    def number(self) -> int:
        """Return it as a whole number; nothing is 0."""
        return self._as(int, "a number") or 0

    def _as(self, kind: type, form: str) -> Any:
        if self.value is not None and not isinstance(self.value, kind):
            raise BadManifest(
                f"{self.where} is not {form}", f"it is {json.dumps(self.value, default=str)[:80]}"
            )
        return self.value


def read_json(blob: Blob, meter: Meter, digest: str = "") -> tuple[Said, bytes]:
    """Read and verify a file of JSON; return what it says, and its bytes."""
    meter.json(blob.name, blob.size_bytes)
    raw = b"".join(blob.chunks())
    verify(blob.name, raw, digest)
    try:
        return Said(json.loads(raw), blob.name), raw
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{blob.name} is no JSON", str(error)) from error


def verify(name: str, raw: bytes, digest: str) -> None:
    """Raise `DigestMismatch` unless the bytes have the digest, if one is named."""
    if digest:
        algorithm = digest.partition(":")[0]
        found = f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
        if found != digest:
            raise DigestMismatch(name, digest, found)
