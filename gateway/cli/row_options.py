"""The options of the commands that draw the rows of a file: what holds where a row does not say otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from gateway.cli.options import IMAGE, LANES, LIMITS, Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What rows ask for that do not say otherwise, by the names of a request's fields."""

    size: Annotated[
        str | None,
        typer.Option(metavar="512|1K|2K|4K", help="How large, where a row does not say.", rich_help_panel=IMAGE),
    ] = None
    aspect_ratio: Annotated[
        str | None, typer.Option(metavar="W:H", help="Such as 16:9, where a row does not say.", rich_help_panel=IMAGE)
    ] = None
    model: Annotated[
        Texts,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A model's id or alias, where a row names none. Repeatable, in order of preference.",
            rich_help_panel=LANES,
        ),
    ] = None
    quality: Annotated[
        str | None, typer.Option(metavar="standard|premium|auto", help="The class of models.", rich_help_panel=LANES)
    ] = None
    max_cost: Annotated[
        float | None, typer.Option(metavar="USD", help="For each row.", rich_help_panel=LIMITS)
    ] = None  # fmt: skip
