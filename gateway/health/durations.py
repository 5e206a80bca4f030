"""How long calls take, by the last ones that delivered. Pure; all in seconds."""

from __future__ import annotations

from functools import lru_cache
from statistics import median
from typing import Final

KEPT: Final = 50
MIN_DURATIONS: Final = 3
"""Successful calls after which measured durations replace the catalogue's."""
TAIL_DURATIONS: Final = 20
"""Successful calls from which on the 95th percentile is measured."""


def with_one_more(durations: tuple[float, ...], duration: float) -> tuple[float, ...]:
    """*durations* and another one; the oldest goes."""
    return (*durations, duration)[-KEPT:]


def middle(durations: tuple[float, ...]) -> float | None:
    """The median, None if there are too few."""
    return median(durations) if len(durations) >= MIN_DURATIONS else None


@lru_cache(maxsize=1024)  # it is asked for oftener than it changes
def tail(durations: tuple[float, ...]) -> float | None:
    """The 95th percentile, between the two nearest as :func:`statistics.quantiles` has it; None if there are too few."""
    if len(durations) < TAIL_DURATIONS:
        return None
    ordered, (below, share) = sorted(durations), divmod(19 * (len(durations) - 1), 20)
    return (ordered[below] * (20 - share) + ordered[below + 1] * share) / 20
