"""What people accepted and what that cost, per lane and task, as figures and as the store behind them.

The figure that counts is USD per accepted image: what was spent, cleaning up included, over the images that were accepted.
It is an estimate with an interval. :mod:`gateway.router.premium` draws the conclusions.

The sums are discounted by the verdicts given for the task since, so that they follow drift; a lane that is not judged any
more grows uncertain again, and being uncertain makes it worth another trial (discounted UCB: Garivier and Moulines, "On
upper-confidence bound policies for switching bandit problems", 2011). They are statistics, hence floats.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Final, Protocol

from gateway.forking import survives
from providers.errors import InvalidRequest

DISCOUNT: Final = 0.999
"""What a verdict weighs after each later one for the task: about the last 500 count, half of it the last 350."""
CONFIDENCE_Z: Final = 1.2816
"""Standard errors to either side of an estimate: one truth in ten lies below such an interval, and one in ten above."""
KEPT: Final = 10_000
"""Requests that may still be judged; beyond, the oldest are forgotten."""
TASKS_KEPT: Final = 1_000
"""Tasks with verdicts; beyond, the one judged longest ago is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the verdicts on a lane's images for one task add up to; all but *judged*, their number, is discounted.

    *silent* is how many requests the lane has served since without a verdict.
    *images* of which *accepted*, *spend* and *cleanup* in USD, and what the images were *listed* at in USD. The others are
    for the interval: sums over the verdicts of the money squared, of the money times the images accepted, and of the images
    accepted squared.
    """

    judged: int = 0
    silent: int = 0
    verdicts: float = 0.0
    images: float = 0.0
    accepted: float = 0.0
    spend: float = 0.0
    listed: float = 0.0
    cleanup: float = 0.0
    money_squared: float = 0.0
    money_accepted: float = 0.0
    accepted_squared: float = 0.0

    @property
    def share(self) -> float:
        """The share of the images that was accepted."""
        return self.accepted / self.images if self.images else 0.0

    @property
    def cost(self) -> float:
        """USD per accepted image; infinite as long as none was."""
        return (self.spend + self.cleanup) / self.accepted if self.accepted > 0 else math.inf

    def plus(self, other: Tally, weight: float = 1.0) -> Tally:
        """This and *weight* times *other*."""
        sums = {name: getattr(self, name) + weight * getattr(other, name) for name in _SUMS}
        settled: dict[str, Any] = {name: value if value > _DUST else 0.0 for name, value in sums.items()}
        return Tally(judged=self.judged + (other.judged if weight > 0 else -other.judged), **settled)

    def at(self, price: float) -> Tally:
        """This as if the images had been listed at *price* USD each: a price may change, and sizes differ in theirs."""
        if self.listed <= 0 or self.verdicts <= 0 or math.isclose(price * self.images, self.listed):
            return self
        more = self.spend * (price / self.listed - 1 / self.images)  # USD per image
        each = self.images / self.verdicts
        squared = self.money_squared + more * each * (2 * (self.spend + self.cleanup) + more * self.images)
        return replace(
            self,
            spend=self.spend + more * self.images,
            listed=price * self.images,
            money_squared=max(0.0, squared),
            money_accepted=max(0.0, self.money_accepted + more * self.accepted_squared),
        )

    def discounted(self, verdicts: int) -> Tally:
        """This after so many further verdicts for the task."""
        weight = DISCOUNT**verdicts
        return Tally(judged=self.judged, **{name: getattr(self, name) * weight for name in _SUMS})


_DUST: Final = 1e-9
"""What taking a verdict back may leave of a sum by rounding."""
_SUMS: Final = tuple(each.name for each in fields(Tally) if each.name not in ("judged", "silent"))


def verdict(spend: float, images: int, accepted: bool, cleanup: float, listed: float | None = None) -> Tally:
    """The tally of a single verdict, on all *images* of a request at once, *listed* at so many USD (None: at *spend*)."""
    money, good = spend + cleanup, images if accepted else 0
    return Tally(
        judged=1,
        verdicts=1.0,
        images=images,
        accepted=good,
        spend=spend,
        listed=spend if listed is None else listed,
        cleanup=cleanup,
        money_squared=money * money,
        money_accepted=money * good,
        accepted_squared=good * good,
    )


def loss(spend: float) -> Tally:
    """The tally of what a lane was paid for a request that another lane then delivered."""
    return Tally(spend=spend, money_squared=spend * spend)


class Spread(Protocol):
    """An estimate: USD per accepted image, *cost* within *low* to *high*."""

    @property
    def cost(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


def is_certainly_less(one: Spread, other: Spread) -> bool:
    """Whether an accepted image costs less with *one*, with as much confidence as the ends of the intervals have.

    The interval of a difference is recovered from those of its parts: it reaches as far as the root of the sum of the
    squares of the arms that point at one another (Zou and Donner, "Construction of confidence limits about effect
    measures: a general approach", 2008).
    """
    if one.high == math.inf or other.cost == math.inf:
        return one.high < other.low
    return other.cost - one.cost > math.hypot(one.high - one.cost, other.cost - other.low)


def interval(tally: Tally, price: float, z: float = CONFIDENCE_Z) -> tuple[float, float]:
    """The USD per accepted image between which the truth lies, for a lane at *price* USD per image.

    *z* is standard errors to either side.

    The wider of two rules on each side: Wilson's score interval for the share accepted (1927), which is right for small
    numbers and shares near 0 and 1, and the standard error of a ratio of two sums by the delta method (Cochran, "Sampling
    Techniques", 1977, section 6.4), which knows how much the cost of cleaning up varies. No image costs less than its
    price. Without verdicts that is all there is to say: from the price up.
    """
    if tally.images <= 0:
        return price, math.inf
    least, most = share_interval(tally, z)
    per_image = (tally.spend + tally.cleanup) / tally.images
    if tally.accepted <= 0:  # there is no cost to have an error: the money per image has one
        return max((per_image - z * _error_of_mean(tally)) / most, tally.spend / tally.images), math.inf
    error = z * _standard_error(tally)
    low = min(per_image / most, tally.cost - error if error < math.inf else 0.0)
    high = max(per_image / least if least > 0 else math.inf, tally.cost + error)
    return max(low, tally.spend / tally.images), high


def share_interval(tally: Tally, z: float = CONFIDENCE_Z) -> tuple[float, float]:
    """The shares, from 0 to 1, between which that of the images accepted lies in truth: Wilson's score interval."""
    share, count, z2 = tally.share, tally.verdicts, z**2
    if count <= 0:
        return 0.0, 1.0
    middle = share + z2 / (2 * count)
    spread = z * math.sqrt(max(0.0, share * (1 - share) / count + z2 / (4 * count * count)))
    return max(0.0, (middle - spread) / (1 + z2 / count)), min(1.0, (middle + spread) / (1 + z2 / count))


def _standard_error(tally: Tally) -> float:
    """Of the cost per accepted image; infinite where a single verdict is all there is."""
    if tally.verdicts <= 1:
        return math.inf
    cost = tally.cost
    residuals = tally.money_squared - 2 * cost * tally.money_accepted + cost * cost * tally.accepted_squared
    return math.sqrt(max(0.0, residuals) * tally.verdicts / (tally.verdicts - 1)) / tally.accepted


def _error_of_mean(tally: Tally) -> float:
    """The standard error of the money per image; infinite where a single verdict is all there is."""
    if tally.verdicts <= 1:
        return math.inf
    squares = tally.money_squared - (tally.spend + tally.cleanup) ** 2 / tally.verdicts
    return math.sqrt(max(0.0, squares) * tally.verdicts / (tally.verdicts - 1)) / tally.images


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict that was given elsewhere, such as in a trial, on the single image of a request.

    *spend* is what the image cost, *lost* what failed attempts at it did or may have cost, *price* what it was listed at,
    *cleanup* what it took to make it usable, all in USD.
    """

    request_id: str
    lane: str
    task: str | None
    spend: Decimal
    lost: Decimal
    price: Decimal
    accepted: bool
    cleanup: Decimal


@dataclass(slots=True, kw_only=True, eq=False)
class _Delivery:
    """What was delivered for a request: *given* is the verdict on it, counted in *book* as its verdict number *at*."""

    lane: str
    task: str
    spend: float
    images: int
    listed: float
    lost: Mapping[str, float]
    given: tuple[bool, float] | None = None
    book: _Task | None = None
    at: int = 0

    def tallies(self) -> Mapping[str, Tally]:
        """By lane what the verdict adds."""
        if self.given is None:
            return {}
        return {
            **{lane: loss(spend) for lane, spend in self.lost.items() if lane != self.lane},
            self.lane: verdict(self.spend + self.lost.get(self.lane, 0.0), self.images, *self.given, self.listed),
        }


@dataclass(slots=True, eq=False)
class _Task:
    """The tallies of a task by lane, each as of *clock* verdicts, and the deliveries since the last verdict on each."""

    clock: int = 0
    tallies: dict[str, tuple[Tally, int]] = field(default_factory=dict)
    silent: Counter[str] = field(default_factory=Counter)

    def tally(self, lane: str) -> Tally:
        tally, at = self.tallies.get(lane, (Tally(), self.clock))
        return tally.discounted(self.clock - at)

    def add(self, delivery: _Delivery, sign: int) -> None:
        weight = sign * DISCOUNT ** (self.clock - delivery.at)
        for lane, tally in delivery.tallies().items():
            self.tallies[lane] = self.tally(lane).plus(tally, weight), self.clock


class Verdicts:
    """The verdicts people gave, and what is needed to place the ones to come. Safe to use from several threads.

    It is bounded: the oldest requests, and the tasks judged longest ago, are forgotten.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._deliveries: OrderedDict[str, _Delivery] = OrderedDict()
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock."""
        self._lock = threading.Lock()

    def remember(
        self,
        request_id: str,
        lane: str,
        task: str | None,
        spend: Decimal,
        images: int,
        lost: Mapping[str, Decimal] | None = None,
        price: Decimal | None = None,
    ) -> None:
        """Note that *lane* delivered *images* images for *spend* USD, so that they can be judged.

        *lost* is what failed attempts of the same request did or may have cost, in USD by lane. *price* is the list price
        of one image in USD (None: what was spent on it), by which later changes of the price are followed.
        """
        delivery = _Delivery(
            lane=lane,
            task=task or "",
            spend=float(spend),
            images=images,
            listed=float(spend if price is None else price * images),
            lost={name: float(usd) for name, usd in (lost or {}).items()},
        )
        with self._lock:
            self._deliveries[request_id] = delivery
            if delivery.task in self._tasks:
                self._tasks[delivery.task].silent[lane] += 1
            if len(self._deliveries) > self._kept:
                self._deliveries.popitem(last=False)

    def judge(self, request_id: str, accepted: bool, cleanup_cost: Decimal | float = 0) -> None:
        """Count the verdict on a request's images; *cleanup_cost* is the USD it took to make them usable.

        Another verdict on the same request takes the place of the earlier one.

        Raises:
            InvalidRequest: nothing is known of that request, or the cost is not an amount.
        """
        cleanup = _amount(cleanup_cost)
        with self._lock:
            delivery = self._deliveries.get(request_id)
            if delivery is None:
                raise InvalidRequest(
                    f"request_id: nothing delivered under {request_id!r:.80} is known; expected the request_id of a result "
                    f"of this gateway, one of its last {self._kept:,}"
                )
            task = self._task(delivery.task)
            task.silent[delivery.lane] = 0
            if delivery.book is task:
                task.add(delivery, -1)
            else:
                task.clock += 1
                delivery.book, delivery.at = task, task.clock
            delivery.given = bool(accepted), cleanup
            task.add(delivery, 1)

    def recall(self, judged: Iterable[Judged]) -> None:
        """Take in verdicts that were given elsewhere, in order; those that are known already count once.

        Raises:
            InvalidRequest: a cost is not an amount.
        """
        for each in judged:
            with self._lock:
                known = each.request_id in self._deliveries
            if not known:
                lost = {each.lane: each.lost}
                self.remember(each.request_id, each.lane, each.task, each.spend, 1, lost, each.price)
            self.judge(each.request_id, each.accepted, each.cleanup)

    def of(self, task: str | None) -> Mapping[str, Tally]:
        """The tallies of *task* by lane, as they count now."""
        with self._lock:
            known = self._tasks.get(task or "")
            if known is None:
                return {}
            lanes = {**known.tallies, **known.silent}
            return {lane: replace(known.tally(lane), silent=known.silent[lane]) for lane in lanes}

    def _task(self, name: str) -> _Task:
        task = self._tasks.setdefault(name, _Task())
        self._tasks.move_to_end(name)
        if len(self._tasks) > TASKS_KEPT:
            self._tasks.popitem(last=False)
        return task


def _amount(cleanup_cost: Decimal | float) -> float:
    number = isinstance(cleanup_cost, int | float | Decimal) and not isinstance(cleanup_cost, bool)
    if not number or not math.isfinite(cleanup_cost) or cleanup_cost < 0:
        raise InvalidRequest("cleanup_cost: expected an amount in USD of at least 0")
    return float(cleanup_cost)
