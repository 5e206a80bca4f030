"""``image-gateway schema``: the JSON Schema of ``gateway.toml``."""

from __future__ import annotations

from importlib.resources import files

import typer

from gateway.cli.options import Output
from gateway.configuration.schema import FILE_NAME


def run(output: Output) -> None:
    """Print the schema; it is JSON, whatever *output* says."""
    typer.echo(files("gateway").joinpath(FILE_NAME).read_text(encoding="utf-8"), nl=False)
