"""The chain: it walks a plan step by step, until the images are there or nothing more may be tried.

It makes no choice of lanes: the plan has made that. It decides what each attempt means for the next one, and keeps to the
request's limits of time, money and calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, Literal

import anyio

from gateway import money
from gateway.allowance import FREE_RETRY
from gateway.attempts import Call, Desk, Order, Step, Tried
from gateway.health import patience, tail_seconds, typical_seconds
from gateway.monitor import Entry
from gateway.ranking import DELAY_PRICE
from gateway.result import Attempt
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

_LANE_WIDE: Final[frozenset[OutcomeName]] = frozenset(
    {"auth", "balance", "region", "model_gone", "quota_exhausted", "rate_limited", "no_image", "blocked", "invalid"}
)
"""Outcomes after which the same lane is not tried at another size in the same request."""
_PROVIDER_WIDE: Final[frozenset[OutcomeName]] = frozenset({"auth", "balance"})
"""Outcomes after which no lane of the same provider is tried in the same request: the key is the same."""
_PASSING: Final[frozenset[OutcomeName]] = frozenset({"transport", "overloaded", "timeout"})
"""Outcomes that may be over in a moment."""
_ANSWERS: Final[frozenset[OutcomeName]] = frozenset({"blocked", "no_image", "wrong_size", "invalid", "ok"})
"""Outcomes in which the request itself was answered."""

Lack = Literal["calls", "time", "money"]


@dataclass(slots=True, kw_only=True)
class Walk:
    """The walk of one order along its plan; afterwards it holds everything that happened, and what is to be delivered.

    *unsaved* is why images could not be written.
    """

    desk: Desk
    tried: list[Tried] = field(default_factory=list)
    delivered: list[Tried] = field(default_factory=list)
    out_of_time: bool = False
    out_of_money: bool = False
    out_of_allowance: bool = False
    unsaved: OSError | None = None
    _committed: Decimal = Decimal(0)
    _calls: int = 0
    _behind: list[Tried] = field(default_factory=list)
    _left: set[str] = field(default_factory=set)
    _done: set[int] = field(default_factory=set)
    _waited: bool = False
    _stopped: bool = False

    @property
    def order(self) -> Order:
        """What is to be done."""
        return self.desk.order

    @property
    def missing(self) -> int:
        """How many images are still to come."""
        return max(0, self.order.request.n - sum(len(tried.outcome.images) for tried in self.delivered))

    @property
    def spent(self) -> Decimal:
        """USD that the attempts so far did or may have cost."""
        return money.total(tried.attempt for tried in self.tried).usd

    async def run(self) -> None:
        """Try step after step; what was kept for want of better makes up for what is missing."""
        crowded = [number for number in range(len(self.order.steps)) if await self._passed_over(number)]
        for number in crowded:  # nothing else came of it: now there is time to wait for room
            if self._may_go(number) and not await self._step(number, self._time_to_spare(self.order.steps[number])):
                self.out_of_time = True
        await self._retry()
        for tried in sorted((each for each in self.tried if each.is_judged("keep")), key=_pixels, reverse=True):
            if self.missing:
                await self._deliver(tried)

    async def _passed_over(self, number: int) -> bool:
        """Try a step; whether it was left for later because its lane had no room."""
        if self._may_go(number):
            return not await self._step(number, self._patience(number))
        if self._is_open(number):
            self._regret(self._lack(self.order.steps[number]))
        return False

    # What may be tried

    def _may_go(self, number: int) -> bool:
        return self._is_open(number) and self._lack(self.order.steps[number]) is None

    def _is_open(self, number: int) -> bool:
        """Whether a step is still to be tried, and its lane lets calls through."""
        step = self.order.steps[number]
        if self._stopped or not self.missing or number in self._done:
            return False
        if not {step.lane.name, step.lane.provider}.isdisjoint(self._left):
            return False
        return self.order.last_resort or self._refusal(step) is None

    def _refusal(self, step: Step) -> float | None:
        return self.desk.monitor.refusal(Entry(lane=step.lane, size=step.size, lease=0.0))

    def _lack(self, step: Step) -> Lack | None:
        """What there is not enough left of for a call."""
        if self._calls_left() < 1:
            return "calls"
        if self._time_to_spare(step) < 0:
            return "time"
        limit = self.order.request.max_cost
        over = limit is not None and self.spent + self._committed + step.price > limit
        return "money" if over else None

    def _regret(self, lack: Lack | None) -> None:
        """Remember what was lacking, for the error if nothing comes of the request."""
        self.out_of_time |= lack == "time"
        self.out_of_money |= lack == "money"

    def _calls_left(self) -> int:
        """Calls that may still be made: the limit counts one image; each further image has a call of its own."""
        return self.order.policy.max_attempts + self.order.request.n - 1 - self._calls

    def _typical(self, step: Step) -> float:
        return typical_seconds(self.desk.monitor.state(step.lane), step.lane, step.size)

    def _time_left(self) -> float:
        return self.order.deadline - self.desk.clock.monotonic()

    def _time_to_spare(self, step: Step) -> float:
        """Seconds that are left beyond what a call usually takes."""
        return self._time_left() - self._typical(step)

    def _time_for(self, number: int) -> float:
        """Seconds for an attempt at step *number*: all that is left, less what another lane would need, if that suffices.

        While another lane could take over, a call that is overdue is given up: it most likely hangs.
        """
        step, left = self.order.steps[number], self._time_left()
        later = range(number + 1, len(self.order.steps))
        others = [each for each in later if self.order.steps[each].lane is not step.lane and self._may_go(each)]
        cap = step.lane.timeout or math.inf
        if not others:
            return min(left, cap)
        spare = left - min(self._typical(self.order.steps[each]) for each in others)
        overdue = patience(self.desk.monitor.state(step.lane), step.lane, step.size)
        return min(spare if spare >= self._typical(step) else left, overdue, cap)

    def _patience(self, number: int) -> float:
        """Seconds to wait for room: as long as waiting costs less than the next lane, by the price of delay."""
        step = self.order.steps[number]
        other = self._beside(number)
        if other is None:
            return self._time_to_spare(step)
        dearer = float(self.order.steps[other].price - step.price) / DELAY_PRICE
        return min(max(self._typical(step), dearer), MAX_PATIENCE, self._time_to_spare(step))

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
        """USD that a call draws on the allowance for retries, by the failures it follows.

        The full price where one of them may have been billed; a share of it for another try on a lane that failed for
        free; nothing for another lane after a free failure.
        """
        if any(not tried.free for tried in self._behind):
            return step.price * images
        again = any(tried.step.lane is step.lane for tried in self._behind)
        return step.price * images * FREE_RETRY if again else Decimal(0)

    # One step

    async def _step(self, number: int, waiting: float) -> bool:
        """Make the calls of one step, side by side where several images are missing, and draw the consequences.

        Returns whether calls were made: there may be no room on the lane within *waiting* seconds.
        """
        shares = self._shares(self.order.steps[number])
        before = len(self.tried)
        if len(shares) == 1 and self._could_hedge(number):
            await self._raced(number, shares[0], waiting)
        elif len(shares) == 1:
            await self._call(number, shares[0], waiting)
        else:
            async with anyio.create_task_group() as group:
                for share in shares:
                    group.start_soon(self._call, number, share, waiting)
        results = self.tried[before:]
        if results:
            self._done.add(number)
            await self._consider(results)
        return bool(results)

    def _shares(self, step: Step) -> list[int]:
        """How many images each call of a step asks for, as far as calls and money go; at least one call."""
        images, limit, each = self.missing, self.order.request.max_cost, step.lane.images_per_call
        if limit is not None:
            images = min(images, math.floor((limit - self.spent - self._committed) / step.price))
        return [min(each, images - start) for start in range(0, images, each)][: self._calls_left()]

    async def _call(self, number: int, images: int, waiting: float, let_in: Callable[[], None] = lambda: None) -> None:
        """Make one call when there is room, and deliver what is good. *let_in* is told when it begins."""
        step, monitor = self.order.steps[number], self.desk.monitor
        dues = self._dues(step, images)
        if dues and not monitor.may_retry(dues):
            self.out_of_allowance = self._stopped = True
            return
        entry = Entry(lane=step.lane, size=step.size, images=images, lease=self._time_for(number))
        call = monitor.admitted_as_last(entry) if self.order.last_resort else await monitor.admitted(entry, waiting)
        if call is None:
            monitor.give_back(dues)
            return
        let_in()
        entry = replace(entry, lease=self._time_for(number))  # waiting has taken some of it
        self._calls += 1
        self._committed += step.price * images
        first = not self.tried
        try:
            tried = await self.desk.attempt(Call(call, self._calls, entry, self.desk.clock.monotonic()), self.tried)
        finally:
            self._committed -= step.price * images
        if tried.is_judged("accept") and self.missing:
            if first and tried.attempt.cost is not None:
                monitor.earn(tried.attempt.cost.usd)
            await self._deliver(tried)

    def _could_hedge(self, number: int) -> bool:
        other = self._beside(number)
        return other is not None and self.desk.monitor.put_by_so_far() >= self.order.steps[other].price

    async def _raced(self, number: int, images: int, waiting: float) -> None:
        """Make one call, and if it is slow beyond measure, one on another lane beside it: the first good image wins."""
        begun, ended = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:

            async def first() -> None:
                await self._call(number, images, waiting, begun.set)
                begun.set()
                ended.set()
                if not self.missing:
                    group.cancel_scope.cancel()

            async def second() -> None:
                other = await self._hedge_after(number, images, begun, ended)
                if other is not None:
                    self._done.add(other)
                    await self._call(other, images, self._patience(other))
                    if not self.missing:
                        group.cancel_scope.cancel()

            group.start_soon(first)
            group.start_soon(second)

    async def _hedge_after(self, number: int, images: int, begun: anyio.Event, ended: anyio.Event) -> int | None:
        """The step to start beside *number* once that is slow, or None if it ended in time or there is nothing for it."""
        await begun.wait()
        step = self.order.steps[number]
        soft = max(SOFT_TIMEOUT, tail_seconds(self.desk.monitor.state(step.lane), step.lane, step.size))
        with anyio.move_on_after(soft):
            await ended.wait()
        if ended.is_set():
            return None
        other = self._beside(number)
        if other is None or not self.desk.monitor.may_hedge(self.order.steps[other].price * images):
            return None
        return other

    # What it means

    async def _consider(self, results: Sequence[Tried]) -> None:
        """What the results of a step mean for the rest of the walk."""
        failed = [tried for tried in results if tried.attempt.outcome not in ("ok", "cancelled")]
        for tried in failed:
            self._note(tried)
        if not self.missing or self._stopped or len(failed) < len(results):
            return
        self._behind = failed
        await self._again(next((tried for tried in failed if tried.another_key), failed[-1]))

    def _note(self, tried: Tried) -> None:
        """What one failure rules out."""
        outcome, lane = tried.attempt.outcome, tried.step.lane
        if outcome == "blocked" and self.order.policy.on_blocked == "stop":
            self._stopped = True
        if outcome == "no_image" and (self.order.policy.on_no_image == "stop" or self._second("no_image")):
            self._stopped = True
        if outcome in _LANE_WIDE or _was_unreachable(tried.attempt):
            self._left.add(lane.name)
        if outcome in _PROVIDER_WIDE and not tried.another_key:
            self._left.add(lane.provider)

    def _second(self, outcome: OutcomeName) -> bool:
        """Whether *outcome* came from more than one lane."""
        return len({tried.step.lane.name for tried in self.tried if tried.attempt.outcome == outcome}) > 1

    async def _again(self, failed: Tried) -> None:
        """Ask the same lane once more after that failure where it helps: another key is left, or a short wait."""
        step = failed.step
        if failed.another_key:
            self._behind = []  # a key was refused, not the request
        elif not await self._waited_out(failed.attempt):
            return
        lack = self._lack(step)
        self._regret(lack)
        if lack is None:
            self._left.discard(step.lane.name)
            number = [_place(each) for each in self.order.steps].index(_place(step))
            await self._step(number, self._time_to_spare(step))

    async def _waited_out(self, attempt: Attempt) -> bool:
        """Whether a rate limit is over: once in a request it is waited out, if that takes little of the time left."""
        hint = attempt.retry_after
        if attempt.outcome != "rate_limited" or self._waited or hint is None or self._calls_left() < 1:
            return False
        if not self._is_short(hint):
            return False
        self._waited = True
        await self.desk.clock.sleep(hint)
        return True

    def _is_short(self, hint: float) -> bool:
        return 0 <= hint <= min(MAX_WAIT, MAX_WAIT_SHARE * self._time_left())

    async def _retry(self) -> None:
        """When the plan is walked to its end, ask one lane again that failed for free, after a short while at random."""
        number = self._worth_a_retry()
        wishes = self.order.request.fallback
        gives_way = self.order.policy.order if wishes is None else wishes
        if number is None or not self.missing or self._stopped or not gives_way:
            return
        step = self.order.steps[number]
        if self._lack(step) is not None:
            return
        await self.desk.clock.sleep(RETRY_PAUSE * self.desk.monitor.luck())
        self._left.discard(step.lane.name)
        self._behind = [tried for tried in self.tried if _place(tried.step) == _place(step)][-1:]
        if self._lack(step) is None and self._refusal(step) is None:
            await self._step(number, self._time_to_spare(step))

    def _worth_a_retry(self) -> int | None:
        """The first step that failed for free, for a reason that may be over in a moment, and with no hint to stay away.

        None where the model answered somewhere: another try would be another opinion, not another chance.
        """
        if any(tried.attempt.outcome in _ANSWERS for tried in self.tried):
            return None
        last = {_place(tried.step): tried for tried in self.tried}
        for number, step in enumerate(self.order.steps):
            tried = last.get(_place(step))
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
            parts = await self.order.destination.take(tried.outcome.parts)
        except OSError as error:
            self.unsaved, self._stopped = error, True
        else:
            tried.outcome = replace(tried.outcome, parts=parts)


def _place(step: Step) -> tuple[str, str]:
    return step.lane.name, step.size


def _was_unreachable(attempt: Attempt) -> bool:
    """Whether the call did not even leave: asking for a smaller image does not change that."""
    return attempt.outcome == "transport" and attempt.billed == "no"


def _pixels(tried: Tried) -> int:
    return min(image.width * image.height for image in tried.outcome.images)
