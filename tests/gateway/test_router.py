"""Which lanes may serve a request, in which order, and what is said of the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.health.breaker import Breaker
from gateway.health.cooldowns import Answers
from gateway.health.health import LaneState
from gateway.health.quotas import Usage, take
from providers.outcome import OutcomeName
from tests.gateway.lanes import CALM, CHEAP, DEAR, FLASH, NOW, PRO, at, order, planned, resting, steps, why
from tests.gateway.virtual_time import TODAY

DAY = timedelta(days=1)
OLD = replace(FLASH, model="old", upstream_model="old-001", aliases=(), lane_class="legacy")


# Reasons


@pytest.mark.parametrize(
    ("facts", "fields", "reason", "detail"),
    [
        ({"enabled": False}, {}, "disabled", "switched off in the configuration"),
        ({}, {"providers": {"only": ["b", "c"]}}, "preference", "the request takes only b, c"),
        ({}, {"providers": {"ignore": ["acme"]}}, "preference", "the request ignores this provider"),
        ({}, {"model": ["pro", "best"]}, "model", "the request asks for pro or best"),
        ({}, {"quality": "premium"}, "quality", "the request asks for premium, the lane is standard"),
        ({"lane_class": "legacy"}, {}, "quality", "a legacy model is taken only when it is named"),
        ({"released": TODAY + DAY}, {}, "not_released", "released on 2026-10-02"),
        ({"retired": TODAY}, {}, "retired", "retired on 2026-10-01"),
        ({"retired": TODAY, "replacement": "pro"}, {}, "retired", "retired on 2026-10-01; use pro"),
        ({"residency": "us"}, {"residency": "eu"}, "residency", "promises us of processing, not eu"),
        ({}, {"residency": "eu"}, "residency", "promises no place of processing, not eu"),
        ({"aspect_ratios": ("1:1", "4:3")}, {"aspect_ratio": "16:9"}, "aspect_ratio",
         "does not draw 16:9; it draws 1:1, 4:3"),
        ({}, {"images": [b"a"] * 4}, "capability", "takes 3 reference images, not 4"),
        ({}, {"seed": 1, "grounding": True, "thinking": "low", "require_parameters": True}, "capability",
         "does not support grounding, thinking"),
        ({"sizes": ("512", "1K")}, {"size": "4K"}, "size", "offers 512, 1K, not 4K or 2K"),
        ({}, {"size": "1K", "max_cost": 0.09, "n": 2}, "max_cost",
         "costs $0.10 for 2 image(s), over the limit of $0.09"),
    ],
)  # fmt: skip
def test_a_lane_that_may_not_serve_is_left_out_with_a_reason(
    facts: dict[str, Any], fields: dict[str, Any], reason: str, detail: str
) -> None:
    plan = planned(replace(FLASH, **facts), **fields)
    assert plan.candidates == ()
    assert why(plan) == {"acme": (reason, detail)}


OPEN = LaneState(breaker=Breaker(opened=NOW - 1, until=NOW + 12), last_call=NOW - 1)


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("rate_limited", "cooling_down"), ("balance", "cooling_down"), ("model_gone", "cooling_down"),
        ("quota_exhausted", "quota"), ("region", "region"),
    ],
)  # fmt: skip
def test_a_lane_that_rests_is_left_out_until_its_rest_is_over(cause: OutcomeName, reason: str) -> None:
    plan = planned(FLASH, situation=replace(CALM, states={FLASH.name: resting(cause)}))
    assert why(plan) == {"acme": (reason, f"{cause}: again in 12 s")}
    assert plan.excluded[0].retry_after == 12


def test_a_lane_that_needs_somebody_to_act_says_so() -> None:
    plan = planned(FLASH, situation=replace(CALM, states={FLASH.name: resting("auth", latched=True)}))
    assert why(plan)["acme"] == (
        "cooling_down", "auth: a new key, account or configuration is needed; again in 12 s"
    )  # fmt: skip


def test_a_lane_whose_breaker_is_open_is_left_out_until_it_may_be_probed() -> None:
    plan = planned(FLASH, CHEAP, situation=replace(CALM, states={FLASH.name: OPEN}))
    assert why(plan) == {"acme": ("circuit_open", "failures: again in 12 s")}
    assert plan.excluded[0].retry_after == 12
    assert order(planned(FLASH, situation=replace(CALM, states={FLASH.name: OPEN}, now=NOW + 12))) == ["acme"]


def test_a_lane_opens_at_the_moment_its_rest_is_over() -> None:
    states = {FLASH.name: resting("rate_limited")}
    assert steps(planned(FLASH, situation=replace(CALM, states=states, now=NOW + 12))) == [("acme", "1K")]


def test_a_lane_that_rests_at_one_size_serves_the_others() -> None:
    state = LaneState(answers={"4K": Answers(until=NOW + 12)})
    situation = replace(CALM, states={FLASH.name: state})
    assert steps(planned(FLASH, situation=situation, size="4K")) == [("acme", "2K")]
    plan = planned(FLASH, situation=situation, size="4K", min_size="4K")
    assert why(plan) == {
        "acme": ("cooling_down", "failed too often at 4K: again in 12 s")
    }  # fmt: skip
    assert plan.excluded[0].retry_after == 12


def test_the_operator_may_hold_a_lane_open_or_have_its_health_ignored() -> None:
    states = {FLASH.name: OPEN}
    held, shadow = replace(FLASH, mode="forced-open"), replace(FLASH, mode="shadow")
    assert why(planned(held)) == {"acme": ("circuit_open", "held open by the operator")}
    assert order(planned(shadow, situation=replace(CALM, states=states))) == ["acme"]
    assert why(planned(replace(FLASH, mode="disabled")))["acme"][0] == "disabled"


def test_reasons_that_waiting_does_not_change_come_first() -> None:
    states = {FLASH.name: resting("rate_limited")}
    plan = planned(FLASH, situation=replace(CALM, states=states), model="pro")
    assert why(plan)["acme"][0] == "model"
    assert plan.excluded[0].retry_after is None


def test_a_lane_without_room_in_its_quota_is_left_out_until_there_is() -> None:
    lane = at("acme", quota={"rpm": 2, "rpd": 500})
    usage = take(Usage(), lane, 1, NOW)
    plan = planned(lane, situation=replace(CALM, now=NOW + 20, quotas={lane.name: usage}))
    assert why(plan) == {
        "acme": ("quota", "95 % of its configured quota (rpm 2, rpd 500) is used: room again in 40 s")
    }  # fmt: skip
    assert plan.excluded[0].retry_after == 40
    assert order(planned(lane, situation=replace(CALM, now=NOW + 60, quotas={lane.name: usage}))) == ["acme"]


def test_room_is_needed_for_as_many_images_as_one_call_brings() -> None:
    one_by_one = at("single", quota={"ipm": 4})
    at_once = at("several", quota={"ipm": 4}, images_per_call=4)
    quotas = {lane.name: take(Usage(), lane, 1, NOW) for lane in (one_by_one, at_once)}
    plan = planned(one_by_one, at_once, situation=replace(CALM, quotas=quotas), n=3)
    assert order(plan) == ["single"]
    assert why(plan)["several"][0] == "quota"


def test_every_lane_is_either_a_candidate_or_left_out_once() -> None:
    plan = planned(CHEAP, DEAR, PRO, OLD, at("shut", enabled=False), quality="standard")
    assert {step.lane for step in plan.candidates} == {"cheap/flash", "dear/flash", "acme/pro"}
    assert sorted(each.lane for each in plan.excluded) == ["acme/old", "shut/flash"]


# Countries, days, places


def test_a_refused_country_is_judged_by_where_the_process_calls_from() -> None:
    lane = at("vendor", refused_countries=frozenset({"HK", "CN"}))
    assert why(planned(lane, situation=replace(CALM, egress_country="HK"))) == {
        "vendor": ("region", "refuses calls from HK")
    }
    assert order(planned(lane, situation=replace(CALM, egress_country="SG"))) == ["vendor"]
    assert order(planned(lane)) == ["vendor"]


def test_a_providers_own_egress_counts_over_the_processes() -> None:
    refused = frozenset({"HK"})
    through_proxy = at("proxied", refused_countries=refused, egress_country="SG")
    from_here = at("direct", refused_countries=refused, egress_country="HK")
    assert order(planned(through_proxy, situation=replace(CALM, egress_country="HK"))) == ["proxied"]
    assert why(planned(from_here, situation=replace(CALM, egress_country="SG")))["direct"][0] == "region"


@pytest.mark.parametrize(("days", "warns"), [(61, False), (60, True), (1, True)])
def test_a_retirement_is_announced_from_sixty_days_before(days: int, warns: bool) -> None:
    lane = replace(FLASH, retired=TODAY + days * DAY, replacement="pro")
    told = f"acme/flash retires on {lane.retired}; its replacement is pro"
    plan = planned(lane)
    assert order(plan) == ["acme"]
    assert plan.warnings == ((told,) if warns else ())


def test_a_lane_is_out_from_the_day_of_its_retirement_on() -> None:
    for days, served in ((1, True), (0, False), (-300, False)):
        plan = planned(replace(FLASH, retired=TODAY + days * DAY))
        assert bool(plan.candidates) is served


def test_a_relay_only_warns_of_its_vendors_retirement() -> None:
    lane = at("relay", vendor_host=False, retired=TODAY - DAY)
    assert planned(lane).warnings == ("relay/flash was retired by its vendor on 2026-09-30",)
    assert order(planned(lane)) == ["relay"]


def test_a_relays_own_dates_hold() -> None:
    gone = at("gone", vendor_host=False, retired=TODAY, retired_configured=True)
    early = at("early", vendor_host=False, released=TODAY + DAY)
    plan = planned(gone, early)
    assert {provider: reason for provider, (reason, _) in why(plan).items()} == {
        "gone": "retired",
        "early": "not_released",
    }


def test_a_lane_is_in_from_the_day_of_its_release_on() -> None:
    assert order(planned(replace(FLASH, released=TODAY))) == ["acme"]


@pytest.mark.parametrize("asked", ["eu", "EU"])
def test_residency_takes_only_lanes_that_promise_it(asked: str) -> None:
    plan = planned(at("europe", residency="eu"), at("america", residency="us"), at("anywhere"), residency=asked)
    assert order(plan) == ["europe"]


@pytest.mark.parametrize("asked", ["eu", "global", "GLOBAL"])
def test_a_global_lane_promises_no_place_at_all(asked: str) -> None:
    plan = planned(at("anywhere", residency="global"), residency=asked)
    assert why(plan) == {"anywhere": ("residency", f"promises no region of processing (global), not {asked}")}


def test_an_empty_residency_is_not_taken_for_no_wish() -> None:
    assert planned(FLASH, residency="").candidates == ()


# Models and classes


@pytest.mark.parametrize("name", ["flash", "quick", "flash-001"])
def test_a_model_is_known_by_its_id_its_aliases_and_its_upstream_id(name: str) -> None:
    assert [step.lane for step in planned(FLASH, PRO, model=name).candidates] == ["acme/flash"]


def test_a_sequence_of_models_is_a_strict_preference() -> None:
    pro, flash = replace(PRO, upstream_model="pro-001", prices={"1K": Decimal(9)}), FLASH
    assert [step.lane for step in planned(flash, pro, model=["best", "flash"]).candidates] == ["acme/pro", "acme/flash"]
    assert [step.lane for step in planned(flash, pro, model=["flash", "best"]).candidates] == ["acme/flash", "acme/pro"]


def test_standard_goes_by_cost_over_standard_and_premium_lanes() -> None:
    cheap_premium = at("bargain", "0.01", PRO)
    assert order(planned(FLASH, cheap_premium)) == ["bargain", "acme"]


def test_premium_takes_lanes_of_the_premium_class_alone() -> None:
    plan = planned(FLASH, at("gallery", base=PRO), at("museum", base=OLD), quality="premium")
    assert order(plan) == ["gallery"]


def test_auto_starts_on_standard_and_has_premium_to_fall_back_on() -> None:
    assert order(planned(at("bargain", "0.01", PRO), FLASH, quality="auto")) == ["acme", "bargain"]
    assert order(planned(at("gallery", base=PRO), quality="auto")) == ["gallery"]


def test_a_named_model_is_taken_whatever_its_class() -> None:
    assert order(planned(OLD, model="old")) == ["acme"]
    assert order(planned(OLD, model="old", quality="premium")) == ["acme"]


def test_the_routers_models_are_what_a_request_without_a_model_may_get() -> None:
    situation = replace(CALM, models=("flash", "old"))
    plan = planned(FLASH, at("gallery", base=PRO), at("museum", base=OLD), situation=situation)
    assert set(order(plan)) == {"acme", "museum"}
    assert why(plan) == {"gallery": ("model", "not among [router] models")}


def test_a_request_may_name_a_model_beyond_the_routers() -> None:
    assert order(planned(PRO, situation=replace(CALM, models=("flash",)), model="pro")) == ["acme"]


# Sizes


@pytest.mark.parametrize(
    ("size", "min_size", "sizes"),
    [
        ("4K", None, ["4K", "2K"]),
        ("2K", None, ["2K", "1K"]),
        ("1K", None, ["1K"]),
        ("512", None, ["512"]),
        ("4K", "4K", ["4K"]),
        ("4K", "512", ["4K", "2K", "1K", "512"]),
        ("1K", "512", ["1K", "512"]),
    ],
)
def test_the_ladder_goes_down_one_step_unless_a_floor_is_named(
    size: str, min_size: str | None, sizes: list[str]
) -> None:
    every = at("every", "0.05", sizes=("512", "1K", "2K", "4K"))
    assert [step.size for step in planned(every, size=size, min_size=min_size).candidates] == sizes


def test_switch_first_tries_every_lane_before_a_smaller_size() -> None:
    assert steps(planned(CHEAP, DEAR, size="4K", fallback=["switch", "downgrade"])) == [
        ("cheap", "4K"), ("dear", "4K"), ("cheap", "2K"), ("dear", "2K"),
    ]  # fmt: skip


def test_downgrade_first_tries_every_size_before_another_lane() -> None:
    assert steps(planned(CHEAP, DEAR, size="4K", fallback=["downgrade", "switch"])) == [
        ("cheap", "4K"), ("cheap", "2K"), ("dear", "4K"), ("dear", "2K"),
    ]  # fmt: skip


def test_switch_alone_keeps_the_size() -> None:
    assert steps(planned(CHEAP, DEAR, size="4K", fallback=["switch"])) == [("cheap", "4K"), ("dear", "4K")]


def test_downgrade_alone_keeps_the_lane() -> None:
    assert steps(planned(CHEAP, DEAR, size="4K", fallback=["downgrade"])) == [("cheap", "4K"), ("cheap", "2K")]


def test_no_fallback_is_one_step() -> None:
    assert steps(planned(CHEAP, DEAR, size="4K", fallback=[])) == [("cheap", "4K")]


@pytest.mark.parametrize("fallback", [["downgrade"], []])
def test_without_switching_the_other_lanes_are_left_out_by_preference(fallback: list[str]) -> None:
    plan = planned(CHEAP, DEAR, size="4K", fallback=fallback)
    told = 'the request stays with cheap/flash; add "switch" to fallback to have others tried'
    assert why(plan) == {"dear": ("preference", told)}


def test_the_configurations_order_counts_where_the_request_has_none() -> None:
    situation = replace(CALM, fallback=("downgrade",))
    assert steps(planned(CHEAP, DEAR, situation=situation, size="4K")) == [("cheap", "4K"), ("cheap", "2K")]
    assert steps(planned(CHEAP, DEAR, situation=situation, size="4K", fallback=[])) == [("cheap", "4K")]


@pytest.mark.parametrize("fallback", [["switch", "downgrade"], ["downgrade", "switch"], ["downgrade"], ["switch"]])
def test_a_cheap_lane_without_the_size_never_comes_before_one_that_has_it(fallback: list[str]) -> None:
    small = at("small", "0.01", sizes=("1K", "2K"))
    assert steps(planned(small, DEAR, size="4K", fallback=fallback))[0] == ("dear", "4K")


def test_lanes_are_compared_at_the_size_of_each_step() -> None:
    """Dear at 4K and cheap at 2K is first at 2K."""
    level = at("level", prices={"1K": Decimal(1), "2K": Decimal("0.10"), "4K": Decimal("0.11")})
    steep = at("steep", prices={"1K": Decimal(1), "2K": Decimal("0.05"), "4K": Decimal("0.20")})
    assert steps(planned(level, steep, size="4K")) == [
        ("level", "4K"),
        ("steep", "4K"),
        ("steep", "2K"),
        ("level", "2K"),
    ]


def test_a_preferred_model_with_smaller_sizes_is_downgraded_before_switching_if_that_comes_first() -> None:
    pro = at("gallery", "0.20", replace(PRO, sizes=("1K", "2K")))
    wish: dict[str, Any] = {"model": ["pro", "flash"], "size": "4K"}
    assert steps(planned(pro, DEAR, **wish, fallback=["downgrade", "switch"]))[0] == ("gallery", "2K")
    assert steps(planned(pro, DEAR, **wish, fallback=["switch", "downgrade"]))[0] == ("dear", "4K")


# Money and references


def test_only_the_sizes_that_fit_the_budget_are_steps() -> None:
    assert steps(planned(FLASH, size="4K", max_cost=0.10)) == [("acme", "2K")]
    assert steps(planned(FLASH, size="4K", max_cost=0.12)) == [("acme", "4K"), ("acme", "2K")]


def test_the_budget_is_for_all_the_images() -> None:
    assert steps(planned(FLASH, size="4K", max_cost=0.24, n=3)) == [("acme", "2K")]


def test_lanes_are_left_out_by_the_number_and_the_weight_of_references() -> None:
    light = at("light", references=3, reference_bytes=100)
    situation = replace(CALM, references=(99, 101))
    plan = planned(light, at("none", references=0), at("any"), situation=situation, images=[b"a", b"b"])
    assert order(plan) == ["any"]
    assert why(plan) == {
        "light": ("capability", "takes reference images of 100 bytes, not 101"),
        "none": ("capability", "takes 0 reference images, not 2"),
    }


def test_parameters_a_lane_does_not_support_are_a_warning_unless_they_are_required() -> None:
    fields: dict[str, Any] = {"seed": 1, "grounding": True, "thinking": "low"}
    plan = planned(FLASH, **fields)
    assert plan.warnings == ("acme/flash does not support grounding, thinking: not sent",)
    assert planned(FLASH, **fields, require_parameters=True).candidates == ()
    assert order(planned(FLASH, seed=1, require_parameters=True)) == ["acme"]


def test_warnings_are_about_the_lane_that_is_tried_first() -> None:
    leaving = at("leaving", "0.01", retired=TODAY + DAY)
    assert len(planned(leaving, CHEAP).warnings) == 1
    assert planned(leaving, CHEAP, providers={"order": ["cheap"]}).warnings == ()
