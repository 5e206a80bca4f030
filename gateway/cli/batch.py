"""The commands of ``image-gateway batch``. What they do is in :mod:`gateway.cli.jobs`, imported when it is needed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli.options import COMMON, LIMITS, Common, spread
from gateway.cli.row_options import Rows

app = typer.Typer(
    name="batch",
    help="Have many images drawn as one job: within a day, at batch prices.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Name = Annotated[str, typer.Argument(metavar="JOB", help="The job's name.")]


@app.command(
    epilog="Examples:\n\nimage-gateway batch submit prompts.csv --name posters --size 2K\n\n"
    "image-gateway batch submit prompts.jsonl --deadline 14400\n\n"
    "Exit status: 3 if the job is kept, but no upstream has confirmed all of it yet: fetch it."
)
@spread
def submit(
    lines: Rows,
    common: Common,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The prompts: .jsonl, .csv with a header, or .txt with one on each line."),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="JOB",
            help="What the job is called. The same lines under the same name are the same job: submitted again, it is "
            "found, and not paid for again.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="What is not back by then is drawn at once, at the usual price, by whoever fetches.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
) -> None:
    """Send the lines of a file off as a job. Nothing is sent when any line is bad."""
    from gateway.cli import jobs

    defaults = {name: value for name, value in asdict(lines).items() if value not in (None, [])}
    jobs.submit(file, {"name": name, "deadline": deadline}, defaults, common)


@app.command(epilog="Examples:\n\nimage-gateway batch status\n\nimage-gateway batch status posters --json")
@spread
def status(
    common: Common,
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="The job's name; without it: all jobs.")] = None,
) -> None:
    """Show how a job is doing, or all of them by what is known."""
    from gateway.cli import jobs

    jobs.status(job, common)


@app.command(epilog="Example: image-gateway batch fetch posters -o posters")
@spread
def fetch(
    common: Common,
    job: Name,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Where the images and the manifest go.")
    ],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Go on until all are there.")] = True,
) -> None:
    """Save the images of a job as they come, named by their keys. Whoever fetches again gets all of them again."""
    from gateway.cli import jobs

    jobs.fetch(job, output, common, wait=wait)


@app.command(epilog="Example: image-gateway batch cancel posters")
@spread
def cancel(common: Common, job: Name) -> None:
    """Have what has not begun left undone. What is drawn is paid for, and can be fetched."""
    from gateway.cli import jobs

    jobs.cancel(job, common)
