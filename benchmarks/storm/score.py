"""From what happened to figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any

from benchmarks.storm.pictures import Size
from benchmarks.storm.world import World


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a caller got for a request after *seconds*. *size* is what the image truly is, None for none.

    *told* says that the contender itself called the image smaller than asked; *error* is the error's name, if one came.
    """

    number: int
    asked: Size
    seconds: float
    size: Size | None = None
    told: bool = False
    error: str | None = None

    @property
    def as_asked(self) -> bool:
        return self.error is None and (self.size == self.asked or self.size == "4K")

    @property
    def wrong(self) -> bool:
        """Passed as a success, and it is none: no image, or a smaller one without a word."""
        return self.error is None and not self.as_asked and not (self.told and self.size is not None)

    @property
    def delivered(self) -> bool:
        """An image came, be it smaller, as long as the caller was told."""
        return self.error is None and not self.wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One contender in one scene. Seconds are those of delivered images; money is USD.

    *best* is what a delivered image would have cost on the cheapest healthy lane, *refusals* what refused calls cost.
    *into_the_fault* counts, for the lane that has most of them, the calls that a fault met.
    """

    scene: str
    contender: str
    requests: int
    as_asked: int
    delivered: int
    wrong: int
    p50: float
    p99: float
    calls: int
    paid_calls: int
    dollars: float
    refusals: float
    best: float
    into_the_fault: int
    errors: dict[str, int]
    lanes: dict[str, dict[str, int]]

    @property
    def dollars_each(self) -> float:
        """USD for one delivered image."""
        return self.dollars / self.delivered if self.delivered else float("inf")

    @property
    def over_best(self) -> float:
        """How many times the price of the cheapest healthy lane a delivered image cost, refusals aside."""
        return (self.dollars - self.refusals) / self.delivered / self.best if self.delivered else float("inf")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def score(contender: str, world: World, deliveries: list[Delivery], prices: list[float]) -> Score:
    """The figures of *contender*; *prices* are those of the cheapest healthy lane for each request."""
    good = sorted(delivery.seconds for delivery in deliveries if delivery.delivered)
    cuts = quantiles(good, n=100, method="inclusive") if len(good) > 1 else [float("nan")] * 99
    struck = Counter(call.lane for call in world.calls if call.struck)
    lanes = {
        lane: {"calls": calls, "struck": struck[lane], "paid": sum(c.cost > 0 for c in world.calls if c.lane == lane)}
        for lane, calls in Counter(call.lane for call in world.calls).items()
    }
    refusals = [call.cost for call in world.calls if call.struck == "Say" and call.cost]
    best = [prices[delivery.number - 1] for delivery in deliveries if delivery.delivered]
    return Score(
        scene=world.scene.name,
        contender=contender,
        requests=len(deliveries),
        as_asked=sum(delivery.as_asked for delivery in deliveries),
        delivered=len(good),
        wrong=sum(delivery.wrong for delivery in deliveries),
        p50=cuts[49],
        p99=cuts[98],
        calls=len(world.calls),
        paid_calls=sum(call.cost > 0 for call in world.calls),
        dollars=sum(call.cost for call in world.calls),
        refusals=sum(refusals),
        best=sum(best) / len(best) if best else float("nan"),
        into_the_fault=max(struck.values(), default=0),
        errors=dict(Counter(delivery.error for delivery in deliveries if delivery.error)),
        lanes=lanes,
    )
