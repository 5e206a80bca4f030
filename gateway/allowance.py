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

_MINUTE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """*left* USD at *updated*, of at most *capacity*; *trickle* USD flow back each minute."""

    capacity: Decimal
    left: Decimal
    trickle: Decimal = Decimal(0)
    updated: float = 0.0


def for_retries(capacity: Decimal, now: float) -> Allowance:
    """A full bucket for retries. A capacity of 0 stays empty: then no retry is paid for."""
    return Allowance(capacity=capacity, left=capacity, trickle=TRICKLE, updated=now)


def for_hedges(capacity: Decimal) -> Allowance:
    """An empty bucket for calls beside a slow one: only spending fills it."""
    return Allowance(capacity=capacity, left=Decimal(0))


def available(allowance: Allowance, now: float) -> Decimal:
    """USD that may be spent at *now*."""
    minutes = Decimal(max(0.0, now - allowance.updated)) / _MINUTE
    return min(allowance.capacity, allowance.left + minutes * allowance.trickle)


def earned(allowance: Allowance, usd: Decimal, now: float) -> Allowance:
    """The bucket with *usd* more, as far as it holds that."""
    return replace(allowance, left=min(allowance.capacity, available(allowance, now) + usd), updated=now)


def drawn(allowance: Allowance, usd: Decimal, now: float) -> Allowance | None:
    """The bucket without *usd*, or None if it does not hold that much."""
    left = available(allowance, now) - usd
    return replace(allowance, left=left, updated=now) if left >= 0 else None
