"""Where words go: results to stdout, everything else to stderr; and how text of others becomes safe to show."""

from __future__ import annotations

import io
import sys

from rich.console import Console
from rich.text import Text

MARK = "\N{WHITE SQUARE}"
"""Stands for a character that would move the cursor, hide, or reorder text."""


def stdout() -> Console:
    """A console for results. Markup and emoji codes in what it prints mean nothing."""
    return Console(markup=False, emoji=False, highlight=False)


def stderr(*, quiet: bool = False) -> Console:
    """A console for progress, logs, warnings and errors; *quiet* prints nothing."""
    return Console(stderr=True, quiet=quiet, markup=False, emoji=False, highlight=False)


def tolerate_any_encoding() -> None:
    """Print a question mark rather than fail where a stream cannot take a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def visible(text: object) -> str:
    """*text* without anything a terminal would act on, line breaks aside. For our own words, paths and prompts.

    What an upstream said goes through :func:`providers.sanitise.sanitise`, which also cuts out keys and long data.
    """
    return "".join(character if character.isprintable() or character == "\n" else MARK for character in str(text))


def warn(message: str) -> None:
    """Print a warning on stderr."""
    stderr().print(Text.assemble(("warning: ", "yellow"), visible(message)), soft_wrap=True)
