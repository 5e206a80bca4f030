"""One request through the cache: what is kept is given again, what is under way is waited for, the rest is drawn and kept.

Requests of one process share a flight (:mod:`gateway.cache.single_flight`), and processes that share a state take turns
(:mod:`gateway.cache.shared_flight`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio.to_thread

from gateway.archive import Archive
from gateway.cache.cache import Cache, fits, given_again, key_of
from gateway.cache.shared_flight import Turn, Turns
from gateway.cache.single_flight import Flights, Land, Ticket
from gateway.clock import Clock
from gateway.fingerprint import digest
from gateway.request import FallbackStep, ImageRequest
from gateway.result import ImageResult, Judge
from gateway.saving import Destination
from gateway.setup import Setup
from providers.errors import GatewayError
from providers.images import ReferenceImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeking:
    """A request as the cache sees it: its *key*, and how far it gives way, by itself or by *fallback*.

    It *began* on the monotonic clock and has so many *seconds*.
    """

    request: ImageRequest
    request_id: str
    key: str
    fallback: Sequence[FallbackStep]
    began: float
    seconds: float

    @classmethod
    async def of(
        cls, request: ImageRequest, references: Sequence[ReferenceImage], setup: Setup, request_id: str, began: float
    ) -> Seeking:
        """*request* with its *references* as they were loaded, under *setup*."""
        key = await anyio.to_thread.run_sync(key_of, request, references, setup.config)
        return cls(
            request=request, request_id=request_id, key=key, fallback=setup.config.fallback.order, began=began,
            seconds=setup.seconds(request),
        )  # fmt: skip

    def ticket(self, now: float) -> Ticket:
        """Its ticket for a flight. The terms are what decides on success, and not on the image."""
        terms = (self.request.min_size, self.request.fallback, self.request.max_cost, self.request.deadline)
        left = max(0.0, self.began + self.seconds - now)
        return Ticket(key=self.key, request_id=self.request_id, seconds=left, terms=digest(terms))

    def fits(self, result: ImageResult) -> bool:
        """Whether *result* may be given for it."""
        return fits(result, self.request, self.fallback)

    def given(self, result: ImageResult, now: float) -> ImageResult:
        """*result*, which another one has paid for, as its own."""
        return given_again(result, self.request_id, now - self.began)


@dataclass(slots=True)
class Payer:
    """The one that draws for all who wait, and tells what came: *told* is what."""

    seeking: Seeking
    cache: Cache
    turn: Turn
    land: Land
    told: ImageResult | None = None

    async def landed(self, result: ImageResult) -> None:
        """Keep *result*, if it is whole, and give it to all; once."""
        if self.told is not None:
            return
        self.told = result
        missed = await self.cache.keep(self.seeking.key, result) if self._is_whole(result) else None
        if missed == "":
            self.turn.end()
        else:
            await self.turn.tell(result)
        self.land(replace(result, warnings=(*result.warnings, missed)) if missed else result)

    async def late(self, result: ImageResult) -> None:
        """Keep what came after all had been given another: it may have been paid for."""
        if self._is_whole(result):
            await self.cache.keep_late(self.seeking.key, result)

    def _is_whole(self, result: ImageResult) -> bool:
        return len(result.images) >= self.seeking.request.n


Draw = Callable[[Payer], Awaitable[ImageResult]]
"""Draws. It may tell the payer before it ends, and go on for what is late."""


@dataclass(frozen=True, slots=True)
class ReadThrough:
    """The *cache*, the *flights* of this process, and the *turns* of all. *judge* takes verdicts on what is given again."""

    cache: Cache
    flights: Flights
    turns: Turns
    clock: Clock
    judge: Judge | None = None

    @classmethod
    def of(cls, setup: Setup, flights: Flights, clock: Clock, judge: Judge) -> ReadThrough:
        """Over the state and the cache of *setup*."""
        turns = Turns(setup.state.claims, Archive(setup.cache.blobs), clock, judge)
        return cls(setup.cache, flights, turns, clock, judge)

    async def result(self, seeking: Seeking, draw: Draw) -> ImageResult:
        """What is in the cache for *seeking*, or under way, or what *draw* makes of it; saved where it is to be.

        Raises:
            InvalidRequest: nothing can be saved there.
            DeadlineExceeded: what is under way did not end in time.
            GatewayError: what *draw* raises, here or in another request on the same terms; or the images cannot be saved.
        """
        place, destination = seeking.request.save_to, None
        if place is not None:  # before any money is spent
            destination = await anyio.to_thread.run_sync(Destination, place, seeking.request_id)
        result = await self._result(seeking, draw)
        return result if destination is None else await _saved(result, destination)

    async def _result(self, seeking: Seeking, draw: Draw) -> ImageResult:
        found = await self.cache.find(seeking.key, seeking.fits, self.judge)
        while found is None:
            ticket = seeking.ticket(self.clock.monotonic())
            if seeking.request.idempotency_key is not None:  # what its own calls were billed has to be known
                ticket = replace(ticket, key=f"{ticket.key} {ticket.request_id}")
            result, ours = await self.flights.joined(ticket, partial(self._flown, seeking, draw))
            if ours:
                return result
            found = result if seeking.fits(result) else None
        return seeking.given(found, self.clock.monotonic())

    async def _flown(self, seeking: Seeking, draw: Draw, land: Land) -> None:
        """Carry the request out, unless another process does."""
        match await self.turns.taken(seeking.ticket(self.clock.monotonic())):
            case GatewayError() as error:
                raise error
            case ImageResult() as result:
                land(seeking.given(result, self.clock.monotonic()))
            case turn:
                await self._carried_out(seeking, draw, Payer(seeking, self.cache, turn, land))

    async def _carried_out(self, seeking: Seeking, draw: Draw, payer: Payer) -> None:
        try:
            found = await self.cache.find(
                seeking.key, seeking.fits, self.judge
            )  # another one may just have put it there
            if found is None:
                await payer.landed(await draw(payer))
            else:
                payer.land(seeking.given(found, self.clock.monotonic()))
        except GatewayError as error:
            await payer.turn.tell(error)
            raise
        finally:
            payer.turn.end()


async def _saved(result: ImageResult, destination: Destination) -> ImageResult:
    """*result* with its images written, and read from there from now on."""
    try:
        parts = await destination.take(result.parts)
    except OSError as error:
        raise GatewayError(
            f"the images came, but could not be saved: {error.strerror}", attempts=result.attempts, images=result.images
        ) from None
    return replace(result, parts=parts, images=tuple(part.image for part in parts if part.image is not None))
