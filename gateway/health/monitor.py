"""What the gateway remembers of its lanes, and the door through which every call passes.

The only mutable state there is, with the queues and the lines to the fleet that it keeps under its lock: everything it
decides, it asks of the pure modules (:mod:`~gateway.health.health`, :mod:`~gateway.health.quotas`,
:mod:`~gateway.health.allowance`, :mod:`~gateway.health.sharing`). Safe to use from several threads and event loops at once.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from random import SystemRandom
from typing import Final

import anyio

from gateway.clock import Clock
from gateway.forking import survives
from gateway.health import allowance, health, quotas
from gateway.health.fleet import PROBE_LEASE, Fleet
from gateway.health.health import FRESH, LAST_LANE_PACE, Event, LaneHealth, LaneState, Standing, Started
from gateway.health.queueing import Entry, Queues, Waiter
from gateway.health.sharing import News, Reply, probed_elsewhere
from gateway.router.lanes import Lane
from gateway.state.alone import Alone
from gateway.state.stores import HealthStore
from providers.errors import GatewayError
from providers.outcome import Outcome, OutcomeName
from providers.turnstile import turn

__all__ = ["Chance", "Entry", "Monitor", "Teller"]

HEDGE_CAPACITY: Final = Decimal(5)
"""USD that may be put by for calls beside a slow one."""

_CALM: Final = Standing("closed", "", None)

_NOT_MADE: Final = Outcome(name="cancelled", billed="no")

Chance = Callable[[], float]
"""Gives random numbers from 0 to 1. The default asks the system, since a private generator would repeat after a fork."""
Teller = Callable[[Lane, Standing, Standing], None]
"""Is told how a lane stood and how it stands, when that changes."""


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
        self._told: dict[str, Standing] = {}
        self._good: set[str] = set()
        self._queues = Queues()
        self._fleet = Fleet(Alone())
        self._exchanging = False
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
        self._queues, self._in_flight, self._exchanging = Queues(), {}, False
        self._states = {name: replace(state, calls={}) for name, state in self._states.items()}

    def watch(self, lanes: Mapping[str, Lane], at_once: Mapping[str, int | None], retry_budget: Decimal) -> None:
        """Look after these lanes from now on; what is known of those that stay is kept."""
        with self._lock:
            self._lanes, self._at_once = lanes, at_once
            if retry_budget != self._retries.capacity:
                self._retries = allowance.for_retries(retry_budget, self._clock.monotonic())
            for provider in at_once:  # there may be more room than before
                self._let_in(provider)

    def share(self, store: HealthStore, keys: Mapping[str, str]) -> None:
        """Share the health of the lanes with these *keys*, by name, through *store* from now on."""
        with self._lock:
            if self._fleet.join(store, keys):
                store.attend(self.exchange)
            self._usage = {name: replace(usage, workers=1) for name, usage in self._usage.items()}

    def stir(self) -> None:
        """A request begins: let what others have learnt be heard soon. Does not wait."""
        self._fleet.stir()

    async def exchange(self) -> bool:
        """Tell the fleet what is new here, and hear what is new there; whether there is more to come soon."""
        with self._lock:
            if self._exchanging:
                return False
            self._exchanging, news = True, self._news()
        try:
            replies, workers = await self._fleet.store.exchange(tuple(news.values()))
        except GatewayError as error:
            self._fleet.unheard(str(error))
        else:
            self._hear(news, replies, workers)
        finally:
            self._exchanging = False
        with self._lock:
            self._usage.update(self._fleet.usages(self._clock.monotonic()))
            return any(self._in_flight.values())

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
                calls = self._states.pop(name, FRESH).calls
                self._usage.pop(name, None)
                self._good.discard(name.partition("/")[0])
                self._fleet.forget(name)
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
        return self._states.get(lane.name, FRESH)

    def crowds(self) -> dict[str, int]:
        """How many calls are under way or wait for room, by the lane's name."""
        with self._lock:
            crowds = {name: len(state.calls) for name, state in self._states.items() if state.calls}
            for name, waiting in self._queues.lengths.items():
                crowds[name] = crowds.get(name, 0) + waiting
            return crowds

    def health(self) -> list[LaneHealth]:
        """A snapshot of every lane."""
        now = self._clock.monotonic()
        with self._lock:
            told, at_once = self._fleet.degraded, self._at_once
            lanes = self._lanes.values()
            return [health.snapshot(self.state(each), each, now, at_once.get(each.provider), told) for each in lanes]

    def refusal(self, entry: Entry) -> float | None:
        """Seconds for which a call may not be made, whatever room there is, or None if it may.

        Infinite if time alone does not help.
        """
        if self._draining:
            return math.inf
        now, state, full = self._clock.monotonic(), self.state(entry.lane), self._full(entry)
        if entry.lane.mode == "shadow":
            return full
        waits = health.shut(state, now), health.size_shut(state, entry.size, now), full
        return max((wait for wait in waits if wait), default=None)

    async def admitted(self, entry: Entry, seconds: float) -> int | None:
        """The number of a call that may now be made, after waiting for room for at most so many *seconds*.

        None: there was no room in time, or the lane was shut meanwhile. Every number is to be given back with
        :meth:`ended`. Only a call that would probe a lane which others share waits to hear that none of them does, and that
        for a tenth of a second at most.
        """
        leave = await self._leave(entry)
        with self._lock:
            if leave:
                self._fleet.may_probe(entry.lane)
            self._let_in(entry.lane.provider)  # a breaker opens, and lets a probe through, by time alone
            if self.refusal(entry) is not None:
                return None
            if self._queues.is_empty(entry.lane) and self._has_room(entry.lane):
                return self._begun(entry)
            waiter = self._queues.join(entry)
        return await self._waited(waiter, seconds)

    async def admitted_as_last(self, entry: Entry) -> int | None:
        """As :meth:`admitted` for the only lane that could serve: its breaker slows it down, and never shuts it."""
        if not self._may_be_last(entry) or await self._fleet.granted(entry.lane, "last", LAST_LANE_PACE) is False:
            return None
        with self._lock:
            return self._begun(entry) if self._may_be_last(entry) else None

    def ended(
        self, call: int, entry: Entry, outcome: OutcomeName, answer: Outcome, duration: float, telling: bool
    ) -> None:
        """Give back a *call*: it lasted *duration* seconds and its *answer* was judged to be *outcome*.

        Not *telling*: what came of it says nothing about the lane.
        """
        reset = quotas.until_midnight(self._clock.wall()) if outcome == "quota_exhausted" else None
        event = Event(
            outcome=outcome if telling else "cancelled", billed=answer.billed, size=entry.size, duration=duration,
            call=call, retry_after=answer.retry_after, reset=reset, lasting=answer.lasting, luck=self._chance(),
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
                self._note(lane, health.absolved(self.state(lane)))
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

    def _may_be_last(self, entry: Entry) -> bool:
        now, state = self._clock.monotonic(), self.state(entry.lane)
        if self._draining or now - state.last_call < LAST_LANE_PACE or health.is_resting(state, now):
            return False
        return self._full(entry) is None and self._has_seat(entry.lane)

    def _full(self, entry: Entry) -> float | None:
        """Seconds until the lane's quota has room for the call, None if it has."""
        usage = self._usage.get(entry.lane.name, quotas.UNUSED)
        return quotas.room(usage, entry.lane, entry.images, self._clock.monotonic())

    async def _leave(self, entry: Entry) -> bool | None:
        """Whether the fleet lets this process probe; None if the call would be no probe, or nobody can be asked."""
        lane = entry.lane
        if lane.mode == "shadow" or not health.is_probing(self.state(lane), self._clock.monotonic()):
            return None
        if self.refusal(entry) is not None or not self._has_seat(lane):
            return None
        leave = await self._fleet.granted(lane, "probe", PROBE_LEASE)
        if leave is False:
            with self._lock:
                now = self._clock.monotonic()
                self._note(lane, probed_elsewhere(self.state(lane), PROBE_LEASE, now))
        return leave

    def _news(self) -> Mapping[str, News]:
        now = self._clock.monotonic()
        for lane in [each for each in self._lanes.values() if self.state(each).calls]:
            state = self.state(lane)
            after = health.noticed(state, now, self._chance())  # calls become overdue by time alone
            if after is not state:
                self._note(lane, after)
        return self._fleet.news(self._lanes, self._states, now, self._clock.wall())

    def _hear(self, news: Mapping[str, News], replies: Sequence[Reply], workers: int) -> None:
        now = self._clock.monotonic()
        with self._lock:
            self._fleet.answered(workers)
            for (name, told), reply in zip(news.items(), replies, strict=True):
                lane = self._lanes.get(name)
                if lane is None or self._fleet.key(lane) != told.key:  # there is another configuration by now
                    continue
                before = self.state(lane)
                after = self._fleet.heard(name, before, reply, now, self._chance())
                if after is not before:
                    self._note(lane, after)
            for provider in self._at_once:
                self._let_in(provider)

    async def _waited(self, waiter: Waiter, seconds: float) -> int | None:
        try:
            with anyio.move_on_after(seconds):
                await waiter.settled.wait()
            await turn()  # many may have been let in at once, or have lost patience
        except BaseException:  # cancelled, perhaps in the very moment in which it was let in
            with self._lock:
                self._queues.leave(waiter)
                if waiter.call is not None:
                    self.ended(waiter.call, waiter.entry, "cancelled", _NOT_MADE, 0.0, telling=False)
            raise
        with self._lock:
            self._queues.leave(waiter)
        return waiter.call

    def _let_in(self, provider: str) -> None:
        """Settle those who wait for lanes of *provider*, first come first served, as far as there is room, or no hope."""
        self._queues.let_in(provider, self._settled)

    def _settled(self, waiter: Waiter) -> bool:
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
        free = lane.mode == "shadow" or health.has_room(self.state(lane), self._clock.monotonic())
        return free and self._has_seat(lane)

    def _has_seat(self, lane: Lane) -> bool:
        """Whether the provider takes one more call at once, as configured."""
        at_once = self._at_once.get(lane.provider)
        return at_once is None or self._in_flight.get(lane.provider, 0) < at_once

    def _begun(self, entry: Entry) -> int:
        lane, now, call = entry.lane, self._clock.monotonic(), next(self._numbers)
        self._in_flight[lane.provider] = self._in_flight.get(lane.provider, 0) + 1
        if lane.quota:
            usage = self._usage.get(lane.name, quotas.UNUSED)
            midnight = now + quotas.until_midnight(self._clock.wall())
            self._usage[lane.name] = quotas.take(usage, lane, entry.images, now, midnight)
            self._fleet.took(lane, entry.images, now, midnight)
        seconds = health.patience(self.state(lane), lane, entry.size)
        self._move(lane, Started(call=call, lease=entry.lease, patience=seconds, luck=self._chance()))
        return call

    def _move(self, lane: Lane, event: Event | Started) -> None:
        self._note(lane, health.next_state(self.state(lane), event, self._clock.monotonic()))

    def _note(self, lane: Lane, state: LaneState) -> None:
        """Keep the new *state*, and tell of it if the lane stands otherwise than was last told."""
        self._states[lane.name] = state
        was, stands = self._told.get(lane.name, _CALM), health.standing(state, lane, self._clock.monotonic())
        if was.state != stands.state or (stands.state != "closed" and was.reason != stands.reason):
            self._told[lane.name] = stands
            self._changed(lane, was, stands)

    def _spread(self, lane: Lane, outcome: OutcomeName) -> None:
        """Rest the provider's other lanes as well where they would meet the same outcome."""
        if outcome == "balance" or (outcome == "auth" and lane.provider not in self._good):
            for other in self._siblings(lane):
                state, rest = self.state(other), self.state(lane).cooldowns[outcome]
                self._note(other, replace(state, cooldowns={**state.cooldowns, outcome: rest}))

    def _siblings(self, lane: Lane) -> list[Lane]:
        return [other for other in self._lanes.values() if other.provider == lane.provider and other.name != lane.name]
