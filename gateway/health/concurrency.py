"""How many calls a lane may have in flight: it grows while it is used and nothing complains, and shrinks under pressure.

As TCP does it (RFC 5681): doubling with each generation of calls at first, by one after the first cut. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

FIRST: Final = 8.0
"""Calls a lane may have in flight before anything is known of it: few enough to lose to a lane that hangs, enough for a
page of pictures at once."""
LEAST: Final = 1.0
CUT: Final = 0.7
"""What is left of the limit after a throttle or a timeout."""


@dataclass(frozen=True, slots=True)
class Limit:
    """*calls* may be in flight (its whole part). *threshold* is where doubling ends, *cut* when it last shrank (s)."""

    calls: float = FIRST
    threshold: float = math.inf
    cut: float = -math.inf


UNKNOWN: Final = Limit()


def grown(limit: Limit, in_use: bool) -> Limit:
    """After a call that ended well; it tells something only if the limit was *in_use* until then."""
    if not in_use:
        return limit
    step = 1.0 if limit.calls < limit.threshold else 1.0 / limit.calls
    return replace(limit, calls=limit.calls + step)


def cut(limit: Limit, start: float, now: float) -> Limit:
    """After a throttle or a timeout of a call that began at *start*: once for each generation of calls."""
    if start < limit.cut:
        return limit  # it began under the old limit
    calls = max(LEAST, limit.calls * CUT)
    return Limit(calls, calls, now)
