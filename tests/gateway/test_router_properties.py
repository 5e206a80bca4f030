"""What holds of every plan, whatever the lanes, the request and the situation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ImageRequest, Plan, ProviderPreferences
from gateway.health.breaker import Breaker
from gateway.health.cooldowns import Answers, Cooldown
from gateway.health.health import LaneState, shut, size_shut
from gateway.health.quotas import Usage, room, take
from gateway.request import Sort
from gateway.router import router
from gateway.router.acceptance import Tally, verdict
from gateway.router.lanes import Lane
from gateway.router.router import Kind, Situation, floor_of
from providers.sizes import SIZES, rank
from tests.gateway.virtual_time import TODAY

NOW = 1000.0
PROVIDERS = ("a", "b", "c", "d")
MODELS = ("flash", "pro", "old")
PAIRS = [(provider, model) for provider in PROVIDERS for model in MODELS]
USED_UP = take(Usage(), Lane(provider="a", model="b", upstream_model="b", quota={"rpm": 1}), 1, NOW)
PARAMETERS = ("seed", "grounding", "thinking")

days = st.integers(-3, 3).map(lambda count: TODAY + timedelta(days=count))
some_sizes = st.lists(st.sampled_from(SIZES), min_size=1, unique=True).map(lambda sizes: tuple(sorted(sizes, key=rank)))
countries = st.none() | st.sampled_from(["HK", "SG"])
places = st.none() | st.sampled_from(["eu", "us", "global"])


@st.composite
def lanes(draw: st.DrawFn) -> list[Lane]:
    found = draw(st.lists(st.sampled_from(PAIRS), max_size=8, unique=True))
    return [draw(_lane(provider, model)) for provider, model in found]


@st.composite
def _lane(draw: st.DrawFn, provider: str, model: str) -> Lane:
    """A lane with one or two peculiarities: with all of them at once none could serve."""
    peculiar: dict[str, st.SearchStrategy[Any]] = {
        "lane_class": st.sampled_from(["premium", "premium", "legacy"]),
        "sizes": some_sizes,
        "aspect_ratios": st.sampled_from([("1:1",), ("16:9",)]),
        "references": st.integers(0, 2),
        "residency": st.sampled_from(["eu", "us", "global"]),
        "refused_countries": st.sampled_from([frozenset({"HK"}), frozenset({"HK", "SG"})]),
        "egress_country": st.sampled_from(["HK", "SG"]),
        "released": days,
        "retired": days,
        "vendor_host": st.just(False),
        "quota": st.just({"rpm": 1}),
        "mode": st.sampled_from(["forced-open", "shadow"]),
        "enabled": st.just(False),
    }
    facts = {name: draw(peculiar[name]) for name in draw(st.sets(st.sampled_from(sorted(peculiar)), max_size=2))}
    cents = st.integers(1, 30).map(lambda count: Decimal(count) / 100)
    lane = Lane(
        provider=provider,
        model=model,
        upstream_model=f"{model}-001",
        sizes=SIZES,
        prices=draw(st.fixed_dictionaries(dict.fromkeys(SIZES, cents))),
        seconds=draw(st.fixed_dictionaries(dict.fromkeys(SIZES, st.floats(1, 60)))),
        references=3,
        capabilities=draw(st.sampled_from([frozenset(), frozenset(PARAMETERS), frozenset({"seed"})])),
        images_per_call=draw(st.integers(1, 2)),
        retired_configured=draw(st.booleans()),
    )
    return replace(lane, **facts)


rests = st.sampled_from([NOW, NOW + 30]).map(lambda until: Cooldown(until=until))
causes = st.sampled_from(["rate_limited", "quota_exhausted", "region", "auth"])
states = st.builds(
    LaneState,
    successes=st.floats(0, 20),
    failures=st.floats(0, 20),
    billed_failures=st.floats(0, 20),
    updated=st.just(NOW),
    cooldowns=st.just({}) | st.dictionaries(causes, rests, max_size=1),
    breaker=st.sampled_from([Breaker(), Breaker(), Breaker(opened=NOW - 9, until=NOW + 9)]),
    answers=st.just({}) | st.dictionaries(st.sampled_from(SIZES), st.just(Answers(until=NOW + 5)), max_size=2),
)
names = st.sampled_from([f"{provider}/{model}" for provider, model in PAIRS])
tallies = st.builds(
    lambda judged, share, spend, cleanup: summed(judged, share, spend, cleanup),
    st.integers(0, 60), st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 1),
)  # fmt: skip


def summed(judged: int, share: float, spend: float, cleanup: float) -> Tally:
    """The tally of *judged* verdicts of which a *share* was good, at *spend* and *cleanup* USD each."""
    tally = Tally()
    for number in range(judged):
        good = number < share * judged
        tally = tally.plus(verdict(spend, 1, good, 0.0 if good else cleanup))
    return tally


situations = st.builds(
    Situation,
    now=st.just(NOW),
    today=st.just(TODAY),
    states=st.dictionaries(names, states, max_size=4),
    in_flight=st.dictionaries(names, st.integers(0, 9), max_size=3),
    quotas=st.dictionaries(names, st.just(USED_UP), max_size=2),
    acceptance=st.dictionaries(names, tallies, max_size=4),
    seed=st.integers(0, 2**64 - 1),
    egress_country=countries,
    models=st.none() | st.lists(st.sampled_from(MODELS), min_size=1, unique=True).map(tuple),
    sort=st.sampled_from(["price", "latency", "success"]),
)
fallbacks = st.sampled_from([None, (), ("switch",), ("downgrade",), ("switch", "downgrade"), ("downgrade", "switch")])


@st.composite
def requests(draw: st.DrawFn) -> ImageRequest:
    """A few wishes at a time: with all of them at once no lane would be left to judge."""
    size = draw(st.sampled_from(SIZES))
    wishes: dict[str, st.SearchStrategy[Any]] = {
        "min_size": st.sampled_from(SIZES[: rank(size) + 1]),
        "aspect_ratio": st.sampled_from(["1:1", "16:9"]),
        "model": st.lists(st.sampled_from(MODELS), min_size=1, unique=True),
        "quality": st.sampled_from(["premium", "auto", "auto"]),
        "n": st.integers(2, 3),
        "fallback": fallbacks,
        "max_cost": st.integers(1, 60).map(lambda cents: Decimal(cents) / 100),
        "residency": st.sampled_from(["eu", "us", "global"]),
        "images": st.lists(st.just(b"image"), min_size=1, max_size=3),
        "providers": _preferences,
        "seed": st.just(1),
        "grounding": st.just(True),
    }
    given = draw(st.sets(st.sampled_from(sorted(wishes)), max_size=3))
    strict = draw(st.booleans())
    return ImageRequest(
        prompt="a fox", size=size, require_parameters=strict, **{name: draw(wishes[name]) for name in sorted(given)}
    )


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
    return settings(max_examples=120)(given(requests(), lanes(), situations)(test))


@for_any_question
def test_each_lane_is_a_candidate_or_left_out_and_never_both(
    request: ImageRequest, known: list[Lane], situation: Situation
) -> None:
    plan = router.plan(request, known, situation)
    candidates, excluded = {step.lane for step in plan.candidates}, [each.lane for each in plan.excluded]
    assert len(set(excluded)) == len(excluded)
    assert candidates.isdisjoint(excluded)
    assert candidates.union(excluded) == {lane.name for lane in known}


@for_any_question
def test_no_constraint_is_ever_widened(request: ImageRequest, known: list[Lane], situation: Situation) -> None:
    wishes, plan = request.providers, router.plan(request, known, situation)
    for lane in serving(plan, known):
        assert lane.enabled
        assert not wishes.only or lane.provider in wishes.only
        assert lane.provider not in wishes.ignore
        assert request.model is None or lane.model in request.model
        assert request.model is not None or situation.models is None or lane.model in situation.models
        assert request.model is not None or request.quality != "premium" or lane.lane_class == "premium"
        assert lane.lane_class != "legacy" or request.model is not None or situation.models is not None
        assert request.residency in (None, lane.residency)
        assert request.residency != "global"
        assert lane.mode != "forced-open"
        assert (lane.egress_country or situation.egress_country) not in lane.refused_countries
        assert lane.released is None or lane.released <= TODAY
        assert lane.retired is None or lane.retired > TODAY or not (lane.vendor_host or lane.retired_configured)
        assert lane.aspect_ratios is None or request.aspect_ratio in (None, *lane.aspect_ratios)
        assert len(request.images) <= lane.references
        assert not request.require_parameters or set(request.parameters()) <= lane.capabilities
        broken = shut(situation.states.get(lane.name, LaneState()), NOW) is not None
        assert not broken or lane.mode == "shadow" or plan.last_resort
        assert room(situation.quotas.get(lane.name, Usage()), lane, 1, NOW) is None


@for_any_question
def test_no_step_is_beyond_the_lane_the_floor_the_size_or_the_budget(
    request: ImageRequest, known: list[Lane], situation: Situation
) -> None:
    plan = router.plan(request, known, situation)
    for step, lane in zip(plan.candidates, serving(plan, known), strict=True):
        assert step.size in lane.sizes
        state = situation.states.get(lane.name, LaneState())
        assert lane.mode == "shadow" or size_shut(state, step.size, NOW) is None
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


TIGHTER: dict[str, Callable[[ImageRequest], dict[str, Any]]] = {
    "min_size": lambda request: {"min_size": request.size},
    "max_cost": lambda request: {"max_cost": (request.max_cost or Decimal(1)) / 3},
    "residency": lambda request: {"residency": request.residency or "eu"},
    "aspect_ratio": lambda request: {"aspect_ratio": request.aspect_ratio or "16:9"},
    "model": lambda request: {"model": (request.model or MODELS)[:1]},
    "references": lambda request: {"images": [b"image"] * (len(request.images) + 1)},
    "parameters": lambda request: {"thinking": "low", "require_parameters": True},
    "ignore": lambda request: {
        "providers": {**request.providers.model_dump(), "ignore": [*request.providers.ignore, "a", "b"]}
    },
    "only": lambda request: {
        "providers": {**request.providers.model_dump(), "only": (request.providers.only or "ab")[:1]}
    },
}


@settings(max_examples=200)
@given(requests(), lanes(), situations, st.sampled_from(sorted(TIGHTER)))
def test_asking_for_more_never_brings_in_a_step(
    request: ImageRequest, known: list[Lane], situation: Situation, name: str
) -> None:
    loose = altered(request, fallback=["switch", "downgrade"], quality="standard")
    if name == "model" and loose.model is None:
        loose = altered(loose, model=MODELS)  # naming a model brings in legacy lanes, by the contract
    tight = altered(loose, **TIGHTER[name](loose))
    wide, narrow = (router.plan(each, known, situation) for each in (loose, tight))
    if narrow.last_resort:  # what is asked for has made a broken lane the only one that could serve
        return
    before, after = ({(step.lane, step.size) for step in each.candidates} for each in (wide, narrow))
    assert after <= before


def altered(request: ImageRequest, **fields: Any) -> ImageRequest:
    return ImageRequest(**{**{name: getattr(request, name) for name in ImageRequest.model_fields}, **fields})


@settings(max_examples=100)
@given(requests(), lanes(), situations, st.data())
def test_a_strictly_worse_lane_never_changes_the_winner(
    request: ImageRequest, known: list[Lane], situation: Situation, data: st.DataObject
) -> None:
    situation = replace(situation, acceptance={})
    first = router.plan(request, known, situation)
    if not first.candidates or first.last_resort:  # two broken lanes are no last one
        return
    winner = next(lane for lane in known if lane.name == first.candidates[0].lane)
    worse, situation = worsened(winner, situation, data)
    again = router.plan(request, [worse, *known], situation)
    assert again.candidates[0].lane == winner.name


@settings(max_examples=200)
@given(st.integers(1, 12), st.integers(0, 2**64 - 1), st.none() | st.integers(0, 11), st.data())
def test_a_worse_lane_changes_no_winner_among_near_equal_lanes_however_many(
    count: int, seed: int, incumbent: int | None, data: st.DataObject
) -> None:
    """Lanes so near to one another that any may win, by hysteresis or by lot; a worse one must not even be drawn."""
    known = [replace(data.draw(near_equal), provider=f"p{number:02}") for number in range(count)]
    sort: Sort = data.draw(st.sampled_from(["price", "latency", "success"]))
    request = ImageRequest(prompt="a fox", providers=ProviderPreferences(sort=sort))
    held = {Kind.of(request): f"p{incumbent:02}/flash"} if incumbent is not None else {}
    situation = Situation(now=NOW, today=TODAY, seed=seed, incumbents=held)
    winner = router.plan(request, known, situation).candidates[0].lane
    worse, situation = worsened(next(lane for lane in known if lane.name == winner), situation, data)
    place = data.draw(st.integers(0, count))
    assert router.plan(request, [*known[:place], worse, *known[place:]], situation).candidates[0].lane == winner


near_equal = st.builds(
    Lane,
    provider=st.just(""),
    model=st.just("flash"),
    upstream_model=st.just("flash-001"),
    prices=st.integers(50, 57).map(lambda mills: {"1K": Decimal(mills) / 1000}),
    seconds=st.integers(50, 57).map(lambda tenths: {"1K": tenths / 10}),
)


@settings(max_examples=100)
@given(requests(), lanes(), situations, st.data())
def test_a_worse_lane_changes_no_winner_where_verdicts_count(
    request: ImageRequest, known: list[Lane], situation: Situation, data: st.DataObject
) -> None:
    """Apart from trials: a lane nobody has judged may be anything, and is tried in a small share of the requests."""
    request = altered(request, quality="auto", model=None)
    situation = replace(situation, seed=situation.seed >> 33 << 32)
    first = router.plan(request, known, situation)
    if not first.candidates or first.last_resort:  # two broken lanes are no last one
        return
    winner = next(lane for lane in known if lane.name == first.candidates[0].lane)
    worse, situation = worsened(winner, situation, data)
    judged = situation.acceptance.get(winner.name)
    if judged is not None:
        tally = replace(judged, spend=judged.spend * 2, accepted=judged.accepted / 2)
        situation = replace(situation, acceptance={**situation.acceptance, worse.name: tally})
    assert router.plan(request, [worse, *known], situation).candidates[0].lane == winner.name


def worsened(winner: Lane, situation: Situation, data: st.DataObject) -> tuple[Lane, Situation]:
    """A lane like *winner*, dearer, slower and shakier by as little as one likes, and the situation with it in it."""
    factor = data.draw(st.sampled_from([1.001, 1.01, 1.1, 2.0]))
    prices = {size: price * Decimal(str(factor)) for size, price in winner.prices.items()}
    worse = replace(
        winner, provider=data.draw(st.sampled_from(["0-worse", "p05x", "worse"])), prices=prices,
        seconds={size: seconds * factor for size, seconds in winner.seconds.items()},
    )  # fmt: skip
    state = situation.states.get(winner.name, LaneState())
    more = data.draw(st.floats(0.5, 5))
    shakier = replace(
        state, failures=state.failures + more, billed_failures=state.billed_failures + more, updated=NOW
    )  # fmt: skip
    busy = situation.in_flight.get(winner.name, 0) + data.draw(st.integers(0, 2))
    return worse, replace(
        situation,
        states={**situation.states, worse.name: shakier},
        in_flight={**situation.in_flight, worse.name: busy},
    )
