"""What people accepted, what that cost, and when premium pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import ImageRequest, Plan
from gateway.router import router
from gateway.router.acceptance import DISCOUNT, TASKS_KEPT, Tally, Verdicts, interval, verdict
from gateway.router.lanes import Lane
from gateway.router.premium import CHANCES, MAX_SILENT, MIN_VERDICTS, TRIAL_SHARE
from gateway.router.router import Kind
from providers.errors import InvalidRequest
from tests.gateway.lanes import CALM, FLASH, at, order

PREMIUM = replace(FLASH, model="pro", upstream_model="pro-001", lane_class="premium")
CHEAP, FINE = at("cheap", "0.05"), at("fine", "0.20", PREMIUM)
TRIAL_SEED = CHANCES - 1
"""A seed whose request is one of those that try a lane out."""
POSTER: dict[str, Any] = {"prompt": "a fox", "quality": "auto", "task": "poster"}


def tally(accepted: int, rejected: int, spend: float, cleanup: float = 0.0) -> Tally:
    """The tally of so many verdicts, each on one image for *spend* USD; *cleanup* USD for each that was rejected."""
    total = Tally()
    for number in range(accepted + rejected):
        good = number < accepted
        total = total.plus(verdict(spend, 1, good, 0.0 if good else cleanup))
    return total


def auto(
    tallies: Sequence[tuple[Lane, Tally]],
    lanes: Sequence[Lane] = (CHEAP, FINE),
    seed: int = 0,
    incumbent: Lane | None = None,
    **fields: Any,
) -> Plan:
    request = ImageRequest(**{**POSTER, **fields})
    situation = replace(
        CALM,
        acceptance={lane.name: each for lane, each in tallies},
        seed=seed,
        incumbents={Kind.of(request): incumbent.name} if incumbent else {},
    )
    return router.plan(request, lanes, situation)


def why(plan: Plan) -> str:
    assert plan.acceptance is not None
    return plan.acceptance.why


# The figures


def test_the_cost_per_accepted_image_counts_rejected_ones_and_cleaning_up() -> None:
    known = tally(accepted=30, rejected=10, spend=0.06, cleanup=0.30)
    assert known.share == 0.75
    assert known.cost == pytest.approx((40 * 0.06 + 10 * 0.30) / 30)


def test_without_verdicts_an_image_costs_its_price_at_least() -> None:
    assert interval(Tally(), 0.05) == (0.05, math.inf)


def test_the_interval_narrows_as_verdicts_come_in() -> None:
    spans = [high - low for low, high in (interval(tally(7 * n, 3 * n, 0.05, 0.1), 0.05) for n in (1, 4, 16, 64))]
    assert spans == sorted(spans, reverse=True)
    assert spans[-1] < spans[0] / 5


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.01, 1), st.floats(0, 10))
def test_the_interval_holds_the_estimate_and_nothing_costs_less_than_its_price(
    accepted: int, rejected: int, spend: float, cleanup: float
) -> None:
    known = tally(accepted, rejected, spend, cleanup)
    low, high = interval(known, spend)
    assert spend * (1 - 1e-9) <= low <= high
    assert known.verdicts == 0 or low * (1 - 1e-9) <= known.cost <= high * (1 + 1e-9)


def test_twenty_accepted_in_a_row_do_not_prove_that_all_will_be() -> None:
    low, high = interval(tally(accepted=20, rejected=0, spend=0.20), 0.20)
    # Wilson's lower bound for 20 of 20 is 20 / (20 + 1.2816²)
    assert (low, high) == (pytest.approx(0.20), pytest.approx(0.20 * (20 + 1.2816**2) / 20))


def test_one_dear_anecdote_widens_the_interval_instead_of_moving_it() -> None:
    calm = tally(accepted=25, rejected=0, spend=0.05)
    low, high = interval(calm.plus(verdict(0.05, 1, False, cleanup=100.0)), 0.05)
    assert low == pytest.approx(0.05)
    assert high > 5


def test_all_images_of_a_request_are_one_verdict() -> None:
    low_of_ten, _ = interval(verdict(0.50, 10, False, 0.0).plus(verdict(0.50, 10, True, 0.0)), 0.05)
    low_of_two, _ = interval(tally(1, 1, 0.05), 0.05)
    assert low_of_ten == pytest.approx(low_of_two)


def test_a_change_of_the_price_counts_at_once() -> None:
    known = tally(accepted=30, rejected=30, spend=0.05, cleanup=0.02)
    dearer, same = known.at(0.10), tally(accepted=30, rejected=30, spend=0.10, cleanup=0.02)
    assert dearer.cost == pytest.approx(same.cost)
    assert interval(dearer, 0.1) == pytest.approx(interval(same, 0.1))
    assert known.at(0.05) == known


# The store


def store(kept: int = 100) -> Verdicts:
    verdicts = Verdicts(kept)
    for number in range(10):
        verdicts.remember(f"r{number}", "cheap/flash", "poster", Decimal("0.05"), 1)
    return verdicts


def test_verdicts_are_counted_by_lane_and_task() -> None:
    verdicts = store()
    verdicts.remember("other", "fine/pro", None, Decimal("0.20"), 2)
    verdicts.judge("r0", True)
    verdicts.judge("r1", False, Decimal("0.30"))
    verdicts.judge("other", True)
    poster = verdicts.of("poster")["cheap/flash"]
    assert poster.judged == 2
    assert poster.cost == pytest.approx(2 * 0.05 + 0.30, rel=0.01)
    assert verdicts.of("").keys() == verdicts.of(None).keys() == {"fine/pro"}
    assert verdicts.of(None)["fine/pro"].cost == pytest.approx(0.10)
    assert verdicts.of("unheard of") == {}


def test_judging_again_takes_the_place_of_the_earlier_verdict() -> None:
    verdicts, once = store(), store()
    verdicts.judge("r0", False, 5)
    for number in range(1, 6):
        verdicts.judge(f"r{number}", True)
        once.judge(f"r{number - 1}", True)
    once.judge("r5", True)
    verdicts.judge("r0", True)
    changed, right = verdicts.of("poster")["cheap/flash"], once.of("poster")["cheap/flash"]
    assert changed.judged == right.judged == 6
    assert changed.share == 1.0
    assert changed.cost == pytest.approx(right.cost)
    assert interval(changed, 0.05) == pytest.approx(interval(right, 0.05))


def test_what_failed_attempts_cost_counts_against_the_lane_that_failed() -> None:
    verdicts = Verdicts()
    lost = {"cheap/flash": Decimal("0.05"), "fine/pro": Decimal("0.20")}
    verdicts.remember("r", "fine/pro", "poster", Decimal("0.20"), 1, lost=lost)
    verdicts.judge("r", True)
    known = verdicts.of("poster")
    assert (known["fine/pro"].spend, known["fine/pro"].judged) == (0.40, 1)
    assert (known["cheap/flash"].spend, known["cheap/flash"].judged) == (0.05, 0)


def test_later_verdicts_for_the_task_make_earlier_ones_weigh_less() -> None:
    verdicts = store()
    verdicts.judge("r0", True)
    for number in range(300):
        verdicts.remember(f"f{number}", "fine/pro", "poster", Decimal("0.20"), 1)
        verdicts.judge(f"f{number}", True)
    faded = verdicts.of("poster")["cheap/flash"]
    assert faded.verdicts == pytest.approx(DISCOUNT**300)
    assert faded.judged == 1


def test_an_unknown_request_is_refused_with_what_to_pass() -> None:
    with pytest.raises(
        InvalidRequest, match=r"request_id: .*'nope'.* expected the request_id of a result of this gateway"
    ):
        store().judge("nope", True)


def test_the_oldest_requests_are_forgotten() -> None:
    verdicts = store(kept=3)
    verdicts.judge("r7", True)
    with pytest.raises(InvalidRequest, match=r"request_id: .*one of its last 3"):
        verdicts.judge("r6", True)


@pytest.mark.parametrize("cost", [-0.01, math.nan, math.inf, Decimal("NaN"), "1", None, True])
def test_a_cost_that_is_no_amount_is_refused(cost: Any) -> None:
    verdicts = store()
    with pytest.raises(InvalidRequest, match="cleanup_cost: expected an amount in USD"):
        verdicts.judge("r0", False, cost)
    assert verdicts.of("poster") == {}


def test_labels_made_up_for_each_request_do_not_fill_the_memory() -> None:
    verdicts = Verdicts()
    for number in range(TASKS_KEPT + 1):
        verdicts.remember("r", "cheap/flash", f"task {number}", Decimal("0.05"), 1)
        verdicts.judge("r", True)
    assert verdicts.of("task 0") == {}
    assert verdicts.of(f"task {TASKS_KEPT}")["cheap/flash"].judged == 1


# Premium when it pays

POOR = tally(accepted=10, rejected=30, spend=0.05, cleanup=0.40)
"""1.40 USD per accepted image."""
GOOD = tally(accepted=38, rejected=2, spend=0.20)
"""0.21 USD."""


def test_a_task_begins_on_standard_though_premium_is_cheaper_to_order() -> None:
    plan = auto([], lanes=(at("bargain", "0.01", PREMIUM), CHEAP))
    assert order(plan) == ["cheap", "bargain"]
    assert why(plan) == "standard: too few verdicts on cheap/flash to judge it (0 given, 20 needed)"


def test_premium_comes_first_where_an_accepted_image_certainly_costs_less_there() -> None:
    plan = auto([(CHEAP, POOR), (FINE, GOOD)])
    assert order(plan) == ["fine", "cheap"]
    assert why(plan).startswith("premium: $0.211 ($0.2")


def test_standard_stays_where_it_is_good_enough() -> None:
    fair = tally(accepted=38, rejected=2, spend=0.05, cleanup=0.40)
    assert order(auto([(CHEAP, fair), (FINE, GOOD)])) == ["cheap", "fine"]


def test_a_little_less_is_not_less_for_certain() -> None:
    about = tally(accepted=30, rejected=10, spend=0.05, cleanup=0.55)  # 0.25 USD, give or take
    plan = auto([(CHEAP, about), (FINE, GOOD)])
    assert order(plan)[0] == "cheap"
    assert "not certain to be less" in why(plan)


def test_one_anecdote_does_not_change_the_class() -> None:
    scandal = tally(accepted=39, rejected=0, spend=0.05).plus(verdict(0.05, 1, False, cleanup=100.0))
    assert scandal.cost > 2
    assert order(auto([(CHEAP, scandal), (FINE, GOOD)]))[0] == "cheap"


@pytest.mark.parametrize("count", [1, MIN_VERDICTS - 1])
def test_few_verdicts_do_not_move_a_task_to_premium_however_good(count: int) -> None:
    plan = auto([(CHEAP, POOR), (FINE, tally(count, 0, 0.20))])
    assert order(plan)[0] == "cheap"
    assert f"too few verdicts on it ({count} given, 20 needed)" in why(plan)


def test_a_task_goes_back_to_standard_when_that_is_measured_to_be_cheaper() -> None:
    better = tally(accepted=20, rejected=6, spend=0.05, cleanup=0.40)  # 0.185 USD, not certainly less than 0.21
    assert order(auto([(CHEAP, POOR), (FINE, GOOD)], incumbent=FINE))[0] == "fine"
    assert order(auto([(CHEAP, better), (FINE, GOOD)], incumbent=FINE))[0] == "cheap"


def test_a_task_that_went_to_premium_stays_while_standard_is_not_known_to_be_cheaper() -> None:
    faded = POOR.discounted(2500)  # the verdicts on standard are long ago
    assert order(auto([(CHEAP, faded), (FINE, GOOD)]))[0] == "cheap"
    assert order(auto([(CHEAP, faded), (FINE, GOOD)], incumbent=FINE))[0] == "fine"


def test_a_stated_share_of_the_requests_tries_premium_once_it_could_win() -> None:
    seeds = range(0, CHANCES, CHANCES // 1000)
    firsts = [order(auto([(CHEAP, POOR)], seed=seed))[0] for seed in seeds]
    assert firsts.count("fine") / len(firsts) == pytest.approx(TRIAL_SHARE, abs=0.005)
    assert why(auto([(CHEAP, POOR)])).endswith("; 10% of the requests try fine/pro")
    assert why(auto([(CHEAP, POOR)], seed=TRIAL_SEED)).endswith("try fine/pro, this one too")


def test_premium_is_not_tried_where_it_could_not_win_even_if_everything_were_accepted() -> None:
    fair = tally(accepted=38, rejected=2, spend=0.05, cleanup=0.10)
    plan = auto([(CHEAP, fair)], seed=TRIAL_SEED)
    assert order(plan)[0] == "cheap"
    assert why(plan).endswith("at least $0.211 on premium")


def test_nothing_is_tried_before_standard_is_known() -> None:
    assert order(auto([(CHEAP, tally(1, 18, 0.05, 1.0))], seed=TRIAL_SEED))[0] == "cheap"


def test_standard_is_tried_again_once_its_verdicts_are_old() -> None:
    assert order(auto([(CHEAP, POOR), (FINE, GOOD)], incumbent=FINE, seed=TRIAL_SEED))[0] == "fine"
    assert order(auto([(CHEAP, POOR.discounted(4000)), (FINE, GOOD)], incumbent=FINE, seed=TRIAL_SEED))[0] == "cheap"


def test_a_trial_does_not_become_the_incumbent() -> None:
    incumbents: dict[Kind, str] = {}
    request = ImageRequest(**POSTER)
    router.note(incumbents, request, auto([(CHEAP, POOR)], seed=TRIAL_SEED))
    assert incumbents == {}
    router.note(incumbents, request, auto([(CHEAP, POOR)]))
    assert incumbents == {Kind.of(request): "cheap/flash"}


def test_within_a_class_known_lanes_come_by_the_cost_of_an_accepted_image() -> None:
    dearer = at("dearer", "0.06")
    good = tally(accepted=38, rejected=2, spend=0.06)
    plan = auto([(CHEAP, POOR), (dearer, good)], lanes=(CHEAP, dearer, FINE))
    assert order(plan) == ["dearer", "cheap", "fine"]


def test_other_sorts_keep_their_order_within_the_class() -> None:
    quick = at("quick", "0.06", seconds={"1K": 1.0})
    for known in ([(CHEAP, GOOD), (quick, POOR)], [(CHEAP, GOOD)]):
        plan = auto(known, lanes=(CHEAP, quick, FINE), providers={"sort": "latency"})
        assert order(plan) == ["quick", "cheap", "fine"]


def test_the_callers_own_order_outweighs_the_verdicts() -> None:
    plan = auto([(CHEAP, POOR), (FINE, GOOD)], providers={"order": ["cheap"]})
    assert order(plan) == ["cheap", "fine"]


def test_verdicts_count_for_auto_alone() -> None:
    for fields in ({"quality": "standard"}, {"model": ["flash", "pro"]}):
        plan = auto([(CHEAP, POOR), (FINE, GOOD)], **fields)
        assert order(plan) == ["cheap", "fine"]
        assert plan.acceptance is None


def test_the_smaller_sizes_come_in_the_same_order_of_classes() -> None:
    plan = auto([(CHEAP, POOR), (FINE, GOOD)], size="4K")
    assert [(step.lane, step.size) for step in plan.candidates] == [
        ("fine/pro", "4K"), ("cheap/flash", "4K"), ("fine/pro", "2K"), ("cheap/flash", "2K"),
    ]  # fmt: skip


def test_a_plan_shows_the_figures_behind_the_choice() -> None:
    plan = auto([(CHEAP, POOR)])
    assert str(plan).splitlines()[4:] == [
        why(plan),
        "  lane         verdicts  accepted  USD per accepted image",
        f"  cheap/flash  40        25%       1.4000 ({_usd(plan, 0)})",
        "  fine/pro     0         –         from 0.2111",
    ]


def _usd(plan: Plan, row: int) -> str:
    assert plan.acceptance is not None
    return f"{plan.acceptance.rows[row].low} to {plan.acceptance.rows[row].high}"


def test_a_lane_whose_images_nobody_judges_is_not_tried_for_ever() -> None:
    verdicts = Verdicts()
    for number in range(MIN_VERDICTS + 5):
        verdicts.remember(f"standard {number}", CHEAP.name, "poster", Decimal("0.05"), 1)
        verdicts.judge(f"standard {number}", False, cleanup_cost=3)
    request = ImageRequest(**POSTER)

    def planned_now() -> Plan:
        situation = replace(CALM, acceptance=verdicts.of("poster"), seed=TRIAL_SEED)
        return router.plan(request, [CHEAP, FINE], situation)

    tried = 0
    while order(planned_now())[0] == "fine":
        tried += 1
        verdicts.remember(f"trial {tried}", FINE.name, "poster", Decimal("0.20"), 1)
    assert tried == MAX_SILENT
    verdicts.judge("trial 1", True)
    assert order(planned_now())[0] == "fine"
