"""The chain: walks a plan until the images are there, or until nothing sensible is left to try.

It makes the attempts, verifies what comes, gives way as the policies say, and adds up time and money. What one attempt
means for a lane is decided by :mod:`gateway.health`, what it costs by :mod:`gateway.money`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
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
from gateway.saving import Destination
from providers.exchange import Exchange
from providers.images import ReferenceImage
from providers.outcome import Billed, Outcome, OutcomeName
from providers.request import UpstreamRequest
from providers.sanitise import sanitise
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
    """One request, ready to be carried out. *deadline* is on the monotonic clock, *destination* where images are saved."""

    request: ImageRequest
    references: tuple[ReferenceImage, ...]
    steps: tuple[tuple[Lane, Size], ...]
    policy: FallbackPolicy
    deadline: float
    request_id: str
    destination: Destination | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Tried:
    """One attempt with all that came of it; *outcome* changes once, when its images are saved.

    *another_key*: its key was refused, and the provider has another to use. *telling*: it says something about the lane.
    """

    lane: Lane
    size: Size
    attempt: Attempt
    outcome: Outcome
    verdict: verdicts.Verdict | None = None
    another_key: bool = False
    telling: bool = True

    def is_judged(self, decision: str) -> bool:
        """Whether images came and the verdict on them is *decision*."""
        return self.verdict is not None and self.verdict.decision == decision


@dataclass(slots=True, kw_only=True)
class _Call:
    """A call under way. *key* is None while it waits for room; an *outcome* of None at the end means it was cancelled."""

    started: float
    exchange: Exchange = field(default_factory=Exchange)
    key: int | None = None
    outcome: Outcome | None = None

    def ended(self) -> Outcome:
        """What came of it."""
        return self.outcome or Outcome(name="cancelled", billed="maybe" if self.exchange.sent else "no")

    def out_of_time(self, seconds: float) -> Outcome:
        """What it is when the attempt's time is over."""
        billed: Billed = "maybe" if self.exchange.sent else "no"
        reason = (
            f"no answer within {seconds:.0f} s" if self.key is not None else "other calls left no time for this one"
        )
        return Outcome(name="timeout", billed=billed, detail=reason)


@dataclass(slots=True, kw_only=True)
class Walk:
    """The walk of one order along its plan; afterwards it holds everything that happened, and what is to be delivered.

    *lock* guards *states*, which all requests of a gateway share. *unsaved* is why images could not be written.
    """

    order: Order
    credentials: Mapping[str, Credentials]
    states: dict[str, LaneState]
    lock: threading.Lock
    clock: Clock
    tried: list[Tried] = field(default_factory=list)
    delivered: list[Tried] = field(default_factory=list)
    out_of_time: bool = False
    out_of_money: bool = False
    unsaved: OSError | None = None
    _left: set[str] = field(default_factory=set)
    _waited: bool = False
    _stopped: bool = False

    async def run(self) -> None:
        """Try step after step; what was kept for want of better makes up for what is missing."""
        for number, (lane, size) in enumerate(self.order.steps):
            if self._stopped or not self.missing:
                break
            if self._may_try(lane, size):
                await self._step(lane, size, self._time_for(number))
        for tried in sorted((each for each in self.tried if each.is_judged("keep")), key=_pixels, reverse=True):
            if self.missing:
                await self._deliver(tried)

    @property
    def missing(self) -> int:
        """How many images are still to come."""
        return max(0, self.order.request.n - sum(len(tried.outcome.images) for tried in self.delivered))

    @property
    def spent(self) -> Decimal:
        """USD that the attempts so far did or may have cost."""
        return money.total(tried.attempt for tried in self.tried).usd

    def _state(self, lane: Lane) -> LaneState:
        return self.states.get(lane.name, LaneState())

    def _may_try(self, lane: Lane, size: Size) -> bool:
        is_shut = shut(self._state(lane), self.clock.monotonic()) is not None
        return lane.name not in self._left and not is_shut and self._can_afford(lane, size)

    def _can_afford(self, lane: Lane, size: Size) -> bool:
        """Whether calls, time and money are left for a call; what is lacking is noted."""
        if self._calls_left() < 1:
            return False
        if not self._in_time(lane, size):
            self.out_of_time = True
            return False
        limit = self.order.request.max_cost
        if limit is not None and self.spent + money.price(lane, size) > limit:
            self.out_of_money = True
            return False
        return True

    def _in_time(self, lane: Lane, size: Size) -> bool:
        """Whether a call that begins now usually ends before the deadline."""
        return typical_seconds(self._state(lane), lane, size) <= self.order.deadline - self.clock.monotonic()

    def _calls_left(self) -> int:
        """Calls that may still be made: the limit counts one image; each further image has a call of its own."""
        return self.order.policy.max_attempts + self.order.request.n - 1 - len(self.tried)

    def _time_for(self, number: int) -> float:
        """Seconds for an attempt at step *number*: all that is left, less what another lane would need, if that suffices."""
        lane, size = self.order.steps[number]
        left = self.order.deadline - self.clock.monotonic()
        others = (
            typical_seconds(self._state(other), other, smaller)
            for other, smaller in self.order.steps[number + 1 :]
            if other is not lane
        )
        reserve = min(others, default=0.0)
        own = typical_seconds(self._state(lane), lane, size)
        seconds = left - reserve if left - reserve >= own else left
        return min(seconds, lane.timeout) if lane.timeout is not None else seconds

    async def _step(self, lane: Lane, size: Size, seconds: float) -> None:
        """Make the calls of one step, side by side where several images are missing, and draw the consequences."""
        shares = self._shares(lane, size)
        if len(shares) == 1:
            await self._attempt(lane, size, shares[0], seconds)
        else:
            async with anyio.create_task_group() as group:
                for share in shares:
                    group.start_soon(self._attempt, lane, size, share, seconds)
        await self._consider(lane, size, self.tried[-len(shares) :])

    def _shares(self, lane: Lane, size: Size) -> list[int]:
        """How many images each call of a step asks for, as far as calls and money go; at least one call."""
        images, limit, each = self.missing, self.order.request.max_cost, lane.images_per_call
        if limit is not None:
            images = min(images, math.floor((limit - self.spent) / money.price(lane, size)))
        return [min(each, images - start) for start in range(0, images, each)][: self._calls_left()]

    async def _consider(self, lane: Lane, size: Size, results: Sequence[Tried]) -> None:
        """What the results of a step mean for the rest of the walk."""
        failed = [tried for tried in results if tried.attempt.outcome != "ok"]
        for tried in failed:
            outcome = tried.attempt.outcome
            if outcome == "blocked" and self.order.policy.on_blocked == "stop":
                self._stopped = True
            if outcome == "no_image" and (self.order.policy.on_no_image == "stop" or self._second("no_image")):
                self._stopped = True
            if outcome in _LANE_WIDE or _was_unreachable(tried.attempt):
                self._left.add(lane.name)
        if self.missing and not self._stopped and len(failed) == len(results):
            refused = (tried for tried in failed if tried.another_key)
            await self._again(lane, size, next(refused, failed[-1]))

    def _second(self, outcome: OutcomeName) -> bool:
        """Whether *outcome* came from more than one lane."""
        return len({tried.lane.name for tried in self.tried if tried.attempt.outcome == outcome}) > 1

    async def _again(self, lane: Lane, size: Size, failed: Tried) -> None:
        """Ask the same lane once more after the two failures where that helps: another key is left, or a short wait."""
        helps = failed.another_key or await self._waited_out(failed.attempt)
        if helps and self._can_afford(lane, size):
            self._left.discard(lane.name)
            await self._step(lane, size, self._time_left(lane))

    async def _waited_out(self, attempt: Attempt) -> bool:
        """Whether a rate limit is over: once in a request it is waited out, if that takes little of the time left."""
        hint, left = attempt.retry_after, self.order.deadline - self.clock.monotonic()
        if attempt.outcome != "rate_limited" or self._waited or hint is None or self._calls_left() < 1:
            return False
        if not 0 <= hint <= min(MAX_WAIT, MAX_WAIT_SHARE * left):
            return False
        self._waited = True
        await self.clock.sleep(hint)
        return True

    def _time_left(self, lane: Lane) -> float:
        return min(self.order.deadline - self.clock.monotonic(), lane.timeout or math.inf)

    async def _attempt(self, lane: Lane, size: Size, images: int, seconds: float) -> None:
        """Make one call, write down what came of it, however it ends, and deliver what is good."""
        call = _Call(started=self.clock.monotonic())
        until = call.started + seconds
        try:
            with anyio.move_on_after(seconds):
                async with self.credentials[lane.provider].room(lane.name):
                    call.started = self.clock.monotonic()
                    request = _upstream_request(self.order, lane, size, images, until - call.started)
                    if self._in_time(lane, size):  # waiting for room may have taken too long
                        await self._ask(call, lane, request)
            call.outcome = call.outcome or call.out_of_time(seconds)
        finally:
            tried = self._judge(lane, size, images, call)
            self._record(tried)
        if tried.is_judged("accept"):
            await self._deliver(tried)

    async def _ask(self, call: _Call, lane: Lane, request: UpstreamRequest) -> None:
        credentials = self.credentials[lane.provider]
        call.key = credentials.pick(call.started)
        try:
            call.outcome = await credentials.adapters[call.key].generate(request, call.exchange)
        except Exception as error:  # a bug in an adapter must not cost the images of the calls beside it
            billed: Billed = "maybe" if call.exchange.sent else "no"
            detail = f"the adapter failed with {type(error).__name__}"
            call.outcome = Outcome(name="bad_response", billed=billed, detail=detail)

    def _judge(self, lane: Lane, size: Size, images: int, call: _Call) -> Tried:
        outcome, verdict, now = call.ended(), None, self.clock.monotonic()
        name = outcome.name
        if name == "ok" and not outcome.images:
            name = "no_image"
        if name == "ok":
            verdict = verdicts.verdict(outcome.images, size, self.order.request, self.order.policy.on_wrong_size)
            name = "ok" if verdict.as_asked else "wrong_size"
        refused = call.key is not None and name in KEY_TROUBLE
        another_key = refused and self.credentials[lane.provider].rest(call.key or 0, now)
        attempt = Attempt(
            lane=lane.name,
            size=size,
            outcome=name,
            billed=outcome.billed,
            cost=money.cost_of(lane, size, outcome, images),
            duration=now - call.started,
            retry_after=outcome.retry_after,
            detail=sanitise(outcome.detail or "; ".join(verdict.warnings if verdict else ())),
        )
        # What one key meets while another works is not the lane's fault, nor is a lack of room on our side.
        return Tried(
            lane=lane, size=size, attempt=attempt, outcome=outcome, verdict=verdict, another_key=another_key,
            telling=call.key is not None and not another_key,
        )  # fmt: skip

    def _record(self, tried: Tried) -> None:
        attempt = tried.attempt
        self.tried.append(tried)
        if tried.telling:
            event = Event(
                outcome=attempt.outcome, billed=attempt.billed, size=tried.size,
                duration=attempt.duration, retry_after=attempt.retry_after,
            )  # fmt: skip
            with self.lock:
                self.states[attempt.lane] = next_state(self._state(tried.lane), event, self.clock.monotonic())
        emit(
            "image_attempt", request_id=self.order.request_id, lane=attempt.lane, size=attempt.size,
            outcome=attempt.outcome, billed=attempt.billed, usd=str(attempt.cost.usd) if attempt.cost else None,
            seconds=round(attempt.duration, 3), detail=attempt.detail, tags=self.order.request.tags,
        )  # fmt: skip

    async def _deliver(self, tried: Tried) -> None:
        """Count the images as delivered, and save them if that was asked for."""
        self.delivered.append(tried)
        if self.order.destination is None:
            return
        try:
            parts = await self.order.destination.take(tried.outcome.parts)
        except OSError as error:
            self.unsaved, self._stopped = error, True
        else:
            tried.outcome = replace(tried.outcome, parts=parts)


def _was_unreachable(attempt: Attempt) -> bool:
    """Whether the call did not even leave: asking for a smaller image does not change that."""
    return attempt.outcome == "transport" and attempt.billed == "no"


def _pixels(tried: Tried) -> int:
    return min(image.width * image.height for image in tried.outcome.images)


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
