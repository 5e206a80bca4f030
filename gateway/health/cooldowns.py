"""How long a lane rests after an outcome that says another call would end the same way. Pure.

Times are seconds on a monotonic clock; *luck* is a random number from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from providers.outcome import OutcomeName
from providers.sizes import Size

HINT_RANGE: Final = (1.0, 120.0)
"""Seconds within which an upstream's hint decides how long a rate limit lasts."""
JITTER: Final = 0.2
"""The share by which a rate limit's rest is lengthened at most, never shortened: processes come back one by one."""
DAY: Final = 86_400.0
"""Seconds a day's quota rests where the time of its reset is not known."""
AFTER_RESET: Final = 120.0
"""Seconds after a daily reset within which lanes come back, spread evenly."""

SIZE_OUTCOMES: Final = frozenset({"no_image", "wrong_size"})
"""Outcomes that count against a lane at one size alone."""
SIZE_ANSWERS: Final = 10
SIZE_FAILURES: Final = 3
"""So many failures among the last answers at a size rest it."""
OF_THE_MODEL: Final = (600.0, 7200.0)
OF_THE_SERVER: Final = (30.0, 600.0)
"""Seconds that a size rests the first time, and at most after doubling: where answers were no image or a wrong one, and
where the server failed at this size while it served another."""

_LENGTHS: Final[Mapping[OutcomeName, tuple[float, float]]] = {
    "rate_limited": (20.0, 60.0),
    "balance": (900.0, 21_600.0),
    "auth": (math.inf, math.inf),
    "region": (21_600.0, 21_600.0),
    "model_gone": (3600.0, 86_400.0),
}
"""Seconds of rest after an outcome: the first time, and at most after doubling. A refused key rests until it is changed,
or a free check finds it good."""

_SPREAD: Final[frozenset[OutcomeName]] = frozenset({"rate_limited"})
_DOUBLINGS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """A rest that ends at *until*. *streak* counts occasions in a row; *latched* ones end with a proof, or a new start."""

    until: float
    streak: int = 1
    latched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a lane answered at one size: whether each of the last answers was as asked, and a rest that ends at *until*."""

    good: tuple[bool, ...] = ()
    until: float = float("-inf")
    streak: int = 0


NO_ANSWERS: Final = Answers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a lane rests.

    *hint* is seconds the upstream asked for, *reset* seconds until its daily quota starts anew, None where unknown.
    *lasting* says that only a change of the account or the configuration helps.
    """

    outcome: OutcomeName
    hint: float | None = None
    reset: float | None = None
    lasting: bool = False
    luck: float = field(default=0.5)


def causes_rest(outcome: OutcomeName) -> bool:
    """Whether *outcome* rests the whole lane."""
    return outcome in _LENGTHS or outcome == "quota_exhausted"


def rest(before: Cooldown | None, cause: Cause, now: float) -> Cooldown:
    """The cooldown after *cause*, given the one *before* for the same outcome."""
    again = before is not None and before.until <= now
    # Calls that were under way together and meet the same limit are one occasion, not several.
    streak = 1 if before is None else before.streak + again
    until = now + _seconds(cause, streak)
    latched = cause.outcome == "auth" or cause.lasting
    return Cooldown(until=max(until, before.until if before else until), streak=streak, latched=latched)


def _seconds(cause: Cause, streak: int) -> float:
    if cause.outcome == "quota_exhausted":
        return DAY if cause.reset is None else cause.reset + AFTER_RESET * cause.luck
    first, cap = _LENGTHS[cause.outcome]
    seconds = min(cap, first * 2.0 ** min(streak - 1, _DOUBLINGS))
    if cause.outcome == "rate_limited" and cause.hint is not None and 0 <= cause.hint <= DAY:  # which nan is not
        seconds = min(max(cause.hint, HINT_RANGE[0]), HINT_RANGE[1])
    return seconds * (1 + JITTER * cause.luck) if cause.outcome in _SPREAD else seconds


def answered(before: Answers, good: bool, now: float, lengths: tuple[float, float] = OF_THE_MODEL) -> Answers:
    """What is known of a size after one more answer, which rests it for one of *lengths* (seconds: first, at most).

    While it rests, calls from before the rest say nothing new.
    """
    if before.until > now:
        return before
    answers = (*before.good, good)[-SIZE_ANSWERS:]
    if answers.count(False) < SIZE_FAILURES:
        proven = len(answers) == SIZE_ANSWERS and all(answers)
        return Answers(good=answers, until=before.until, streak=0 if proven else before.streak)
    first, cap = lengths
    seconds = min(cap, first * 2.0 ** min(before.streak, _DOUBLINGS))
    return Answers(until=now + seconds, streak=before.streak + 1)


def size_wait(sizes: Mapping[Size, Answers], size: Size, now: float) -> float | None:
    """Seconds for which *size* still rests, or None."""
    until = sizes.get(size, NO_ANSWERS).until
    return until - now if until > now else None
