"""What the gateway remembers of its lanes, and the door through which every call passes.

The only mutable state there is: everything it decides, it asks of the pure modules (:mod:`gateway.health`,
:mod:`gateway.quotas`, :mod:`gateway.allowance`). Safe to use from several threads and event loops at once.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import SystemRandom
from typing import Final

import anyio

from gateway import allowance, quotas
from gateway.clock import Clock
from gateway.forking import survives
from gateway.health import (
    LAST_LANE_PACE,
    Event,
    LaneHealth,
    LaneState,
    Standing,
    Started,
    absolved,
    has_room,
    heard_of,
    is_resting,
    next_state,
    patience,
    shut,
    size_shut,
    snapshot,
    standing,
)  # fmt: skip
from gateway.lanes import Lane
from providers.outcome import Outcome, OutcomeName
from providers.sizes import Size

HEDGE_CAPACITY: Final = Decimal(5)
"""USD that may be put by for calls beside a slow one."""

_FRESH: Final = LaneState()
_CALM: Final = Standing("closed", "", None)

Chance = Callable[[], float]
"""Gives random numbers from 0 to 1. The default asks the system, since a private generator would repeat after a fork."""
Teller = Callable[[Lane, Standing, Standing], None]
"""Is told how a lane stood and how it stands, when that changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A wish to make a call: *lane* at *size* for *images* images, to last at most *lease* seconds."""

    lane: Lane
    size: Size
    images: int = 1
    lease: float


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody at the door, the *place*-th to come. *call* is the number it was let in with, None if it was dismissed."""

    entry: Entry
    loop: asyncio.AbstractEventLoop
    place: int
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    call: int | None = None

    def settle(self) -> None:
        with suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self.settled.set)


class Monitor:
    """Keeps the health of *lanes*, by name, and what may be spent on second tries.

    *at_once* is how many calls each provider takes at a time, as configured. *chance* spreads what should not happen
    everywhere at once.
    """

    def __init__(
        self, clock: Clock, chance: Chance | None = None, changed: Teller = lambda lane, before, after: None
    ) -> None:
        self._clock = clock
        self._chance = chance or SystemRandom().random
        self._changed = changed
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._places = itertools.count(1)
        self._told: dict[str, Standing] = {}
        self._good: set[str] = set()
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._lanes: Mapping[str, Lane] = {}
        self._at_once: Mapping[str, int | None] = {}
        self._in_flight: dict[str, int] = {}
        self._states: dict[str, LaneState] = {}
        self._usage: dict[str, quotas.Usage] = {}
        self._retries = allowance.for_retries(Decimal(0), clock.monotonic())
        self._hedges = allowance.for_hedges(HEDGE_CAPACITY)
        self._draining = False
        survives(self)

    def after_fork(self) -> None:
        """Free the lock, and let go of the calls and waiters of the parent process."""
        self._lock = threading.RLock()
        self._waiting, self._in_flight = {}, {}
        self._states = {name: replace(state, calls={}) for name, state in self._states.items()}

    def watch(self, lanes: Mapping[str, Lane], at_once: Mapping[str, int | None], retry_budget: Decimal) -> None:
        """Look after these lanes from now on; what is known of those that stay is kept."""
        with self._lock:
            self._lanes, self._at_once = lanes, at_once
            if retry_budget != self._retries.capacity:
                self._retries = allowance.for_retries(retry_budget, self._clock.monotonic())
            for provider in at_once:  # there may be more room than before
                self._let_in(provider)

    def drain(self) -> None:
        """Let no further call in; those under way go on."""
        with self._lock:
            self._draining = True
            for provider in self._at_once:
                self._let_in(provider)

    def forget(self, names: Iterable[str]) -> None:
        """Let go of what is known of these lanes, calls under way excepted."""
        with self._lock:
            for name in names:
                calls = self._states.pop(name, _FRESH).calls
                self._usage.pop(name, None)
                self._good.discard(name.partition("/")[0])
                if calls:
                    self._states[name] = LaneState(calls=calls)

    @property
    def states(self) -> Mapping[str, LaneState]:
        """How each lane is doing, by name; a lane that is not in it is new."""
        return self._states

    @property
    def usage(self) -> Mapping[str, quotas.Usage]:
        """What each lane with a quota has used of it, by name."""
        return self._usage

    def state(self, lane: Lane) -> LaneState:
        """How *lane* is doing."""
        return self._states.get(lane.name, _FRESH)

    def crowds(self) -> dict[str, int]:
        """How many calls are under way or wait for room, by the lane's name."""
        with self._lock:
            crowds = {name: len(state.calls) for name, state in self._states.items() if state.calls}
            for name, queue in self._waiting.items():
                crowds[name] = crowds.get(name, 0) + len(queue)
            return crowds

    def health(self) -> list[LaneHealth]:
        """A snapshot of every lane."""
        now = self._clock.monotonic()
        with self._lock:
            return [
                snapshot(self.state(lane), lane, now, self._at_once.get(lane.provider)) for lane in self._lanes.values()
            ]

    def refusal(self, entry: Entry) -> float | None:
        """Seconds for which a call may not be made, whatever room there is, or None if it may.

        Infinite if time alone does not help.
        """
        if self._draining:
            return math.inf
        now, state, lane = self._clock.monotonic(), self.state(entry.lane), entry.lane
        full = quotas.room(self._usage.get(lane.name, quotas.Usage()), lane, entry.images, now)
        if lane.mode == "shadow":
            return full
        return max((wait for wait in (shut(state, now), size_shut(state, entry.size, now), full) if wait), default=None)

    async def admitted(self, entry: Entry, seconds: float) -> int | None:
        """The number of a call that may now be made, after waiting for room for at most so many *seconds*.

        None: there was no room in time, or the lane was shut meanwhile. Every number is to be given back with
        :meth:`ended`.
        """
        with self._lock:
            self._let_in(entry.lane.provider)  # a breaker opens, and lets a probe through, by time alone
            if self.refusal(entry) is not None:
                return None
            if not self._waiting.get(entry.lane.name) and self._has_room(entry.lane):
                return self._begun(entry)
            waiter = _Waiter(entry, asyncio.get_running_loop(), next(self._places))
            self._waiting.setdefault(entry.lane.name, deque()).append(waiter)
        return await self._waited(waiter, seconds)

    def admitted_as_last(self, entry: Entry) -> int | None:
        """As :meth:`admitted` for the only lane that could serve: its breaker slows it down, and never shuts it."""
        with self._lock:
            now, state, lane = self._clock.monotonic(), self.state(entry.lane), entry.lane
            full = quotas.room(self._usage.get(lane.name, quotas.Usage()), lane, entry.images, now)
            if (
                self._draining
                or now - state.last_call < LAST_LANE_PACE
                or is_resting(state, now)
                or full
                or not self._has_seat(lane)
            ):
                return None
            return self._begun(entry)

    def ended(
        self, call: int, entry: Entry, outcome: OutcomeName, answer: Outcome, duration: float, telling: bool
    ) -> None:
        """Give back a *call*: it lasted *duration* seconds and its *answer* was judged to be *outcome*.

        Not *telling*: what came of it says nothing about the lane.
        """
        event = Event(
            outcome=outcome if telling else "cancelled", billed=answer.billed, size=entry.size, duration=duration,
            call=call, retry_after=answer.retry_after, reset=quotas.until_midnight(self._clock.wall()),
            lasting=answer.lasting, luck=self._chance(),
        )  # fmt: skip
        with self._lock:
            self._in_flight[entry.lane.provider] -= 1
            self._move(entry.lane, event)
            self._spread(entry.lane, event.outcome)
            self._let_in(entry.lane.provider)

    def absolve(self, provider: str) -> None:
        """The key of *provider*, which was refused, has been found good: if it is refused again, that is about a model."""
        with self._lock:
            self._good.add(provider)
            for lane in [each for each in self._lanes.values() if each.provider == provider]:
                self._note(lane, absolved(self.state(lane)))
            self._let_in(provider)

    def earn(self, usd: Decimal) -> None:
        """An image came at the first attempt, for *usd*: a share of it may be spent on retries."""
        with self._lock:
            self._retries = allowance.earned(self._retries, usd * allowance.EARNED, self._clock.monotonic())

    def may_retry(self, usd: Decimal) -> bool:
        """Whether *usd* may be spent on a retry; if so, they count as spent."""
        with self._lock:
            after = allowance.drawn(self._retries, usd, self._clock.monotonic())
            self._retries = after or self._retries
            return after is not None

    def give_back(self, usd: Decimal) -> None:
        """The retry for which *usd* was drawn was not made."""
        with self._lock:
            self._retries = allowance.earned(self._retries, usd, self._clock.monotonic())

    def put_by_so_far(self) -> Decimal:
        """USD that may be spent on hedges."""
        return self._hedges.left

    def put_by(self, usd: Decimal) -> None:
        """Set *usd* aside for hedges."""
        with self._lock:
            self._hedges = allowance.earned(self._hedges, usd, self._clock.monotonic())

    def may_hedge(self, usd: Decimal) -> bool:
        """Whether *usd* may be spent on a call beside a slow one; if so, they count as spent."""
        with self._lock:
            after = allowance.drawn(self._hedges, usd, self._clock.monotonic())
            self._hedges = after or self._hedges
            return after is not None

    def luck(self) -> float:
        """A random number from 0 to 1."""
        return self._chance()

    async def _waited(self, waiter: _Waiter, seconds: float) -> int | None:
        try:
            with anyio.move_on_after(seconds):
                await waiter.settled.wait()
        except BaseException:  # cancelled, perhaps in the very moment in which it was let in
            with self._lock:
                self._gone(waiter)
                if waiter.call is not None:
                    self.ended(
                        waiter.call,
                        waiter.entry,
                        "cancelled",
                        Outcome(name="cancelled", billed="no"),
                        0.0,
                        telling=False,
                    )
            raise
        with self._lock:
            self._gone(waiter)
        return waiter.call

    def _gone(self, waiter: _Waiter) -> None:
        name = waiter.entry.lane.name
        queue = self._waiting.get(name, deque())
        if waiter in queue:
            queue.remove(waiter)
        if not queue:
            self._waiting.pop(name, None)

    def _let_in(self, provider: str) -> None:
        """Settle those who wait for lanes of *provider*, first come first served, as far as there is room, or no hope."""
        queues = [queue for queue in self._waiting.values() if queue and queue[0].entry.lane.provider == provider]
        while queues:
            queue = min(queues, key=lambda each: each[0].place)
            if self._settled(queue[0]):
                queue.popleft()
            else:
                queues.remove(queue)
            queues = [each for each in queues if each]

    def _settled(self, waiter: _Waiter) -> bool:
        """Whether *waiter* need not wait any more: it was let in, or there is no hope for it."""
        if waiter.loop.is_closed():
            return True
        refused = self.refusal(waiter.entry) is not None
        if not refused and not self._has_room(waiter.entry.lane):
            return False
        waiter.call = None if refused else self._begun(waiter.entry)
        waiter.settle()
        return True

    def _has_room(self, lane: Lane) -> bool:
        return self._has_seat(lane) and (lane.mode == "shadow" or has_room(self.state(lane), self._clock.monotonic()))

    def _has_seat(self, lane: Lane) -> bool:
        """Whether the provider takes one more call at once, as configured."""
        at_once = self._at_once.get(lane.provider)
        return at_once is None or self._in_flight.get(lane.provider, 0) < at_once

    def _begun(self, entry: Entry) -> int:
        lane, now, call = entry.lane, self._clock.monotonic(), next(self._numbers)
        self._in_flight[lane.provider] = self._in_flight.get(lane.provider, 0) + 1
        if lane.quota:
            usage = self._usage.get(lane.name, quotas.Usage())
            midnight = now + quotas.until_midnight(self._clock.wall())
            self._usage[lane.name] = quotas.take(usage, lane, entry.images, now, midnight)
        seconds = patience(self.state(lane), lane, entry.size)
        self._move(lane, Started(call=call, lease=entry.lease, patience=seconds, luck=self._chance()))
        return call

    def _move(self, lane: Lane, event: Event | Started) -> None:
        self._note(lane, next_state(self.state(lane), event, self._clock.monotonic()))

    def _note(self, lane: Lane, state: LaneState) -> None:
        """Keep the new *state*, and tell of it if the lane stands otherwise than was last told."""
        self._states[lane.name] = state
        was, stands = self._told.get(lane.name, _CALM), standing(state, lane, self._clock.monotonic())
        if was.state != stands.state or (stands.state != "closed" and was.reason != stands.reason):
            self._told[lane.name] = stands
            self._changed(lane, was, stands)

    def _spread(self, lane: Lane, outcome: OutcomeName) -> None:
        """Rest the provider's other lanes as well where they would meet the same outcome."""
        if outcome == "balance" or (outcome == "auth" and lane.provider not in self._good):
            for other in self._siblings(lane):
                self._note(other, heard_of(self.state(other), self.state(lane), outcome))

    def _siblings(self, lane: Lane) -> list[Lane]:
        return [other for other in self._lanes.values() if other.provider == lane.provider and other.name != lane.name]
