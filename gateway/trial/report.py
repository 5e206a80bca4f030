"""What a trial comes to, lane by lane. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.router.acceptance import Tally, loss, share_interval, verdict
from gateway.trial import stopping
from gateway.trial.estimate import estimate
from gateway.trial.journal import Drawn, Trial
from gateway.trial.judging import Sheet, judged_in_order, sheets
from gateway.trial.plan import TrialPlan
from gateway.trial.stopping import Recommendation

Z: Final = 1.96
"""Standard errors to either side of the figures that are shown: 95 % of such intervals hold the truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How a lane did.

    Of *asked* prompts it *generated* an image for some, of which so many were *judged* and *accepted*; *retries* are the
    calls beyond the first for each. *seconds* is the median for a generated image, *spend* and *cleanup* USD, *minutes* of
    cleaning up. *share* is accepted of judged, *cost* USD per accepted image, spend and cleaning up of what was judged; each
    with the ends of its interval. None where nothing can be said.
    """

    lane: str
    asked: int
    generated: int
    judged: int
    accepted: int
    retries: int
    seconds: float | None
    spend: Decimal
    minutes: float
    cleanup: Decimal
    share: float | None
    share_low: float
    share_high: float
    cost: float | None
    low: float
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a trial comes to: a row for each lane, and what the stop rule says."""

    title: str
    prompts: int
    judged: int
    rows: tuple[Row, ...]
    recommendation: Recommendation


def report(plan: TrialPlan, lanes: Sequence[str], trial: Trial) -> Report:
    """The report on *lanes* as far as *trial* got."""
    shown = sheets(plan, lanes, trial)
    judged = judged_in_order(shown, trial)
    rows = tuple(_row(lane, plan, trial) for lane in lanes)
    recommendation = recommended(shown, lanes, plan, trial)
    return Report(
        title=plan.title, prompts=len(plan.prompts), judged=len(judged), rows=rows, recommendation=recommendation
    )  # fmt: skip


def recommended(shown: Sequence[Sheet], lanes: Sequence[str], plan: TrialPlan, trial: Trial) -> Recommendation:
    """What the stop rule says, from the verdicts up to its last look."""
    judged = judged_in_order(shown, trial)
    taken = [each for each in stopping.looks(len(shown), trial.revealed) if each <= len(judged)]
    looked = taken[-1] if taken else 0
    images = [image for sheet in judged[:looked] for image in sheet.images]
    tallies = {lane: _tally(lane, images, plan, trial) for lane in lanes}
    prices = {lane: _price(lane, images) for lane in lanes}
    return stopping.recommend(tallies, prices, len(taken), looked)


def _row(lane: str, plan: TrialPlan, trial: Trial) -> Row:
    keys = [prompt.key for prompt in plan.prompts]
    drawn = [trial.drawn[key, lane] for key in keys if (key, lane) in trial.drawn]
    failed = [trial.failed[key, lane] for key in keys if (key, lane) in trial.failed]
    given = [trial.verdicts[each.id] for each in drawn if each.id in trial.verdicts]
    calls = [each.attempts for each in drawn] + [each.attempts for each in failed]
    tally = _tally(lane, drawn, plan, trial)
    share_low, share_high = share_interval(tally, Z)
    found = estimate(tally, _price(lane, drawn), Z)
    return Row(
        lane=lane, asked=len(drawn) + len(failed), generated=len(drawn), judged=len(given),
        accepted=sum(each.accepted for each in given),
        retries=sum(max(0, attempts - 1) for attempts in calls),
        seconds=statistics.median(each.seconds for each in drawn) if drawn else None,
        spend=sum((each.usd + each.lost for each in drawn), sum((each.lost for each in failed), Decimal(0))),
        minutes=sum(each.minutes for each in given),
        cleanup=sum((each.cleanup(plan.rate) for each in given), Decimal(0)), share=tally.share if given else None,
        share_low=share_low, share_high=share_high, cost=_finite(found.cost), low=found.low, high=_finite(found.high),
    )  # fmt: skip


def _tally(lane: str, images: Iterable[Drawn], plan: TrialPlan, trial: Trial) -> Tally:
    """The verdicts on those of *images* that *lane* drew, and their share of what its failures cost."""
    total = Tally()
    for image in images:
        if image.lane == lane and (given := trial.verdicts.get(image.id)) is not None:
            cleanup = float(given.cleanup(plan.rate))
            total = total.plus(verdict(float(image.usd + image.lost), 1, given.accepted, cleanup))
    keys = {prompt.key for prompt in plan.prompts}
    lost = [each.lost for (key, name), each in trial.failed.items() if key in keys and name == lane and each.lost]
    drawn = sum(key in keys and name == lane for key, name in trial.drawn)
    for each in lost if total.judged else ():
        total = total.plus(loss(float(each)), total.judged / drawn)
    return total


def _price(lane: str, images: Iterable[Drawn]) -> float:
    """USD that an image costs at least on *lane*."""
    return float(min((each.price for each in images if each.lane == lane), default=Decimal(0)))


def _finite(amount: float) -> float | None:
    return amount if amount < float("inf") else None
