"""Premium when it pays: what ``quality="auto"`` makes of the verdicts on a task. Pure.

A task begins on the standard class. It goes to premium where an accepted image is certain to cost less there: where the
interval of the premium lane's cost lies below that of the standard lane's. A lane that is not known well enough, and
might be cheaper, is tried in a small share of the task's requests: there is no other way to get to know it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.router.acceptance import Tally, interval, is_certainly_less
from gateway.router.lanes import Lane
from gateway.router.plan import AcceptanceRow, Learning
from gateway.router.ranking import DELAY_PRICE, Runner
from providers.sizes import Size, rank

MIN_VERDICTS: Final = 20
"""Verdicts on a lane, for one task, below which nothing is concluded from them."""
MIN_RECENT: Final = 10
"""What verdicts still have to weigh, discounted as they are, for a lane to count as known."""
TRIAL_SHARE: Final = 0.1
"""The share of a task's requests that goes to a lane which is not known well enough but could be the cheapest."""
MAX_SILENT: Final = 50
"""Requests that a lane may serve for a task without a verdict before it is tried no more: nobody seems to judge them."""
CHANCES: Final = 1 << 32
"""Into how many parts the seed divides the requests, to find those for trials."""


def conclude(
    tiers: Sequence[Sequence[Runner]], tallies: Mapping[str, Tally], incumbent: str | None, seed: int
) -> tuple[Mapping[str, Estimate], Choice]:
    """What the *tallies* say of the lanes the caller likes best, at the largest size they offer."""
    size = max((each.sizes[0] for each in tiers[0]), key=rank)
    served = (each for each in tiers[0] if size in each.sizes)
    estimates = [
        Estimate.of(each.lane, size, float(each.steps[size].candidate.expected_cost), tallies.get(each.lane.name))
        for each in served
    ]
    estimates.sort(key=lambda each: (each.premium, each.lane.name))
    return {each.lane.name: each for each in estimates}, choose(estimates, incumbent, seed % CHANCES / CHANCES)


def by_cost(tiers: Sequence[Sequence[Runner]], estimates: Mapping[str, Estimate]) -> list[list[Runner]]:
    """In each tier the lanes that are known well enough first, scored by what an accepted image costs."""
    parted: list[list[Runner]] = []
    for tier in tiers:
        known = {each.lane.name for each in tier if (found := estimates.get(each.lane.name)) and found.measured}
        parted.append([_scored(each, estimates[each.lane.name].cost) for each in tier if each.lane.name in known])
        parted.append([each for each in tier if each.lane.name not in known])
    return [tier for tier in parted if tier]


def by_class(tiers: Sequence[Sequence[Runner]], choice: Choice) -> list[list[Runner]]:
    """The lane on trial, and then each tier by class, beginning with the one that was chosen."""
    parted = [[each for tier in tiers for each in tier if each.lane.name == choice.trial]]
    for tier in tiers:
        rest = [each for each in tier if each.lane.name != choice.trial]
        parted.append([each for each in rest if (each.lane.lane_class == "premium") is choice.premium])
        parted.append([each for each in rest if (each.lane.lane_class == "premium") is not choice.premium])
    return [tier for tier in parted if tier]


def _scored(runner: Runner, cost: float) -> Runner:
    """*runner* with *cost* in the place of what a delivered image costs; the delay still counts."""
    steps = {size: step._replace(price=cost + DELAY_PRICE * step.seconds) for size, step in runner.steps.items()}
    return runner._replace(steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What an accepted image from *lane* is thought to cost, in USD: *cost* within *low* to *high*.

    *silent* is how many images it delivered since the last verdict. *price* is USD per delivered image, whatever becomes
    of it. *tally* is at today's list price and the size asked for.
    """

    lane: Lane
    price: float
    tally: Tally
    low: float
    high: float
    silent: int = 0

    @classmethod
    def of(cls, lane: Lane, size: Size, price: float, tally: Tally | None) -> Estimate:
        """The estimate for *lane* at *size* from its *tally*, if there is one."""
        silent = tally.silent if tally is not None else 0
        tally = tally.at(float(lane.prices[size])) if tally is not None else Tally()
        low, high = interval(tally, price)
        return cls(lane=lane, price=price, tally=tally, low=low, high=high, silent=silent)

    @property
    def measured(self) -> bool:
        """Whether there are verdicts enough to go by."""
        return self.tally.judged >= MIN_VERDICTS and self.tally.verdicts >= MIN_RECENT

    @property
    def cost(self) -> float:
        """USD per accepted image as measured."""
        return self.tally.cost

    @property
    def premium(self) -> bool:
        """Whether the lane is of the premium class."""
        return self.lane.lane_class == "premium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the verdicts on a task say: the class to begin with, why, and the lane to try out this time, if any."""

    premium: bool
    why: str
    trial: str | None = None


def choose(estimates: Sequence[Estimate], incumbent: str | None, chance: float) -> Choice:
    """The class a task's request begins with.

    *incumbent* is the lane that the task's requests go to. *chance*, from 0 to 1, decides whether this is one of those
    that try a lane out.
    """
    standard = _first(each for each in estimates if not each.premium)
    premium = _first(each for each in estimates if each.premium)
    if standard is None or premium is None:
        only, other = ("premium", "standard") if standard is None else ("standard", "premium")
        choice = Choice(premium=standard is None, why=f"{only}: no {other} lane can serve this request")
    else:
        there = any(each.premium for each in estimates if each.lane.name == incumbent)
        choice = _stayed(standard, premium) if there else _moved(standard, premium)
    best = premium if choice.premium else standard
    assert best is not None  # with no lane at all nothing is chosen
    return _with_trial(choice, best, estimates, chance)


def _moved(standard: Estimate, premium: Estimate) -> Choice:
    """From standard to premium only where that is certain to be cheaper."""
    if premium.measured and is_certainly_less(premium, standard):
        return Choice(premium=True, why=f"premium: {_told(premium)} per accepted image, {_told(standard)} on standard")
    return Choice(premium=False, why=_why_standard(standard, premium))


def _stayed(standard: Estimate, premium: Estimate) -> Choice:
    """From premium back to standard as soon as that is measured to be cheaper, or nothing is known of premium any more."""
    if not premium.measured or (standard.measured and standard.cost < premium.cost):
        return Choice(premium=False, why=_why_standard(standard, premium))
    return Choice(premium=True, why=f"premium: {_told(premium)} per accepted image, {_told(standard)} on standard")


def _first(estimates: Iterable[Estimate]) -> Estimate | None:
    """Of one class the measured lane that costs least per accepted image, else the cheapest."""
    return min(
        estimates, key=lambda each: (not each.measured, each.cost if each.measured else each.price), default=None
    )


def _why_standard(standard: Estimate, premium: Estimate) -> str:
    if not standard.measured:
        return f"standard: too few verdicts on {standard.lane.name} to judge it ({_count(standard)})"
    told = f"standard: {_told(standard)} per accepted image"
    if premium.measured:
        return f"{told}, {_told(premium)} on premium, which is not certain to be less"
    if premium.low < standard.cost:
        return f"{told}, perhaps from ${premium.low:.3f} on premium: too few verdicts on it ({_count(premium)})"
    return f"{told}, at least ${premium.low:.3f} on premium"


def _count(estimate: Estimate) -> str:
    return f"{estimate.tally.judged} given, {MIN_VERDICTS} needed"


def _with_trial(choice: Choice, best: Estimate, estimates: Sequence[Estimate], chance: float) -> Choice:
    """*choice*, and the lane that is tried because it might be cheaper than *best*: of the other class first."""
    if not best.measured:
        return choice
    hopeful = [each for each in estimates if each is not best and each.low < best.cost and each.silent < MAX_SILENT]
    if not hopeful:
        return choice
    lane = min(hopeful, key=lambda each: (each.premium is best.premium, each.low, each.lane.name)).lane.name
    turn = chance >= 1 - TRIAL_SHARE
    why = f"{choice.why}; {TRIAL_SHARE:.0%} of the requests try {lane}" + (", this one too" if turn else "")
    return Choice(premium=choice.premium, why=why, trial=lane if turn else None)


def _told(estimate: Estimate) -> str:
    if estimate.cost == math.inf:
        return f"over ${estimate.low:.3f}"
    return f"${estimate.cost:.3f} (${estimate.low:.3f} to ${estimate.high:.3f})"


def learning(estimates: Sequence[Estimate], choice: Choice) -> Learning:
    """The figures behind *choice*, for people."""
    return Learning(tuple(_row(each) for each in estimates), choice.why, choice.trial)


def _row(estimate: Estimate) -> AcceptanceRow:
    tally = estimate.tally
    return AcceptanceRow(
        lane=estimate.lane.name,
        verdicts=tally.judged,
        accepted=tally.share if tally.images else None,
        cost=_usd(estimate.cost),
        low=_usd(estimate.low),
        high=_usd(estimate.high),
    )


def _usd(amount: float) -> Decimal | None:
    return Decimal(f"{amount:.4f}") if math.isfinite(amount) else None
