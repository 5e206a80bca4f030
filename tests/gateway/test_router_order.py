"""In which order lanes are tried: preferences, the first place, the last resort, and those to be probed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from gateway.health.breaker import Breaker
from gateway.health.cooldowns import Cooldown
from gateway.health.health import LaneState, concurrency
from gateway.request import ImageRequest
from gateway.router import router
from gateway.router.lanes import Lane
from gateway.router.situation import Kind
from tests.gateway.lanes import CALM, CHEAP, DEAR, FLASH, NOW, at, order, planned, why

# Preferences and order


def test_the_cheaper_lane_comes_first() -> None:
    assert order(planned(DEAR, CHEAP)) == ["cheap", "dear"]


def test_a_lane_that_fails_often_costs_more_than_its_price() -> None:
    failing = LaneState(failures=30.0, billed_failures=30.0, updated=NOW)
    situation = replace(CALM, states={"cheap/flash": failing})
    assert order(planned(CHEAP, DEAR, situation=situation)) == ["dear", "cheap"]


def test_latency_and_success_are_other_ways_to_sort() -> None:
    slow = at("slow", "0.01", seconds={"1K": 40.0})
    shaky = at("shaky", "0.10", seconds={"1K": 2.0})
    sound = at("sound", "0.20", seconds={"1K": 30.0})
    states = {
        "shaky/flash": LaneState(failures=1.0, updated=NOW), "sound/flash": LaneState(successes=90.0, updated=NOW)
    }  # fmt: skip
    by = {
        sort: order(planned(slow, shaky, sound, situation=replace(CALM, states=states, sort=sort)))
        for sort in ("price", "latency", "success")
    }  # fmt: skip
    assert by == {
        "price": ["slow", "shaky", "sound"],
        "latency": ["shaky", "sound", "slow"],
        "success": ["sound", "slow", "shaky"],
    }


def test_a_requests_sort_counts_over_the_configurations() -> None:
    slow, fast = at("slow", "0.01", seconds={"1K": 20.0}), at("fast", "0.03", seconds={"1K": 2.0})
    assert order(planned(slow, fast, providers={"sort": "latency"})) == ["fast", "slow"]
    assert order(planned(slow, fast, situation=replace(CALM, sort="latency"), providers={"sort": "price"})) == [
        "slow",
        "fast",
    ]


def test_of_equally_cheap_lanes_the_quicker_one_comes_first() -> None:
    slow, quick = at("a", "0.05", seconds={"1K": 60.0}), at("b", "0.05", seconds={"1K": 10.0})
    assert order(planned(slow, quick)) == ["b", "a"]


def test_a_lane_with_many_calls_under_way_gives_way_to_an_emptier_one() -> None:
    situation = replace(CALM, in_flight={"cheap/flash": 30})
    assert order(planned(CHEAP, at("other", "0.06"), situation=situation)) == ["other", "cheap"]
    queue = planned(
        CHEAP, situation=replace(CALM, in_flight={"cheap/flash": 2 * concurrency(LaneState()) - 1})
    ).candidates[0]
    assert queue.expected_seconds == 16  # two rounds of 8 s
    assert queue.expected_cost == planned(CHEAP).candidates[0].expected_cost


def test_failures_that_are_not_billed_make_a_lane_no_dearer() -> None:
    free = LaneState(failures=20.0, billed_failures=0.0, updated=NOW)
    billed = LaneState(failures=20.0, billed_failures=20.0, updated=NOW)
    cost = {
        name: planned(CHEAP, situation=replace(CALM, states={CHEAP.name: state})).candidates[0].expected_cost
        for name, state in (("free", free), ("billed", billed))
    }
    assert cost["free"] < Decimal("0.055") < Decimal("0.15") < cost["billed"]


def test_only_and_ignore_leave_the_others_out() -> None:
    assert order(planned(CHEAP, DEAR, FLASH, providers={"only": ["dear", "acme"], "ignore": ["acme"]})) == ["dear"]


def test_ordered_providers_come_first_and_the_rest_by_price() -> None:
    a, b, c, d = at("a", "0.01"), at("b", "0.02"), at("c", "0.03"), at("d", "0.04")
    assert order(planned(a, b, c, d, providers={"order": ["d", "b"]})) == ["d", "b", "a", "c"]


def test_equal_lanes_come_in_the_order_of_their_names() -> None:
    assert order(planned(at("b"), at("a"))) == order(planned(at("a"), at("b"))) == ["a", "b"]


# The first place


def near(provider: str, thousandths: float, seconds: float = 8.0) -> Lane:
    return at(provider, f"{thousandths / 1000:.4f}", seconds={"1K": seconds})


def first(*lanes: Lane, incumbent: str | None = None, seed: int = 0, **fields: Any) -> str:
    request = ImageRequest(prompt="a fox", **fields)
    incumbents = {Kind.of(request): f"{incumbent}/flash"} if incumbent else {}
    situation = replace(CALM, incumbents=incumbents, seed=seed)
    return router.plan(request, lanes, situation).candidates[0].lane.partition("/")[0]


def test_the_incumbent_stays_unless_it_is_beaten_by_more_than_fifteen_percent() -> None:
    assert first(near("a", 50), near("b", 50, 15)) == "a"
    assert first(near("a", 50), near("b", 50, 15), incumbent="b") == "b"
    assert first(near("a", 50), near("b", 50, 20), incumbent="b") == "a"


def test_an_incumbent_that_is_dearer_by_the_list_goes_at_five_percent() -> None:
    """There is no noise in a price."""
    assert first(near("a", 50), near("b", 52), incumbent="b") == "b"
    assert first(near("a", 50), near("b", 53), incumbent="b") == "a"


def test_an_incumbent_holds_the_first_place_alone_and_by_any_sort() -> None:
    lanes = near("a", 50, 10), near("b", 50, 11), near("c", 50, 13)
    situation = replace(CALM, sort="latency", incumbents={Kind.of(ImageRequest(prompt="a cat")): "b/flash"})
    assert order(planned(*lanes, situation=situation)) == ["b", "a", "c"]


def test_an_incumbent_is_one_of_comparable_requests_only() -> None:
    situation = replace(CALM, incumbents={Kind.of(ImageRequest(prompt="a cat", size="2K")): "b/flash"})
    assert order(planned(near("a", 50), near("b", 51), situation=situation)) == ["a", "b"]
    assert order(planned(near("a", 50), near("b", 51), situation=situation, size="2K")) == ["b", "a"]


def test_an_incumbent_does_not_outweigh_the_callers_order() -> None:
    assert first(near("a", 50), near("b", 51), incumbent="b", providers={"order": ["a"]}) == "a"


def test_noting_where_a_request_went_makes_its_lane_the_incumbent() -> None:
    incumbents: dict[Kind, str] = {}
    request = ImageRequest(prompt="a fox")
    router.note(incumbents, request, planned(near("b", 50)))
    situation = replace(CALM, incumbents=incumbents)
    assert order(planned(near("a", 48), near("b", 50), situation=situation)) == ["b", "a"]


def test_only_so_many_kinds_of_requests_are_noted() -> None:
    incumbents: dict[Kind, str] = {}
    for number in range(router.KINDS_KEPT + 5):
        router.note(incumbents, ImageRequest(prompt="a fox", model=("flash", f"m{number}")), planned(FLASH))
    assert len(incumbents) == router.KINDS_KEPT
    assert next(kind.model for kind in incumbents) == ("flash", "m5")


CROWD = near("a", 50.0, 8.3), near("b", 50.4, 8.2), near("c", 50.8, 8.1), near("d", 51.2, 8.0)
"""Four lanes at nearly one price, each of them the best in something or second to none in everything."""


def test_among_more_than_three_near_equal_lanes_the_better_of_two_drawn_ones_is_first() -> None:
    winners = [first(*CROWD, seed=seed) for seed in range(12)]
    assert {winner: winners.count(winner) for winner in "abcd"} == {"a": 6, "b": 4, "c": 2, "d": 0}


def test_drawing_leaves_the_rest_of_the_plan_in_plain_order() -> None:
    plans = {tuple(order(planned(*CROWD, situation=replace(CALM, seed=seed)))) for seed in range(12)}
    assert plans == {("a", "b", "c", "d"), ("b", "a", "c", "d"), ("c", "a", "b", "d")}


def test_nothing_is_drawn_among_lanes_that_are_clearly_dearer() -> None:
    assert {first(CROWD[0], near("x", 60), near("y", 61), near("z", 62), seed=seed) for seed in range(20)} == {"a"}


def test_nothing_is_drawn_where_success_counts() -> None:
    situation = replace(CALM, sort="success", states={"d/flash": LaneState(successes=90.0, updated=NOW)})
    assert {order(planned(*CROWD, situation=replace(situation, seed=seed)))[0] for seed in range(12)} == {"d"}


# The last resort

BROKEN = LaneState(breaker=Breaker(opened=NOW - 20, until=NOW + 100, openings=3), last_call=NOW - 20)


def test_the_only_lane_that_could_serve_is_asked_although_its_breaker_is_open() -> None:
    plan = planned(FLASH, situation=replace(CALM, states={FLASH.name: BROKEN}))
    assert (order(plan), plan.excluded, plan.last_resort) == (["acme"], (), True)
    assert plan.warnings == ("acme/flash is the only lane that could serve, and fails: it is asked at most every 10 s",)


def test_it_is_not_asked_again_within_ten_seconds() -> None:
    state = replace(BROKEN, last_call=NOW - 4)
    plan = planned(FLASH, situation=replace(CALM, states={FLASH.name: state}))
    assert (order(plan), plan.last_resort, plan.warnings) == ([], False, ())
    assert [(each.reason, each.retry_after) for each in plan.excluded] == [("circuit_open", 6.0)]


def test_a_lane_whose_next_call_would_surely_fail_is_no_other_that_could_serve() -> None:
    states = {CHEAP.name: BROKEN, DEAR.name: LaneState(cooldowns={"balance": Cooldown(until=NOW + 900)})}
    plan = planned(CHEAP, DEAR, situation=replace(CALM, states=states))
    assert (order(plan), list(why(plan))) == (["cheap"], ["dear"])


def test_with_two_broken_lanes_both_stay_shut() -> None:
    plan = planned(CHEAP, DEAR, situation=replace(CALM, states={CHEAP.name: BROKEN, DEAR.name: BROKEN}))
    assert (order(plan), plan.last_resort, len(plan.excluded)) == ([], False, 2)


def test_a_lane_that_rests_is_no_last_resort() -> None:
    resting = LaneState(cooldowns={"rate_limited": Cooldown(until=NOW + 30)})
    assert order(planned(FLASH, situation=replace(CALM, states={FLASH.name: resting}))) == []


# Half open

PROBING = LaneState(breaker=Breaker(opened=NOW - 20, until=NOW - 5, openings=1), failures=20.0, updated=NOW)


def test_a_lane_that_is_to_be_probed_comes_first_where_it_would_have_come_before_its_failures() -> None:
    assert order(planned(CHEAP, DEAR, situation=replace(CALM, states={CHEAP.name: PROBING}))) == ["cheap", "dear"]


def test_a_lane_that_is_to_be_probed_comes_last_where_another_is_asked_first() -> None:
    """Nobody is sent there who has already met a failure."""
    probing, dearest = at("probing", "0.06"), at("dearest", "0.20")
    situation = replace(CALM, states={probing.name: PROBING})
    assert order(planned(CHEAP, probing, dearest, situation=situation)) == ["cheap", "dearest", "probing"]
