"""What holds of every plan, whatever the lanes, the request and the situation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ImageRequest, Plan, router
from gateway.health import LaneState, shut
from gateway.lanes import Lane
from gateway.router import Situation, floor_of
from providers.sizes import SIZES, rank
from tests.gateway.virtual_time import TODAY

NOW = 1000.0
PROVIDERS = ("a", "b", "c", "d")
MODELS = ("flash", "pro", "old")
PARAMETERS = ("seed", "grounding", "thinking")

days = st.none() | st.integers(-3, 3).map(lambda count: TODAY + timedelta(days=count))
some_sizes = st.lists(st.sampled_from(SIZES), min_size=1, unique=True).map(lambda sizes: tuple(sorted(sizes, key=rank)))
countries = st.none() | st.sampled_from(["HK", "SG"])
places = st.none() | st.sampled_from(["eu", "us"])


@st.composite
def lanes(draw: st.DrawFn) -> list[Lane]:
    names = draw(st.lists(st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(MODELS)), max_size=6, unique=True))
    return [draw(_lane(provider, model)) for provider, model in names]


def _lane(provider: str, model: str) -> st.SearchStrategy[Lane]:
    cents = st.integers(1, 30).map(lambda count: Decimal(count) / 100)
    return st.builds(
        Lane,
        provider=st.just(provider),
        model=st.just(model),
        upstream_model=st.just(f"{model}-001"),
        lane_class=st.sampled_from(["standard", "premium", "legacy"]),
        sizes=some_sizes,
        prices=st.fixed_dictionaries(dict.fromkeys(SIZES, cents)),
        aspect_ratios=st.sampled_from([None, ("1:1",), ("1:1", "16:9")]),
        seconds=st.fixed_dictionaries({size: st.floats(1, 60) for size in SIZES}),
        references=st.integers(0, 3),
        capabilities=st.sets(st.sampled_from(PARAMETERS)).map(frozenset),
        residency=places,
        refused_countries=st.sets(st.sampled_from(["HK", "SG"])).map(frozenset),
        egress_country=countries,
        released=days,
        retired=days,
        retired_configured=st.booleans(),
        vendor_host=st.booleans(),
        enabled=st.booleans(),
    )


states = st.builds(
    LaneState,
    successes=st.floats(0, 20),
    failures=st.floats(0, 20),
    updated=st.just(NOW),
    shut_until=st.sampled_from([0.0, 0.0, NOW, NOW + 30]),
    shut_by=st.sampled_from(["rate_limited", "quota_exhausted", "region", "timeout"]),
)
situations = st.builds(
    Situation,
    now=st.just(NOW),
    today=st.just(TODAY),
    states=st.dictionaries(st.sampled_from([f"{p}/{m}" for p in PROVIDERS for m in MODELS]), states, max_size=4),
    egress_country=countries,
    models=st.none() | st.lists(st.sampled_from(MODELS), min_size=1, unique=True).map(tuple),
    sort=st.sampled_from(["price", "latency", "success"]),
)
fallbacks = st.sampled_from([None, (), ("switch",), ("downgrade",), ("switch", "downgrade"), ("downgrade", "switch")])


@st.composite
def requests(draw: st.DrawFn) -> ImageRequest:
    size = draw(st.sampled_from(SIZES))
    fields: dict[str, Any] = {
        "size": size,
        "min_size": draw(st.none() | st.sampled_from(SIZES[: rank(size) + 1])),
        "aspect_ratio": draw(st.sampled_from([None, "1:1", "16:9"])),
        "model": draw(st.none() | st.lists(st.sampled_from(MODELS), min_size=1, unique=True)),
        "quality": draw(st.sampled_from(["standard", "premium", "auto"])),
        "n": draw(st.integers(1, 3)),
        "fallback": draw(fallbacks),
        "max_cost": draw(st.none() | st.integers(1, 60).map(lambda cents: Decimal(cents) / 100)),
        "residency": draw(places),
        "images": draw(st.lists(st.just(b"image"), max_size=3)),
        "providers": draw(_preferences),
        "require_parameters": draw(st.booleans()),
        "seed": draw(st.sampled_from([None, 1])),
        "grounding": draw(st.booleans()),
    }
    return ImageRequest(prompt="a fox", **fields)


_preferences = st.fixed_dictionaries(
    {},
    optional={
        "only": st.lists(st.sampled_from(PROVIDERS), unique=True),
        "ignore": st.lists(st.sampled_from(PROVIDERS), unique=True),
        "order": st.lists(st.sampled_from(PROVIDERS), unique=True),
        "sort": st.sampled_from(["price", "latency", "success"]),
    },
)


def serving(plan: Plan, known: list[Lane]) -> list[Lane]:
    by_name = {lane.name: lane for lane in known}
    return [by_name[step.lane] for step in plan.candidates]


def for_any_question(test: Callable[..., None]) -> Callable[[], None]:
    return settings(max_examples=60)(given(requests(), lanes(), situations)(test))


@for_any_question
def test_each_lane_is_a_candidate_or_left_out_and_never_both(
    request: ImageRequest, known: list[Lane], situation: Situation
) -> None:
    plan = router.plan(request, known, situation)
    candidates, excluded = {step.lane for step in plan.candidates}, [each.lane for each in plan.excluded]
    assert len(set(excluded)) == len(excluded)
    assert candidates.isdisjoint(excluded)
    if request.fallback is None or "switch" in request.fallback:
        assert candidates.union(excluded) == {lane.name for lane in known}


@for_any_question
def test_no_constraint_is_ever_widened(request: ImageRequest, known: list[Lane], situation: Situation) -> None:
    wishes = request.providers
    for lane in serving(router.plan(request, known, situation), known):
        assert lane.enabled
        assert not wishes.only or lane.provider in wishes.only
        assert lane.provider not in wishes.ignore
        assert request.model is None or lane.model in request.model
        assert request.model is not None or situation.models is None or lane.model in situation.models
        assert request.model is not None or request.quality != "premium" or lane.lane_class == "premium"
        assert lane.lane_class != "legacy" or request.model is not None or situation.models is not None
        assert request.residency in (None, lane.residency)
        assert (lane.egress_country or situation.egress_country) not in lane.refused_countries
        assert lane.released is None or lane.released <= TODAY
        assert lane.retired is None or lane.retired > TODAY or not (lane.vendor_host or lane.retired_configured)
        assert lane.aspect_ratios is None or request.aspect_ratio in (None, *lane.aspect_ratios)
        assert len(request.images) <= lane.references
        assert not request.require_parameters or set(request.parameters()) <= lane.capabilities
        assert shut(situation.states.get(lane.name, LaneState()), NOW) is None


@for_any_question
def test_no_step_is_beyond_the_lane_the_floor_the_size_or_the_budget(
    request: ImageRequest, known: list[Lane], situation: Situation
) -> None:
    plan = router.plan(request, known, situation)
    for step, lane in zip(plan.candidates, serving(plan, known), strict=True):
        assert step.size in lane.sizes
        assert rank(floor_of(request)) <= rank(step.size) <= rank(request.size)
        assert request.max_cost is None or lane.prices[step.size] * request.n <= request.max_cost


@for_any_question
def test_no_step_is_taken_twice(request: ImageRequest, known: list[Lane], situation: Situation) -> None:
    taken = [(step.lane, step.size) for step in router.plan(request, known, situation).candidates]
    assert len(set(taken)) == len(taken)


@for_any_question
def test_giving_way_goes_no_further_than_allowed(
    request: ImageRequest, known: list[Lane], situation: Situation
) -> None:
    allowed = request.fallback if request.fallback is not None else situation.fallback
    candidates = router.plan(request, known, situation).candidates
    assert "switch" in allowed or len({step.lane for step in candidates}) <= 1
    assert "downgrade" in allowed or {step.size for step in candidates} <= {request.size}


@for_any_question
def test_the_same_question_gets_the_same_answer_and_is_left_as_it_was(
    request: ImageRequest, known: list[Lane], situation: Situation
) -> None:
    before = copy.deepcopy((request, known, situation))
    first = router.plan(request, known, situation)
    assert router.plan(request, list(reversed(known)), situation).candidates == first.candidates
    assert router.plan(request, known, situation) == first
    assert (request, known, situation) == before


@settings(max_examples=60)
@given(requests(), lanes(), situations, st.data())
def test_a_strictly_worse_lane_never_changes_the_winner(
    request: ImageRequest, known: list[Lane], situation: Situation, data: st.DataObject
) -> None:
    first = router.plan(request, known, situation)
    if not first.candidates:
        return
    winner = next(lane for lane in known if lane.name == first.candidates[0].lane)
    worse = replace(winner, provider="worse", prices=_scaled(winner.prices, 2), seconds=_scaled(winner.seconds, 2))
    state = situation.states.get(winner.name, LaneState())
    shakier = replace(state, failures=state.failures + data.draw(st.floats(0.5, 5)), updated=NOW)
    states = {**situation.states, worse.name: shakier}
    again = router.plan(request, [worse, *known], replace(situation, states=states))
    assert again.candidates[0].lane == winner.name


def _scaled(table: Mapping[Any, Any], factor: int) -> dict[Any, Any]:
    return {size: value * factor for size, value in table.items()}
