"""The router: which lanes may serve a request, and in which order. Pure: no I/O, no clock, no await.

Constraints first, each with a reason; then the order; then the steps, smaller sizes included if the request allows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from gateway import money
from gateway.health import LaneState, shut, success_rate, typical_seconds
from gateway.lanes import Lane
from gateway.plan import Candidate, Exclusion, ExclusionReason, Plan
from gateway.request import FallbackStep, ImageRequest, Sort
from providers.sizes import Size, rank, smaller

RETIREMENT_NOTICE: Final = 60
"""Days before a lane's retirement from which results carry a warning."""

_FRESH: Final = LaneState()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a decision depends on besides the request and the lanes.

    *now* is seconds on the monotonic clock, *today* the day in UTC. *models* are the canonical ids that a request without
    a model may get, None for any. *references* is the bytes of each reference image, as far as they are known.
    """

    now: float
    today: date
    states: Mapping[str, LaneState] = field(default_factory=dict)
    egress_country: str | None = None
    models: tuple[str, ...] | None = None
    sort: Sort = "price"
    fallback: tuple[FallbackStep, ...] = ("switch", "downgrade")
    references: tuple[int, ...] = ()

    def state(self, lane: Lane) -> LaneState:
        """How *lane* is doing."""
        return self.states.get(lane.name, _FRESH)


def plan(request: ImageRequest, lanes: Sequence[Lane], situation: Situation) -> Plan:
    """The steps to try, in order, and the lanes that are left out."""
    sizes = ladder(request, situation.fallback)
    excluded: list[Exclusion] = []
    usable: list[Lane] = []
    for lane in lanes:
        exclusion = next(_objections(lane, request, sizes, situation), None)
        if exclusion is None:
            usable.append(lane)
        else:
            excluded.append(exclusion)
    steps = _steps(usable, request, sizes, situation)
    return Plan(
        tuple(_candidate(lane, size, situation) for lane, size in steps),
        tuple(excluded),
        tuple(warning for lane, _ in steps[:1] for warning in lane_warnings(lane, request, situation.today)),
    )


def ladder(request: ImageRequest, fallback: Sequence[FallbackStep]) -> tuple[Size, ...]:
    """The sizes that may be asked for, largest first: the one wanted, and those it may be downgraded to."""
    steps = request.fallback if request.fallback is not None else fallback
    if "downgrade" not in steps:
        return (request.size,)
    floor = floor_of(request)
    sizes = [request.size]
    while rank(sizes[-1]) > rank(floor):
        below = smaller(sizes[-1])
        assert below is not None  # the floor is above
        sizes.append(below)
    return tuple(sizes)


def floor_of(request: ImageRequest) -> Size:
    """The smallest size the request takes: as stated, else one step below, but never below 1K of its own accord."""
    if request.min_size is not None:
        return request.min_size
    below = smaller(request.size)
    return below if below is not None and rank(below) >= rank("1K") else request.size


def lane_warnings(lane: Lane, request: ImageRequest, today: date) -> Iterator[str]:
    """What a caller should know about getting an image from *lane*."""
    ignored = sorted(set(request.parameters()) - lane.capabilities)
    if ignored:
        yield f"{lane.name} does not support {', '.join(ignored)}: not sent"
    if lane.retired is not None and (lane.retired - today).days <= RETIREMENT_NOTICE:
        advice = f"; its replacement is {lane.replacement}" if lane.replacement else ""
        when = f"retires on {lane.retired}" if lane.retired > today else f"was retired by its vendor on {lane.retired}"
        yield f"{lane.name} {when}{advice}"


def _objections(
    lane: Lane, request: ImageRequest, sizes: tuple[Size, ...], situation: Situation
) -> Iterator[Exclusion]:
    """Why *lane* may not be used, the most lasting reason first."""
    for reason, check in _CHECKS:
        detail = check(lane, request, situation)
        if detail:
            yield Exclusion(lane=lane.name, reason=reason, detail=detail)
    offered = [size for size in sizes if size in lane.sizes]
    if not offered:
        yield Exclusion(
            lane=lane.name, reason="size", detail=f"offers {', '.join(lane.sizes)}, not {' or '.join(sizes)}"
        )
    elif not any(_affordable(lane, size, request) for size in offered):
        cost = min(money.price(lane, size) * request.n for size in offered)
        detail = f"costs ${cost} for {request.n} image(s), over the limit of ${request.max_cost}"
        yield Exclusion(lane=lane.name, reason="max_cost", detail=detail)
    yield from _indisposed(lane, situation)


def _disabled(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    return "" if lane.enabled else "switched off in the configuration"


def _unwanted(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    wishes = request.providers
    if wishes.only and lane.provider not in wishes.only:
        return f"the request takes only {', '.join(wishes.only)}"
    return "the request ignores this provider" if lane.provider in wishes.ignore else ""


def _another_model(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    if request.model is not None:
        named = any(lane.answers_to(model) for model in request.model)
        return "" if named else f"the request asks for {' or '.join(request.model)}"
    if situation.models is not None and lane.model not in situation.models:
        return "not among [router] models"
    return ""


def _another_quality(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    if request.model is not None:
        return ""
    if lane.lane_class == "legacy" and situation.models is None:
        return "a legacy model is taken only when it is named"
    if request.quality == "premium" and lane.lane_class != "premium":
        return f"the request asks for premium, the lane is {lane.lane_class}"
    return ""


def _not_released(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    early = lane.released is not None and situation.today < lane.released
    return f"released on {lane.released}" if early else ""


def _retired(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    binding = lane.vendor_host or lane.retired_configured
    if not binding or lane.retired is None or situation.today < lane.retired:
        return ""
    return f"retired on {lane.retired}" + (f"; use {lane.replacement}" if lane.replacement else "")


def _refused_country(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    country = lane.egress_country or situation.egress_country
    return f"refuses calls from {country}" if country in lane.refused_countries else ""


def _elsewhere(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    if request.residency is None or (lane.residency and lane.residency.lower() == request.residency.lower()):
        return ""
    return f"promises {lane.residency or 'no place'} of processing, not {request.residency}"


def _another_ratio(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    if request.aspect_ratio is None or lane.aspect_ratios is None or request.aspect_ratio in lane.aspect_ratios:
        return ""
    return f"does not draw {request.aspect_ratio}; it draws {', '.join(lane.aspect_ratios)}"


def _incapable(lane: Lane, request: ImageRequest, situation: Situation) -> str:
    wanted = len(request.images)
    if wanted > lane.references:
        return f"takes {lane.references} reference images, not {wanted}"
    heaviest = max(situation.references, default=0)
    if lane.reference_bytes is not None and heaviest > lane.reference_bytes:
        return f"takes reference images of {lane.reference_bytes:,} bytes, not {heaviest:,}"
    missing = sorted(set(request.parameters()) - lane.capabilities) if request.require_parameters else []
    return f"does not support {', '.join(missing)}" if missing else ""


_Check = Callable[[Lane, ImageRequest, Situation], str]

_CHECKS: Final[tuple[tuple[ExclusionReason, _Check], ...]] = (
    ("disabled", _disabled),
    ("preference", _unwanted),
    ("model", _another_model),
    ("quality", _another_quality),
    ("not_released", _not_released),
    ("retired", _retired),
    ("region", _refused_country),
    ("residency", _elsewhere),
    ("aspect_ratio", _another_ratio),
    ("capability", _incapable),
)


def _indisposed(lane: Lane, situation: Situation) -> Iterator[Exclusion]:
    state = situation.state(lane)
    seconds = shut(state, situation.now)
    if seconds is None:
        return
    cause = state.shut_by or "failures"
    reason: ExclusionReason = (
        "quota" if cause == "quota_exhausted" else "region" if cause == "region"
        else "cooling_down" if cause in ("rate_limited", "balance", "auth", "model_gone") else "circuit_open"
    )  # fmt: skip
    yield Exclusion(lane=lane.name, reason=reason, detail=f"{cause}: again in {seconds:.0f} s", retry_after=seconds)


def _affordable(lane: Lane, size: Size, request: ImageRequest) -> bool:
    return request.max_cost is None or money.price(lane, size) * request.n <= request.max_cost


def _steps(
    lanes: Sequence[Lane], request: ImageRequest, sizes: tuple[Size, ...], situation: Situation
) -> list[tuple[Lane, Size]]:
    """Lanes and sizes in the order in which the chain gives way."""
    order = request.fallback if request.fallback is not None else situation.fallback
    served = {lane.name: [size for size in sizes if _serves(lane, size, request)] for lane in lanes}

    def key(lane: Lane, size: Size) -> tuple[object, ...]:
        largest = served[lane.name][0]
        if order[:1] == ("switch",):
            return -rank(size), *_wish(lane, request), *_rating(lane, size, request, situation)
        return *_wish(lane, request), -rank(largest), *_rating(lane, largest, request, situation), -rank(size)

    steps = sorted(((lane, size) for lane in lanes for size in served[lane.name]), key=lambda step: key(*step))
    return steps if "switch" in order else [step for step in steps if step[0] is steps[0][0]]


def _serves(lane: Lane, size: Size, request: ImageRequest) -> bool:
    return size in lane.sizes and _affordable(lane, size, request)


def _wish(lane: Lane, request: ImageRequest) -> tuple[int, int, bool]:
    """Where the caller's own preferences put a lane: by model, by provider, and by class for quality ``"auto"``."""
    models, providers = request.model or (), request.providers.order
    model = next((place for place, name in enumerate(models) if lane.answers_to(name)), len(models))
    provider = providers.index(lane.provider) if lane.provider in providers else len(providers)
    premium = request.quality == "auto" and request.model is None and lane.lane_class == "premium"
    return model, provider, premium  # auto starts on the standard class


def _rating(
    lane: Lane, size: Size, request: ImageRequest, situation: Situation
) -> tuple[Decimal | float, Decimal | float, float, str]:
    """What decides between lanes that the caller likes equally."""
    state = situation.state(lane)
    rate = success_rate(state, situation.now)
    cost = money.expected_cost(lane, size, rate)
    seconds = typical_seconds(state, lane, size)
    match request.providers.sort or situation.sort:
        case "price":
            return cost, seconds, -rate, lane.name
        case "latency":
            return seconds, cost, -rate, lane.name
        case "success":
            return -rate, cost, seconds, lane.name


def _candidate(lane: Lane, size: Size, situation: Situation) -> Candidate:
    state = situation.state(lane)
    rate = success_rate(state, situation.now)
    return Candidate(
        lane=lane.name,
        size=size,
        expected_cost=money.expected_cost(lane, size, rate),
        expected_seconds=typical_seconds(state, lane, size),
        success_rate=rate,
    )
