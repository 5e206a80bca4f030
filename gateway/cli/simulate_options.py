"""The options of ``image-gateway simulate`` that say how batch jobs go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

JOBS = "Batch jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """How batch jobs go on, by the names of the simulator's ``BatchBehaviour``."""

    polls: Annotated[
        int,
        typer.Option(
            "--batch-polls",
            min=0,
            metavar="COUNT",
            help="How often a job is asked about before it is done.",
            rich_help_panel=JOBS,
        ),
    ] = 2
    failing: Annotated[
        float,
        typer.Option(
            "--batch-failing",
            min=0,
            max=1,
            metavar="SHARE",
            help="How many of a job's lines fail, such as 0.1 of them.",
            rich_help_panel=JOBS,
        ),
    ] = 0.0
