"""The circuit breaker of one lane, as pure functions of its state, what happened, and *now*.

It opens when calls keep failing, stays open for a while that doubles each time, and then lets one paying request through
as a probe. A call that hangs counts before it ends: otherwise a lane that swallows calls would be fed for a whole timeout.
Times are seconds on a monotonic clock; *luck* is a random number from 0 to 1 that spreads the openings of many processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

OPEN_AT: Final = 4
"""Weight of consecutive failures at which the breaker opens. A failure that was free weighs 1, others 2."""
WINDOW: Final = 300.0
"""Seconds over which the share of failures is taken; attempts count from their start, so it is longer than any call."""
WINDOW_OUTCOMES: Final = 8
WINDOW_SHARE: Final = 0.5
"""The breaker opens too at so many outcomes in the window, if failures have at least this share of their weight."""
OPEN_FIRST: Final = 10.0
OPEN_CAP_FREE: Final = 60.0
OPEN_CAP_PAID: Final = 120.0
"""Seconds it stays open: the first time, then doubled each time up to a cap, which is higher where failures may cost."""
CALM: Final = 300.0
"""Healthy seconds after which one earlier opening is forgotten."""
OVERDUE: Final = 45.0
"""Seconds from which on a call may count as hanging; for lanes that are slow by nature, twice their 95th percentile."""
OVERDUE_WEIGHT: Final = 2
PAID_PROOFS: Final = 2
"""Successful probes that close it where the failures may have been billed; otherwise one does."""
FULL_SPEED: Final = 64.0
"""Calls at once from which on the slow start after closing is over."""

_SLOT: Final = 30.0  # seconds; the window is kept in slots, so that its size does not grow with the traffic

Status = Literal["closed", "open", "half_open"]


class Slot(NamedTuple):
    """The attempts that began in one stretch of the window: how many ended, the weight of failures, and of all."""

    number: int
    outcomes: int
    failed: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What is remembered.

    *streak* is the weight of failures since the last success, *paid* whether one of them may have been billed. *opened*
    is when it opened (None: closed) and *until* when the open time ends; *openings* counts them. *probe* is the call that
    probes and *lease* when that ends at the latest; *proofs* counts successful probes. *allowed* is how many calls at
    once the slow start after closing lets through, *reset* when it last closed, *calm* since when it has been healthy.
    """

    streak: int = 0
    paid: bool = False
    slots: tuple[Slot, ...] = ()
    openings: int = 0
    calm: float = -math.inf
    opened: float | None = None
    until: float = -math.inf
    probe: int | None = None
    lease: float = -math.inf
    proofs: int = 0
    allowed: float = math.inf
    reset: float = -math.inf


CLOSED: Final = Breaker()


class Underway(NamedTuple):
    """A call under way: when it *began*, and from when on it is *overdue*."""

    began: float
    overdue: float


def status(breaker: Breaker, now: float) -> Status:
    """Closed, open, or half open: the open time is over, and a probe decides."""
    if breaker.opened is None:
        return "closed"
    return "open" if now < breaker.until else "half_open"


def wait(breaker: Breaker, now: float) -> float | None:
    """Seconds until a call may be let through, or None if one may be now. A probe under way is waited for."""
    if breaker.opened is None:
        return None
    until = breaker.until if breaker.probe is None else max(breaker.until, breaker.lease)
    return until - now if until > now else None


def noticed(breaker: Breaker, calls: Iterable[Underway], now: float, luck: float) -> Breaker:
    """The breaker at *now*, opened in the meantime if too many of the *calls* under way have become overdue."""
    if breaker.opened is not None:
        return breaker
    overdue = sorted(call.overdue for call in calls if call.overdue <= now and call.began >= breaker.reset)
    needed = math.ceil((OPEN_AT - breaker.streak) / OVERDUE_WEIGHT)
    if not overdue or len(overdue) < needed:
        return breaker
    at = max(overdue[max(needed, 1) - 1], breaker.calm)  # not before the last failure, which counts with them
    return _opened(replace(breaker, paid=True), at, luck)


def began(breaker: Breaker, call: int, now: float, lease: float) -> Breaker:
    """*call* begins, to last at most *lease* seconds; unless it is closed, it is the probe if there is none yet."""
    if breaker.opened is None or (breaker.probe is not None and now < breaker.lease):
        return breaker
    return replace(breaker, probe=call, lease=now + lease)


def succeeded(breaker: Breaker, call: int, start: float, now: float) -> Breaker:
    """*call*, which began at *start*, ended well. While the breaker is open only the probe counts."""
    if start < breaker.reset:
        return breaker
    slots = _slots_with(breaker, start, now, 0)
    if breaker.opened is None:
        return _calmed(replace(breaker, slots=slots, streak=0, paid=False, allowed=_doubled(breaker.allowed)), now)
    if call != breaker.probe:
        return replace(breaker, slots=slots)
    proofs = breaker.proofs + 1
    if proofs < (PAID_PROOFS if breaker.paid else 1):
        return replace(breaker, slots=slots, proofs=proofs, probe=None)
    return Breaker(openings=max(0, breaker.openings - 1), calm=now, allowed=1.0, reset=now)


def failed(breaker: Breaker, call: int, start: float, now: float, weight: int, luck: float) -> Breaker:
    """*call*, which began at *start*, failed with that *weight*. What began before the breaker closed says nothing new."""
    if start < breaker.reset:
        return breaker
    paid = breaker.paid or weight > 1
    counted = replace(breaker, slots=_slots_with(breaker, start, now, weight), paid=paid, calm=now)
    if breaker.opened is not None:
        return _opened(counted, now, luck) if call == breaker.probe else counted
    counted = replace(counted, streak=breaker.streak + weight)
    return _opened(counted, now, luck) if counted.streak >= OPEN_AT or _failing(counted.slots) else counted


def freed(breaker: Breaker, call: int) -> Breaker:
    """*call* ended and proved nothing (it was cancelled, or its content refused): the next one may probe."""
    return replace(breaker, probe=None) if call == breaker.probe else breaker


def _opened(breaker: Breaker, at: float, luck: float) -> Breaker:
    cap = OPEN_CAP_PAID if breaker.paid else OPEN_CAP_FREE
    seconds = min(cap, OPEN_FIRST * 2.0 ** min(breaker.openings, 16)) * (0.8 + 0.4 * luck)
    return replace(
        breaker, opened=at, until=at + seconds, openings=breaker.openings + 1, calm=at, probe=None, proofs=0
    )  # fmt: skip


def _calmed(breaker: Breaker, now: float) -> Breaker:
    spells = int((now - breaker.calm) // CALM) if breaker.openings else 0
    if spells < 1:
        return breaker
    return replace(breaker, openings=max(0, breaker.openings - spells), calm=breaker.calm + spells * CALM)


def _doubled(allowed: float) -> float:
    return math.inf if allowed * 2 >= FULL_SPEED else allowed * 2


def _slots_with(breaker: Breaker, start: float, now: float, weight: int) -> tuple[Slot, ...]:
    """The window with one more outcome, of an attempt that began at *start*."""
    number, oldest = int(start // _SLOT), int((now - WINDOW) // _SLOT)
    if number <= oldest:
        return breaker.slots
    slots = {slot.number: slot for slot in breaker.slots if slot.number > oldest}
    old = slots.get(number, Slot(number, 0, 0, 0))
    slots[number] = Slot(number, old.outcomes + 1, old.failed + weight, old.weight + max(weight, 1))
    return tuple(slots.values())


def _failing(slots: Iterable[Slot]) -> bool:
    slots = tuple(slots)
    outcomes, weight = sum(slot.outcomes for slot in slots), sum(slot.weight for slot in slots)
    return outcomes >= WINDOW_OUTCOMES and sum(slot.failed for slot in slots) >= WINDOW_SHARE * weight
