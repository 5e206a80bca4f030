"""The order of lanes that a request likes equally: scores, and who comes first. Pure.

A lane has three scores, of which less is better: what an image costs, how long it takes, and how many attempts it takes.
The sort says which counts; the others settle ties. Scores are estimates, hence floats; no bill is made of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final, NamedTuple

from gateway.health.health import FRESH, LaneState, concurrency, odds, slowdown, typical_seconds
from gateway.money import money
from gateway.request import Sort
from gateway.router.constraints import is_at_ease
from gateway.router.lanes import Lane
from gateway.router.plan import Candidate
from providers.sizes import Size

DELAY_PRICE: Final = 0.001
"""USD that a second of waiting counts for, so that of equally cheap lanes the quicker and emptier one is taken."""
HYSTERESIS: Final = 1.15
"""How many times the best score a lane may have and still keep a place that it holds."""
DEARER: Final = Decimal("1.05")
"""How many times the price of the best lane the price of such a lane may be: what it is held for is noise, and there is
none in a price."""
FEW: Final = 3
"""Up to so many contenders the best one is taken; of more, the better of two drawn ones."""


class Step(NamedTuple):
    """A lane at a size, with what is expected of it. The scores come first, then the name that settles what they leave.

    *price* is USD per delivered image, and the price of its delay. *seconds* includes waiting for the calls under way,
    *attempts* is how many one delivered image takes. *rate* is the success rate, *markup* how many times its list price a
    delivered image costs.
    """

    price: float
    seconds: float
    attempts: float
    name: str
    lane: Lane
    size: Size
    rate: float
    markup: float

    @property
    def price_of_an_image(self) -> Decimal:
        """USD by the list."""
        return self.lane.prices[self.size]

    @property
    def candidate(self) -> Candidate:
        """What people are told of it."""
        cost = money.expected_cost(self.lane, self.size, self.markup)
        return Candidate(self.name, self.size, cost, self.seconds, self.rate)


class Runner(NamedTuple):
    """A lane that may serve a request at *sizes*, largest first, with its *steps* at these, and perhaps at others.

    It is in *state*, with so many calls *in_flight*, as of a *second*. *at_ease*: neither it nor a size of it is shut at
    any time of that second. *probing*: its breaker is half open.
    """

    name: str
    lane: Lane
    sizes: tuple[Size, ...]
    steps: Mapping[Size, Step]
    state: LaneState = FRESH
    second: int = 0
    in_flight: int = 0
    at_ease: bool = True
    probing: bool = False

    def now(self, state: LaneState, second: int, in_flight: int) -> Runner:
        """The same lane in *state*."""
        made = steps(self.lane, self.sizes, state, second, in_flight)
        at_ease = is_at_ease(state, second)
        return Runner(self.name, self.lane, self.sizes, made, state, second, in_flight, at_ease)

    def at(self, sizes: tuple[Size, ...]) -> Runner:
        """The same at fewer *sizes*."""
        return self._replace(sizes=sizes)


_BY: Final[Mapping[Sort, Callable[[Step], Any]]] = {
    "price": itemgetter(0, 1, 2, 3),
    "latency": itemgetter(1, 0, 2, 3),
    "success": itemgetter(2, 0, 1, 3),
}
_SCORE: Final[Mapping[Sort, Callable[[Step], float]]] = {
    "price": itemgetter(0),
    "latency": itemgetter(1),
    "success": itemgetter(2),
}


def steps(lane: Lane, sizes: Sequence[Size], state: LaneState, now: float, in_flight: int) -> dict[Size, Step]:
    """What is expected of *lane* at each of *sizes*, with *in_flight* calls under way."""
    name, prices, (rate, billed), slow = lane.name, lane.prices, odds(state, now), slowdown(state, now)
    markup, attempts = money.markup(rate, billed), 1 / rate
    load = max(1.0, (in_flight + 1) / max(1, concurrency(state))) if in_flight else 1.0  # below its limit nobody waits
    made = {}
    for size in sizes:
        seconds = typical_seconds(state, lane, size) * slow * load
        price = float(prices[size]) * markup + DELAY_PRICE * seconds
        made[size] = Step(price, seconds, attempts, name, lane, size, rate, markup)
    return made


def switching_first(tiers: Sequence[Sequence[Runner]], sizes: Sequence[Size]) -> list[list[Step]]:
    """The steps in groups to be tried one after the other: every lane at a size before any at a smaller one."""
    groups = [[each.steps[size] for each in tier if size in each.sizes] for size in sizes for tier in tiers]
    return [group for group in groups if group]


def downgrading_first(tiers: Sequence[Sequence[Runner]], sizes: Sequence[Size]) -> list[list[Step]]:
    """The steps with which lanes begin, at the largest size of each, in groups to be tried one after the other."""
    groups = [[each.steps[size] for each in tier if each.sizes[0] == size] for tier in tiers for size in sizes]
    return [group for group in groups if group]


def ranked(group: Sequence[Step], sort: Sort) -> list[Step]:
    """The steps in plain order."""
    return sorted(group, key=_BY[sort])


def winner(group: Sequence[Step], sort: Sort, incumbent: str | None, seed: int) -> Step:
    """The step of *group* to begin with.

    Only lanes within 15 % of the best score may win at all. Up to three contenders: the incumbent if it is among those
    lanes, else the best. More: the better of two drawn by *seed*, which spreads load that no one instance sees whole. A
    lane that is worse than another by every score is no contender, so that adding one changes nothing; and nothing is
    drawn by success, which does not depend on load.
    """
    score, order = _SCORE[sort], _BY[sort]
    best = min(map(score, group))
    near = [step for step in group if score(step) <= best * HYSTERESIS]
    if sort == "price" and len(near) > 1:
        limit = min(near, key=score).price_of_an_image * DEARER
        near = [step for step in near if step.price_of_an_image <= limit]
    contenders = _undominated(near) if len(near) > FEW and sort != "success" else []
    if len(contenders) > FEW:
        return min(_two(contenders, seed), key=order)
    return next((step for step in near if step.name == incumbent), None) or min(near, key=order)


def _two(contenders: list[Step], seed: int) -> tuple[Step, Step]:
    """Two different ones, each pair as likely as any other over the seeds."""
    contenders.sort(key=itemgetter(3))
    count = len(contenders)
    first, offset = seed % count, seed // count % (count - 1)
    return contenders[first], contenders[(first + 1 + offset) % count]


def _undominated(group: Sequence[Step]) -> list[Step]:
    """The steps that no other step beats or equals in every score and beats in one."""
    kept = _skyline({step[:3] for step in group})
    return [step for step in group if step[:3] in kept]


def _skyline(points: set[tuple[float, float, float]]) -> set[tuple[float, float, float]]:
    """The points with no other point at or below them in all three coordinates (Kung, Luccio and Preparata, 1975).

    In the order of the first coordinate it is enough to look at the other two: *seconds* ascend while *attempts* descend,
    and whatever lies at or above that staircase is dominated.
    """
    kept, seconds, attempts = set(), list[float](), list[float]()
    for point in sorted(points):
        _, second, attempt = point
        place = bisect_right(seconds, second)
        if place and attempts[place - 1] <= attempt:
            continue
        end = place
        while end < len(seconds) and attempts[end] >= attempt:
            end += 1
        seconds[place:end], attempts[place:end] = [second], [attempt]
        kept.add(point)
    return kept
