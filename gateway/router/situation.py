"""What a decision depends on besides the request and the lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from gateway.health.health import LaneState
from gateway.health.quotas import Usage
from gateway.request import FallbackStep, ImageRequest, Quality, Sort
from gateway.router.acceptance import Tally
from providers.sizes import Size


class Kind(NamedTuple):
    """What two requests share that are comparable: the lane that served one is the incumbent for the other."""

    size: Size
    model: tuple[str, ...] | None
    quality: Quality
    task: str | None
    order: tuple[str, ...]
    sort: Sort | None

    @classmethod
    def of(cls, request: ImageRequest) -> Kind:
        """The kind of *request*; the task counts where the choice depends on it."""
        wishes = request.providers
        task = request.task if request.quality == "auto" else None
        return cls(request.size, request.model, request.quality, task, wishes.order, wishes.sort)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a decision depends on besides the request and the lanes. Nothing in it is changed by deciding.

    *now* is seconds on the monotonic clock, *today* the day in UTC. *models* are the canonical ids that a request without
    a model may get, None for any. *references* is the bytes of each reference image, as far as they are known.
    *states*, *in_flight* (calls under way), *quotas* and *acceptance* (the verdicts on the request's own task) are by the
    lane's name; a lane that is not in them is new. *incumbents* names the lane that comparable requests went to last.
    *seed* is a random number of at least 0 that settles what is left to chance.
    """

    now: float
    today: date
    states: Mapping[str, LaneState] = field(default_factory=dict)
    egress_country: str | None = None
    models: tuple[str, ...] | None = None
    sort: Sort = "price"
    fallback: tuple[FallbackStep, ...] = ("switch", "downgrade")
    references: tuple[int, ...] = ()
    in_flight: Mapping[str, int] = field(default_factory=dict)
    quotas: Mapping[str, Usage] = field(default_factory=dict)
    acceptance: Mapping[str, Tally] = field(default_factory=dict)
    incumbents: Mapping[Kind, str] = field(default_factory=dict)
    seed: int = 0
