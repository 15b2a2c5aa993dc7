"""From functions that a reader wrote in cells to one script: their sources, one below the other."""

from __future__ import annotations

import html
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from labsupport.errors import SourceMissing
from labsupport.linux.workshop.building import Step

ANY_PYTHON = "#!/usr/bin/env python3"
_HEAD = '''\
{python}
"""A container, by hand."""
{imports}


'''


@dataclass(frozen=True)
class Script:
    """A program as text, and the names of the steps that it takes, in order."""

    text: str
    steps: tuple[str, ...]

    @property
    def code_lines(self) -> int:
        """How many lines have code: no blanks, comments or docstrings."""
        text = re.sub(r'^\s*""".*?"""$', "", self.text, flags=re.MULTILINE | re.DOTALL)
        return sum(bool(line.split("#")[0].strip()) for line in text.splitlines())

    def save(self, path: str | Path) -> Path:
        """Write it to a file that can be executed, and return where that is.

        Its first line names this very Python: another one may not have the course's modules.
        """
        path = Path(path)
        path.write_text(self.text.replace(ANY_PYTHON, f"#!{sys.executable}", 1))
        path.chmod(0o755)
        return path

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre style='margin:0;line-height:1.35'>{html.escape(self.text)}</pre>"


def collect(steps: Iterable[Step]) -> Script:
    """Make a script of the steps, of the functions that they use, and of what must be imported.

    Raises:
        SourceMissing: a step is no function with a source.

    """
    steps = list(steps)
    functions = list(dict.fromkeys(each for step in steps for each in _with_helpers(step)))
    sources = [_source(each) for each in functions]
    used = {name for each in functions for name in each.__code__.co_names}
    names = [_name(step) for step in steps]
    head = _HEAD.format(python=ANY_PYTHON, imports="\n".join(_imports(used, sources)))
    last = f"start([{', '.join(names)}])"
    if len(last) > 88:
        last = "start([\n" + textwrap.indent(textwrap.fill(", ".join(names), 80), "    ") + "\n])"
    return Script(head + "\n\n\n".join([*sources, last]) + "\n", tuple(names))


def _imports(used: set[str], sources: list[str]) -> Iterator[str]:
    if any("->" in source for source in sources):
        yield "from __future__ import annotations"
    yield from (f"import {module}" for module in ("os", "signal") if module in used)
    if "linux" in used:
        yield "from labsupport.linux import syscalls as linux"
    words = sorted({"write", "run", "wait_and_exit", "become_root", "start"} & {*used, "start"})
    yield f"from labsupport.linux.workshop.building import {', '.join(words)}"


def _with_helpers(function: Any) -> Iterator[FunctionType]:
    """Yield the functions of the reader's that it calls, then itself."""
    if not isinstance(function, FunctionType):
        raise SourceMissing(
            f"{function!r} is no step", "it is no function", "a list of functions: [own_root]"
        )
    for name in function.__code__.co_names:
        other = function.__globals__.get(name)
        own = isinstance(other, FunctionType) and other.__module__ == function.__module__
        if own and other is not function:
            yield from _with_helpers(other)
    yield function


def _name(step: Step) -> str:
    return step.__name__


def _source(function: FunctionType) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except OSError as error:
        raise SourceMissing(
            f"the source of {function.__name__} cannot be found",
            str(error),
            "define it in a cell of its own, with def",
        ) from error
