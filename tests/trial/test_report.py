"""The figures of a trial, and what the stop rule makes of them."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from itertools import pairwise

import pytest

from gateway.router.premium import MIN_VERDICTS
from gateway.trial import stopping
from gateway.trial.journal import Failed, Revealed, Trial
from gateway.trial.report import Row, report
from gateway.trial.stopping import ERROR, EVERY, bound, looks
from tests.trial.trials import BEGUN, CHEAP, FINE, LANES, drawn, lines, plan, trial, verdict

YES, NO = [True], [False]


def row(known: Trial, prompts: int, lane: str = CHEAP) -> Row:
    return next(each for each in report(plan(prompts), LANES, known).rows if each.lane == lane)


def test_a_lane_is_reported_with_all_its_figures() -> None:
    known = Trial.of(
        [
            BEGUN,
            drawn(0, attempts=1, seconds=4.0),
            drawn(1, attempts=3, seconds=6.0, lost=Decimal("0.02")),
            drawn(2, attempts=1, seconds=20.0),
            Failed(prompt="key3", lane=CHEAP, reason="no_image", lost=Decimal("0.05"), attempts=2, seconds=9.0),
            verdict(0, CHEAP, True), verdict(1, CHEAP, True, 1.5), verdict(2, CHEAP, False, 4.5),
        ]
    )  # fmt: skip
    found = row(known, 4)
    assert (found.asked, found.generated, found.judged, found.accepted, found.retries) == (4, 3, 3, 2, 3)
    assert (found.seconds, found.spend) == (6.0, Decimal("0.22"))
    assert (found.minutes, found.cleanup) == (6.0, Decimal(6))
    assert found.share == pytest.approx(2 / 3)
    assert found.cost == pytest.approx((0.22 + 6.0) / 2)
    assert found.low < found.cost < (found.high or math.inf)


def test_the_share_accepted_has_wilsons_interval() -> None:
    found = row(trial(10, YES * 8 + NO * 2, YES * 10), 10)
    assert (found.share_low, found.share_high) == pytest.approx((0.490, 0.943), abs=0.001)


def test_a_lane_of_which_nothing_was_accepted_has_no_cost_but_a_lower_end() -> None:
    found = row(trial(10, NO * 10, YES * 10, minutes=3), 10)
    assert (found.cost, found.high) == (None, None)
    assert found.low == pytest.approx(3.05 / 0.2775, rel=0.001)


def test_a_lane_that_drew_nothing_is_reported_with_what_that_cost() -> None:
    known = Trial.of(
        [BEGUN, Failed(prompt="key0", lane=CHEAP, reason="auth", lost=Decimal(0), attempts=1, seconds=1.0)]
    )
    found = row(known, 1)
    assert (found.asked, found.generated, found.seconds, found.share, found.cost) == (1, 0, None, None, None)


def test_what_was_not_judged_yet_does_not_count_into_the_cost() -> None:
    assert row(trial(9, YES * 2, YES * 2), 9).cost == pytest.approx(0.05)


def test_a_clear_difference_is_called_at_the_first_look() -> None:
    found = report(plan(20), LANES, trial(20, NO * 8 + YES * 12, YES * 20, minutes=5)).recommendation
    assert (found.lane, found.decided, found.looked) == (FINE, True, 20)


def test_a_lane_of_which_nothing_is_accepted_loses_at_the_first_look() -> None:
    found = report(plan(20), LANES, trial(20, NO * 20, YES * 20, minutes=5)).recommendation
    assert (found.lane, found.looked) == (FINE, 20)
    assert found.why.startswith(f"use {FINE}: an accepted image costs $0.200 there")


def test_nothing_is_called_before_there_are_enough_verdicts() -> None:
    found = report(plan(30), LANES, trial(30, NO * 19, YES * 19, minutes=60)).recommendation
    assert (found.lane, found.why) == (None, "not decided: 20 prompts have to be judged before anything is concluded")
    few = report(plan(19), LANES, trial(19, NO * 19, YES * 19, minutes=60)).recommendation
    assert few.lane is None


def test_between_looks_the_verdicts_of_the_last_one_are_what_counts() -> None:
    at_20 = report(plan(60), LANES, trial(60, YES * 20, YES * 20)).recommendation
    later = report(plan(60), LANES, trial(60, YES * 20 + NO * 15, YES * 35, minutes=600)).recommendation
    assert later == at_20


def test_alike_lanes_are_not_told_apart_and_the_one_ahead_is_named() -> None:
    known = Trial.of(
        [BEGUN, *(drawn(n, lane, price=Decimal("0.1"), usd=Decimal("0.1")) for n in range(40) for lane in LANES),
         *(verdict(n, CHEAP, n % 2 == 0) for n in range(40)), *(verdict(n, FINE, n % 8 < 5) for n in range(40))]
    )  # fmt: skip
    found = report(plan(40), LANES, known).recommendation
    assert (found.lane, found.ahead, found.looked) == (None, FINE, 40)
    assert found.needed is not None
    assert found.needed > 40
    assert found.needed % EVERY == 0


def test_looks_are_taken_every_20_prompts_and_at_the_end_and_where_the_lanes_were_shown() -> None:
    assert looks(50) == [20, 40, 50]
    assert looks(70, revealed=[50]) == [20, 40, 50, 60, 70]
    assert looks(12) == []
    assert EVERY == MIN_VERDICTS


def test_a_trial_that_goes_on_after_its_report_looks_once_more() -> None:
    known = Trial.of([*lines(40, YES * 20, YES * 20), Revealed(prompts=20)])
    assert known.revealed == (20,)
    assert looks(40, known.revealed) == [20, 40]


@pytest.mark.parametrize("lanes", [2, 3, 5])
def test_all_looks_together_err_no_oftener_than_promised(lanes: int) -> None:
    tails = [math.erfc(bound(look, lanes) / math.sqrt(2)) for look in range(1, 2000)]
    assert sum(tails) * math.comb(lanes, 2) <= ERROR
    assert all(later > earlier for earlier, later in pairwise(bound(look, lanes) for look in range(1, 50)))


def wrong_calls(runs: int, share: float, minutes: float) -> float:
    """How often one of two equal lanes is called at some look within 100 prompts."""
    dice = random.Random(f"{share} {minutes}")
    called = 0
    for _ in range(runs):
        tallies = dict.fromkeys(LANES, stopping.Tally())
        for prompt in range(1, 101):
            for lane in LANES:
                good = dice.random() < share
                cleanup = 0.0 if good else dice.expovariate(1 / minutes)
                tallies[lane] = tallies[lane].plus(verdict_tally(good, cleanup))
            if prompt % EVERY == 0:
                made = stopping.recommend(tallies, dict.fromkeys(LANES, 0.1), prompt // EVERY, prompt)
                if made.decided:
                    called += 1
                    break
    return called / runs


def verdict_tally(good: bool, cleanup: float) -> stopping.Tally:
    from gateway.router.acceptance import verdict as judged

    return judged(0.1, 1, good, cleanup)


@pytest.mark.parametrize(("share", "minutes"), [(0.5, 2.0), (0.8, 0.5), (0.95, 5.0)])
def test_two_equal_lanes_are_seldom_told_apart(share: float, minutes: float) -> None:
    assert wrong_calls(200, share, minutes) <= ERROR


def test_a_lane_that_is_half_as_dear_is_usually_found() -> None:
    dice = random.Random(7)
    found = 0
    for _ in range(40):
        cheap = [dice.random() < 0.4 for _ in range(100)]
        fine = [dice.random() < 0.9 for _ in range(100)]
        known = trial(100, cheap, fine, minutes=1)
        found += report(plan(100), LANES, known).recommendation.lane == FINE
    assert found >= 38
