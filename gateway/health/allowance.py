"""What may be spent on second tries, in USD: buckets that successes fill and retries drain. Pure.

Retries beyond what traffic earns are how an outage becomes a bill. Times are seconds on a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

EARNED: Final = Decimal("0.10")
"""The share of the price of each image that came at the first attempt, which may be spent on retries."""
TRICKLE: Final = Decimal("0.05")
"""USD a minute that flow back whatever happens, so that an empty bucket recovers without successes."""
FREE_RETRY: Final = Decimal("0.10")
"""The share of its price that a retry on the same lane draws although the failure before it was free."""

FADING: Final = 600.0
"""Seconds in which half of what was earned beyond the capacity fades. So retries may cost a tenth of what the last quarter
of an hour did, however much that was: with a fixed dollar, a busy gateway would turn callers away after a dozen calls lost
to a lane that hangs (docs/storm.md, scene "all-but-one")."""

_MINUTE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """*left* USD at *updated*, of at most *capacity*; *trickle* USD flow back each minute.

    What is earned beyond the capacity is *extra*: it is spent first, and what is not spent fades.
    """

    capacity: Decimal
    left: Decimal
    trickle: Decimal = Decimal(0)
    extra: Decimal = Decimal(0)
    updated: float = 0.0


def for_retries(capacity: Decimal, now: float) -> Allowance:
    """A full bucket for retries. A capacity of 0 stays empty: then no retry is paid for."""
    return Allowance(capacity=capacity, left=capacity, trickle=TRICKLE, updated=now)


def for_hedges(capacity: Decimal) -> Allowance:
    """An empty bucket for calls beside a slow one: only spending fills it."""
    return Allowance(capacity=capacity, left=Decimal(0))


def available(allowance: Allowance, now: float) -> Decimal:
    """USD that may be spent at *now*."""
    left, extra = _aged(allowance, now)
    return left + extra


def earned(allowance: Allowance, usd: Decimal, now: float) -> Allowance:
    """The bucket with *usd* more. One without any capacity holds nothing."""
    if not allowance.capacity:
        return allowance
    before, extra = _aged(allowance, now)
    left = min(allowance.capacity, before + usd)
    return replace(allowance, left=left, extra=extra + before + usd - left, updated=now)


def drawn(allowance: Allowance, usd: Decimal, now: float) -> Allowance | None:
    """The bucket without *usd*, or None if it does not hold that much."""
    left, before = _aged(allowance, now)
    if usd > left + before:
        return None
    extra = max(Decimal(0), before - usd)
    return replace(allowance, extra=extra, left=left - (usd - (before - extra)), updated=now)


def _aged(allowance: Allowance, now: float) -> tuple[Decimal, Decimal]:
    """What is *left* and what is *extra* at *now*."""
    seconds = max(0.0, now - allowance.updated)
    left = allowance.left + Decimal(seconds) / _MINUTE * allowance.trickle
    extra = allowance.extra * Decimal(0.5 ** (seconds / FADING)) if allowance.extra else allowance.extra
    return min(allowance.capacity, left), extra
