"""How each lane is doing: a pure function from state and event to state.

A lane is shut for a while after an outcome that says another call would fail the same way, for as long as that outcome
usually lasts; a breaker shuts it when it keeps failing. Nothing here reads a clock: *now* is seconds on a monotonic one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, Literal

from gateway.lanes import Lane
from providers.outcome import Billed, OutcomeName
from providers.sizes import Size

HALF_LIFE: Final = 600.0
"""Seconds in which a success or a failure loses half its weight in the success rate."""
PRIOR_SUCCESSES: Final = 9.0
PRIOR_TOTAL: Final = 10.0
"""A lane nobody has tried counts as nine successes in ten."""
PRIOR_BILLED: Final = 0.5
"""The share of failures that are billed, until measured."""
FIRST_LIMIT: Final = 4.0
"""Calls a lane may have in flight before anything is known of it."""
OPEN_AT: Final = 4
"""Weight of consecutive failures at which the breaker opens."""
BREAKER_BASE: Final = 10.0
BREAKER_CAP: Final = 60.0
"""Seconds the breaker stays open: the base, doubled each time it opens again without a success, up to the cap."""
DURATIONS_KEPT: Final = 20
MIN_DURATIONS: Final = 3
"""Successful calls after which measured durations replace the catalogue's."""

DEFAULT_SECONDS: Final = 10.0
"""Seconds a call takes where nobody has said anything."""

_BREAKER_WEIGHT: Final[Mapping[OutcomeName, int]] = {"transport": 1, "overloaded": 1, "timeout": 2, "bad_response": 2}

_COOLDOWN: Final[Mapping[OutcomeName, tuple[float, float]]] = {
    "rate_limited": (20.0, 60.0),
    "quota_exhausted": (3600.0, 3600.0),
    "balance": (900.0, 21_600.0),
    "auth": (600.0, 600.0),
    "region": (21_600.0, 21_600.0),
    "model_gone": (3600.0, 86_400.0),
}
"""Seconds a lane is shut after an outcome: first, and at most after doubling."""

HINT_RANGE: Final = (1.0, 120.0)
"""Seconds within which an upstream's hint decides how long a rate limit lasts."""

State = Literal["closed", "open", "half_open", "latched", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An attempt that ended. *duration* is seconds."""

    outcome: OutcomeName
    billed: Billed
    size: Size
    duration: float
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """What is remembered of a lane. *shut_until* is on the monotonic clock; *streak* counts outcomes of one kind."""

    successes: float = 0.0
    failures: float = 0.0
    billed_failures: float = 0.0
    limit: float = FIRST_LIMIT
    updated: float = 0.0
    durations: Mapping[Size, tuple[float, ...]] = field(default_factory=dict)
    weight: int = 0
    opened: int = 0
    shut_until: float = 0.0
    shut_by: OutcomeName | None = None
    streak: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHealth:
    """A snapshot of a lane for people and dashboards.

    *until* is seconds from now until it may be tried again, None if it may be. *p50* is seconds. *limit* is how many
    calls may be in flight at once, None for any number; the lanes of a provider share it.
    """

    lane: str
    state: State
    reason: str
    until: float | None
    success_rate: float
    p50: float
    in_flight: int = 0
    limit: int | None = None


def next_state(state: LaneState, event: Event, now: float) -> LaneState:
    """The state after *event* at *now*."""
    if event.outcome in ("cancelled", "invalid", "blocked"):
        return state  # says nothing about the lane
    state = _decayed(state, now)
    if event.outcome in ("ok", "wrong_size", "no_image"):
        return _after_answer(state, event, now)
    failed = replace(
        state,
        failures=state.failures + 1,
        billed_failures=state.billed_failures + (event.billed != "no"),
    )
    if event.outcome in _COOLDOWN:
        return _cooled(failed, event, now)
    return _weighed(failed, event, now)


def success_rate(state: LaneState, now: float) -> float:
    """The share of attempts that delivered, recent ones weighing more, starting from the prior."""
    state = _decayed(state, now)
    return (state.successes + PRIOR_SUCCESSES) / (state.successes + state.failures + PRIOR_TOTAL)


def billed_share(state: LaneState, now: float) -> float:
    """The share of failed attempts that were or may have been billed, starting from the prior."""
    state = _decayed(state, now)
    return (state.billed_failures + PRIOR_BILLED) / (state.failures + 1.0)


def concurrency(state: LaneState) -> int:
    """How many calls the lane may have in flight."""
    return int(state.limit)


def typical_seconds(state: LaneState, lane: Lane, size: Size) -> float:
    """The median duration of a successful call in seconds: measured, or the catalogue's until enough is measured."""
    measured = state.durations.get(size, ())
    return median(measured) if len(measured) >= MIN_DURATIONS else lane.seconds.get(size, DEFAULT_SECONDS)


def shut(state: LaneState, now: float) -> float | None:
    """Seconds until the lane may be tried again, or None if it may be now."""
    return state.shut_until - now if state.shut_until > now else None


def snapshot(state: LaneState, lane: Lane, now: float, in_flight: int = 0, limit: int | None = None) -> LaneHealth:
    """What :meth:`gateway.Gateway.health` shows of a lane."""
    until = shut(state, now)
    name: State = (
        "disabled" if not lane.enabled else "open" if until else "half_open" if state.weight >= OPEN_AT else "closed"
    )
    return LaneHealth(
        lane=lane.name,
        state=name,
        reason=(state.shut_by or "") if until else "",
        until=until,
        success_rate=success_rate(state, now),
        p50=typical_seconds(state, lane, lane.sizes[-1]),
        in_flight=in_flight,
        limit=limit,
    )


def _after_answer(state: LaneState, event: Event, now: float) -> LaneState:
    """The lane answered: whatever the image was worth, it is up."""
    durations = dict(state.durations)
    durations[event.size] = (*durations.get(event.size, ()), event.duration)[-DURATIONS_KEPT:]
    delivered = event.outcome == "ok"
    counted = replace(
        state,
        successes=state.successes + delivered,
        failures=state.failures + (not delivered),
        billed_failures=state.billed_failures + (not delivered and event.billed != "no"),
        durations=durations if delivered else state.durations,
    )
    if shut(state, now) is not None:
        return counted  # the call began before the lane was shut: it says nothing about now
    return replace(counted, weight=0, opened=0, shut_until=0.0, shut_by=None, streak=0)


def _cooled(state: LaneState, event: Event, now: float) -> LaneState:
    first, cap = _COOLDOWN[event.outcome]
    # Calls that were under way together and meet the same limit are one occasion, not several.
    again = shut(state, now) is None
    streak = state.streak + again if state.shut_by == event.outcome else 1
    seconds = min(cap, first * 2.0 ** min(streak - 1, 16))
    if event.outcome == "rate_limited" and event.retry_after is not None:
        seconds = min(max(event.retry_after, HINT_RANGE[0]), HINT_RANGE[1])
    return _shut_until(replace(state, streak=streak), event.outcome, now + seconds)


def _weighed(state: LaneState, event: Event, now: float) -> LaneState:
    weight = state.weight + max(_BREAKER_WEIGHT.get(event.outcome, 1), 1 if event.billed == "no" else 2)
    if weight < OPEN_AT or shut(state, now) is not None:
        return replace(state, weight=weight)
    seconds = min(BREAKER_CAP, BREAKER_BASE * 2.0 ** min(state.opened, 16))
    return _shut_until(replace(state, weight=weight, opened=state.opened + 1), event.outcome, now + seconds)


def _shut_until(state: LaneState, outcome: OutcomeName, until: float) -> LaneState:
    """*state* shut until then by *outcome*, unless something keeps it shut for longer already."""
    return replace(state, shut_until=until, shut_by=outcome) if until > state.shut_until else state


def _decayed(state: LaneState, now: float) -> LaneState:
    share = 0.5 ** (max(0.0, now - state.updated) / HALF_LIFE)
    return replace(
        state,
        successes=state.successes * share,
        failures=state.failures * share,
        billed_failures=state.billed_failures * share,
        updated=now,
    )
