"""Every reason for which a lane may not serve a request, and the sentence that says so.

What lasts (sizes, places, dates, wishes) is asked of a :class:`Question`, which is all that those checks may look at: the
same question has the same answer. What passes (a breaker, a quota) is asked of the moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import date
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Final, NamedTuple

from gateway.chat.history import last_image
from gateway.health.health import LaneState, shut, size_shut, standing
from gateway.health.quotas import SHARE, Usage, room
from gateway.money import money
from gateway.request import FallbackStep, ImageRequest, Quality
from gateway.router.lanes import Lane
from gateway.router.plan import Exclusion, ExclusionReason
from gateway.router.situation import Situation
from providers.sizes import Size, rank, smaller

Objection = tuple[ExclusionReason, str]
"""Why a lane is left out: the reason, and the detail."""
Checks = tuple[tuple[ExclusionReason, Callable[[Lane, "Question"], str]], ...]
"""By reason, what says the detail that speaks against a lane, or nothing."""

_FIGURES: Final = frozenset({
    "provider", "prices", "batch_prices", "token_prices", "seconds", "output_tokens", "quota", "published_limits", "sources",
})  # fmt: skip
likeness: Final = attrgetter(*(each.name for each in fields(Lane) if each.name not in _FIGURES))
"""All facts of a lane but its provider and its figures: what most questions depend on, see :func:`sets_apart`."""


class Question(NamedTuple):
    """All that the lasting constraints on a request's lanes depend on.

    *sizes* may be asked for, largest first. *named* are the models of the request, *pool* those of the configuration.
    *references* is the number of reference images, *heaviest* the bytes of the largest. *required* are the parameters that
    a lane has to support, with their values. *country* is where calls leave from, ISO 3166-1. *last_image* is the one that
    a conversation goes on from: the lane that drew it, and its bytes.
    """

    sizes: tuple[Size, ...]
    fallback: tuple[FallbackStep, ...]
    named: tuple[str, ...] | None
    pool: tuple[str, ...] | None
    quality: Quality
    only: tuple[str, ...]
    ignore: tuple[str, ...]
    order: tuple[str, ...]
    aspect_ratio: str | None
    residency: str | None
    references: int
    heaviest: int
    required: tuple[tuple[str, object], ...]
    n: int
    max_cost: Decimal | None
    country: str | None
    today: date
    last_image: tuple[str, int] | None = None


def question(request: ImageRequest, situation: Situation) -> Question:
    """What *request* asks of lanes in *situation*."""
    fallback = request.fallback if request.fallback is not None else situation.fallback
    wishes = request.providers
    return Question(
        ladder(request, fallback),
        fallback,
        request.model,
        situation.models,
        request.quality,
        wishes.only,
        wishes.ignore,
        wishes.order,
        request.aspect_ratio,
        request.residency,
        len(request.images),
        max(situation.references, default=0),
        tuple(request.parameters().items()) if request.require_parameters else (),
        request.n,
        request.max_cost,
        situation.egress_country,
        situation.today,
        last_image(request.history) if request.history else None,
    )


def ladder(request: ImageRequest, fallback: Sequence[FallbackStep]) -> tuple[Size, ...]:
    """The sizes that may be asked for, largest first: the one wanted, and those it may be downgraded to."""
    steps = request.fallback if request.fallback is not None else fallback
    return _down_to(request.size, floor_of(request)) if "downgrade" in steps else (request.size,)


def floor_of(request: ImageRequest) -> Size:
    """The smallest size the request takes: as stated, else one step below, but never below 1K of its own accord."""
    if request.min_size is not None:
        return request.min_size
    below = smaller(request.size)
    return below if below is not None and rank(below) >= rank("1K") else request.size


@cache
def _down_to(size: Size, floor: Size) -> tuple[Size, ...]:
    below = smaller(size)
    return (size, *_down_to(below, floor)) if below is not None and rank(size) > rank(floor) else (size,)


def served(lane: Lane, asked: Question) -> tuple[Size, ...]:
    """The sizes asked for that *lane* offers within the budget, largest first."""
    offered = _offered(asked.sizes, lane.sizes)
    return offered if asked.max_cost is None else tuple(size for size in offered if _affordable(lane, size, asked))


def checks(asked: Question) -> Checks:
    """The checks that can speak against a lane at all for what is *asked*, the most lasting reason first."""
    idle: dict[ExclusionReason, bool] = {
        "preference": not (asked.only or asked.ignore),
        "model": asked.named is None and asked.pool is None,
        "quality": asked.named is not None,
        "residency": asked.residency is None,
        "aspect_ratio": asked.aspect_ratio is None,
        "capability": not (asked.references or asked.heaviest or asked.required or asked.last_image),
        "max_cost": asked.max_cost is None,
    }
    return tuple((reason, check) for reason, check in _CHECKS if not idle.get(reason))


def objection(lane: Lane, asked: Question, raised: Checks) -> Objection | None:
    """Why *lane* may not serve what is *asked*, by the checks *raised*, however long one waits; None if it may."""
    for reason, check in raised:
        detail = check(lane, asked)
        if detail:
            return reason, detail
    return None


def sets_apart(asked: Question) -> bool:
    """Whether lanes of one likeness may get different answers: their providers, prices or names count."""
    return bool(asked.only or asked.ignore or asked.order or asked.max_cost is not None or asked.last_image)


def is_at_ease(state: LaneState, second: int) -> bool:
    """Whether nothing shuts a lane in that *state*, or a size of it, in that *second*."""
    if state.breaker.opened is not None or (state.calls and state.watch < second + 1):
        return False
    for rests in (state.cooldowns, state.answers):
        for rest in rests.values():
            if rest.until > second:
                return False
    return True


def indisposed(lane: Lane, state: LaneState, now: float) -> Exclusion | None:
    """Why *lane* in that *state* is not to be asked now, whatever the size; None if it may be."""
    seconds = shut(state, now)
    if seconds is None or lane.mode == "shadow":
        return None
    stands = standing(state, lane, now)
    cause = stands.reason or "failures"
    reason: ExclusionReason = (
        "quota" if cause == "quota_exhausted" else "region" if cause == "region"
        else "cooling_down" if cause in state.cooldowns else "circuit_open"
    )  # fmt: skip
    advice = "a new key, account or configuration is needed" if stands.state == "latched" else ""
    again = f"again in {seconds:.0f} s" if seconds < math.inf else ""
    detail = f"{cause}: {'; '.join(filter(None, (advice, again)))}"
    return Exclusion(lane=lane.name, reason=reason, detail=detail, retry_after=seconds if again else None)


def rested(lane: Lane, state: LaneState, sizes: Sequence[Size], now: float) -> tuple[Size, ...]:
    """Those of *sizes* at which *lane* does not rest for having answered with no image or a wrong one."""
    if lane.mode == "shadow" or not state.answers:
        return tuple(sizes)
    return tuple(size for size in sizes if size_shut(state, size, now) is None)


def resting(lane: Lane, state: LaneState, sizes: Sequence[Size], now: float) -> Exclusion:
    """That *lane* rests at every one of *sizes*."""
    seconds = min(size_shut(state, size, now) or 0.0 for size in sizes)
    detail = f"failed too often at {' and '.join(sizes)}: again in {seconds:.0f} s"
    return Exclusion(lane=lane.name, reason="cooling_down", detail=detail, retry_after=seconds)


def used_up(lane: Lane, usage: Usage, images: int, now: float) -> Exclusion | None:
    """Why a call for *images* images is over the quota of *lane*; None if it is not."""
    seconds = room(usage, lane, images, now)
    if seconds is None:
        return None
    quota = ", ".join(f"{name} {limit}" for name, limit in lane.quota.items())
    detail = f"{SHARE} % of its configured quota ({quota}) is used: room again in {seconds:.0f} s"
    return Exclusion(lane=lane.name, reason="quota", detail=detail, retry_after=seconds)


def not_switched_to(lane: Lane, chosen: Lane) -> Exclusion:
    """That *lane* is left out because the request stays with the lane that was *chosen*."""
    detail = f'the request stays with {chosen.name}; add "switch" to fallback to have others tried'
    return Exclusion(lane=lane.name, reason="preference", detail=detail)


def _disabled(lane: Lane, asked: Question) -> str:
    return "" if lane.enabled and lane.mode != "disabled" else "switched off in the configuration"


def _held_open(lane: Lane, asked: Question) -> str:
    return "held open by the operator" if lane.mode == "forced-open" else ""


def _unwanted(lane: Lane, asked: Question) -> str:
    if asked.only and lane.provider not in asked.only:
        return f"the request takes only {', '.join(asked.only)}"
    return "the request ignores this provider" if lane.provider in asked.ignore else ""


def _another_model(lane: Lane, asked: Question) -> str:
    if asked.named is not None:
        named = any(lane.answers_to(model) for model in asked.named)
        return "" if named else f"the request asks for {' or '.join(asked.named)}"
    if asked.pool is not None and lane.model not in asked.pool:
        return "not among [router] models"
    return ""


def _another_quality(lane: Lane, asked: Question) -> str:
    if asked.named is not None:
        return ""
    if lane.lane_class == "legacy" and asked.pool is None:
        return "a legacy model is taken only when it is named"
    if asked.quality == "premium" and lane.lane_class != "premium":
        return f"the request asks for premium, the lane is {lane.lane_class}"
    return ""


def _not_released(lane: Lane, asked: Question) -> str:
    early = lane.released is not None and asked.today < lane.released
    return f"released on {lane.released}" if early else ""


def _retired(lane: Lane, asked: Question) -> str:
    binding = lane.vendor_host or lane.retired_configured
    if not binding or lane.retired is None or asked.today < lane.retired:
        return ""
    return f"retired on {lane.retired}" + (f"; use {lane.replacement}" if lane.replacement else "")


def _refused_country(lane: Lane, asked: Question) -> str:
    country = lane.egress_country or asked.country
    return f"refuses calls from {country}" if country in lane.refused_countries else ""


def _elsewhere(lane: Lane, asked: Question) -> str:
    if asked.residency is None:
        return ""
    promised = (lane.residency or "").lower()
    if promised == "global":  # anywhere at all is no promise, even to who asks for it
        return f"promises no region of processing (global), not {asked.residency}"
    if promised and promised == asked.residency.lower():
        return ""
    return f"promises {lane.residency or 'no place'} of processing, not {asked.residency}"


def _another_ratio(lane: Lane, asked: Question) -> str:
    if asked.aspect_ratio is None or lane.aspect_ratios is None or asked.aspect_ratio in lane.aspect_ratios:
        return ""
    return f"does not draw {asked.aspect_ratio}; it draws {', '.join(lane.aspect_ratios)}"


def _incapable(lane: Lane, asked: Question) -> str:
    references = asked.references + (asked.last_image is not None)
    if references > lane.references:
        return f"takes {lane.references} reference images, not {references}"
    drawn_by, weight = asked.last_image or ("", 0)
    heaviest = asked.heaviest if drawn_by == lane.name else max(asked.heaviest, weight)
    if lane.reference_bytes is not None and heaviest > lane.reference_bytes:
        return f"takes reference images of {lane.reference_bytes:,} bytes, not {heaviest:,}"
    missing = lane.unsupported(dict(asked.required))
    return f"does not support {', '.join(missing)}" if missing else ""


def _another_size(lane: Lane, asked: Question) -> str:
    if _offered(asked.sizes, lane.sizes):
        return ""
    return f"offers {', '.join(lane.sizes)}, not {' or '.join(asked.sizes)}"


def _too_dear(lane: Lane, asked: Question) -> str:
    if asked.max_cost is None or served(lane, asked):
        return ""
    cost = min(money.price(lane, size) * asked.n for size in asked.sizes if size in lane.sizes)
    return f"costs ${cost} for {asked.n} image(s), over the limit of ${asked.max_cost}"


@cache
def _offered(asked: tuple[Size, ...], sizes: tuple[Size, ...]) -> tuple[Size, ...]:
    return tuple(size for size in asked if size in sizes)


def _affordable(lane: Lane, size: Size, asked: Question) -> bool:
    return asked.max_cost is None or money.price(lane, size) * asked.n <= asked.max_cost


_CHECKS: Final[Checks] = (
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
    ("size", _another_size),
    ("max_cost", _too_dear),
    ("circuit_open", _held_open),
)
