"""What is wrong with a built site: links that lead nowhere, pictures missing or without words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Page:
    """What a page refers to (links, pictures and their words), and the anchors in it."""

    links: list[str] = field(default_factory=list)
    pictures: list[tuple[str, str | None]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


def problems(folder: Path) -> list[str]:
    """Say what is wrong, page by page; nothing is fetched from the network."""
    pages = {path.name: _read(path) for path in sorted(folder.glob("*.html"))}
    return [
        f"{name}: {what}" for name, page in pages.items() for what in _wrong(folder, page, pages)
    ]


def _wrong(folder: Path, page: Page, pages: dict[str, Page]) -> Iterator[str]:
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        path = unquote(parts.path)
        if path and not (folder / path).exists():
            yield f"the link {link} leads nowhere"
            continue
        target = pages.get(path) if path else page
        if parts.fragment and target and unquote(parts.fragment) not in target.anchors:
            yield f"the link {link} leads to no place on its page"
    for source, words in page.pictures:
        if not source.startswith(("data:", "http")) and not (folder / unquote(source)).exists():
            yield f"the picture {source} is missing"
        if not words or words.endswith(".png"):
            yield f"the picture {source[:60]} has no words"


def _read(path: Path) -> Page:
    parser = _Parser()
    parser.feed(path.read_text())
    return parser.page


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to."""
        facts = dict(attrs)
        if name := facts.get("id") or (facts.get("name") if tag == "a" else None):
            self.page.anchors.add(name)
        if tag == "a" and (target := facts.get("href")):
            self.page.links.append(target)
        if tag == "img":
            self.page.pictures.append((facts.get("src") or "", facts.get("alt")))
