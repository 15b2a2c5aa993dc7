#!/usr/bin/env python3
"""Translate a text on the command line, by Apertium: no account, no network.

cli.py -t "Good morning" -s en -d es
cli.py -f letter.txt -s es -d en
"""

import argparse
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tabulate import tabulate

LONGEST_BYTES = 100_000  # of a text; Apertium takes about three seconds for it
LONGEST_SECONDS = 60
# Apertium names languages by three letters (ISO 639-3), people by two (ISO 639-1)
THREE_LETTERS = {"ca": "cat", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "pt": "por"}


class UsageError(Exception):
    """The translation that was asked for cannot be had; the message says why."""


def main(argv: list[str] | None = None) -> int:
    """Translate, print, and return the exit status: 2 if what was asked for cannot be had."""
    parser = _parser()
    asked = parser.parse_args(argv)
    try:
        text = read_text(asked)
        mode = find_mode(asked.source, asked.destination)
        translation = translate(text, mode)
    except UsageError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    shown = {name: textwrap.shorten(str(value), 60) for name, value in vars(asked).items() if value}
    print(tabulate(shown.items(), headers=["argument", "value"], disable_numparse=True))
    print(f"\nInput:\n{text}\n\nOutput:\n{translation}")
    return 0


def read_text(asked: argparse.Namespace) -> str:
    """Return the text to translate: from the command line or from a file."""
    if asked.file is None:
        content = os.fsencode(asked.text)
    else:
        try:
            with Path(asked.file).open("rb") as file:
                content = file.read(LONGEST_BYTES + 1)
        except OSError as error:
            raise UsageError(f"cannot read {asked.file}: {error.strerror}") from error
    if len(content) > LONGEST_BYTES:
        raise UsageError(f"the text is longer than {LONGEST_BYTES:,} bytes: translate it in parts")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the text is not UTF-8: byte {error.start} is the first fault") from error
    if "\0" in text:
        raise UsageError("this is no text: it has a zero byte in it")
    if not text.strip():
        raise UsageError("the text is empty")
    return text.rstrip("\n")


def find_mode(source: str, destination: str) -> str:
    """Return Apertium's name for a pair of languages, such as `eng-spa`."""
    installed = _apertium(["-l"]).split()
    mode = "-".join(THREE_LETTERS.get(name, name) for name in (source, destination))
    if mode in installed:
        return mode
    pairs = tabulate([pair.split("-", 1) for pair in installed], tablefmt="plain")
    raise UsageError(
        f"no translation from {source!r} to {destination!r} is installed; from and to which:\n"
        + (textwrap.indent(pairs, "  ") or "  none: apt-get install apertium-eng-spa")
    )


def translate(text: str, mode: str) -> str:
    """Let Apertium translate a text; words it does not know stay as they are (`-u`)."""
    return _apertium(["-u", mode], text).rstrip("\n")


def _apertium(arguments: list[str], text: str = "") -> str:
    """Run Apertium, which is a shell script with a pipe of programs, and end all of them."""
    try:
        process = subprocess.Popen(
            ["apertium", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise UsageError(
            "Apertium is not installed. Run this program in its container (./docker-shell.sh), "
            "or: sudo apt-get install apertium apertium-eng-spa"
        ) from error
    try:
        output, errors = process.communicate(text, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        raise UsageError(f"not translated within {LONGEST_SECONDS} seconds") from error
    if process.returncode:
        raise UsageError(f"Apertium ended with status {process.returncode}: {errors.strip()}")
    return output


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cli.py", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-t", "--text", help="the text to translate")
    what.add_argument("-f", "--file", help="a file with the text, in UTF-8")
    parser.add_argument("-s", "--source", default="en", help="its language (en)")
    parser.add_argument("-d", "--destination", default="es", help="the language wanted (es)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
