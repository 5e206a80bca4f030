"""What is worked out once and kept: it is what would be worked out anew."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ImageRequest, ProviderPreferences
from gateway.health.breaker import Underway
from gateway.health.cooldowns import Answers
from gateway.health.health import LaneState
from gateway.router import constraints
from gateway.router.index import Index
from gateway.router.lanes import Lane
from gateway.router.router import Situation
from tests.gateway.lanes import CALM, CHEAP, DEAR, NOW, at, order, planned, steps, why
from tests.gateway.test_router_properties import lanes, requests, situations
from tests.gateway.virtual_time import TODAY


@settings(max_examples=300)
@given(requests(), lanes(), situations, st.integers(0, 3))
def test_lanes_that_are_alike_get_the_answer_that_each_would_get_alone(
    request: ImageRequest, known: list[Lane], situation: Situation, references: int
) -> None:
    twins = [
        replace(lane, provider=f"twin-of-{lane.provider}", prices=dearer(lane), references=references) for lane in known
    ]
    asked = constraints.question(request, situation)
    together = Index.of([*known, *twins]).field(asked)
    alone = [Index.of([lane]).field(asked) for lane in (*known, *twins)]
    sizes = {runner.name: runner.sizes for tier in together.tiers for runner in tier}
    assert sizes == {runner.name: runner.sizes for field in alone for tier in field.tiers for runner in tier}
    assert together.excluded == tuple(each for field in alone for each in field.excluded)


def test_lanes_that_differ_in_one_fact_are_not_alike() -> None:
    other = {
        "model": "pro", "upstream_model": "x", "lane_class": "legacy", "aliases": ("x",), "sizes": ("1K",),
        "aspect_ratios": ("1:1",), "references": 2, "reference_bytes": 5, "capabilities": frozenset(),
        "thinking_levels": ("low",), "output_formats": ("png",), "residency": "eu", "refused_countries": frozenset({"HK"}),
        "egress_country": "HK", "released": TODAY, "retired": TODAY, "retired_configured": True, "replacement": "x",
        "vendor_host": False, "mode": "shadow", "enabled": False,
    }  # fmt: skip
    for name, value in other.items():
        assert constraints.likeness(replace(CHEAP, **{name: value})) != constraints.likeness(CHEAP), name
    assert constraints.likeness(DEAR) == constraints.likeness(CHEAP)


def dearer(lane: Lane) -> dict[str, Decimal]:
    return {size: price * 3 for size, price in lane.prices.items()}


def test_lanes_that_are_alike_but_for_their_provider_are_told_apart_by_who_asks_for_one() -> None:
    assert why(planned(CHEAP, DEAR, providers=ProviderPreferences(only=("dear",))))["cheap"][0] == "preference"
    assert order(planned(CHEAP, DEAR, providers=ProviderPreferences(order=("dear",)))) == ["dear", "cheap"]
    assert why(planned(CHEAP, DEAR, max_cost=0.06))["dear"][0] == "max_cost"


def test_a_rest_that_ends_within_a_second_ends_at_its_own_time_whenever_the_last_plan_was_made() -> None:
    state = LaneState(answers={"1K": Answers(until=NOW + 0.5)})
    for moment, rests in ((NOW, True), (NOW + 0.6, False), (NOW + 0.4, True), (NOW + 0.9, False)):
        plan = planned(CHEAP, DEAR, situation=replace(CALM, now=moment, states={CHEAP.name: state}))
        assert ("cheap" in why(plan)) is rests


def test_calls_that_become_overdue_within_a_second_shut_the_lane_at_that_time() -> None:
    overdue = Underway(NOW - 45, NOW + 0.5)
    state = LaneState(calls={1: overdue, 2: overdue}, watch=NOW + 0.5)
    for moment, shut in ((NOW, False), (NOW + 0.6, True), (NOW + 0.4, False), (NOW + 0.9, True)):
        plan = planned(CHEAP, DEAR, situation=replace(CALM, now=moment, states={CHEAP.name: state}))
        assert ("cheap" in why(plan)) is shut


def test_what_is_known_of_a_lane_counts_from_the_next_second_on() -> None:
    known = at("a"), at("b")
    state = LaneState(failures=9.0, updated=NOW)
    rates = [
        planned(*known, situation=replace(CALM, now=NOW + later, states={"a/flash": state})).candidates[-1].success_rate
        for later in (0.0, 0.9, 600.0)
    ]
    assert rates[0] == rates[1] == 9 / 19
    assert rates[2] == 9 / 14.5


def test_a_lane_is_asked_for_the_sizes_of_each_question_alone() -> None:
    known = replace(CALM, states={CHEAP.name: LaneState(successes=5.0, updated=NOW)})
    for situation in (CALM, known):
        for least, sizes in (("2K", ("4K", "2K")), ("4K", ("4K",)), ("1K", ("4K", "2K", "1K"))):
            plan = planned(CHEAP, situation=situation, size="4K", min_size=least)
            assert steps(plan) == [("cheap", size) for size in sizes]
