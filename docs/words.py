"""Write words.md from the docstrings of the public words: `.venv/bin/python docs/words.py`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labsupport
from labsupport.sandbox import shell

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# The words of the notebooks

`docs/words.py` makes this page from the docstrings, and a test checks that it is current. In a
notebook, `from labsupport import Sandbox` brings a word, `help(Sandbox)` says what this page says,
and `%load_ext labsupport` brings `%%shell`.
"""


def page() -> str:
    """Return the whole page."""
    words = [(name, getattr(labsupport, name)) for name in labsupport.__all__]
    entries = [("%%shell", shell), *words]
    return "\n".join([HEAD, *(line for name, word in entries for line in entry(name, word))])


def entry(name: str, word: Any) -> Iterator[str]:
    """Write what a word is called with, what it says of itself, and what it can do."""
    yield f"## {name}\n"
    own = vars(word) if inspect.isclass(word) else {}
    made_otherwise = any(isinstance(value, classmethod) for value in own.values())
    if not made_otherwise and name.isidentifier():
        yield f"    {name}{parameters(word)}\n"
    yield as_markdown(inspect.getdoc(word) or "") + "\n"
    members = [each for each, value in own.items() if is_told(each, value)]
    for each in members:
        does = first_sentence(inspect.getdoc(own[each]) or "")
        called_with = "" if isinstance(own[each], property) else parameters(getattr(word, each))
        yield f"- `{each}{called_with}`: {does}"
    if members:
        yield ""


def is_told(name: str, value: Any) -> bool:
    """Whether it is a public method or property with words of its own."""
    kinds = (property, classmethod, staticmethod)
    return not name.startswith("_") and bool(
        (inspect.isfunction(value) or isinstance(value, kinds)) and inspect.getdoc(value)
    )


class Long:
    """Stands for a default that is long to write."""

    def __repr__(self) -> str:
        return "…"


def parameters(called: Any) -> str:
    """Return the parameters' names and short defaults in parentheses, without their types."""
    signature = inspect.signature(called)
    plain = [
        each.replace(
            annotation=each.empty, default=each.default if len(repr(each.default)) < 40 else Long()
        )
        for each in signature.parameters.values()
        if each.name != "self"
    ]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def first_sentence(text: str) -> str:
    """Return the first paragraph, on one line."""
    return " ".join(text.partition("\n\n")[0].split())


def as_markdown(text: str) -> str:
    """Make lists of what is indented under Args and Raises; other indented lines are code."""
    prose, *lists = re.split(r"^(?=(?:Args|Raises)\b.*:$)", text, flags=re.MULTILINE)
    for number, each in enumerate(lists):
        joined = re.sub(r"\n {8}(?=\S)", " ", each)
        lists[number] = re.sub(r"^ {4}(?=\S)", "- ", joined, flags=re.MULTILINE)
    return prose + "".join(lists)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
