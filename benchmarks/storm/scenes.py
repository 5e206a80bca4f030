"""The scenes: which lanes fail, how, and from when to when. Seconds count from the first request.

``FIRST`` stands for the cheapest lane that a contender has: a plain SDK knows one lane, and the storm has to find it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.storm import wires
from benchmarks.storm.pictures import Size
from benchmarks.storm.wires import Answer, Wire

FIRST: Final = "first"
MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What a fault may go by: the wire, the size asked for, the share of its time that is over, a coin in 0..1 that is the
    same for every contender, the calls that the lane has taken in this minute of the clock, and the minute's seconds left.
    """

    wire: Wire
    size: Size
    progress: float
    coin: float
    this_minute: int
    left_of_minute: float


@dataclass(frozen=True, slots=True)
class Hang:
    """The call is taken and never answered."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after the request has been read."""


@dataclass(frozen=True, slots=True)
class Draw:
    """The image comes, of *size*, after *slower* times the usual duration."""

    size: Size
    slower: float = 1.0


@dataclass(frozen=True, slots=True)
class Say:
    """*answer* comes after so many seconds."""

    answer: Answer
    seconds: float = 0.3


Effect = Hang | Reset | Draw | Say
Strike = Callable[[Moment], Effect | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """*strike* befalls *lanes* from *start* to *end*; where it returns None the lane works. *sizes* None means any size.

    *per_minute* is how many calls a minute still get through; None: whatever gets through is luck, the lane is not healthy.
    """

    lanes: tuple[str, ...]
    start: float
    end: float
    strike: Strike
    sizes: tuple[Size, ...] | None = None
    per_minute: int | None = None

    def concerns(self, lane: str, size: Size, at: float) -> bool:
        """Whether it meets a call to *lane* for *size* that comes *at* so many seconds."""
        return lane in self.lanes and (self.sizes is None or size in self.sizes) and self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class Scene:
    """*minutes* of traffic, and the faults in it."""

    name: str
    about: str
    faults: tuple[Fault, ...] = ()
    minutes: float = 15.0

    def shortened(self, share: float) -> Scene:
        """The same scene in *share* of its time, for a quick look."""
        faults = tuple(replace(fault, start=fault.start * share, end=fault.end * share) for fault in self.faults)
        return replace(self, faults=faults, minutes=self.minutes * share)

    def striking(self, first: str) -> Scene:
        """The same scene for a contender whose cheapest lane is *first*."""
        faults = tuple(
            replace(fault, lanes=tuple(first if lane == FIRST else lane for lane in fault.lanes))
            for fault in self.faults
        )
        return replace(self, faults=faults)


def _hang(moment: Moment) -> Effect:
    return Hang()


def _overloaded(moment: Moment) -> Effect:
    return Say(wires.overloaded(moment.wire))


def _internal(moment: Moment) -> Effect:
    return Say(wires.internal(moment.wire), seconds=2.0)


def _reset(moment: Moment) -> Effect:
    return Reset()


def _edge_is_down(moment: Moment) -> Effect:
    return Reset() if moment.coin < 0.5 else Say(wires.bad_gateway())


def _shrunk(moment: Moment) -> Effect:
    return Draw("1K")


def _quota_gone(moment: Moment) -> Effect:
    return Say(wires.quota_gone(moment.wire))


def _limited(per_minute: int) -> Strike:
    def strike(moment: Moment) -> Effect | None:
        if moment.this_minute < per_minute:
            return None
        return Say(wires.rate_limited(moment.wire, moment.left_of_minute + 1))

    return strike


def _refusing(share: float) -> Strike:
    def strike(moment: Moment) -> Effect | None:
        return Say(wires.refused(moment.wire, int(moment.coin * 1e6)), seconds=8.0) if moment.coin < share else None

    return strike


def _recovering(moment: Moment) -> Effect:
    """Down for the first third, then better and better: fewer 503, and quicker images."""
    ill = 1.0 if moment.progress < 1 / 3 else 1.5 * (1 - moment.progress)
    return Say(wires.overloaded(moment.wire)) if moment.coin < ill else Draw(moment.size, slower=1 + 2 * ill)


def _ten_minutes(strike: Strike, lanes: Sequence[str] = (FIRST,), **more: object) -> Fault:
    return Fault(tuple(lanes), MINUTE, 11 * MINUTE, strike, **more)  # type: ignore[arg-type]


SCENES: Final = (
    Scene("calm", "nothing fails", minutes=5.0),
    Scene("hang", "the cheapest lane takes calls and never answers", (_ten_minutes(_hang),)),
    Scene("503-at-4k", "the cheapest lane answers 503 at 4K only", (_ten_minutes(_overloaded, sizes=("4K",)),)),
    Scene(
        "rate-limit",
        "the cheapest lane takes 20 calls a minute, then 429 with a hint",
        (_ten_minutes(_limited(20), per_minute=20),),
    ),
    Scene(
        "daily-quota",
        "the cheapest lane's day is used up: 429, with a RetryInfo of 47 s that does not hold",
        (Fault((FIRST,), MINUTE, 15 * MINUTE, _quota_gone),),
    ),
    Scene("downgrade", "the cheapest lane draws 1K where 4K is asked and paid", (_ten_minutes(_shrunk, sizes=("4K",)),)),
    Scene(
        "refusals",
        "the cheapest lane answers 30 % of calls with 200 and no image, charged",
        (_ten_minutes(_refusing(0.3)),),
    ),
    Scene("recovery", "the cheapest lane is down for 3:20 min, then recovers over 6:40 min", (_ten_minutes(_recovering),)),
    Scene(
        "provider-out",
        "the provider of the two cheapest lanes is out: resets and 502 pages",
        (_ten_minutes(_edge_is_down, ("alpha-google", "alpha-images")),),
    ),
    Scene(
        "all-but-one",
        "every lane is out but the dearest: one hangs, one is reset, the others answer 500 and 503",
        (
            _ten_minutes(_hang, ("alpha-google",)),
            _ten_minutes(_reset, ("alpha-images",)),
            _ten_minutes(_internal, ("beta-images",)),
            _ten_minutes(_overloaded, ("gamma-chat", "delta-images")),
        ),
    ),
)  # fmt: skip
