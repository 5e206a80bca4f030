"""How much of its configured quota a lane has used: a pure function from state and call to state.

Each limit is a bucket of tokens, and a token comes back a minute after it was taken. A bucket that refills evenly would
let nearly twice its size through in the first minute, which an upstream that counts by the minute answers with a 429.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from itertools import accumulate
from typing import Final
from zoneinfo import ZoneInfo

from gateway.router.lanes import Lane

SHARE: Final = 95
"""Percent of a configured quota that is used: other clients of the project and clocks that differ need the rest."""
MINUTE: Final = 60.0
DAY: Final = 86_400.0
STEP: Final = 5.0
"""Seconds: tokens taken within such a step come back together, at its end. It bounds what is remembered."""
RESET_ZONE: Final = "America/Los_Angeles"
"""Where the day of a daily quota ends (Google's rate limits: "requests per day quotas reset at midnight Pacific time")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was taken from a lane's quota.

    *taken* has, soonest first, when tokens come back (monotonic seconds), and how many requests and images they stand
    for. *calls_today* counts until *day_ends* (monotonic seconds). So many *workers* share the quota without knowing what
    the others take: each may take its part.
    """

    taken: tuple[tuple[float, int, int], ...] = ()
    calls_today: int = 0
    day_ends: float = 0.0
    workers: int = 1


UNUSED: Final = Usage()


def take(usage: Usage, lane: Lane, images: int, now: float, midnight: float | None = None) -> Usage:
    """The usage after one call for *images* images at *now*.

    *midnight* is the monotonic time at which the day ends, None for a day from its first call on.
    """
    if not lane.quota:
        return usage
    if usage.day_ends <= now:
        usage = replace(usage, calls_today=0, day_ends=midnight if midnight is not None else now + DAY)
    return replace(usage, taken=_with(_out(usage, now), images, now), calls_today=usage.calls_today + 1)


def room(usage: Usage, lane: Lane, images: int, now: float) -> float | None:
    """Seconds until the lane has room for a call for *images* images, None if it has room now."""
    if not lane.quota:
        return None
    out = _out(usage, now)
    waits = [
        _wait([(back, calls) for back, calls, _ in out], _part(lane, "rpm", usage), 1, now),
        _wait([(back, count) for back, _, count in out], _part(lane, "ipm", usage), images, now),
    ]
    daily = _part(lane, "rpd", usage)
    if daily is not None and usage.day_ends > now and usage.calls_today >= daily:
        waits.append(usage.day_ends - now)
    longest = max(waits)
    return longest if longest > 0 else None


def together(one: Usage, other: Usage, now: float) -> Usage:
    """The usage of two who share a quota and know of each other."""
    if not other.taken and not other.calls_today:
        return one
    live = [each for each in (one, other) if each.day_ends > now]
    return Usage(
        taken=tuple(sorted(_out(one, now) + _out(other, now))),
        calls_today=sum(each.calls_today for each in live),
        day_ends=max((each.day_ends for each in live), default=0.0),
    )


def taken(usage: Usage, now: float) -> tuple[int, int]:
    """How many calls and images are out of the minute's buckets."""
    out = _out(usage, now)
    return sum(calls for _, calls, _ in out), sum(images for _, _, images in out)


def day_of(moment: datetime) -> str:
    """The day of daily quotas that *moment* (with its time zone) is on, as an ISO date."""
    return moment.astimezone(ZoneInfo(RESET_ZONE)).date().isoformat()


def until_midnight(moment: datetime) -> float:
    """Seconds from *moment* (with its time zone) to the end of the day of daily quotas, midnight Pacific time."""
    local = moment.astimezone(ZoneInfo(RESET_ZONE))
    midnight = datetime.combine(local.date() + timedelta(days=1), time(), local.tzinfo)
    return (midnight.astimezone(UTC) - moment.astimezone(UTC)).total_seconds()


def _part(lane: Lane, name: str, usage: Usage) -> int | None:
    """How much of the limit of that *name* may be used here, None if there is none."""
    limit = lane.quota.get(name)
    return None if limit is None else max(1, limit * SHARE // 100 // usage.workers)


def _out(usage: Usage, now: float) -> tuple[tuple[float, int, int], ...]:
    """The tokens that have not come back by *now*."""
    return tuple(entry for entry in usage.taken if entry[0] > now)


def _with(out: tuple[tuple[float, int, int], ...], images: int, now: float) -> tuple[tuple[float, int, int], ...]:
    back = math.ceil((now + MINUTE) / STEP) * STEP
    before = next((entry for entry in out if entry[0] == back), (back, 0, 0))
    return tuple(sorted((*(each for each in out if each is not before), (back, before[1] + 1, before[2] + images))))


def _wait(out: list[tuple[float, int]], usable: int | None, wanted: int, now: float) -> float:
    """Seconds until *wanted* tokens, or as many as there are at all, are in a bucket of which some are *out*."""
    if usable is None:
        return 0.0
    missing = sum(count for _, count in out) + min(wanted, usable) - usable
    if missing <= 0:
        return 0.0
    returned = accumulate(count for _, count in out)
    return next(back for (back, _), so_far in zip(out, returned, strict=True) if so_far >= missing) - now
