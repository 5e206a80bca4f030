"""How commands end: the exit statuses, and errors told to people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

from gateway.cli import failures, json_output
from gateway.cli.options import Output
from providers.errors import ConfigError, GatewayError, InvalidRequest

FAILED: Final = 1
"""The request failed, or what was examined is not in order."""
USAGE: Final = 2
"""The command line or the configuration cannot be used."""
UNCONFIRMED: Final = 3
"""What was submitted is kept, but no upstream has said yet that it has all of it."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells number it."""


def status_of(error: GatewayError) -> int:
    """The exit status that *error* means."""
    return USAGE if isinstance(error, ConfigError | InvalidRequest) else FAILED


@contextmanager
def reporting(output: Output) -> Iterator[None]:
    """Tell of a :class:`GatewayError` in the block, and exit with its status."""
    try:
        yield
    except GatewayError as error:
        fail(error, output)


def fail(error: GatewayError, output: Output, saved: tuple[str, ...] = ()) -> NoReturn:
    """Tell of *error*, and of the paid images that were *saved*, and exit with its status.

    Raises:
        typer.Exit: always.
    """
    if output.as_json:
        json_output.write({"error": json_output.error(error, saved)})
    else:
        failures.show(error, saved)
    raise typer.Exit(status_of(error))
