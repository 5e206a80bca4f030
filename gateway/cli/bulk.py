"""``image-gateway bulk``: draw every row of a file, and go on where an earlier run has stopped."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import typer
from rich.text import Text

from gateway.bulk.budget import amount
from gateway.bulk.feed import Feed, results
from gateway.bulk.run import Bulk, Terms
from gateway.cli import contact_sheet, exits, files, json_output, tables, tally
from gateway.cli.consoles import stderr, stdout, visible, warn
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_with_warnings
from gateway.cli.manifest import NAME, Entry, Manifest, ended
from gateway.cli.options import Common
from gateway.cli.request_files import read_requests
from gateway.cli.rows import Resumption, Row
from gateway.client import AsyncGateway
from gateway.clock import Clock
from gateway.request import ImageRequest
from providers.errors import GatewayError

ASK_ABOVE: Final = Decimal(10)
"""USD of expected cost above which a person at a terminal is asked, unless a budget or ``--yes`` has answered before."""

AT_ONCE: Final = 64
"""Rows at once if not told otherwise, as far as the lanes take them: the images go to files, past the memory."""

_WORDS: Final = {
    "done": "done before",
    "new": "new",
    "failed": "failed before, to be tried again",
    "lost": "done before, whose files are gone or changed",
    "unknown": "under way when an earlier run ended",
    "refused": "refused by the model before",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for: the rows of *file*, into the folder *output*, within *budget* USD for all runs together.

    *defaults* are the fields of rows that do not say otherwise. *again* asks once more for what was refused or may have
    been paid for, *fresh* for everything; *yes* has answered whether the cost is all right.
    """

    file: str
    output: str
    name: str | None = None
    concurrency: int | None = None
    budget: float | None = None
    again: bool = False
    fresh: bool = False
    yes: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)


def run(wanted: Wanted, common: Common) -> None:
    """Draw what is *wanted* and not done yet, and leave the images, a manifest and a contact sheet in the folder."""
    with reporting(common):
        budget = None if wanted.budget is None else amount(wanted.budget)
        given = {name: value for name, value in wanted.defaults.items() if value not in (None, [])}
        requests = read_requests(Path(wanted.file), given)
        Terms(concurrency=wanted.concurrency)
        with opened_with_warnings(common) as gateway:
            resumption = _resumption(wanted, gateway)
            with closing(resumption.manifest):
                job = _Job(gateway, resumption, resumption.rows(requests), wanted, budget)
                job.carry_out(common)


def _resumption(wanted: Wanted, gateway: AsyncGateway) -> Resumption:
    manifest = Manifest.open(Path(wanted.output), fresh=wanted.fresh)
    return Resumption(manifest, wanted.again, lasting=gateway.config.state != "memory")


class _Job:
    """One run over *rows*."""

    def __init__(
        self,
        gateway: AsyncGateway,
        resumption: Resumption,
        rows: Sequence[Row],
        wanted: Wanted,
        budget: Decimal | None,
    ) -> None:
        self._gateway = gateway
        self._resumption = resumption
        self._manifest = resumption.manifest
        self._rows = rows
        self._wanted = wanted
        self._budget = budget
        self._to_do = [row for row in rows if resumption.is_to_do(row)]
        self._begun: dict[int, Entry] = {}
        self._stopped = False
        self._interrupted = False

    def carry_out(self, common: Common) -> None:
        """Draw what is to be drawn, and tell what came of it.

        Raises:
            typer.Exit: with the status of the command, unless all is done.
        """
        costs = [self._expected(row) for row in self._to_do]
        self._announce(costs, common)
        if self._to_do:
            self._approved(sum(costs, Decimal(0)))
            quiet = common.as_json or common.verbose
            with tally.tallying(len(self._to_do), live=not quiet, quiet=quiet) as counted:
                self._draw(counted, costs)
        self._conclude(common)

    # Before

    def _expected(self, row: Row) -> Decimal:
        """USD that a row is expected to cost; nothing where no lane can serve it now."""
        steps = self._gateway.plan(row.request).candidates
        return steps[0].expected_cost * row.request.n if steps else Decimal(0)

    def _announce(self, costs: Sequence[Decimal], common: Common) -> None:
        console = stderr(quiet=common.as_json)
        standings = Counter(row.standing for row in self._rows)
        told = ", ".join(f"{number:,} {_WORDS[name]}" for name, number in standings.items())
        console.print(Text(f"{len(self._rows):,} rows: {told}"), soft_wrap=True)
        if costs:
            hopeless = sum(not cost for cost in costs)
            lacking = f"; {hopeless:,} of them no lane can serve now" if hopeless else ""
            expected = f"{len(costs):,} to draw, expected to cost {tables.usd(sum(costs, Decimal(0)))}{lacking}"
            console.print(Text(expected), soft_wrap=True)
        if self._budget is not None:
            spent = f"{tables.usd(self._manifest.spent)} of the budget of {tables.usd(self._budget)} is spent"
            console.print(Text(spent), soft_wrap=True)

    def _approved(self, expected: Decimal) -> None:
        """Ask whether the cost is all right, where there is somebody to ask and the answer is not given yet.

        Raises:
            typer.Exit: it is not.
        """
        answered = self._wanted.yes or self._budget is not None or expected <= ASK_ABOVE
        at_a_terminal = typer.get_text_stream("stdin").isatty() and stderr().is_terminal
        if not answered and at_a_terminal and not typer.confirm(f"Spend about {tables.usd(expected)}?", err=True):
            raise typer.Exit(exits.FAILED)

    # Meanwhile

    def _draw(self, counted: tally.Tally, costs: Sequence[Decimal]) -> None:
        left = None if self._budget is None else self._budget - self._manifest.spent

        async def draw() -> None:
            bulk = Bulk(self._gateway, self._terms(left), Clock(), self._calling)
            self._heed_signals(bulk, counted)
            async with self._gateway:
                async for index, what in results(bulk, Feed(self._requests(costs))):
                    await self._take(index, what, counted)

        if left is not None and left <= 0:
            return
        deaf = self._gateway.on_event(counted.heed)
        try:
            anyio.run(draw)
        except KeyboardInterrupt:
            self._interrupted = True
        except OSError as error:
            raise GatewayError(
                f"output: cannot be written to any more: {error.strerror}; make room, and go on"
            ) from None
        finally:
            deaf()

    def _terms(self, left: Decimal | None) -> Terms:
        return Terms(concurrency=self._wanted.concurrency or AT_ONCE, budget=left)

    def _requests(self, costs: Sequence[Decimal]) -> Iterator[ImageRequest]:
        for index, (row, cost) in enumerate(zip(self._to_do, costs, strict=True)):
            self._begun[index] = entry = self._resumption.begun(row, cost)
            yield self._resumption.request(row, entry)

    def _calling(self, index: int) -> None:
        """A call for a row is about to be made: if this process is killed, the next one has to know."""
        self._manifest.begin(self._begun[index])

    async def _take(self, index: int, what: Any, counted: tally.Tally) -> None:
        """Write down what came of a row."""
        begun = self._begun.pop(index)
        if isinstance(what, GatewayError) and not what.attempts and self._stopped:
            return  # it was not begun any more
        entry = await anyio.to_thread.run_sync(self._kept, begun, what)
        counted.add(entry.state == "done", entry.cost, entry.key, entry.message)

    def _kept(self, begun: Entry, what: Any) -> Entry:
        folder = self._manifest.folder
        images = what.images if isinstance(what, GatewayError) else ()
        target = files.Target(folder / begun.stem, named=False).rejected()
        entry = ended(begun, folder, what, files.save(images, target, warn))
        self._manifest.end(entry)
        if entry.state == "done":
            contact_sheet.add_thumbnails(folder, entry)
        return entry

    def _heed_signals(self, bulk: Bulk, counted: tally.Tally) -> None:
        """At the first Ctrl-C or SIGTERM what is being paid for ends, and nothing else begins; the second one gives it up."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            self._stopped = True
            bulk.stop()
            self._gateway.drain()
            counted.say(
                Text("Stopping: waiting for the calls under way, which are paid for. Once more to give them up.")
            )

        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows has no such handlers
                loop.add_signal_handler(number, stop)

    # Afterwards

    def _conclude(self, common: Common) -> None:
        entries = contact_sheet.entries_of(self._rows, self._manifest.entries)
        title = self._wanted.name or Path(self._wanted.file).stem
        sheet = contact_sheet.write(self._manifest.folder, title, self._rows, entries, self._manifest.spent)
        good = sum(entry is not None and entry.state == "done" for entry in entries)
        bad = [entry for entry in entries if entry is not None and entry.state != "done"]
        if common.as_json:
            self._write(entries, good, sheet)
        else:
            self._tell(good, bad, sheet)
        if self._stopped or self._interrupted:
            raise typer.Exit(exits.INTERRUPTED)
        if good < len(self._rows):
            raise typer.Exit(exits.FAILED)

    def _write(self, entries: Sequence[Entry | None], good: int, sheet: Path) -> None:
        ends = [entry for entry in entries if entry is not None]
        states = Counter(entry.state for entry in ends)
        json_output.write(
            {
                "rows": len(self._rows), "done": good, "failed": states["failed"], "unknown": states["begun"],
                "not_begun": len(self._rows) - len(ends), "usd": self._manifest.spent,
                "manifest": self._manifest.folder / NAME, "sheet": sheet,
                "failures": [
                    {"key": each.key, "error": each.error or "OutcomeUnknown", "message": each.message}
                    for each in ends if each.state != "done"
                ],
            }
        )  # fmt: skip

    def _tell(self, good: int, bad: Sequence[Entry], sheet: Path) -> None:
        console = stdout()
        summary = f"{good:,} of {len(self._rows):,} done for {tables.usd(self._manifest.spent)}"
        console.print(Text(summary, style="bold"), soft_wrap=True)
        kinds = Counter(entry.error or "OutcomeUnknown" for entry in bad)
        for kind, number in kinds.most_common():
            console.print(Text(f"{number:,} × {kind}", style="red"), soft_wrap=True)
        console.print(Text(f"contact sheet: {visible(sheet)}"), soft_wrap=True)
        for hint in self._hints(good, kinds):
            console.print(Text(f"→ {hint}"), soft_wrap=True)

    def _hints(self, good: int, kinds: Mapping[str, int]) -> Iterator[str]:
        beyond = 0 if self._budget is None else kinds.get("BudgetExceeded", 0)
        closed = kinds.get("OutcomeUnknown", 0) + kinds.get("ContentBlocked", 0)
        if self._budget is not None and good < len(self._rows) and (beyond or self._manifest.spent >= self._budget):
            yield "the budget does not cover the rest; a larger --budget goes on"
        if kinds.get("NoLaneAvailable"):
            yield "`image-gateway plan` says why no lane can serve a request, and `lanes` what is configured"
        if good + closed + beyond < len(self._rows):
            yield "the same command goes on where this one has stopped, and pays for nothing twice"
        if kinds.get("OutcomeUnknown"):
            yield "of those whose outcome is unknown the images may have been paid for; --again draws them all the same"
        if kinds.get("ContentBlocked"):
            yield "what the model refused is asked again with --again, or with another prompt"
