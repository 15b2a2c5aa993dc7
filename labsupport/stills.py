"""The pictures of a saved notebook: each once, with its words and its table below it.

A live output holds its picture twice, as PNG and within its HTML, where the text alternative is. In
git once must do: the picture becomes an output of its own, and the words follow it.
"""

from __future__ import annotations

import base64
import html
import io
import re
from typing import Any

PNG, HTML, TEXT = "image/png", "text/html", "text/plain"
_IMG = re.compile(r"<img [^>]*src='data:image/png;base64,[^']*'[^>]*>")
_WIDTH = re.compile(r" width='(\d+)'")


def apart(output: Any) -> list[Any]:
    """Return an output (as nbformat has it) as two: the picture, then its words and its table."""
    data = output.get("data", {})
    image = _IMG.search(data.get(HTML, ""))
    if PNG not in data or image is None:
        return [output]
    words = data[TEXT]
    facts: dict[str, Any] = {"alt": words}
    if width := _WIDTH.search(image.group()):
        facts["width"] = int(width[1])
    picture = {PNG: smaller(data[PNG]), TEXT: words}
    below = (
        "<details><summary>The picture in words</summary>"
        f"<p>{html.escape(words)}</p></details>{data[HTML].replace(image.group(), '')}"
    )
    return [_shown(picture, {PNG: facts}), _shown({HTML: below, TEXT: words}, {})]


def _shown(data: dict[str, str], metadata: dict[str, Any]) -> Any:
    import nbformat

    make: Any = nbformat.from_dict  # untyped
    return make({"output_type": "display_data", "data": data, "metadata": metadata})


def smaller(png: str) -> str:
    """Compress a PNG (in base64) as well as PNG can be."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
