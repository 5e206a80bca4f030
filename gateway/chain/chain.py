"""The chain: it walks a plan step by step, until the images are there or nothing more may be tried.

It makes no choice of lanes: the plan has made that. It decides what each attempt means for the next one, and keeps to the
request's limits of time, money and calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

import anyio
from anyio.abc import TaskGroup

from gateway.chain.attempts import Call, Desk, Order, Step, Tried
from gateway.chain.limits import Lack, Limits
from gateway.health.allowance import FREE_RETRY
from gateway.health.health import is_proven, patience, tail_seconds
from gateway.health.monitor import Entry
from gateway.router.lanes import Lane
from gateway.router.ranking import DELAY_PRICE
from providers.errors import GatewayError
from providers.outcome import OutcomeName

MAX_WAIT: Final = 5.0
MAX_WAIT_SHARE: Final = 0.1
"""A hint is waited for if that takes at most so many seconds, and at most this share of the time left."""
RETRY_PAUSE: Final = 1.0
"""Seconds within which a lane that failed for free is asked again, at random: what failed together shall not return so."""
SOFT_TIMEOUT: Final = 45.0
"""Seconds after which another lane may start beside a slow one; or the slow one's 95th percentile, if that is longer."""
MAX_PATIENCE: Final = 45.0
"""Seconds a call waits at most for room on a lane while another lane could take it."""

A_MOMENT: Final = 0.001
"""Seconds by which a wait outlasts what it waits for: timers may fire a trifle early."""

_LANE_WIDE: Final[frozenset[OutcomeName]] = frozenset(
    {"auth", "balance", "region", "model_gone", "quota_exhausted", "rate_limited", "no_image", "blocked", "invalid"}
)
"""Outcomes after which the same lane is not tried at another size in the same request."""
_PASSING: Final[frozenset[OutcomeName]] = frozenset({"transport", "overloaded", "timeout"})
"""Outcomes that may be over in a moment."""
_ANSWERS: Final[frozenset[OutcomeName]] = frozenset({"blocked", "no_image", "wrong_size", "invalid", "ok"})
"""Outcomes in which the request itself was answered."""


@dataclass(slots=True, kw_only=True)
class Walk:
    """The walk of one order along its plan; afterwards it holds everything that happened, and what is to be delivered.

    *unsaved* is why images could not be written, *refusal* why a call could not be booked.
    """

    desk: Desk
    _group: TaskGroup = field(init=False)
    tried: list[Tried] = field(default_factory=list)
    delivered: list[Tried] = field(default_factory=list)
    out_of_time: bool = False
    out_of_money: bool = False
    out_of_allowance: bool = False
    unsaved: OSError | None = None
    refusal: GatewayError | None = None
    _limits: Limits = field(init=False)
    _under_way: list[Call] = field(default_factory=list)
    _after_paid: bool = False
    _after_lane: Lane | None = None
    _left: set[str] = field(default_factory=set)
    _done: set[int] = field(default_factory=set)
    _waited: bool = False
    _stopped: bool = False

    def __post_init__(self) -> None:
        self._limits = Limits(self.desk, self.tried)

    @property
    def order(self) -> Order:
        """What is to be done."""
        return self.desk.order

    @property
    def missing(self) -> int:
        """How many images are still to come."""
        return max(0, self.order.request.n - sum(len(tried.outcome.images) for tried in self.delivered))

    async def run(self) -> None:
        """Try step after step; what was kept for want of better makes up for what is missing."""
        async with anyio.create_task_group() as group:
            self._group = group
            await self._walk()
        for tried in sorted((each for each in self.tried if each.is_judged("keep")), key=_pixels, reverse=True):
            if self.missing:
                await self._deliver(tried)

    async def _walk(self) -> None:
        crowded = [number for number in range(len(self.order.steps)) if await self._passed_over(number)]
        for number in crowded:  # nothing else came of it: now there is time to wait for room
            step = self.order.steps[number]
            if self._may_go(number) and not await self._step(number, self._limits.time_to_spare(step)):
                self.out_of_time |= self._refusal(step) is None
        for call in tuple(self._under_way):
            await call.ended.wait()
        await self._retry()

    async def _passed_over(self, number: int) -> bool:
        """Try a step; whether it was left for later because its lane had no room."""
        if self._may_go(number):
            return not await self._step(number, self._patience(number))
        if self._is_open(number):
            self._regret(self._limits.lack(self.order.steps[number]))
        return False

    # What may be tried

    def _may_go(self, number: int) -> bool:
        return self._is_open(number) and self._limits.lack(self.order.steps[number]) is None

    def _is_open(self, number: int) -> bool:
        """Whether a step is still to be tried, and its lane lets calls through."""
        step = self.order.steps[number]
        if self._stopped or not self.missing or number in self._done:
            return False
        if step.lane.name in self._left:
            return False
        return self.order.last_resort or self._refusal(step) is None

    def _refusal(self, step: Step) -> float | None:
        return self.desk.monitor.refusal(Entry(lane=step.lane, size=step.size, lease=0.0))

    def _regret(self, lack: Lack | None) -> None:
        """Remember what was lacking, for the error if nothing comes of the request."""
        self.out_of_time |= lack == "time"
        self.out_of_money |= lack == "money"

    def _overdue(self, number: int) -> float | None:
        """Seconds after which another lane is to take over from a call of step *number* begun now, None if there is none.

        That is when the call most likely hangs, or when the time that another lane usually needs begins to run out.
        """
        step = self.order.steps[number]
        later = range(number + 1, len(self.order.steps))
        others = [each for each in later if self.order.steps[each].lane is not step.lane and self._may_go(each)]
        if not others:
            return None
        spare = self._limits.time - min(self._limits.typical(self.order.steps[each]) for each in others)
        hanging = patience(self.desk.monitor.state(step.lane), step.lane, step.size)
        return min(hanging, spare) if spare >= self._limits.typical(step) else None

    def _patience(self, number: int) -> float:
        """Seconds to wait for room: as long as waiting costs less than the next lane, by the price of delay."""
        step = self.order.steps[number]
        other = self._beside(number)
        if other is None:
            return self._limits.time_to_spare(step)
        dearer = float(self.order.steps[other].price - step.price) / DELAY_PRICE
        return min(max(self._limits.typical(step), dearer), MAX_PATIENCE, self._limits.time_to_spare(step))

    def _beside(self, number: int) -> int | None:
        """The next step on another lane at the same size that may be tried, if there is one."""
        step = self.order.steps[number]
        later = range(number + 1, len(self.order.steps))
        return next(
            (each for each in later if self._is_beside(step, self.order.steps[each]) and self._may_go(each)), None
        )

    @staticmethod
    def _is_beside(step: Step, other: Step) -> bool:
        return other.lane is not step.lane and other.size == step.size

    def _dues(self, step: Step, images: int) -> Decimal:
        """USD that a call draws on the allowance for retries.

        The full price after a call that may be billed, unless the lane has just been seen to work: then the second price
        buys an image for certain. A share of it in that case, and for another try on a lane that failed for free.
        Nothing for another lane after a free failure.
        """
        now = self.desk.clock.monotonic()
        if self._after_paid and not is_proven(self.desk.monitor.state(step.lane), now):
            return step.price * images
        cheaply = self._after_paid or step.lane is self._after_lane
        return step.price * images * FREE_RETRY if cheaply else Decimal(0)

    # One step

    async def _step(self, number: int, waiting: float) -> bool:
        """Make the calls of one step, side by side where several images are missing, and draw the consequences.

        Returns whether calls were made: there may be no room on the lane within *waiting* seconds. It returns when the
        calls have ended, or when they are so slow that another lane is to begin; then they go on beside it.
        """
        made: list[Call] = []
        shares = self._limits.shares(self.order.steps[number], self.missing)
        if len(shares) == 1:
            await self._share(number, shares[0], waiting, made)
        else:
            async with anyio.create_task_group() as group:
                for share in shares:
                    group.start_soon(self._share, number, share, waiting, made)
        if made:
            self._done.add(number)
            await self._consider(made)
        return bool(made)

    async def _share(self, number: int, images: int, waiting: float, made: list[Call]) -> None:
        """Begin one call when there is room, and wait until it has ended or is too slow to be waited for."""
        call = await self._let_in(self.order.steps[number], images, waiting)
        if call is not None:
            made.append(call)
            self._group.start_soon(self._carry_out, call)
            call.slow = not await self._ended_in_time(call, number)

    async def _let_in(self, step: Step, images: int, waiting: float) -> Call | None:
        """A call that may be made, or None if the allowance for retries is used up, or there was no room in time."""
        monitor, dues = self.desk.monitor, self._dues(step, images)
        if dues and not monitor.may_retry(dues):
            self.out_of_allowance = self._stopped = True
            return None
        entry = Entry(lane=step.lane, size=step.size, images=images, lease=self._limits.lease(step))
        door = None
        try:
            admitted = monitor.admitted_as_last(entry) if self.order.last_resort else monitor.admitted(entry, waiting)
            door = await admitted
        finally:  # cancelled while waiting, too
            if door is None:
                monitor.give_back(dues)
        if door is None:
            return None
        entry = replace(entry, lease=self._limits.lease(step))  # waiting has taken some of it
        call = Call(door, self._limits.begin(step, images), entry, self.desk.clock.monotonic(), dues)
        self._under_way.append(call)
        return call

    async def _carry_out(self, call: Call) -> None:
        """Make the call, and deliver what is good; calls that are still under way then are of no more use."""
        first = not self.tried
        try:
            tried = await self.desk.attempt(call, self.tried)
            self._note(tried)
            if tried.is_judged("accept") and self.missing:
                if first and tried.attempt.cost is not None:
                    self.desk.monitor.earn(tried.attempt.cost.usd)
                await self._deliver(tried)
        except GatewayError as refusal:  # a budget may forbid this lane, or this size, and not another
            self.refusal = refusal
            self._limits.uncount()
            self.desk.monitor.give_back(call.dues)
        finally:
            self._under_way.remove(call)
            self._limits.end(call)
            call.ended.set()
        if not self.missing and self._under_way:
            await self._give_up_the_rest()

    async def _give_up_the_rest(self) -> None:
        self._group.cancel_scope.cancel()

    async def _ended_in_time(self, call: Call, number: int) -> bool:
        """Wait for the call; whether it ended before it was time for another lane to begin.

        A call that hangs is not waited for, at the expense of the allowance for retries. One that is slow beyond measure
        gets company sooner, as far as the allowance for hedges goes.
        """
        overdue = self._overdue(number)
        if overdue is None:
            await call.ended.wait()
            return True
        step = self.order.steps[number]
        soft = max(SOFT_TIMEOUT, tail_seconds(self.desk.monitor.state(step.lane), step.lane, step.size))
        if soft <= overdue and not await _is_set(call.ended, soft):
            call.hedged = self._may_hedge(number, call.entry.images)
            if call.hedged:
                return False
            overdue -= soft
        return await _is_set(call.ended, overdue)

    def _may_hedge(self, number: int, images: int) -> bool:
        other = self._beside(number)
        return other is not None and self.desk.monitor.may_hedge(self.order.steps[other].price * images)

    # What it means

    async def _consider(self, made: Sequence[Call]) -> None:
        """What the calls of a step mean for the rest of the walk; those that are too slow count as failed so far."""
        slow = [call for call in made if call.slow and not call.ended.is_set()]
        ordinals = {call.ordinal for call in made}
        ended = [tried for tried in self.tried if tried.ordinal in ordinals]
        failed = [tried for tried in ended if tried.attempt.outcome != "ok"]
        if not self.missing or self._stopped or len(failed) < len(ended):
            return
        self._after_paid = any(not tried.free for tried in failed) or any(not call.hedged for call in slow)
        self._after_lane = made[0].entry.lane
        if failed and not slow:
            await self._again(next((tried for tried in failed if tried.another_key), failed[-1]))

    def _note(self, tried: Tried) -> None:
        """What one failure rules out."""
        outcome, lane = tried.attempt.outcome, tried.step.lane
        if outcome == "blocked" and self.order.policy.on_blocked == "stop":
            self._stopped = True
        if outcome == "no_image" and (self.order.policy.on_no_image == "stop" or self._second("no_image")):
            self._stopped = True
        if outcome in _LANE_WIDE or tried.never_left:
            self._left.add(lane.name)

    def _second(self, outcome: OutcomeName) -> bool:
        """Whether *outcome* came from more than one lane."""
        return len({tried.step.lane.name for tried in self.tried if tried.attempt.outcome == outcome}) > 1

    async def _again(self, failed: Tried) -> None:
        """Ask the same lane once more after that failure where it helps: another key is left, or a short wait."""
        step = failed.step
        if failed.another_key:
            self._after_lane = None  # a key was refused, not the request
        elif not await self._waited_out(failed):
            return
        lack = self._limits.lack(step)
        self._regret(lack)
        if lack is None:
            self._left.discard(step.lane.name)
            number = [each.place for each in self.order.steps].index(step.place)
            await self._step(number, self._limits.time_to_spare(step))

    async def _waited_out(self, failed: Tried) -> bool:
        """Whether a rate limit is over: once in a request it is waited out, if that takes little of the time left."""
        attempt, hint = failed.attempt, failed.attempt.retry_after
        if attempt.outcome != "rate_limited" or self._waited or hint is None or self._limits.calls < 1:
            return False
        if not self._is_short(hint):
            return False
        rest = self._refusal(failed.step) or 0.0  # the lane rests a little longer than the hint says
        if rest > MAX_WAIT + 1.0:  # for another reason by now
            return False
        self._waited = True
        await self.desk.clock.sleep(rest + A_MOMENT if rest > hint else hint)
        return True

    def _is_short(self, hint: float) -> bool:
        return 0 <= hint <= min(MAX_WAIT, MAX_WAIT_SHARE * self._limits.time)

    async def _retry(self) -> None:
        """When the plan is walked to its end, ask one lane again that failed for free, after a short while at random."""
        number = self._worth_a_retry()
        wishes = self.order.request.fallback
        gives_way = self.order.policy.order if wishes is None else wishes
        if number is None or not self.missing or self._stopped or not gives_way:
            return
        step = self.order.steps[number]
        if self._limits.lack(step) is not None:
            return
        await self.desk.clock.sleep(RETRY_PAUSE * self.desk.monitor.luck())
        self._left.discard(step.lane.name)
        self._after_paid, self._after_lane = False, step.lane
        if self._limits.lack(step) is None and self._refusal(step) is None:
            await self._step(number, self._limits.time_to_spare(step))

    def _worth_a_retry(self) -> int | None:
        """The first step that failed for free, for a reason that may be over in a moment, and with no hint to stay away.

        None where the model answered somewhere: another try would be another opinion, not another chance.
        """
        if any(tried.attempt.outcome in _ANSWERS for tried in self.tried):
            return None
        last = {tried.step.place: tried for tried in self.tried}
        for number, step in enumerate(self.order.steps):
            tried = last.get(step.place)
            if tried is None or not tried.free or tried.attempt.outcome not in _PASSING:
                continue
            if tried.attempt.retry_after is None or self._is_short(tried.attempt.retry_after):
                return number
        return None

    async def _deliver(self, tried: Tried) -> None:
        """Count the images as delivered, and save them if that was asked for."""
        self.delivered.append(tried)
        if self.order.destination is None:
            return
        try:
            with anyio.CancelScope(shield=True):  # it is paid for
                parts = await self.order.destination.take(tried.outcome.parts)
        except OSError as error:
            self.unsaved, self._stopped = error, True
        else:
            tried.outcome = replace(tried.outcome, parts=parts)


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set within so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _pixels(tried: Tried) -> int:
    return min(image.width * image.height for image in tried.outcome.images)
