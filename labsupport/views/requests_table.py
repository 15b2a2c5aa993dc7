"""A registry's log as a table: who asked for what, and what they got."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.engine.registry_log import Request
from labsupport.views.amounts import amount

HEAD = ("who asked", "what", "status", "user", "bytes")
_MEANING = {
    200: "OK", 201: "created", 202: "accepted", 401: "who are you?", 404: "not there",
}  # fmt: skip
_AGENTS = {"docker": "the engine", "labsupport": "we", "the-other-machine": "the other machine"}


@dataclass(frozen=True)
class RequestsTable:
    """`RequestsTable(registry.log())`, to be displayed."""

    requests: Sequence[Request]

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each request, as under `HEAD`."""
        return [
            (_agent(each), f"{each.method} {_path(each)}",
             f"{each.status} {_MEANING.get(each.status, '')}".strip(), each.user, _bytes(each))
            for each in self.requests
        ]  # fmt: skip

    def finding(self) -> str:
        """Say in one line how much went in and out."""
        stored = sum(each.stored_bytes for each in self.requests)
        sent = sum(each.sent_bytes for each in self.requests if each.blob and each.method == "GET")
        return f"{len(self.requests)} requests: {amount(stored)} came in, {amount(sent)} went out"

    def __repr__(self) -> str:
        return "\n".join([self.finding(), *("  ".join(filter(None, row)) for row in self.rows())])

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col' style='text-align:left'>{word}</th>" for word in HEAD)
        body = "".join(
            "<tr>" + "".join(
                f"<td style='text-align:left'>{f'<code>{html.escape(cell)}</code>' if place == 1 else html.escape(cell)}</td>"  # noqa: E501
                for place, cell in enumerate(row)
            ) + "</tr>"
            for row in self.rows()
        )  # fmt: skip
        return (
            f"<table style='font-size:1em'><caption style='text-align:left;caption-side:top'>"
            f"<b>{html.escape(self.finding())}</b></caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )


def _agent(request: Request) -> str:
    name = request.agent.partition("/")[0]
    return _AGENTS.get(name, name)


def _path(request: Request) -> str:
    """Shorten what is long: digests, the numbers of uploads."""
    path = request.path.partition("?")[0].removeprefix("/v2/")
    parts = [part if len(part) < 40 or "sha256" not in part else f"{part[:15]}…" for part in
             path.split("/")]  # fmt: skip
    if "uploads" in parts[:-1] and parts[-1]:
        parts[-1] = f"{parts[-1][:4]}…"
    done = f" (it was {request.blob[7:15]}…)" if request.stored_bytes else ""
    return "/v2/" + "/".join(parts) + done


def _bytes(request: Request) -> str:
    return f"{request.stored_bytes or request.sent_bytes:,}" if request.status else ""
