"""When a trial has said enough: the stop rule. Pure.

A look is taken after every :data:`EVERY` prompts judged, and after the last one. The trial may stop when an accepted image is
certain to cost less on one lane than on every other. Whoever looks often errs often, so each look has to be surer than the
one before: look *k* may err with a chance of ``ERROR / (k (k + 1))``, shared by all pairs of lanes. Over any number of looks
these chances add up to less than :data:`ERROR` (Bonferroni), so that prompts may be added to a trial that was not decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from gateway.router.acceptance import Tally, is_certainly_less
from gateway.router.premium import MIN_VERDICTS
from gateway.trial.estimate import Estimate, estimate

ERROR: Final = 0.05
"""The chance at most that a trial, however long, calls a lane the cheaper one that is not."""
EVERY: Final = MIN_VERDICTS
"""Prompts judged between two looks: as many as the router wants to have verdicts on before it concludes anything."""
MOST: Final = 10
"""How many times as many prompts may be said to be needed: beyond, the lanes are as good as alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What the stop rule says: use *lane*, or (None) that this is not *decided*.

    *looked* is after how many prompts, *needed* how many it would probably take (None: it cannot be said, or too many).
    *ahead* is the lane with the lowest figure so far. *why* is a sentence.
    """

    lane: str | None
    why: str
    looked: int = 0
    ahead: str | None = None
    needed: int | None = None

    @property
    def decided(self) -> bool:
        """Whether the trial may stop."""
        return self.lane is not None


def looks(prompts: int, revealed: Iterable[int] = ()) -> list[int]:
    """After how many judged prompts of *prompts* a look is taken; *revealed* are those at which the lanes were shown."""
    return sorted({*range(EVERY, prompts + 1, EVERY), *(each for each in (*revealed, prompts) if each >= EVERY)})


def bound(look: int, lanes: int) -> float:
    """How many standard errors to either side the estimates reach at look number *look*, counted from 1."""
    chance = ERROR / (look * (look + 1)) / max(1, math.comb(lanes, 2))
    return NormalDist().inv_cdf(1 - chance / 2)


def recommend(tallies: Mapping[str, Tally], prices: Mapping[str, float], look: int, looked: int) -> Recommendation:
    """What the *tallies* by lane say at look number *look*, taken after *looked* prompts. *prices* are USD per image."""
    if not look:
        return Recommendation(
            lane=None, why=f"not decided: {EVERY} prompts have to be judged before anything is concluded"
        )
    few = [lane for lane, tally in tallies.items() if tally.judged < MIN_VERDICTS]
    if few:
        why = f"not decided: {few[0]} has {tallies[few[0]].judged} of the {MIN_VERDICTS} verdicts that are needed"
        return Recommendation(lane=None, why=why, looked=looked)
    z = bound(look, len(tallies))
    estimates = {lane: estimate(tally, prices[lane], z) for lane, tally in tallies.items()}
    best = min(estimates, key=lambda lane: (estimates[lane].cost, estimates[lane].low))
    rivals = [each for lane, each in estimates.items() if lane != best]
    if all(is_certainly_less(estimates[best], rival) for rival in rivals):
        why = (
            f"use {best}: an accepted image costs {_usd(estimates[best].cost)} there, less than on any other lane here"
        )
        return Recommendation(lane=best, why=f"{why}. The trial may stop", looked=looked, ahead=best)
    needed = _needed(estimates[best], rivals, looked)
    return Recommendation(lane=None, why=_undecided(best, looked, needed), looked=looked, ahead=best, needed=needed)


def _needed(best: Estimate, rivals: Iterable[Estimate], looked: int) -> int | None:
    """How many prompts would settle it if the figures stayed as they are: intervals shrink with the root of the number."""
    factor = max(_shortfall(best, rival) for rival in rivals)
    return math.ceil(looked * factor / EVERY) * EVERY if factor <= MOST else None


def _shortfall(best: Estimate, rival: Estimate) -> float:
    """How many times as many prompts it takes to tell *rival* from *best*."""
    gap = rival.cost - best.cost
    arms = math.hypot(best.high - best.cost, rival.cost - rival.low) if rival.cost < math.inf else math.inf
    return (arms / gap) ** 2 if 0 < gap < math.inf and arms < math.inf else math.inf


def _undecided(best: str, looked: int, needed: int | None) -> str:
    told = f"not decided after {looked} prompts: {best} is ahead, and it may be chance"
    if needed is None:
        return f"{told}. The lanes are too much alike, or too little is accepted, to say how many more prompts it takes"
    return f"{told}. About {needed} prompts in all would settle it if it goes on like this"


def _usd(amount: float) -> str:
    return f"${amount:.3f}"
