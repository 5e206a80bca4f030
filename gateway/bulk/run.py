"""Many requests at once: as many as the lanes take, within one budget, each result handed over as it comes.

A request is asked of the caller when there is room for it and not before, and room is made by taking a result: so no
more images are in memory than lanes take at once, however long the list is, and a slow caller begins no further calls.
:mod:`gateway.bulk.feed` goes between the caller and the run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, Final, Protocol

from gateway.bulk.budget import RunBudget
from gateway.clock import Clock
from gateway.configuration.config import Config
from gateway.events import AttemptEnded, AttemptStarted, Event, listening
from gateway.fingerprint import fingerprint
from gateway.health.health import LaneHealth
from gateway.money import money
from gateway.request import ImageRequest
from gateway.result import ImageResult
from gateway.router.plan import Plan
from providers.errors import BudgetExceeded, ConfigError, GatewayError, InvalidRequest

MOST: Final = 32
"""Requests at once where the caller names no number: 2,000 images at 1K, each in memory for a while, then take 180 MiB."""
PATIENCE: Final = 600.0
"""Seconds for which a request waits in all for lanes that rest. Beyond, it fails with what they said."""
PAUSE: Final = 1.0
"""Seconds at least between two tries of a request whose lanes rest."""
MAX_RUN: Final = 200
"""Characters of a run's name."""

Asked = str | Mapping[str, Any] | ImageRequest
"""What one item of the requests may be."""
Ended = tuple[int, ImageResult | GatewayError]
"""The place of a request, from 0, and what came of it."""


class Draws(Protocol):
    """What bulk needs of a gateway."""

    @property
    def config(self) -> Config: ...  # noqa: D102
    async def generate(self, prompt: str | ImageRequest, **fields: Any) -> ImageResult: ...  # noqa: D102
    def plan(self, prompt: str | ImageRequest, **fields: Any) -> Plan: ...  # noqa: D102
    def health(self) -> list[LaneHealth]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a run is carried out: *concurrency* requests at once at most (None: as many as the lanes take), for *budget* USD
    in all (None: no limit). *run* names it: its requests get idempotency keys that are the same when it is run again.

    Raises:
        InvalidRequest: one of them cannot be meant.
    """

    concurrency: int | None = None
    budget: Decimal | float | None = None
    run: str | None = None

    def __post_init__(self) -> None:
        number = self.concurrency
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise InvalidRequest(
                "concurrency: expected a whole number from 1 on, or None for as many as the lanes take"
            )
        if self.run is not None and not 0 < len(self.run.strip()) <= MAX_RUN:
            raise InvalidRequest(f"run: expected a name of 1 to {MAX_RUN} characters, or None")


class Signal(Enum):
    """What passes between a run and whoever feeds it, beside requests and results."""

    MORE = "the run wants the next request"
    COMING = "the next request is on its way"
    NONE = "there is no request to hand over now"
    END = "there are no more requests"
    OVER = "the run has handed over all results"


@dataclass(frozen=True, slots=True)
class _Held:
    """A request that has not begun, or is to begin anew, not before *due* (s). It waits for *patience* s more in all.

    *last* is what came of it so far, None if it has not begun.
    """

    index: int
    request: ImageRequest
    due: float
    patience: float = PATIENCE
    last: GatewayError | None = None


@dataclass(slots=True, eq=False)
class _Job:
    """A request on its way, which these *lanes* may have to serve, with the *grant* in USD that it holds.

    *calls* is how many calls for it are under way. *unwanted*: nobody waits for what comes of it any more.
    """

    held: _Held
    lanes: frozenset[str]
    grant: Decimal | None
    calls: int = 0
    unwanted: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


_left_to_end: Final[set[asyncio.Task[None]]] = set()
"""Tasks of abandoned runs: an event loop itself holds on to no task."""


class Bulk:
    """One run over *gateway*. It lives on one event loop."""

    def __init__(
        self, gateway: Draws, terms: Terms, clock: Clock, calling: Callable[[int], None] = lambda index: None
    ) -> None:
        """*calling* is told the place of a request right before a call for it is made."""
        self._gateway = gateway
        self._terms = terms
        self._clock = clock
        self._calling = calling
        self._budget = RunBudget(terms.budget)
        self._count = 0
        self._held: list[_Held] = []
        self._running: set[_Job] = set()
        self._finished: deque[Ended] = deque()
        self._no_more = self._stopped = False
        self._broken: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Future[None] | None = None

    async def step(self, given: Asked | Signal) -> Ended | Signal:
        """Take what is *given*, and return the next result; or ``MORE`` if there is room for another request; or ``OVER``.

        Raises:
            ConfigError: the configuration cannot be used after all; so does whatever else is no answer to a request. The
                results of calls that were under way have been handed over by then.
        """
        self._loop = asyncio.get_running_loop()
        coming = given is Signal.COMING
        self._no_more |= given is Signal.END
        if not isinstance(given, Signal):
            self._accept(given)
        while True:
            self._begin_held()
            if not coming and self._wants_more():
                return Signal.MORE
            if self._finished:
                return self._finished.popleft()
            if not coming and not self._running and not self._held:
                if self._broken is not None:
                    raise self._broken
                return Signal.OVER
            await self._something_new()
            coming = False

    def nudge(self) -> None:
        """Have :meth:`step` look again."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def stop(self) -> None:
        """Begin no further request; what comes of those under way, and came of those that wait, is still handed over."""
        self._no_more = self._stopped = True
        for held in self._held:
            if held.last is not None:
                self._end(held.index, held.last)
        self._held.clear()
        self.nudge()

    def leave(self) -> None:
        """Nobody wants further results: cancel what has no call under way, and leave the rest to end by itself.

        A call that was sent is paid for: its images still go to ``save_to``, and are kept under an idempotency key.
        """
        self.stop()
        for job in self._running:
            job.unwanted = True
            if job.task is not None and not job.calls:
                job.task.cancel()
            elif job.task is not None:
                _left_to_end.add(job.task)
                job.task.add_done_callback(_left_to_end.discard)

    def leave_soon(self) -> None:
        """:meth:`leave`, from any thread and at any time."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and everything on it has ended
                self._loop.call_soon_threadsafe(self.leave)

    # What is to begin

    def _accept(self, asked: Asked) -> None:
        """Hold the next request until it may begin; one that cannot be meant has ended."""
        index, self._count = self._count, self._count + 1
        try:
            self._held.append(_Held(index, self._named(index, request_of(asked)), due=self._clock.monotonic()))
        except GatewayError as error:
            self._end(index, error)

    def _named(self, index: int, request: ImageRequest) -> ImageRequest:
        if self._terms.run is None or request.idempotency_key is not None:
            return request
        return changed(request, idempotency_key=f"{self._terms.run}/{index}/{fingerprint(request, ())[:16]}")

    def _wants_more(self) -> bool:
        """Whether another request may be asked for: no more is read than can soon begin."""
        due = any(held.due <= self._clock.monotonic() for held in self._held)
        if due or self._no_more or self._broken is not None:
            return False
        return len(self._held) < MOST and self._has_seat(None)

    def _begin_held(self) -> None:
        """Begin what is due, as far as there is room."""
        for held in sorted(self._held, key=lambda each: each.due):
            if held.due > self._clock.monotonic() or self._broken is not None:
                break
            try:
                job = self._admitted(held)
            except GatewayError as error:  # a provider that is not configured, or the budget
                self._held.remove(held)
                self._end(held.index, error)
                continue
            if job is not None:
                self._held.remove(held)
                self._running.add(job)
                job.task = asyncio.get_running_loop().create_task(self._carry_out(job))
        if self._broken is not None:
            self._held.clear()

    def _admitted(self, held: _Held) -> _Job | None:
        """The job for a request, or None as long as the lanes that can serve it, or the budget, have no room."""
        plan = self._gateway.plan(held.request)
        lanes = frozenset(step.name for step in plan.steps)
        if not self._has_seat(lanes) or self._crowd(lanes) >= self._room(lanes):
            return None
        if self._budget.limit is None:
            return _Job(held, lanes, None)
        grant = self._budget.grant(held.request, plan, self._gateway.config.fallback.max_attempts)
        return None if grant is None else _Job(held, lanes, grant)

    def _has_seat(self, lanes: frozenset[str] | None) -> bool:
        """Whether one more request may be under way, beside those that ended and were not taken yet."""
        most = self._terms.concurrency or min(self._room(lanes), MOST)
        return len(self._running) + len(self._finished) < most

    def _room(self, lanes: frozenset[str] | None) -> int:
        """How many calls at once these lanes take now (None: all). One at least, since only a call shows that more is so."""
        healths = [each for each in self._gateway.health() if lanes is None or each.lane in lanes]
        open_ones = sum(each.limit or 0 for each in healths if each.state == "closed")
        return max(1, open_ones + sum(each.state == "half_open" for each in healths))

    def _crowd(self, lanes: frozenset[str]) -> int:
        """How many requests of this run are under way that these lanes may have to serve."""
        return sum(not lanes.isdisjoint(job.lanes) for job in self._running)

    async def _something_new(self) -> None:
        """Wait until a request has ended, another has come, or one that waits for its lanes is due."""
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        later = [held.due for held in self._held if held.due > self._clock.monotonic()]
        timer = loop.call_later(min(later) - self._clock.monotonic(), self.nudge) if later else None
        try:
            await self._news
        finally:
            if timer is not None:
                timer.cancel()

    # What is under way

    async def _carry_out(self, job: _Job) -> None:
        spent = Decimal(0)
        try:
            ended = await self._drawn(job)
            spent = cost_of(ended)
            self._conclude(job, ended)
        except asyncio.CancelledError:
            if not job.unwanted:  # the event loop ends
                raise
        except BaseException as error:  # it is raised where the run is stepped
            self._broken = self._broken or error
        finally:
            self._running.discard(job)
            if job.grant is not None:
                self._budget.settle(job.grant, spent)
            self.nudge()

    async def _drawn(self, job: _Job) -> ImageResult | GatewayError:
        request = job.held.request if job.grant is None else changed(job.held.request, max_cost=job.grant)
        with listening(partial(self._heard, job)):
            try:
                return await self._gateway.generate(request)
            except BudgetExceeded as error:
                return self._budget.explained(error, job.grant)
            except ConfigError:
                raise
            except GatewayError as error:
                return error

    def _heard(self, job: _Job, event: Event) -> None:
        """Count the calls; one that brought images counts until they are where they belong.

        Once nobody wants the images any more, a failed call is not followed by another.
        """
        if isinstance(event, AttemptStarted):
            job.calls += 1
            self._calling(job.held.index)
        if isinstance(event, AttemptEnded) and event.outcome != "ok":
            job.calls -= 1
            if job.unwanted and not job.calls and job.task is not None:
                job.task.cancel()

    def _conclude(self, job: _Job, ended: ImageResult | GatewayError) -> None:
        """Hand over what came of a request, or hold it until its lanes have rested, as long as that costs nothing."""
        held, wait = job.held, _worth_waiting(ended)
        if wait is None or wait > held.patience or self._stopped:
            self._end(held.index, ended)
            return
        due = self._clock.monotonic() + wait
        last = ended.with_traceback(None) if isinstance(ended, GatewayError) else None
        self._held.append(replace(held, due=due, patience=held.patience - wait, last=last))

    def _end(self, index: int, ended: ImageResult | GatewayError) -> None:
        if isinstance(ended, GatewayError):
            ended.with_traceback(None)  # its frames would keep more than the error alive
        self._finished.append((index, ended))


def _worth_waiting(ended: ImageResult | GatewayError) -> float | None:
    """Seconds after which a request may come to a better end, None unless it has cost nothing so far."""
    if isinstance(ended, ImageResult | BudgetExceeded | InvalidRequest) or ended.retry_after is None:
        return None
    charged = any(attempt.billed != "no" for attempt in ended.attempts)
    return None if charged else max(ended.retry_after, PAUSE)


def cost_of(ended: ImageResult | GatewayError) -> Decimal:
    """USD that a request did or may have cost in all."""
    return ended.total_cost.usd if isinstance(ended, ImageResult) else money.total(ended.attempts).usd


def request_of(asked: object) -> ImageRequest:
    """The request that one item means: a prompt, a mapping of fields, or a request.

    Raises:
        InvalidRequest: it is none of these, or a field is wrong.
    """
    if isinstance(asked, ImageRequest):
        return asked
    if isinstance(asked, str):
        return ImageRequest(prompt=asked)
    if isinstance(asked, Mapping) and all(isinstance(name, str) for name in asked):
        return ImageRequest(**asked)
    raise InvalidRequest(f"expected a prompt, a mapping of fields or an ImageRequest, not {type(asked).__name__}")


def changed(request: ImageRequest, **fields: Any) -> ImageRequest:
    """*request* with other *fields*."""
    given = {name: getattr(request, name) for name in request.model_fields_set}
    return ImageRequest(**{**given, **fields})
