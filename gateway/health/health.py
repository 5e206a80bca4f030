"""How each lane is doing: a pure function from state, event and *now* to state.

It puts together what the modules beside it decide: :mod:`~gateway.health.breaker` (failures in a row),
:mod:`~gateway.health.cooldowns` (outcomes that say the next call would end the same way), :mod:`~gateway.health.concurrency`
(how many calls at once). Nothing here reads a clock: *now* is seconds on a monotonic one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

from gateway.health import breaker, cooldowns, durations
from gateway.health.breaker import CLOSED, Breaker, Underway
from gateway.health.concurrency import UNKNOWN, Limit, cut, grown
from gateway.health.cooldowns import Answers, Cause, Cooldown
from gateway.router.lanes import Lane
from providers.outcome import Billed, OutcomeName
from providers.sizes import Size

HALF_LIFE: Final = 600.0
"""Seconds in which a success or a failure loses half its weight in the success rate."""
PRIOR_SUCCESSES: Final = 9.0
PRIOR_TOTAL: Final = 10.0
"""A lane nobody has tried counts as nine successes in ten."""
PRIOR_BILLED: Final = 0.5
"""The share of failures that are billed, until measured."""
TAIL: Final = 2.3
"""The 95th percentile is the median times this until enough is measured (shared figures, 2026-05)."""
SLOWNESS_TIME: Final = 180.0
"""Seconds in which what was once slow loses all but 37 % of its weight (the time constant of the moving average)."""
SLOWNESS_STEP: Final = 0.1
"""The most that a single call counts for. Durations vary threefold by nature: a moving peak would follow the noise, and
send traffic to dearer lanes for nothing (docs/storm.md, scene "calm")."""
DEFAULT_SECONDS: Final = 10.0
"""Seconds a call takes where nobody has said anything."""
PROVEN: Final = 60.0
"""Seconds for which a delivery proves that a lane works."""
LAST_LANE_PACE: Final = 10.0
"""Seconds between calls to the only lane that could serve, while its breaker is open."""

_WEIGHT: Final[Mapping[OutcomeName, int]] = {"transport": 1, "overloaded": 1, "timeout": 2, "bad_response": 2}
_OF_THE_SERVER: Final = frozenset({"overloaded", "timeout", "bad_response"})
_TELLS_NOTHING: Final = frozenset({"cancelled", "invalid", "blocked"})
_THROTTLES: Final = frozenset({"rate_limited", "timeout", "overloaded"})

State = Literal["closed", "open", "half_open", "latched", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A call begins, as number *call*.

    *lease* is how long it may last in seconds; from *patience* seconds on it is overdue. *luck* as in :class:`Event`.
    """

    call: int
    lease: float
    patience: float = breaker.OVERDUE
    luck: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An attempt that ended. *duration* is seconds; *call* its number, if its start was told.

    *retry_after* and *reset* are seconds: the upstream's hint, and the time until daily quotas start anew. *lasting*
    says that only a change of the account or the configuration helps. *luck* is a random number from 0 to 1.
    """

    outcome: OutcomeName
    billed: Billed
    size: Size
    duration: float
    call: int = -1
    retry_after: float | None = None
    reset: float | None = None
    lasting: bool = False
    luck: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """What is remembered of a lane.

    *successes*, *failures* and *billed_failures* are decayed counts as of *updated*. *durations* are seconds of the last
    successful calls by size, *typical* their medians, once there are enough, *delivered* when the last one ended.
    *slowness* is a moving average of durations over the typical one, as of *slowed*. *cooldowns* are by the outcome that
    caused them, *answers* by size, *calls* those under way by number. *watch* is a time before which none of those is
    overdue, so that not all are looked at all the time. *reached* is when a call last got as far as the upstream, whatever
    came of it.
    """

    successes: float = 0.0
    failures: float = 0.0
    billed_failures: float = 0.0
    updated: float = 0.0
    durations: Mapping[Size, tuple[float, ...]] = field(default_factory=dict)
    typical: Mapping[Size, float] = field(default_factory=dict)
    delivered: Mapping[Size, float] = field(default_factory=dict)
    slowness: float = 1.0
    slowed: float = -math.inf
    breaker: Breaker = CLOSED
    cooldowns: Mapping[OutcomeName, Cooldown] = field(default_factory=dict)
    answers: Mapping[Size, Answers] = field(default_factory=dict)
    limit: Limit = UNKNOWN
    calls: Mapping[int, Underway] = field(default_factory=dict)
    watch: float = -math.inf
    last_call: float = -math.inf
    reached: float = -math.inf


FRESH: Final = LaneState()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHealth:
    """A snapshot of a lane for people and dashboards.

    *state* is ``latched`` when only a new key, a paid bill or a new configuration can help, and ``disabled`` when it is
    switched off. *until* is seconds from now until it may be tried again, None if it may be. *p50* is seconds. *limit*
    is how many calls may be in flight at once. *mode* is what the operator set: ``normal``, ``forced-open``,
    ``disabled``, or ``shadow`` (health is computed and shown, and never acted upon). *degraded* says why this process judges
    by itself although it shares its health with others (the same for all lanes), ``""`` if it need not.
    """

    lane: str
    state: State
    reason: str
    until: float | None
    success_rate: float
    p50: float
    in_flight: int = 0
    limit: int | None = None
    mode: str = "normal"
    degraded: str = ""


class Standing(NamedTuple):
    """Whether a lane may be called: in which *state* it is, why, and the seconds until that may change."""

    state: State
    reason: str
    until: float | None


def next_state(state: LaneState, event: Started | Event, now: float) -> LaneState:
    """The state after *event* at *now*."""
    if isinstance(event, Started):
        return _after_start(noticed(state, now, event.luck), event, now)
    return _after_end(noticed(state, now, event.luck), event, now)


def noticed(state: LaneState, now: float, luck: float = 0.5) -> LaneState:
    """The state at *now*, with the breaker opened if too many calls have become overdue."""
    if now < state.watch or not state.calls or state.breaker.opened is not None:
        return state
    after = breaker.noticed(state.breaker, state.calls.values(), now, luck)
    return state if after is state.breaker else replace(state, breaker=after)


def standing(state: LaneState, lane: Lane, now: float) -> Standing:
    """How *lane* stands, apart from single sizes: closed with no reason means that it may be called."""
    if lane.mode == "disabled" or not lane.enabled:
        return Standing("disabled", "switched off in the configuration", None)
    if lane.mode == "forced-open":
        return Standing("open", "held open by the operator", None)
    longest = max(state.cooldowns.items(), key=lambda item: item[1].until, default=None)
    if longest is not None and longest[1].until > now:
        name: State = "latched" if longest[1].latched else "open"
        wait = longest[1].until - now
        return Standing(name, longest[0], wait if wait < math.inf else None)
    opened = noticed(state, now).breaker
    status = breaker.status(opened, now)
    reason = "" if status == "closed" else "failures" if opened.probe is None else "a probe is under way"
    return Standing(status, reason, breaker.wait(opened, now))


def shut(state: LaneState, now: float) -> float | None:
    """Seconds until the lane may be tried again, infinite if time alone does not help, or None if it may be now."""
    if not (state.cooldowns or state.calls) and state.breaker.opened is None:
        return None
    until = max((cooldown.until for cooldown in state.cooldowns.values()), default=-math.inf)
    waits = (until - now if until > now else None, breaker.wait(noticed(state, now).breaker, now))
    return max((wait for wait in waits if wait is not None), default=None)


def size_shut(state: LaneState, size: Size, now: float) -> float | None:
    """Seconds for which the lane rests at *size* alone, having answered with no image or a wrong one, or None."""
    return cooldowns.size_wait(state.answers, size, now) if state.answers else None


def is_resting(state: LaneState, now: float) -> bool:
    """Whether a cooldown, rather than the breaker, keeps the lane shut: the next call would surely end the same way."""
    return any(cooldown.until > now for cooldown in state.cooldowns.values())


def is_probing(state: LaneState, now: float) -> bool:
    """Whether the next call would be the breaker's probe."""
    return breaker.status(noticed(state, now).breaker, now) == "half_open"


def is_proven(state: LaneState, now: float) -> bool:
    """Whether the lane has delivered a moment ago, and not failed since: another call will most likely deliver too."""
    last = max(state.delivered.values(), default=-math.inf)
    return now - last <= PROVEN and state.breaker.opened is None and state.breaker.streak == 0


def forgiven(state: LaneState) -> LaneState:
    """The state without its failures: an outage that is over says nothing about the calls after it."""
    return replace(state, failures=0.0, billed_failures=0.0)


def absolved(state: LaneState) -> LaneState:
    """The state of a lane whose key was refused, and has been found good."""
    return replace(state, cooldowns={cause: each for cause, each in state.cooldowns.items() if cause != "auth"})


def has_room(state: LaneState, now: float) -> bool:
    """Whether the lane takes one more call beside those under way.

    A probe needs no room, and calls from before the breaker closed take none: a lane that swallowed calls would stay full
    of them long after it has recovered.
    """
    current = noticed(state, now).breaker
    if current.opened is not None:
        return breaker.wait(current, now) is None
    calls = sum(call.began >= current.reset for call in state.calls.values())
    return calls < min(concurrency(state), current.allowed)


def success_rate(state: LaneState, now: float) -> float:
    """The share of attempts that delivered, recent ones weighing more, starting from the prior."""
    return odds(state, now)[0]


def billed_share(state: LaneState, now: float) -> float:
    """The share of failed attempts that were or may have been billed, starting from the prior."""
    return odds(state, now)[1]


def odds(state: LaneState, now: float) -> tuple[float, float]:
    """The success rate, and the share of failures that are billed."""
    share = _weight_left(state, now)
    good, bad = state.successes * share, state.failures * share
    rate = (good + PRIOR_SUCCESSES) / (good + bad + PRIOR_TOTAL)
    return rate, (state.billed_failures * share + PRIOR_BILLED) / (bad + 1.0)


def concurrency(state: LaneState) -> int:
    """How many calls the lane may have in flight."""
    return int(state.limit.calls)


def typical_seconds(state: LaneState, lane: Lane, size: Size) -> float:
    """The median duration of a successful call in seconds: measured, or the catalogue's until enough is measured."""
    return state.typical.get(size) or lane.seconds.get(size, DEFAULT_SECONDS)


def tail_seconds(state: LaneState, lane: Lane, size: Size) -> float:
    """The 95th percentile of the duration of a successful call in seconds."""
    measured = durations.tail(state.durations.get(size, ()))
    return TAIL * typical_seconds(state, lane, size) if measured is None else measured


def expected_seconds(state: LaneState, lane: Lane, size: Size, now: float) -> float:
    """Seconds a call is likely to take now: the typical time, times the lane's recent slowness."""
    return typical_seconds(state, lane, size) * slowdown(state, now)


def slowdown(state: LaneState, now: float) -> float:
    """How many times its typical duration a call is likely to take now."""
    return 1.0 + (state.slowness - 1.0) * math.exp(-max(0.0, now - state.slowed) / SLOWNESS_TIME)


def patience(state: LaneState, lane: Lane, size: Size) -> float:
    """Seconds from which on a call is overdue."""
    return max(breaker.OVERDUE, 2 * tail_seconds(state, lane, size))


def snapshot(state: LaneState, lane: Lane, now: float, limit: int | None = None, degraded: str = "") -> LaneHealth:
    """What :meth:`gateway.Gateway.health` shows of a lane. *limit* is the configured number of calls at once."""
    name, reason, until = standing(state, lane, now)
    most = concurrency(state) if limit is None else min(concurrency(state), limit)
    return LaneHealth(
        lane=lane.name, state=name, reason=reason, until=until, success_rate=success_rate(state, now),
        p50=typical_seconds(state, lane, lane.sizes[-1]), in_flight=len(state.calls), limit=most, mode=lane.mode,
        degraded=degraded,
    )  # fmt: skip


def _after_start(state: LaneState, event: Started, now: float) -> LaneState:
    due = now + event.patience
    return replace(
        state,
        calls={**state.calls, event.call: Underway(now, due)},
        watch=min(state.watch, due) if state.calls else due,
        breaker=breaker.began(state.breaker, event.call, now, event.lease),
        last_call=now,
    )


def _after_end(state: LaneState, event: Event, now: float) -> LaneState:
    call = state.calls.get(event.call)
    start = call.began if call is not None else now - event.duration
    in_use = call is not None and len(state.calls) >= concurrency(state)
    calls = {number: each for number, each in state.calls.items() if number != event.call}
    watch = state.watch if now < state.watch else min((each.overdue for each in calls.values()), default=-math.inf)
    state = replace(state, calls=calls, watch=watch, limit=_limit_after(state, event, start, in_use, now))
    if event.outcome in _TELLS_NOTHING:
        return replace(state, breaker=breaker.freed(state.breaker, event.call))
    if _lies_in_the_size(state, event, now):
        before = state.answers.get(event.size, cooldowns.NO_ANSWERS)
        after = cooldowns.answered(before, False, now, cooldowns.OF_THE_SERVER)
        return replace(state, answers={**state.answers, event.size: after})
    state = _scored(state, event, now)
    if event.outcome == "ok" or event.outcome in cooldowns.SIZE_OUTCOMES:
        return _after_answer(state, event, start, now)
    if cooldowns.causes_rest(event.outcome):
        return _rested(state, event, now)
    weight = max(_WEIGHT.get(event.outcome, 1), 1 if event.billed == "no" else 2)
    return replace(state, breaker=breaker.failed(state.breaker, event.call, start, now, weight, event.luck))


def _lies_in_the_size(state: LaneState, event: Event, now: float) -> bool:
    """Whether the lane fails at this size alone: it has since delivered another one, and only a moment ago."""
    others = max((when for size, when in state.delivered.items() if size != event.size), default=-math.inf)
    here = state.delivered.get(event.size, -math.inf)
    apart = others > here and now - others <= PROVEN
    return event.outcome in _OF_THE_SERVER and state.breaker.opened is None and apart


def _after_answer(state: LaneState, event: Event, start: float, now: float) -> LaneState:
    """The lane answered: whatever the image was worth, it is up."""
    answers = {**state.answers}
    if event.outcome != "ok" or event.size in answers:
        before = answers.get(event.size, cooldowns.NO_ANSWERS)
        answers[event.size] = cooldowns.answered(before, event.outcome == "ok", now)
    # A call that began before a rest was over says nothing about it; one that began later ends the doubling.
    resting = {cause: each for cause, each in state.cooldowns.items() if each.until > start}
    after = breaker.succeeded(state.breaker, event.call, start, now)
    closed = state.breaker.opened is not None and after.opened is None
    if closed:  # how many calls at once it took is to be found out anew; the breaker lets them in slowly
        state = replace(forgiven(state), limit=UNKNOWN)
    return replace(state, answers=answers, cooldowns=resting, breaker=after)


def _rested(state: LaneState, event: Event, now: float) -> LaneState:
    cause = Cause(
        outcome=event.outcome, hint=event.retry_after, reset=event.reset, lasting=event.lasting, luck=event.luck
    )
    rest = cooldowns.rest(state.cooldowns.get(event.outcome), cause, now)
    resting = {**state.cooldowns, event.outcome: rest}
    return replace(state, cooldowns=resting, breaker=breaker.freed(state.breaker, event.call))


def _limit_after(state: LaneState, event: Event, start: float, in_use: bool, now: float) -> Limit:
    if event.outcome in _THROTTLES:
        return cut(state.limit, start, now)
    return grown(state.limit, in_use) if event.outcome == "ok" else state.limit


def _scored(state: LaneState, event: Event, now: float) -> LaneState:
    share, good = _weight_left(state, now), event.outcome == "ok"
    return replace(
        state,
        successes=state.successes * share + good,
        failures=state.failures * share + (not good),
        billed_failures=state.billed_failures * share + (not good and event.billed != "no"),
        updated=now,
        reached=state.reached if event.outcome == "transport" and event.billed == "no" else now,
        **(_times(state, event, now) if good else {}),
    )


def _times(state: LaneState, event: Event, now: float) -> dict[str, Any]:
    """What a delivery changes of the lane's times."""
    taken = durations.with_one_more(state.durations.get(event.size, ()), event.duration)
    middle = durations.middle(taken)
    usual = state.typical.get(event.size)
    left = slowdown(state, now)
    step = min(SLOWNESS_STEP, 1.0 - math.exp(-max(0.0, now - state.slowed) / SLOWNESS_TIME))
    return {
        "durations": {**state.durations, event.size: taken},
        "typical": {**state.typical, event.size: middle} if middle is not None else state.typical,
        "delivered": {**state.delivered, event.size: now},
        "slowness": left + step * (event.duration / usual - left) if usual else left,
        "slowed": now,
    }


def _weight_left(state: LaneState, now: float) -> float:
    """The share of their weight that earlier attempts still have."""
    return float(0.5 ** (max(0.0, now - state.updated) / HALF_LIFE))
