"""What applications use: ``gateway.batch``, awaited on :class:`AsyncGateway`, plain on :class:`Gateway`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from gateway.archive import Archive, Lost
from gateway.batch import intake, status, submission
from gateway.batch.ahead import ahead
from gateway.batch.book import Book
from gateway.batch.endings import Ending
from gateway.batch.harvest import Harvest
from gateway.batch.intake import Requests
from gateway.batch.jobs import Job, Line, are_over
from gateway.batch.lease import Lease
from gateway.batch.needs import Needs
from gateway.batch.round import Round, offers_of
from gateway.batch.shipping import Shipping
from gateway.batch.status import BatchStatus
from gateway.batch.submission import Submission, Terms
from gateway.bulk.feed import Call
from gateway.result import ImageResult, Judge
from providers.errors import GatewayError, InvalidRequest, OutcomeUnknown
from providers.sanitise import sanitise

BREATH: Final = 1.0
"""Seconds at least between two looks of which the first has brought nothing, as while another process moves the job on."""

Ended = tuple[str, ImageResult | GatewayError]
"""The key of a request, and what came of it."""
JobName = str | BatchStatus
"""A job by its name, or as it was when it was last looked at."""


class Batch:
    """Many requests as one job, done within a day at batch prices. What it knows is in the state store: any process may go on.

    A job moves on while somebody looks at it: upstreams work by themselves, and :meth:`fetch` sees to the rest.
    """

    def __init__(self, needs: Needs) -> None:
        self._means = needs

    async def submit(
        self, requests: Requests, *, name: str | None = None, deadline: float | None = None
    ) -> BatchStatus:
        """Send *requests* off as a job: by key in a mapping, as pairs of key and request, or in a sequence, numbered from 1.

        *name* is what the job is called from now on; the same requests under the same name are the same job, however often
        they are submitted. *deadline* is seconds: what is not back by then is drawn by the ordinary chain, at its prices.

        Raises:
            InvalidRequest: a request, a key, the name or the deadline cannot be meant; nothing was sent.
            NoLaneAvailable: no lane takes one of the requests as a line of a batch; nothing was sent.
            BudgetExceeded: a hard budget, or a ``max_cost``, does not suffice; nothing was sent.
            GatewayError: the upstream refused the whole job, or could not be reached at all; there is no job then.
        """
        terms = Terms(name=name, deadline=deadline)
        async with self._means.setups.in_force() as setup:
            offers, now = offers_of(setup), self._means.clock.wall()
            made = await submission.prepared(requests, terms, setup, offers, now)
            lease = self._lease(made.job.id)
            try:
                while not await lease.held():
                    await self._means.clock.sleep(BREATH)
                job = await self._begun(made, lease)
            finally:
                lease.free()
        return await self._status(job)

    async def status(self, job: JobName) -> BatchStatus:
        """How *job* is doing; upstreams are asked if they were not asked a moment ago.

        Raises:
            InvalidRequest: there is no such job.
        """
        found = await self._job(job)
        async with self._means.setups.in_force(), self._led(found) as round_:
            if round_ is not None:
                await Shipping(round_).look()
        return await self._status(found)

    async def jobs(self) -> list[BatchStatus]:
        """How all jobs are doing by what is known, oldest first. Upstreams are not asked."""
        return [await self._status(job) for job in await self._book.jobs()]

    async def cancel(self, job: JobName) -> BatchStatus:
        """Have what has not begun left undone. What is drawn is paid for, and can be fetched.

        Raises:
            InvalidRequest: there is no such job.
        """
        found = await self._job(job)
        if are_over((await self._book.lines(found.id)).values()):
            return await self._status(found)
        await self._book.cancel(found.id)
        async with self._means.setups.in_force() as setup, self._led(found) as round_:
            if round_ is not None:
                await Shipping(round_).move()
            else:  # who moves it on will see that it is cancelled; the upstream need not wait for that
                round_ = await Round.of(self._means, setup, found, self._lease(found.id))
                await Shipping(round_).call_back()
        return await self._status(found)

    async def fetch(self, job: JobName, *, wait: bool = True) -> AsyncGenerator[Ended, None]:
        """The key of each request with its result or error, as they come; whoever fetches again gets all of them again.

        With *wait* it goes on until everything is there, without it it ends with what is there now. Images go to the
        ``save_to`` of their requests.

        Raises:
            InvalidRequest: there is no such job.
            ConfigError: the configuration has a lane no more that still owes results.
            StateUnavailable: the store does not answer; fetch again.
        """
        found = await self._job(job)
        delivery = _Delivery(self._means, found)
        told: set[int] = set()
        while True:
            before = len(told)
            async with aclosing(ahead(self._moved(found))) as endings:
                async for line, ended in endings:
                    told.add(line.number)
                    yield await delivery.of(line, ended)
            lines = await self._book.lines(found.id)
            for line in [each for each in lines.values() if each.is_over and each.number not in told]:
                told.add(line.number)
                yield await delivery.of(line)
            if not wait or are_over(lines.values()):
                return
            least = BREATH if len(told) == before else 0.0
            await self._means.clock.sleep(max(least, await self._pause(found, lines)))

    async def _begun(self, made: Submission, lease: Lease) -> Job:
        """The job that *made* is: put down and sent, or found, if it has that name already."""
        before = await self._book.find(made.job.id)
        if before is not None and before.fingerprint != made.job.fingerprint:
            raise InvalidRequest(f"name: {before.id} is another batch, of other requests; choose another name")
        job = before or made.job
        if before is None:
            await self._book.write_down(made.job, made.lines, made.requests)
        shipping = Shipping(await Round.of(self._means, self._means.setups.current, job, lease))
        if before is None:
            await self._reserve(shipping)
        await shipping.move()
        if before is None:
            await shipping.give_up_unsent()
            await self._check(shipping.round)
        return job

    async def _reserve(self, shipping: Shipping) -> None:
        """Reserve the money for all lines, or for none; then there is no job."""
        try:
            refused = await shipping.reserve(tuple(shipping.round.lines.values()))
            if refused:
                raise refused[0][1]
        except GatewayError:
            await shipping.withdraw()
            await self._book.discard(shipping.round.job.id)
            raise

    async def _check(self, round_: Round) -> None:
        """Raise what a job met that was refused as a whole, or could not be sent at all: it is none then."""
        lines = round_.lines.values()
        if any(chunk.id for chunk in round_.chunks.values()) or not all(line.state == "failed" for line in lines):
            return
        error = await _found(round_.archive, round_.lines[1])
        await self._book.discard(round_.job.id)
        if isinstance(error, GatewayError):
            raise error

    async def _moved(self, job: Job) -> AsyncGenerator[Ending, None]:
        """Bring *job* on as far as that goes now, unless another process is at it: the lines that end with it, as they end."""
        async with self._means.setups.in_force(), self._led(job) as round_:
            if round_ is None:
                return
            for ending in await Shipping(round_).move():
                yield ending
            harvest = Harvest(round_)
            for bring in (harvest.collect, harvest.hand_over):
                async with aclosing(bring()) as endings:
                    async for ending in endings:
                        yield ending
                        if not await round_.lease.held():
                            return  # this process slept for so long that another goes on

    @asynccontextmanager
    async def _led(self, job: Job) -> AsyncIterator[Round | None]:
        """A round of *job*, unless another process is at it."""
        lease = self._lease(job.id)
        try:
            led = await lease.held()
            yield await Round.of(self._means, self._means.setups.current, job, lease) if led else None
        finally:
            lease.free()

    async def _status(self, job: Job) -> BatchStatus:
        book = self._book
        lines, chunks = await book.lines(job.id), await book.chunks(job.id)
        return status.status(
            job, lines.values(), chunks.values(), cancelled=await book.is_cancelled(job.id),
            now=self._means.clock.wall(),
        )  # fmt: skip

    async def _pause(self, job: Job, lines: Mapping[int, Line]) -> float:
        """Seconds until there may be something to do; another process may be about to do it."""
        chunks = await self._book.chunks(job.id)
        return status.pause(job, lines.values(), chunks.values(), self._means.clock.wall())

    async def _job(self, job: JobName) -> Job:
        return await self._book.job(job.id if isinstance(job, BatchStatus) else job)

    def _lease(self, job_id: str) -> Lease:
        return Lease(self._means.setups.current.state.claims, self._means.clock, job_id)

    @property
    def _book(self) -> Book:
        return Book(self._means.setups.current.state.jobs)


class SyncBatch:
    """:class:`Batch` for code without an event loop. *call* runs a coroutine function on one, and returns what it returns."""

    def __init__(self, batch: Batch, call: Call) -> None:
        self._batch = batch
        self._call = call

    def submit(self, requests: Requests, *, name: str | None = None, deadline: float | None = None) -> BatchStatus:
        """See :meth:`Batch.submit`."""
        return self._call(lambda: self._batch.submit(requests, name=name, deadline=deadline))

    def status(self, job: JobName) -> BatchStatus:
        """See :meth:`Batch.status`."""
        return self._call(lambda: self._batch.status(job))

    def jobs(self) -> list[BatchStatus]:
        """See :meth:`Batch.jobs`."""
        return self._call(self._batch.jobs)

    def cancel(self, job: JobName) -> BatchStatus:
        """See :meth:`Batch.cancel`."""
        return self._call(lambda: self._batch.cancel(job))

    def fetch(self, job: JobName, *, wait: bool = True) -> Generator[Ended, None, None]:
        """See :meth:`Batch.fetch`."""
        fetched = self._batch.fetch(job, wait=wait)
        loop = self._call(_loop)
        try:
            while (ended := self._call(lambda: _next(fetched))) is not None:
                yield ended
        finally:
            if loop.is_running():  # the gateway may have been closed meanwhile
                self._call(fetched.aclose)


async def _next(fetched: AsyncGenerator[Ended, None]) -> Ended | None:
    return await anext(fetched, None)


async def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class _Delivery:
    """Hands the results of *job* over: from the archive, and to where their requests want them saved."""

    def __init__(self, needs: Needs, job: Job) -> None:
        state = needs.setups.current.state
        self._archive = Archive(state.blobs)
        self._book = Book(state.jobs)
        self._judge = needs.verdicts.judge
        self._job = job
        self._documents: Mapping[int, Mapping[str, Any]] | None = None

    async def of(self, line: Line, ended: ImageResult | GatewayError | None = None) -> Ended:
        """What came of *line*, which is *ended* if that has just happened."""
        ended = ended or await _found(self._archive, line, self._judge)
        if isinstance(ended, ImageResult) and (place := await self._place(line)) is not None:
            try:
                await anyio.to_thread.run_sync(ended.save, place)
            except OSError as error:
                told = f"the images came, and are kept, but could not be saved: {sanitise(error)}"
                return line.key, GatewayError(told, attempts=ended.attempts, images=ended.images)
        return line.key, ended

    async def _place(self, line: Line) -> Path | None:
        if self._documents is None:
            self._documents = await self._book.requests(self._job.id)
        return intake.destination(self._documents[line.number])


async def _found(archive: Archive, line: Line, judge: Judge | None = None) -> ImageResult | GatewayError:
    """What was kept of *line*."""
    try:
        return await anyio.to_thread.run_sync(archive.find, line.reference, judge)
    except (Lost, OSError) as error:
        return OutcomeUnknown(f"what came of it was kept, and is lost: {sanitise(error)}", attempts=line.attempts)
