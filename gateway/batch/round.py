"""One round of work on a job: what is known of it, and the ways to what it needs. Its lease is held meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import anyio.to_thread

from gateway.archive import Archive
from gateway.batch import endings, intake, keys
from gateway.batch.book import Book
from gateway.batch.endings import Ending
from gateway.batch.jobs import GRACE, Chunk, Job, Line
from gateway.batch.lease import Lease
from gateway.batch.needs import Needs
from gateway.batch.offers import Offers, takes_batches
from gateway.chain import conclusion
from gateway.chain.attempts import Desk, Order, Step
from gateway.chain.chain import Walk
from gateway.events import warn
from gateway.money import budgets
from gateway.money.entries import Entry
from gateway.money.ledger import Booking
from gateway.result import Attempt, ImageResult
from gateway.setup import Setup
from gateway.state.stores import StateUnavailable
from providers.batches import BatchProvider
from providers.errors import ConfigError, GatewayError
from providers.images import ReferenceImage
from providers.outcome import Outcome
from providers.sanitise import sanitise


@dataclass(slots=True, kw_only=True, eq=False)
class Round:
    """The *job* as it stands in the book, and the setup by which it is moved on.

    *refusals* is why upstreams did not take chunks in this round, by the names of those that are sent again later.
    """

    needs: Needs
    setup: Setup
    job: Job
    lease: Lease
    book: Book
    offers: Offers
    lines: dict[int, Line]
    chunks: dict[str, Chunk]
    cancelled: bool
    refusals: dict[str, Outcome] = field(default_factory=dict)
    _documents: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    async def of(cls, needs: Needs, setup: Setup, job: Job, lease: Lease) -> Self:
        """The round for *job* as it stands now."""
        book = Book(setup.state.jobs)
        return cls(
            needs=needs, setup=setup, job=job, lease=lease, book=book, offers=offers_of(setup),
            lines=await book.lines(job.id), chunks=await book.chunks(job.id), cancelled=await book.is_cancelled(job.id),
        )  # fmt: skip

    @property
    def now(self) -> datetime:
        """The time (UTC)."""
        return self.needs.clock.wall()

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.job.deadline is not None and self.now >= self.job.deadline

    @property
    def is_out_of_patience(self) -> bool:
        """Whether the deadline has passed so long ago that nothing more is waited for."""
        return self.job.deadline is not None and self.now >= self.job.deadline + GRACE

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is to be sent upstream."""
        return self.cancelled or self.is_late

    @property
    def archive(self) -> Archive:
        """Where results are kept."""
        return Archive(self.setup.state.blobs)

    async def keep(self, *facts: Line | Chunk) -> None:
        """Write *facts* down, and go on with them."""
        await self.book.keep(self.job.id, *facts)
        self.learn(*facts)

    def learn(self, *facts: Line | Chunk) -> None:
        """Go on with *facts*, which are written down."""
        for fact in facts:
            if isinstance(fact, Line):
                self.lines[fact.number] = fact
            else:
                self.chunks[fact.name] = fact

    async def postpone(self, chunk: Chunk, outcome: Outcome) -> None:
        """Leave the upstream of *chunk* alone for a while, after a refusal that passes, or that its owner has to end."""
        later = chunk.refused(outcome, self.now)
        if later.detail != chunk.detail:
            warn(f"batch {self.job.id}: {chunk.lane} is asked again later: {later.detail}")
        await self.keep(later)

    def open_chunks(self) -> Iterator[Chunk]:
        """The chunks of which something may still come, and that may be asked for now."""
        yield from [chunk for chunk in self.chunks.values() if chunk.is_due(self.now)]

    def travellers(self, chunk: Chunk) -> list[Line]:
        """The lines that are in *chunk*, and wait for its answers."""
        return [line for line in self.lines.values() if line.state == "submitted" and line.chunk == chunk.name]

    def adapter(self, chunk: Chunk) -> BatchProvider:
        """The way to the upstream of *chunk*.

        Raises:
            ConfigError: the configuration does not have it, or the key, any more.
        """
        credentials = self.setup.credentials.get(chunk.lane.partition("/")[0])
        adapter = credentials.adapters[self.place(chunk)] if credentials and credentials.adapters else None
        if not isinstance(adapter, BatchProvider):
            raise ConfigError(
                f"providers: batch {self.job.id} is under way at {chunk.lane}, which is not configured any more; "
                "put it back to get what was paid for"
            )
        return adapter

    def place(self, chunk: Chunk) -> int:
        """The place of the key of *chunk* among those of its provider.

        Raises:
            ConfigError: the configuration does not have it any more.
        """
        provider = chunk.lane.partition("/")[0]
        place = keys.place(self.setup.config.providers[provider].settings, chunk.digest)
        if place is None:
            raise ConfigError(
                f"providers.{provider}.api_key: batch {self.job.id} is under way at {chunk.lane} with a key that is not "
                "configured any more; put it back, at any place in the list, to get what was paid for"
            )
        return place

    async def document(self, line: Line) -> dict[str, Any]:
        """What *line* asks for, as it was put down."""
        if not self._documents:
            self._documents = await self.book.requests(self.job.id)
        return self._documents[line.number]

    async def references(self, line: Line) -> tuple[ReferenceImage, ...]:
        """The reference images of *line*.

        Raises:
            Lost: one is not there any more.
        """
        return await anyio.to_thread.run_sync(intake.images, await self.document(line), self.setup.state.blobs)

    async def desk(self, line: Line) -> Desk:
        """Where an attempt of *line* is judged and written down.

        Raises:
            ConfigError: its lane is not configured any more.
        """
        lane = self.offers.lanes.get(line.lane)
        if lane is None or line.size not in lane.prices:
            raise ConfigError(
                f"providers: batch {self.job.id} has lines for {line.lane} at {line.size}, which takes no batch jobs "
                "any more; put it back to get what was paid for"
            )
        order = Order(
            request=intake.bare(await self.document(line)), references=(), steps=(Step(lane, line.size),),
            policy=self.setup.config.fallback, deadline=math.inf, request_id=request_id(self.job, line),
        )  # fmt: skip
        return Desk(
            order=order, credentials={}, monitor=self.needs.monitor, clock=self.needs.clock, emit=self.needs.emit,
            ledger=self.setup.ledger,
        )  # fmt: skip

    def seconds(self, line: Line) -> float:
        """How long the present try of *line* has taken."""
        return max(0.0, (self.now - line.started).total_seconds())

    async def entry(self, line: Line) -> Entry:
        """The present try of *line* in the ledger; the same, whichever process writes it."""
        document = await self.document(line)
        provider, _, model = line.lane.partition("/")
        return Entry(
            request_id=request_id(self.job, line), number=line.tries, lane=line.lane, provider=provider, model=model,
            size=line.size, images=line.images, quoted=line.quoted, started=line.started, task=document.get("task"),
            tags=document.get("tags", {}), prompt=document["prompt"] if self.setup.config.record_prompts else None,
        )  # fmt: skip

    async def settle(self, line: Line, attempt: Attempt) -> None:
        """Note in the ledger what the present try of *line* has cost. Doing it again changes nothing."""
        entry = await self.entry(line)
        ledger = self.setup.ledger
        charges = budgets.charges(ledger.budgets, entry)
        kept = line.counters
        booking = Booking(entry, tuple(each for each in charges if kept is None or each.counter in kept))
        ledger.settle(booking, attempt.outcome, attempt.billed, attempt.cost)
        await self.setup.state.engine.flush()  # before the line is written down as over: afterwards nobody would do it

    async def void(self, line: Line) -> None:
        """Give back what is reserved for *line*, which was not sent."""
        await self.settle(line, Attempt(lane=line.lane, size=line.size, outcome="cancelled", billed="no"))

    async def write_off(self, chunk: Chunk, outcome: Outcome) -> None:
        """Settle with *outcome* what is still reserved for lines of *chunk* that the chain has taken over meanwhile."""
        for line in [each for each in self.lines.values() if each.chunk == chunk.name and each.handed_over is not None]:
            walk = endings.judged(await self.desk(line), line, outcome, self.seconds(line))
            await self.settle(line, walk.tried[-1].attempt)

    async def conclude(self, line: Line, walk: Walk) -> Ending:
        """The end of *line*, to which *walk* has led."""
        await self.settle(line, walk.tried[-1].attempt)
        return await self.end(line, self.ended(walk), endings.trail(walk))

    def ended(self, walk: Walk) -> ImageResult | GatewayError:
        """The result, of which verdicts may be given, or the error that *walk* has led to."""
        needs, request = self.needs, walk.order.request
        elapsed = (self.now - self.job.created).total_seconds()
        ended = endings.result_of(walk, elapsed, needs.clock.today(), needs.verdicts.judge)
        if isinstance(ended, ImageResult):
            needs.verdicts.remember(
                ended.request_id, ended.lane, request.task, ended.cost.usd, len(ended.images), conclusion.lost(walk)
            )
        return ended

    async def end(self, line: Line, ended: ImageResult | GatewayError, trail: tuple[Attempt, ...]) -> Ending:
        """The end of *line* after the attempts of its *trail*, kept and written down."""
        over = line.over(isinstance(ended, ImageResult), await self.kept(ended), trail)
        await self.keep(over)
        return Ending(over, ended)

    async def kept(self, ended: ImageResult | GatewayError) -> str:
        """The reference under which the archive has *ended*.

        Raises:
            StateUnavailable: it cannot be kept; the upstream still has it.
        """
        try:
            return await anyio.to_thread.run_sync(self.archive.keep, ended)
        except OSError as error:
            raise StateUnavailable(f"images cannot be kept: {sanitise(error)}; fetch the batch again") from None


def request_id(job: Job, line: Line) -> str:
    """What *line* is called in the ledger and in results."""
    return f"{job.token}-{line.number}"


def offers_of(setup: Setup) -> Offers:
    """What the lanes of *setup* offer."""
    able = {
        name for name, keys in setup.credentials.items() if keys.adapters and all(map(takes_batches, keys.adapters))
    }
    return Offers.of(setup.config, able)
