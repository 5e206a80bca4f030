"""``image-gateway trial``: the same prompts on several lanes, judged blind on a page of this machine."""

from __future__ import annotations

import asyncio
import difflib
import secrets
import signal
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import anyio
import typer
from rich.table import Table
from rich.text import Text

from gateway.cli import exits, files, json_output, tables
from gateway.cli.consoles import stderr, stdout, visible, warn
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_with_warnings
from gateway.cli.options import Common
from gateway.client import AsyncGateway
from gateway.router.lanes import Lane
from gateway.trial import drawing, judging, plan, report, server
from gateway.trial.desk import Desk
from gateway.trial.drawing import Drawing, Ended, Task
from gateway.trial.journal import IMAGES, Begun, Failed, Journal
from gateway.trial.plan import TrialPlan
from gateway.trial.report import Report, Row
from providers.errors import InvalidRequest

MAX_NAME: Final = 33
"""Columns within which a lane's name is not broken: what 80 columns have room for beside costs and their intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The prompts in *file* on the lanes called *lanes*, kept in *folder*; *budget* USD for what is drawn now.

    *port* is the page's, 0 any. *browser*: open it. *report_only*: draw nothing, show no page.
    """

    file: str
    lanes: str
    folder: str | None = None
    budget: float | None = None
    port: int = 0
    browser: bool = True
    report_only: bool = False


@dataclass(frozen=True, slots=True)
class _Trial:
    """A trial at work: what is asked of which lanes, and where it is kept."""

    plan: TrialPlan
    lanes: tuple[Lane, ...]
    journal: Journal

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(lane.name for lane in self.lanes)

    def report(self) -> Report:
        return report.report(self.plan, self.names, self.journal.trial())


def run(wanted: Wanted, common: Common) -> None:
    """Draw what is missing, have it judged, and show the report."""
    with reporting(common), _folder_told():
        asked = plan.load(wanted.file)
        with opened_with_warnings(common) as gateway:
            lanes = _lanes(wanted.lanes, gateway.config.lanes)
            trial = _Trial(asked, lanes, Journal(_folder(wanted, asked)))
            if wanted.report_only and not trial.journal.exists:
                raise InvalidRequest(f"{trial.journal.folder}: there is no trial yet; without --report-only it begins")
            if not wanted.report_only:
                _begin(trial)
                _draw(trial, gateway, wanted)
        if not wanted.report_only:
            _judge(trial, wanted)
        ended = trial.report()
    _show(ended, trial, common)
    if not wanted.report_only and not any(row.generated for row in ended.rows):
        raise typer.Exit(exits.FAILED)


@contextmanager
def _folder_told() -> Iterator[None]:
    """Tell what is wrong with the trial's folder."""
    try:
        yield
    except OSError as error:
        problem = error.strerror
    else:
        return
    raise InvalidRequest(f"output: the trial's folder cannot be used: {problem}")


def _lanes(names: str, known: Sequence[Lane]) -> tuple[Lane, ...]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    lanes = tuple({lane.name: lane for lane in (_lane(name, known) for name in wanted)}.values())
    if not 2 <= len(lanes) <= judging.MAX_SHOWN:
        raise InvalidRequest(
            f"lanes: expected 2 to {judging.MAX_SHOWN} different lanes, as a/b,c/d; configured are: {_list(known)}"
        )
    return lanes


def _lane(name: str, known: Sequence[Lane]) -> Lane:
    """The lane called *name*: as ``provider/model``, where an alias of the model will do."""
    provider, _, model = name.partition("/")
    for lane in known:
        if lane.name == name or (lane.provider == provider and lane.answers_to(model)):
            return lane
    near = difflib.get_close_matches(name, [lane.name for lane in known], n=1, cutoff=0)[0]
    raise InvalidRequest(
        f"lanes: {visible(name)!r:.80} is not configured; the nearest is {near}; configured are: {_list(known)}"
    )


def _list(lanes: Sequence[Lane]) -> str:
    return ", ".join(lane.name for lane in lanes)


def _folder(wanted: Wanted, asked: TrialPlan) -> Path:
    folder = Path(wanted.folder or f"trial-{files.slug(asked.title)}")
    if not wanted.report_only:
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    return folder


def _begin(trial: _Trial) -> None:
    """Note that the trial goes on: with a name and a seed of its own if it is new."""
    before = trial.journal.trial().begun if trial.journal.exists else None
    name, seed = (before.trial, before.seed) if before else (secrets.token_hex(8), secrets.token_hex(8))
    begun = Begun(trial=name, seed=seed, rate=trial.plan.rate)
    if begun != before:
        trial.journal.add(begun)


def _draw(trial: _Trial, gateway: AsyncGateway, wanted: Wanted) -> None:
    """Draw what is missing.

    Raises:
        typer.Exit: it was interrupted.
    """
    tasks = list(drawing.tasks(gateway, trial.plan, trial.lanes, trial.journal.trial(), trial.journal))
    if not tasks:
        return
    budget = None if wanted.budget is None else Decimal(str(wanted.budget))
    _announce(tasks, budget)
    progress = _Progress(tasks)
    work = Drawing(gateway=gateway, journal=trial.journal, tasks=tasks, ended=progress.ended, budget=budget)
    try:
        anyio.run(_run, work, gateway)
    except KeyboardInterrupt:
        work.stop()
    if work.stopped:
        stderr().print("Interrupted: the same command goes on from here, and pays for nothing twice.")
        raise typer.Exit(exits.INTERRUPTED)
    if work.left_out:
        warn(f"{work.left_out} images were not drawn: the budget of {tables.usd(budget)} does not suffice")


async def _run(work: Drawing, gateway: AsyncGateway) -> None:
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)  # the next one ends everything
        warn("interrupted: waiting for the images under way, which are being paid for; once more to give them up")
        work.stop()

    with suppress(NotImplementedError):  # Windows has no such handlers
        loop.add_signal_handler(signal.SIGINT, interrupted)
    async with gateway:
        await work.run()


def _announce(tasks: Sequence[Task], budget: Decimal | None) -> None:
    """Say what is going to be drawn, and what that is expected to cost."""
    sums = drawing.expected(tasks)
    made = tables.table("lane", "images", "USD expected", right=("images", "USD expected"))
    for lane, (count, usd) in sums.items():
        made.add_row(Text(visible(lane)), Text(str(count)), Text(tables.usd(usd)))
    whole = sum((usd for _, usd in sums.values()), Decimal(0))
    limit = f", of which at most {tables.usd(budget)} will be spent" if budget is not None and budget < whole else ""
    tables.keep_whole(made, "lane")
    stderr().print(made)
    stderr().print(f"Expected: {tables.usd(whole)} for {len(tasks)} images{limit}.")


class _Progress:
    """A line for each image that was drawn, or was not."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._of = {lane: count for lane, (count, _) in drawing.expected(tasks).items()}
        self._done = dict.fromkeys(self._of, 0)
        self._usd = dict.fromkeys(self._of, Decimal(0))

    def ended(self, line: Ended) -> None:
        """Take in what came of an image, and tell it."""
        self._done[line.lane] += 1
        self._usd[line.lane] += line.lost if isinstance(line, Failed) else line.usd + line.lost
        told = f": {line.reason}" if isinstance(line, Failed) else ""
        stderr().print(
            f"{visible(line.lane)}: {self._done[line.lane]} of {self._of[line.lane]}{told}, "
            f"{line.seconds:.1f} s, {tables.usd(self._usd[line.lane])} so far",
            style="yellow" if told else None,
            soft_wrap=True,
        )


def _judge(trial: _Trial, wanted: Wanted) -> None:
    """Serve the page until the lanes are revealed; not at all if there is nothing to judge.

    Raises:
        typer.Exit: it was interrupted. The report is not shown then: whoever judges must not know it.
    """
    known = trial.journal.trial()
    shown = judging.sheets(trial.plan, trial.names, known)
    judged = len(judging.judged_in_order(shown, known))
    if not shown or (judged == len(shown) and judged in known.revealed):
        return
    try:
        _serve(Desk(trial.plan, trial.names, trial.journal), wanted)
    except KeyboardInterrupt:
        stderr().print("Interrupted: the verdicts so far are kept, and the same command goes on with them.")
        raise typer.Exit(exits.INTERRUPTED) from None


def _serve(desk: Desk, wanted: Wanted) -> None:
    """Serve the page of *desk* until that has finished."""
    with server.serving(desk, wanted.port) as address:
        stderr().print(f"Judge the images at {address}\n(Ctrl-C to go on another time)", soft_wrap=True)
        if wanted.browser:
            webbrowser.open(address)
        desk.finished.wait()


def _show(ended: Report, trial: _Trial, common: Common) -> None:
    if common.as_json:
        json_output.write({**asdict(ended), "folder": trial.journal.folder})
        return
    console = stdout()
    console.print(_drawn(ended.rows))
    console.print()
    console.print(_judged(ended.rows))
    console.print()
    told = ended.recommendation.why
    console.print(Text(f"{told[0].upper()}{told[1:]}.", style="bold"), soft_wrap=True)
    if ended.judged:
        folder = visible(trial.journal.folder)
        console.print(Text(f'For the router: [router] acceptance = ["{folder}"] in gateway.toml.'), soft_wrap=True)


def _drawn(rows: Sequence[Row]) -> Table:
    figures = ("images", "retries", "median s", "spend")
    made = tables.table("lane", *figures, right=figures)
    for row in rows:
        seconds = "–" if row.seconds is None else f"{row.seconds:.1f}"
        cells = (f"{row.generated} of {row.asked}", str(row.retries), seconds, tables.usd(row.spend))
        made.add_row(Text(visible(row.lane)), *map(Text, cells))
    tables.keep_whole(made, "lane", tables.MAX_NAME_BESIDE_HEALTH)
    return made


def _judged(rows: Sequence[Row]) -> Table:
    figures = ("accepted", "cleanup", "USD each", "95 % interval")
    made = tables.table("lane", *figures, right=figures)
    for row in rows:
        high = "?" if row.high is None else f"{row.high:.3f}"
        cells = (
            f"{row.accepted} of {row.judged}", tables.usd(row.cleanup), "–" if row.cost is None else f"{row.cost:.3f}",
            f"{row.low:.3f}–{high}",
        )  # fmt: skip
        made.add_row(Text(visible(row.lane)), *map(Text, cells))
    tables.keep_whole(made, "lane", MAX_NAME)
    return made
