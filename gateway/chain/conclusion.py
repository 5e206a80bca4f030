"""What a walk ends in: the result, or the error that says what to do next. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from gateway.chain.attempts import Tried
from gateway.chain.chain import Walk
from gateway.chat import history
from gateway.events import RequestEnded
from gateway.health.health import shut
from gateway.money import money
from gateway.request import ImageRequest
from gateway.result import Attempt, Cost, ImageResult, Judge
from gateway.router.plan import Exclusion, Plan
from gateway.router.router import lane_warnings
from providers.errors import (
    AllAttemptsFailed,
    BudgetExceeded,
    ContentBlocked,
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    NoLaneAvailable,
)
from providers.sizes import rank, tier_of

_BY_THE_REQUEST = frozenset({"size", "aspect_ratio", "capability", "model", "quality", "preference", "disabled"})
"""Reasons to leave a lane out that waiting does not change."""


class NoLaneForRequest(NoLaneAvailable, InvalidRequest):
    """No lane could ever serve this request as it stands: it has to change, or the configuration."""


def result_of(walk: Walk, elapsed: float, today: date, judge: Judge | None) -> ImageResult | None:
    """The result of a finished walk, or None if there is nothing to deliver. *judge* takes the verdict on it."""
    chosen = walk.delivered
    if not chosen or walk.unsaved is not None:
        return None
    request = walk.order.request
    images = tuple(image for tried in chosen for image in tried.outcome.images)
    size = min((tier for image in images if (tier := tier_of(image.width, image.height))), key=rank)
    first = chosen[0]
    return ImageResult(
        images=images,
        text="\n\n".join(filter(None, (tried.outcome.text for tried in chosen))),
        lane=first.step.lane.name,
        provider=first.step.lane.provider,
        model=first.step.lane.model,
        requested_size=request.size,
        size=size,
        downgraded=rank(size) < rank(request.size),
        cost=_cost(chosen),
        total_cost=money.total(tried.attempt for tried in walk.tried),
        attempts=_attempts(walk),
        warnings=tuple(dict.fromkeys(_warnings(chosen, len(images), request, today))),
        request_id=walk.order.request_id,
        elapsed=elapsed,
        parts=tuple(part for tried in chosen for part in tried.outcome.parts),
        _judge=judge,
    )


def ended(
    request: ImageRequest,
    request_id: str,
    seconds: float,
    result: ImageResult | None,
    failure: str,
    tried: Sequence[Tried],
) -> RequestEnded:
    """The event that a request ended with: its *result*, or else the name of the error's class."""
    attempts = [each.attempt for each in tried] if result is None or result.cached else result.attempts
    return RequestEnded(
        request_id=request_id,
        outcome="ok" if result else failure,
        requested_size=request.size,
        seconds=seconds,
        attempts=len(attempts),
        total_usd=money.total(attempts).usd,
        lane=result.lane if result else None,
        size=result.size if result else None,
        downgraded=result.downgraded if result else False,
        images=len(result.images) if result else 0,
        cached=result.cached if result else False,
        usd=result.cost.usd if result else None,
        task=request.task,
        tags=request.tags,
    )


def lost(walk: Walk) -> dict[str, Decimal]:
    """USD by lane that a finished walk did or may have cost beyond what was delivered."""
    costs: dict[str, Decimal] = {}
    for tried in walk.tried:
        if tried.attempt.cost is not None and tried not in walk.delivered:
            name = tried.attempt.lane
            costs[name] = costs.get(name, Decimal(0)) + tried.attempt.cost.usd
    return costs


def error_of(walk: Walk) -> GatewayError:
    """Why a finished walk has nothing to deliver."""
    kind = _kind_of(walk)
    waits = (_wait(tried, walk) for tried in walk.tried)
    if walk.refusal is not None and not walk.tried:
        return walk.refusal
    return kind(
        _sentence(kind, walk),
        attempts=_attempts(walk),
        images=tuple(image for tried in walk.tried for image in tried.outcome.images),
        retry_after=min((wait for wait in waits if wait is not None), default=None),
    )


def _kind_of(walk: Walk) -> type[GatewayError]:
    names = [tried.attempt.outcome for tried in walk.tried]
    if walk.unsaved is not None:
        return GatewayError
    if "blocked" in names:
        return ContentBlocked
    if names and set(names) == {"invalid"}:
        return InvalidRequest
    if walk.out_of_time or (names and names[-1] == "timeout" and _is_over(walk)):
        return DeadlineExceeded
    if isinstance(walk.refusal, BudgetExceeded):
        return BudgetExceeded
    return BudgetExceeded if walk.out_of_money else AllAttemptsFailed


def _wait(tried: Tried, walk: Walk) -> float | None:
    """Seconds after which *tried*'s lane may be worth another try: its own hint, or as long as it stays shut.

    A hint is worth nothing once the day's quota is used up.
    """
    if tried.attempt.outcome != "quota_exhausted" and tried.attempt.retry_after is not None:
        return tried.attempt.retry_after
    wait = shut(walk.desk.monitor.state(tried.step.lane), walk.desk.clock.monotonic())
    return wait if wait is not None and wait < math.inf else None


def no_lane_error(plan: Plan) -> GatewayError:
    """Why nothing can be tried at all."""
    reasons = {exclusion.reason for exclusion in plan.excluded}
    waits = [exclusion.retry_after for exclusion in plan.excluded if exclusion.retry_after is not None]
    about_money = "max_cost" in reasons and not waits  # where waiting helps, that is what to say
    kind = BudgetExceeded if about_money else NoLaneForRequest if reasons <= _BY_THE_REQUEST else NoLaneAvailable
    told = "; ".join(f"{exclusion.lane}: {exclusion.detail}" for exclusion in _telling(plan.excluded))
    return kind(
        f"no lane can serve this request: {told or 'none is configured'}",
        retry_after=min(waits, default=None),
        plan=plan,
    )


def _telling(excluded: Sequence[Exclusion]) -> list[Exclusion]:
    """The exclusions that say something: those for another reason than the caller's own choice of model or provider."""
    chosen = [
        exclusion for exclusion in excluded if exclusion.reason not in ("model", "preference", "disabled", "quality")
    ]
    return (chosen or list(excluded))[:5]


def _attempts(walk: Walk) -> tuple[Attempt, ...]:
    return tuple(tried.attempt for tried in sorted(walk.tried, key=lambda tried: tried.ordinal))


def _cost(chosen: Sequence[Tried]) -> Cost:
    return money.total(tried.attempt for tried in chosen)


def _warnings(chosen: Sequence[Tried], images: int, request: ImageRequest, today: date) -> Iterable[str]:
    for tried in chosen:
        yield from lane_warnings(tried.step.lane, request, today)
        yield from history.told(request.history, tried.step.lane, len(request.images))
        yield from tried.warnings
        if tried.verdict is not None:
            yield from tried.verdict.warnings
        if rank(tried.step.size) < rank(request.size):
            yield f"{request.size} could not be had: {tried.step.lane.name} was asked for {tried.step.size} instead"
    if images < request.n:
        yield f"{images} of {request.n} images came"


def _is_over(walk: Walk) -> bool:
    return walk.order.deadline - walk.desk.clock.monotonic() < 0.001  # timers may fire a trifle early


def _sentence(kind: type[GatewayError], walk: Walk) -> str:
    beginning = {
        ContentBlocked: "the model refused to draw this",
        InvalidRequest: "every lane that was asked refused the request",
        DeadlineExceeded: "the deadline does not leave time for another attempt",
        BudgetExceeded: f"max_cost ${walk.order.request.max_cost} does not cover another attempt",
        GatewayError: f"the images came, but could not be saved: {walk.unsaved and walk.unsaved.strerror}",
    }.get(kind, "no attempt succeeded")
    attempts = _attempts(walk)
    if not attempts:
        return f"{beginning}; nothing was tried and nothing spent"
    trail = "; ".join(f"{each.lane} at {each.size}: {each.outcome} ({each.detail})" for each in attempts)
    spent = money.total(attempts).usd
    if walk.refusal is not None:
        trail += f"; {walk.refusal}"
    if walk.out_of_allowance:
        trail += "; the budget for retries is used up ([fallback] retry_budget)"
    return f"{beginning}: {trail}; at most ${spent.normalize() if spent else Decimal(0):f} was spent"
