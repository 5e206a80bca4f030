"""Batch jobs, whichever wire they came by: lines that are drawn at half price while the job goes on, some of them in vain."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

from PIL import Image

from providers.simulator.drawing import Picture
from providers.simulator.easel import Easel
from providers.simulator.effects import Effect
from providers.simulator.flavours import Site
from providers.simulator.jobs import Job
from providers.simulator.messages import Answer, Request, RequestError
from providers.simulator.recording import Book
from providers.simulator.rules import Rules, Target
from providers.simulator.studio import DrawnImage, finished
from providers.simulator.wire import Wire

RATE: Final = Decimal("0.5")
"""What a line costs of the price of a call (both vendors' price lists, 2026)."""

AT_ONCE: Final = 16
"""Lines drawn at the same time."""

State = Literal["pending", "running", "succeeded", "cancelled", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBehaviour:
    """How jobs go on.

    A job is over after *polls* looks that find it pending or running; or, with *seconds*, when so many have passed by
    *clock*. *failing* is the share of its lines (0 to 1, spread evenly) that fail although the job succeeds. A job
    expires when the share *expires_at* of its lines is done, None for never.
    """

    polls: int = 2
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    failing: float = 0.0
    expires_at: float | None = None

    def fails(self, index: int) -> bool:
        """Whether the line of this *index* is one of those that fail."""
        return int((index + 1) * self.failing) > int(index * self.failing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request of a job: what would be sent if it were a call of its own. *model* is the one its path names, if any."""

    key: str
    request: Request
    model: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A line that was worked at: *answer* None says that it was given up."""

    key: str
    answer: Answer | None

    @property
    def succeeded(self) -> bool:
        """Whether the line has an answer, whatever that says."""
        return self.answer is not None and self.answer.status == 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A job as a test sees it. *bill* is USD by the key of each line that was charged for."""

    id: str
    name: str
    state: State
    total: int
    succeeded: int
    failed: int
    bill: dict[str, Decimal] = field(repr=False)


class Workbench:
    """Works at lines: each is read as a call of its own would be, struck by the same faults, and charged at half price.

    For faults, the path of a line is ``/lines/KEY``.
    """

    def __init__(self, wire: Callable[[Request], Wire], site: Site, rules: Rules, book: Book) -> None:
        self._wire = wire
        self._site = site
        self._rules = rules
        self._book = book

    async def work(self, line: Line, bill: dict[str, Decimal]) -> Answer:
        """The answer to *line*; what it costs is added to *bill*."""
        wire = self._wire(line.request)
        try:
            job = wire.parse(line.request, line.model, self._site)
        except RequestError as problem:
            return problem.answer
        own = Book()
        answer = await Easel(sketch, own, self._site).answer(wire, at_batch_price(job), self._effect(line, job))
        if own.images:
            self._book.charge(own.images, own.bill / own.images)
            bill[line.key] = own.bill
        return answer

    def _effect(self, line: Line, job: Job) -> Effect | None:
        target = Target(path=f"/lines/{line.key}", purpose="draw", model=job.asked_model, size=job.size)
        fault = self._rules.take(target)
        return fault.effect if fault else None


class BatchJob:
    """One job. *done* are the lines that were worked at, in order."""

    def __init__(self, name: str, lines: Sequence[Line], bench: Workbench, behaviour: BatchBehaviour) -> None:
        self.id = uuid.uuid4().hex
        self.name = name
        self.created = datetime.now(UTC)
        self.ended: datetime | None = None
        self.total = len(lines)
        self.done: list[Done] = []
        self.bill: dict[str, Decimal] = {}
        self.state: State = "pending"
        self._lines = tuple(lines)
        self._bench = bench
        self._behaviour = behaviour
        self._began = behaviour.clock()
        self._looks = 0
        self._turn = asyncio.Lock()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be done."""
        return self.state not in ("pending", "running")

    @property
    def succeeded(self) -> int:
        """How many lines have an answer."""
        return sum(done.succeeded for done in self.done)

    @property
    def undone(self) -> list[str]:
        """The keys of the lines that were not worked at."""
        return [line.key for line in self._lines[len(self.done) :]]

    @property
    def record(self) -> BatchRecord:
        """The job as a test sees it."""
        succeeded = self.succeeded
        return BatchRecord(
            id=self.id, name=self.name, state=self.state, total=self.total, succeeded=succeeded,
            failed=len(self.done) - succeeded, bill=dict(self.bill),
        )  # fmt: skip

    async def look(self) -> None:
        """Do what is due by now; each look brings a job on that goes by looks."""
        async with self._turn:
            if self.is_over:
                return
            share = self._share()
            self._looks += 1
            limit = self._behaviour.expires_at
            expired = limit is not None and share >= limit
            await self._work_up_to(int(self.total * (limit if expired and limit is not None else share)))
            if expired:
                self._end("expired")
            elif share >= 1:
                self._end("succeeded")
            elif share > 0:
                self.state = "running"

    async def cancel(self) -> None:
        """Leave undone what has not been done."""
        async with self._turn:
            if not self.is_over:
                self._end("cancelled")

    def _share(self) -> float:
        behaviour = self._behaviour
        if behaviour.seconds is not None:
            return min(1.0, (behaviour.clock() - self._began) / behaviour.seconds) if behaviour.seconds else 1.0
        return min(1.0, self._looks / behaviour.polls) if behaviour.polls else 1.0

    async def _work_up_to(self, count: int) -> None:
        while len(self.done) < count:
            start = len(self.done)
            self.done += await asyncio.gather(*map(self._work, range(start, min(count, start + AT_ONCE))))

    async def _work(self, index: int) -> Done:
        line = self._lines[index]
        return Done(line.key, None if self._behaviour.fails(index) else await self._bench.work(line, self.bill))

    def _end(self, state: State) -> None:
        self.state = state
        self.ended = datetime.now(UTC)


class BatchJobs:
    """The jobs of a simulator, oldest first; thread-safe."""

    def __init__(self, behaviour: BatchBehaviour) -> None:
        self.behaviour = behaviour
        self._lock = threading.Lock()
        self._jobs: dict[str, BatchJob] = {}

    def add(self, job: BatchJob) -> None:
        """Take *job* in."""
        with self._lock:
            self._jobs[job.id] = job

    def get(self, job_id: str) -> BatchJob | None:
        """The job of this id, or None."""
        with self._lock:
            return self._jobs.get(job_id)

    def all(self) -> list[BatchJob]:
        """Every job."""
        with self._lock:
            return list(self._jobs.values())


def at_batch_price(job: Job) -> Job:
    """*job* of a model that costs what it costs in a batch."""
    prices = {size: price * RATE for size, price in job.model.prices.items()}
    return replace(job, model=replace(job.model, prices=prices))


async def sketch(picture: Picture) -> DrawnImage:
    """A real image of the right size in one colour, which the words on *picture* decide: a thousand must not take minutes."""
    return await asyncio.to_thread(_sketched, picture)


def _sketched(picture: Picture) -> DrawnImage:
    seed = hashlib.sha256(f"{picture.title}\n{picture.caption}".encode()).digest()
    target = io.BytesIO()
    image = Image.new("RGB", (picture.width, picture.height), (seed[0], seed[1], seed[2]))
    kind = picture.mime_type.removeprefix("image/")
    image.save(target, kind, **({"compress_level": 1} if kind == "png" else {}))
    return finished(target.getvalue(), picture.mime_type, picture.width, picture.height)
