"""The chain: walks a plan until the images are there, or until nothing sensible is left to try.

It makes the attempts, verifies what comes, gives way as the policies say, and adds up time and money. What one attempt
means for a lane is decided by :mod:`gateway.health`, what it costs by :mod:`gateway.money`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

import anyio

from gateway import money, verdicts
from gateway.clock import Clock
from gateway.config import FallbackPolicy
from gateway.credentials import KEY_TROUBLE, Credentials
from gateway.events import emit
from gateway.health import Event, LaneState, next_state, shut, typical_seconds
from gateway.lanes import Lane
from gateway.request import ImageRequest
from gateway.result import Attempt
from providers.exchange import Exchange
from providers.images import ReferenceImage
from providers.outcome import Outcome, OutcomeName
from providers.request import UpstreamRequest
from providers.sizes import Size

MAX_WAIT: Final = 5.0
MAX_WAIT_SHARE: Final = 0.1
"""A rate limit is waited out if that takes at most so many seconds and at most this share of the time left."""

_LANE_WIDE: Final[frozenset[OutcomeName]] = frozenset(
    {"auth", "balance", "region", "model_gone", "quota_exhausted", "rate_limited", "no_image", "blocked", "invalid"}
)
"""Outcomes after which the same lane is not tried at another size in the same request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request, ready to be carried out. *deadline* is on the monotonic clock."""

    request: ImageRequest
    references: tuple[ReferenceImage, ...]
    steps: tuple[tuple[Lane, Size], ...]
    policy: FallbackPolicy
    deadline: float
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attempt with all that came of it. *another_key*: its key was refused, and the provider has another to use."""

    lane: Lane
    size: Size
    attempt: Attempt
    outcome: Outcome
    verdict: verdicts.Verdict | None = None
    another_key: bool = False


@dataclass(slots=True, kw_only=True)
class Walk:
    """The walk of one order along its plan; afterwards it holds everything that happened."""

    order: Order
    credentials: Mapping[str, Credentials]
    states: dict[str, LaneState]
    clock: Clock
    tried: list[Tried] = field(default_factory=list)
    delivered: list[Tried] = field(default_factory=list)
    out_of_time: bool = False
    out_of_money: bool = False
    _left: set[str] = field(default_factory=set)
    _waited: bool = False
    _stopped: bool = False

    async def run(self) -> None:
        """Try step after step."""
        for number, (lane, size) in enumerate(self.order.steps):
            if self._stopped or not self.missing:
                return
            if self._may_try(lane, size):
                await self._step(lane, size, self._time_for(number))

    @property
    def missing(self) -> int:
        """How many images are still to come."""
        return self.order.request.n - sum(len(tried.outcome.images) for tried in self.delivered)

    @property
    def spent(self) -> Decimal:
        """USD that the attempts so far did or may have cost."""
        return money.total(tried.attempt for tried in self.tried).usd

    def _may_try(self, lane: Lane, size: Size) -> bool:
        now = self.clock.monotonic()
        state = self.states.get(lane.name, LaneState())
        if lane.name in self._left or self._calls_left() < 1 or shut(state, now) is not None:
            return False
        if typical_seconds(state, lane, size) > self.order.deadline - now:
            self.out_of_time = True
            return False
        limit = self.order.request.max_cost
        if limit is not None and self.spent + money.price(lane, size) > limit:
            self.out_of_money = True
            return False
        return True

    def _calls_left(self) -> int:
        """Calls that may still be made: the limit counts one image; each further image has a call of its own."""
        return self.order.policy.max_attempts + self.order.request.n - 1 - len(self.tried)

    def _time_for(self, number: int) -> float:
        """Seconds for an attempt at step *number*: all that is left, less what another lane would need, if that suffices."""
        lane, size = self.order.steps[number]
        left = self.order.deadline - self.clock.monotonic()
        others = (
            typical_seconds(self.states.get(other.name, LaneState()), other, smaller)
            for other, smaller in self.order.steps[number + 1 :]
            if other is not lane
        )
        reserve = min(others, default=0.0)
        own = typical_seconds(self.states.get(lane.name, LaneState()), lane, size)
        seconds = left - reserve if left - reserve >= own else left
        return min(seconds, lane.timeout) if lane.timeout is not None else seconds

    async def _step(self, lane: Lane, size: Size, seconds: float) -> None:
        """Make the calls of one step, side by side where several images are missing, and draw the consequences."""
        calls = self._affordable_calls(lane, size)
        shares = [len(share) for share in _split(self.missing, lane.images_per_call)][:calls]
        if len(shares) == 1:
            await self._attempt(lane, size, shares[0], seconds)
        else:
            async with anyio.create_task_group() as group:
                for share in shares:
                    group.start_soon(self._attempt, lane, size, share, seconds)
        await self._consider(lane, size, self.tried[-len(shares) :])

    def _affordable_calls(self, lane: Lane, size: Size) -> int:
        limit = self.order.request.max_cost
        calls = self._calls_left()
        if limit is None:
            return calls
        each = money.price(lane, size) * min(lane.images_per_call, self.missing)
        return max(1, min(calls, math.floor((limit - self.spent) / each)))

    async def _consider(self, lane: Lane, size: Size, results: Sequence[Tried]) -> None:
        """What the results of a step mean for the rest of the walk."""
        failed = [tried for tried in results if tried.attempt.outcome != "ok"]
        for tried in failed:
            outcome = tried.attempt.outcome
            if outcome == "blocked" and self.order.policy.on_blocked == "stop":
                self._stopped = True
            if outcome == "no_image" and (self.order.policy.on_no_image == "stop" or self._second("no_image")):
                self._stopped = True
            if outcome in _LANE_WIDE:
                self._left.add(lane.name)
        if self.missing and not self._stopped and len(failed) == len(results):
            await self._again(lane, size, failed[-1])

    def _second(self, outcome: OutcomeName) -> bool:
        """Whether *outcome* came from more than one lane."""
        return len({tried.lane.name for tried in self.tried if tried.attempt.outcome == outcome}) > 1

    async def _again(self, lane: Lane, size: Size, failed: Tried) -> None:
        """The two failures after which the same lane is asked once more: another key is left, or a short wait helps."""
        if failed.another_key and self._calls_left() > 0:
            self._left.discard(lane.name)
            await self._step(lane, size, self._time_left(lane))
            return
        hint = failed.attempt.retry_after
        if failed.attempt.outcome != "rate_limited" or self._waited or hint is None or self._calls_left() < 1:
            return
        if hint <= min(MAX_WAIT, MAX_WAIT_SHARE * (self.order.deadline - self.clock.monotonic())):
            self._waited = True
            await self.clock.sleep(hint)
            self._left.discard(lane.name)
            await self._step(lane, size, self._time_left(lane))

    def _time_left(self, lane: Lane) -> float:
        return min(self.order.deadline - self.clock.monotonic(), lane.timeout or math.inf)

    async def _attempt(self, lane: Lane, size: Size, images: int, seconds: float) -> None:
        """Make one call, and write down what came of it, however it ends."""
        credentials = self.credentials[lane.provider]
        key = credentials.pick(self.clock.monotonic())
        request = _upstream_request(self.order, lane, size, images, seconds)
        exchange = Exchange()
        outcome = Outcome(name="cancelled", billed="maybe")
        started = self.clock.monotonic()
        try:
            with anyio.move_on_after(seconds) as limit:
                async with credentials.room:
                    outcome = await credentials.adapters[key].generate(request, exchange)
            if limit.cancelled_caught:
                detail = f"no answer within {seconds:.0f} s"
                outcome = Outcome(name="timeout", billed="maybe" if exchange.sent else "no", detail=detail)
        finally:
            if outcome.name == "cancelled" and not exchange.sent:
                outcome = Outcome(name="cancelled", billed="no")
            now = self.clock.monotonic()
            another_key = outcome.name in KEY_TROUBLE and credentials.rest(key, now)
            tried = self._judge(lane, size, images, outcome, now - started)
            self._record(replace(tried, another_key=another_key), now)

    def _judge(self, lane: Lane, size: Size, images: int, outcome: Outcome, duration: float) -> Tried:
        verdict = None
        name = outcome.name
        if name == "ok":
            verdict = verdicts.verdict(outcome.images, size, self.order.request, self.order.policy.on_wrong_size)
            name = "ok" if verdict.as_asked else "wrong_size"
        attempt = Attempt(
            lane=lane.name,
            size=size,
            outcome=name,
            billed=outcome.billed,
            cost=money.cost_of(lane, size, outcome, images),
            duration=duration,
            retry_after=outcome.retry_after,
            detail=outcome.detail or "; ".join(verdict.warnings if verdict else ()),
        )
        return Tried(lane=lane, size=size, attempt=attempt, outcome=outcome, verdict=verdict)

    def _record(self, tried: Tried, now: float) -> None:
        attempt = tried.attempt
        self.tried.append(tried)
        if tried.verdict is not None and tried.verdict.decision == "accept":
            self.delivered.append(tried)
        if not tried.another_key:  # what one key meets is not the lane's fault while another one works
            event = Event(
                outcome=attempt.outcome, billed=attempt.billed, size=tried.size,
                duration=attempt.duration, retry_after=attempt.retry_after,
            )  # fmt: skip
            state = self.states.get(attempt.lane, LaneState())
            self.states[attempt.lane] = next_state(state, event, now)
        emit(
            "image_attempt", request_id=self.order.request_id, lane=attempt.lane, size=attempt.size,
            outcome=attempt.outcome, billed=attempt.billed, usd=str(attempt.cost.usd) if attempt.cost else None,
            seconds=round(attempt.duration, 3), detail=attempt.detail, tags=self.order.request.tags,
        )  # fmt: skip


def _split(images: int, per_call: int) -> Iterator[range]:
    """The images of each call."""
    return (range(start, min(start + per_call, images)) for start in range(0, images, per_call))


def _upstream_request(order: Order, lane: Lane, size: Size, images: int, seconds: float) -> UpstreamRequest:
    """The request in the lane's terms, without what the lane does not support."""
    request = order.request
    supported = {name: value for name, value in request.parameters().items() if name in lane.capabilities}
    return UpstreamRequest(
        model=lane.upstream_model,
        catalogue_model=lane.model,
        prompt=request.prompt,
        images=order.references,
        size=size if lane.takes_size else None,
        aspect_ratio=request.aspect_ratio,
        n=images,
        stream=bool(lane.stream),
        timeout=seconds,
        **supported,
    )
