"""The options of ``image-gateway bulk``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from gateway.cli.options import IMAGE, LIMITS
from gateway.cli.row_options import Rows

RUN = "The run"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRows(Rows):
    """What rows of a bulk run ask for that do not say otherwise."""

    output_format: Annotated[str | None, typer.Option(metavar="png|jpeg|webp", rich_help_panel=IMAGE)] = None
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For each row, once it has begun.", rich_help_panel=LIMITS)
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How the run is carried out."""

    name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The title of the contact sheet; the file's name.", rich_help_panel=RUN),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="COUNT", help="Rows at once at most; as many as the lanes take.", rich_help_panel=RUN
        ),
    ] = None
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD", help="For all rows, earlier runs into the folder included.", rich_help_panel=RUN),
    ] = None
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Ask once more for what was refused, and for what may have been paid for without an image to show.",
            rich_help_panel=RUN,
        ),
    ] = False
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Draw everything anew; images of before stay.", rich_help_panel=RUN)
    ] = False
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask whether the cost is all right.", rich_help_panel=RUN)
    ] = False
