"""How a line ends: judged as any attempt is, with the result or the error that the chain would give. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from gateway.batch.jobs import Line
from gateway.chain import attempts, conclusion
from gateway.chain.attempts import Desk, Step, Tried
from gateway.chain.chain import Walk
from gateway.health.monitor import Entry
from gateway.money import money
from gateway.request import ImageRequest
from gateway.result import Attempt, ImageResult, Judge
from providers.errors import GatewayError
from providers.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of *line*: the result or the error."""

    line: Line
    ended: ImageResult | GatewayError


def judged(desk: Desk, line: Line, outcome: Outcome, seconds: float) -> Walk:
    """The walk of *line* up to now, as if the chain had made its tries; the last ended in *outcome* after *seconds*."""
    step = desk.order.steps[0]
    entry = Entry(lane=step.lane, size=step.size, images=line.images, lease=seconds)
    attempt, verdict = attempts.judged(desk.order, entry, outcome, seconds)
    earlier = [_restored(number, step, each) for number, each in enumerate(line.attempts, 1)]
    last = Tried(ordinal=len(earlier) + 1, step=step, attempt=attempt, outcome=outcome, verdict=verdict)
    delivered = [last] if verdict is not None and verdict.decision != "refuse" else []
    return Walk(desk=desk, tried=[*earlier, last], delivered=delivered)


def refused(desk: Desk, line: Line, refusal: GatewayError) -> GatewayError:
    """The error of *line*, which *refusal* keeps from travelling."""
    step = desk.order.steps[0]
    earlier = [_restored(number, step, each) for number, each in enumerate(line.attempts, 1)]
    return conclusion.error_of(Walk(desk=desk, tried=earlier, refusal=refusal))


def result_of(walk: Walk, elapsed: float, today: date, judge: Judge) -> ImageResult | GatewayError:
    """What *walk* ends in."""
    return conclusion.result_of(walk, elapsed, today, judge) or conclusion.error_of(walk)


def left(line: Line, request: ImageRequest) -> Decimal | None:
    """USD of the ``max_cost`` of *request* that *line* has not used; what is under way may come yet, and counts.

    None: there is no limit.
    """
    if request.max_cost is None:
        return None
    under_way = line.quoted if line.chunk and len(line.attempts) < line.tries else Decimal(0)
    return request.max_cost - money.total(line.attempts).usd - under_way


def is_covered(line: Line, request: ImageRequest) -> bool:
    """Whether the ``max_cost`` of *request* covers the next try of *line*."""
    rest = left(line, request)
    return rest is None or line.quoted <= rest


def trail(walk: Walk) -> tuple[Attempt, ...]:
    """The attempts of *walk*, in order."""
    return tuple(tried.attempt for tried in walk.tried)


def _restored(number: int, step: Step, attempt: Attempt) -> Tried:
    """An attempt of an earlier round; its images, if any, have been delivered or kept."""
    outcome = Outcome(name=attempt.outcome, billed=attempt.billed, detail=attempt.detail)
    return Tried(ordinal=number, step=step, attempt=attempt, outcome=outcome)
