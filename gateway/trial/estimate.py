"""What an accepted image costs on a lane, by the verdicts of a trial, with an interval at any confidence. Pure.

The interval is the wider, on each side, of Wilson's for the share accepted and Fieller's for the ratio of the money to the
images accepted (Fieller, "Some problems in interval estimation", 1954). Fieller's knows how much the cost of cleaning up
varies, and unlike the router's delta method, which does for its narrower intervals, its lower end does not fall below zero
where the few images of a trial have to tell with much confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.router.acceptance import Tally, interval, share_interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """USD per accepted image: *cost*, within *low* to *high*; infinite where nothing bounds it."""

    cost: float
    low: float
    high: float


def estimate(tally: Tally, price: float, z: float) -> Estimate:
    """From a lane's *tally* and list *price*, reaching *z* standard errors to either side."""
    if tally.accepted <= 0:
        return Estimate(math.inf, *interval(tally, price, z))
    least, most = share_interval(tally, z)
    per_image = (tally.spend + tally.cleanup) / tally.images
    low, high = _fieller(tally, z)
    low = max(min(low, per_image / most), tally.spend / tally.images)
    return Estimate(tally.cost, low, max(high, per_image / least if least > 0 else math.inf))


def _fieller(tally: Tally, z: float) -> tuple[float, float]:
    """The ratios of money to images accepted that the verdicts do not speak against."""
    n = tally.verdicts
    if n <= 1:
        return 0.0, math.inf
    money, accepted, z2 = (tally.spend + tally.cleanup) / n, tally.accepted / n, z * z / (n - 1)
    a = accepted**2 - z2 * (tally.accepted_squared / n - accepted**2)
    b = money * accepted - z2 * (tally.money_accepted / n - money * accepted)
    c = money**2 - z2 * (tally.money_squared / n - money**2)
    root = math.sqrt(max(0.0, b * b - a * c))
    if a <= 0:  # the share accepted might be 0
        return 0.0, math.inf
    return (b - root) / a, (b + root) / a
