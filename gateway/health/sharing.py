"""What the processes of a fleet tell each other of a lane, and what follows from hearing it. Pure.

Seconds are told, not times: how long a lane is still shut. So no clocks are compared, and the server that passes the news
on keeps them by its own. What is heard is taken for as good as what was seen, with three exceptions. A rest is never
shortened by it. What ends by something that one process alone gets to see (a refused key, a region) is not told at all: each
process finds out by itself, which is free. And that calls never got as far as the upstream says something of this machine's
network: it opens no breakers elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from gateway.health.breaker import Breaker
from gateway.health.concurrency import UNKNOWN
from gateway.health.cooldowns import JITTER, Cooldown
from gateway.health.health import LaneState, forgiven
from gateway.router.lanes import Lane
from providers.outcome import OutcomeName
from providers.provider import ProviderSettings

SHARED: Final[frozenset[OutcomeName]] = frozenset({"rate_limited", "quota_exhausted", "balance", "model_gone"})
"""Outcomes whose rests are shared: they hold for the account or the model, wherever a call comes from, and end by time."""
ELSEWHERE: Final = 0
"""The number of a probe that another process makes; calls of this one count from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A lane rests for so many *seconds* from now on, for the *streak*-th time in a row."""

    seconds: float
    streak: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a breaker is: open for so many *seconds* (0: half open), None if it is closed. The rest as in a breaker."""

    seconds: float | None
    openings: int = 0
    paid: bool = False
    proofs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to say of a lane: its *rests* by outcome, and its breaker's *opening*, None if there is no news of it.

    *failures* is the weight of failures in a row: told, those that came since the last news, after a success if it says
    *succeeded*; heard, those of the whole fleet (None: no news).
    """

    rests: Mapping[OutcomeName, Rest] = field(default_factory=dict)
    opening: Opening | None = None
    failures: int | None = None
    succeeded: bool = False


NOTHING: Final = Facts()

Probe = Literal["", "held", "freed"]
"""What a process has to say of its leave to probe: nothing, that it needs it further, that it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What one process tells of one lane.

    *key* is how the fleet knows it, *seen* the version of its facts that was heard last. *calls* and *images* were taken of
    its quota since the last news: within the minute, and *today* of the *day* (ISO date) that the quota counts.
    """

    key: str
    facts: Facts = NOTHING
    seen: str = ""
    probe: Probe = ""
    quota: bool = False
    calls: int = 0
    images: int = 0
    today: int = 0
    day: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What all processes took of a lane's quota: by step of the server's clock, of which *step* is the present one.

    *taken* has, for each step, the seconds until its tokens come back, and how many calls and images they stand for.
    """

    step: int
    taken: Mapping[int, tuple[float, int, int]] = field(default_factory=dict)
    today: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one process hears of one lane: its *facts*, if their *version* (``""``: none are known) is new to it.

    *probe* is seconds for which another process may probe it, 0 if none does. *counted* is None for a lane without quota.
    """

    version: str = ""
    facts: Facts = NOTHING
    probe: float = 0.0
    counted: Counted | None = None


def identity(lane: Lane, settings: Sequence[ProviderSettings]) -> str:
    """Under which name the fleet knows *lane*: only who has the same keys, address and options means the same.

    A digest that the keys themselves are the secret of, so that it tells nothing of them, nor of anything else.
    """
    secret = "\n".join(each.api_key.reveal() if each.api_key else "" for each in settings)
    facts = [
        [each.kind, each.base_url, each.auth, each.proxy, sorted(each.headers.items()), sorted(each.options.items())]
        for each in settings[:1]
    ]
    message = json.dumps([lane.upstream_model, lane.egress_country, facts], default=str)
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()[:32]


def told(before: LaneState, after: LaneState, now: float) -> Facts:
    """What others do not know who know *before*."""
    rests = {
        cause: Rest(seconds=rest.until - now, streak=rest.streak)
        for cause, rest in after.cooldowns.items()
        if _is_shared(cause, rest, now) and rest.until > _until(before, cause)
    }
    failures, succeeded = _news_of_failures(before, after)
    opening = _news_of_breaker(before, after, now)
    return Facts(rests=rests, opening=opening, failures=failures or None, succeeded=succeeded)


def heard(state: LaneState, facts: Facts, now: float, luck: float = 0.0) -> LaneState:
    """The state of a lane of which the *facts* were heard at *now*. *luck*, from 0 to 1, spreads the end of rate limits."""
    rests = {cause: _longer(state.cooldowns.get(cause), cause, rest, now, luck) for cause, rest in facts.rests.items()}
    if rests:
        state = replace(state, cooldowns={**state.cooldowns, **rests})
    if facts.opening is not None:
        merge = _closed if facts.opening.seconds is None else _opened
        state = merge(state, facts.opening, now)
    if facts.failures is None or state.breaker.opened is not None or state.breaker.streak == facts.failures:
        return state
    return replace(state, breaker=replace(state.breaker, streak=facts.failures))


def probes(state: LaneState) -> bool:
    """Whether this process makes the probe that decides on a breaker."""
    return state.breaker.probe not in (None, ELSEWHERE)


def probed_elsewhere(state: LaneState, seconds: float, now: float) -> LaneState:
    """The state when another process probes the lane, for *seconds* more at most; 0: nobody does."""
    if state.breaker.opened is None or (probes(state) and now < state.breaker.lease):
        return state
    if seconds > 0:
        return replace(state, breaker=replace(state.breaker, probe=ELSEWHERE, lease=now + seconds))
    if state.breaker.probe == ELSEWHERE:
        return replace(state, breaker=replace(state.breaker, probe=None))
    return state


def _is_shared(cause: OutcomeName, rest: Cooldown, now: float) -> bool:
    return cause in SHARED and not rest.latched and now < rest.until < math.inf


def _until(state: LaneState, cause: OutcomeName) -> float:
    rest = state.cooldowns.get(cause)
    return rest.until if rest is not None else -math.inf


def _news_of_breaker(before: LaneState, after: LaneState, now: float) -> Opening | None:
    old, new = before.breaker, after.breaker
    if (old.opened is None, old.until, old.proofs) == (new.opened is None, new.until, new.proofs):
        return None
    if new.opened is None:
        return Opening(seconds=None, openings=new.openings)
    if not (new.paid or after.reached >= new.opened):  # no call got as far as the upstream
        return None
    return Opening(seconds=max(0.0, new.until - now), openings=new.openings, paid=new.paid, proofs=new.proofs)


def _news_of_failures(before: LaneState, after: LaneState) -> tuple[int, bool]:
    """The weight of failures in a row since *before*, and whether a success preceded them; an open breaker counts none."""
    old, new = before.breaker, after.breaker
    if old.opened is not None or new.opened is not None:
        return 0, False
    succeeded = _delivered(after) > _delivered(before) or new.streak < old.streak
    if after.reached < new.calm:  # no call got as far as the upstream
        return 0, succeeded
    return new.streak - (0 if succeeded else old.streak), succeeded


def _delivered(state: LaneState) -> float:
    return max(state.delivered.values(), default=-math.inf)


def _longer(own: Cooldown | None, cause: OutcomeName, rest: Rest, now: float, luck: float) -> Cooldown:
    """The longer one of two rests for the same cause."""
    until = now + rest.seconds * (1 + JITTER * luck if cause == "rate_limited" else 1)
    if own is None:
        return Cooldown(until=until, streak=rest.streak)
    return replace(own, until=max(own.until, until), streak=max(own.streak, rest.streak))


def _opened(state: LaneState, opening: Opening, now: float) -> LaneState:
    own, until = state.breaker, now + (opening.seconds or 0.0)
    if own.opened is None:
        own = replace(own, opened=now, until=until, calm=now, probe=None, proofs=0)
    merged = replace(
        own,
        until=max(own.until, until),
        openings=max(own.openings, opening.openings),
        paid=own.paid or opening.paid,
        proofs=opening.proofs,
    )
    return replace(state, breaker=merged)


def _closed(state: LaneState, opening: Opening, now: float) -> LaneState:
    """The state when the lane has been seen to work elsewhere: as when it has been seen here."""
    if state.breaker.opened is None:
        return state
    closed = Breaker(openings=opening.openings, calm=now, allowed=1.0, reset=now)
    return replace(forgiven(state), limit=UNKNOWN, breaker=closed)
