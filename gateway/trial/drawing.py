"""Having the prompts of a trial drawn by every lane, and writing down what comes of each.

Nothing is paid for twice: what is in the journal is left alone, and each image has an idempotency key of its own, so that
what was drawn but not written down any more is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import anyio
from anyio import to_thread

from gateway.chain import conclusion
from gateway.client import AsyncGateway
from gateway.clock import Clock
from gateway.money import money
from gateway.request import ImageRequest, ProviderPreferences
from gateway.result import ImageResult
from gateway.router.lanes import Lane
from gateway.trial.journal import IMAGES, Drawn, Failed, Journal, Trial
from gateway.trial.plan import Prompt, TrialPlan
from providers.errors import ConfigError, GatewayError, NoLaneAvailable, OutcomeUnknown
from providers.images import with_image_suffix

AT_ONCE: Final = 2
"""Calls to one lane at a time: enough to get on, too few to slow each other down, which would spoil the seconds."""
PATIENCE: Final = 120.0
"""Seconds that an image waits for a lane that rests or is busy; the longest rest after an ordinary failure is as long."""
PASSING: Final = frozenset({"overloaded", "rate_limited", "transport"})
"""Outcomes that are over soon, after which the lane is asked again where they were free."""
PAUSE: Final = 5.0
"""Seconds, at least, before it is."""

Ended = Drawn | Failed


@dataclass(frozen=True, slots=True)
class Task:
    """One image to be drawn: *request* goes to *lane* and nowhere else, and is expected to cost *usd*."""

    prompt: Prompt
    lane: Lane
    request: ImageRequest = field(repr=False)
    usd: Decimal


@dataclass(slots=True, kw_only=True, eq=False)
class Drawing:
    """Has *tasks* drawn by *gateway*, as far as *budget* USD go (None: all of them), and tells *ended* of each.

    *clock* is the gateway's.
    """

    gateway: AsyncGateway
    journal: Journal
    tasks: Sequence[Task]
    ended: Callable[[Ended], None]
    budget: Decimal | None = None
    clock: Clock = field(default_factory=Clock)
    left_out: int = 0
    _spoken_for: Decimal = Decimal(0)
    _stopped: bool = False

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it."""
        return self._stopped

    def stop(self) -> None:
        """Begin no further image; those under way are paid for, and are waited for."""
        self._stopped = True

    async def run(self) -> None:
        """Draw, :data:`AT_ONCE` images at each lane at a time. *left_out* are those that were not begun.

        Raises:
            ConfigError: the state or the budgets cannot be used as configured.
            OSError: what came of an image could not be written down.
        """
        async with anyio.create_task_group() as group:
            for lane in dict.fromkeys(task.lane.name for task in self.tasks):
                queue = iter([task for task in self.tasks if task.lane.name == lane])
                for _ in range(AT_ONCE):
                    group.start_soon(self._work, queue)

    async def _work(self, queue: Iterator[Task]) -> None:
        for task in queue:
            if self._stopped or not self._affords(task.usd):
                self.left_out += 1
                continue
            line, spent = await self._drawn(task)
            self._spoken_for += spent - task.usd
            await to_thread.run_sync(self.journal.add, line)
            self.ended(line)

    def _affords(self, usd: Decimal) -> bool:
        if self.budget is not None and self._spoken_for + usd > self.budget:
            return False
        self._spoken_for += usd
        return True

    async def _drawn(self, task: Task) -> tuple[Ended, Decimal]:
        """What came of *task*, and the USD it did or may have cost."""
        started, free = self.clock.monotonic(), 0
        while True:
            try:
                result = await self.gateway.generate(task.request)
                return _line(task, result, free + len(result.attempts)), result.total_cost.usd
            except ConfigError:
                raise
            except GatewayError as error:
                wait, waited = _wait(error), self.clock.monotonic() - started
                if wait is None or self._stopped or waited + wait > PATIENCE:
                    return _failure(task, error, free + len(error.attempts), waited)
                free += len(error.attempts)
            await self.clock.sleep(wait)


def tasks(
    gateway: AsyncGateway, plan: TrialPlan, lanes: Sequence[Lane], trial: Trial, journal: Journal
) -> Iterator[Task]:
    """What is still to be drawn: prompt by prompt, each on every lane. What failed without cost is tried again.

    Raises:
        NoLaneAvailable: a lane cannot draw this now; the error says why.
    """
    for prompt in plan.prompts:
        for lane in lanes:
            failed = trial.failed.get((prompt.key, lane.name))
            if (prompt.key, lane.name) in trial.drawn or (failed is not None and failed.lost > 0):
                continue
            request = request_for(prompt, lane, plan, trial, journal)
            planned = gateway.plan(request)
            if not planned.candidates:
                raise conclusion.no_lane_error(planned)
            yield Task(prompt, lane, request, planned.candidates[0].expected_cost)


def request_for(prompt: Prompt, lane: Lane, plan: TrialPlan, trial: Trial, journal: Journal) -> ImageRequest:
    """The request for *prompt* that *lane*, and no other, may serve, at full size."""
    name = trial.begun.trial if trial.begun else ""
    return ImageRequest(
        prompt=prompt.text, images=prompt.references, size=plan.size, min_size=plan.size,
        aspect_ratio=plan.aspect_ratio, model=(lane.model,), providers=ProviderPreferences(only=(lane.provider,)),
        fallback=(), task=prompt.task, idempotency_key=f"trial:{name}:{prompt.key}:{lane.name}",
        save_to=journal.folder / IMAGES, tags={"trial": name},
    )  # fmt: skip


def expected(tasks: Sequence[Task]) -> Mapping[str, tuple[int, Decimal]]:
    """By lane how many images are to be drawn, and the USD they are expected to cost."""
    sums: dict[str, tuple[int, Decimal]] = {}
    for task in tasks:
        count, usd = sums.get(task.lane.name, (0, Decimal(0)))
        sums[task.lane.name] = count + 1, usd + task.usd
    return sums


def _wait(error: GatewayError) -> float | None:
    """The seconds after which it makes sense to ask the lane again; None: it makes none, or might be paid for twice."""
    if isinstance(error, NoLaneAvailable):
        return error.retry_after
    passing = error.attempts and all(each.outcome in PASSING and each.billed == "no" for each in error.attempts)
    return max(PAUSE, error.retry_after or 0.0) if passing else None


def _failure(task: Task, error: GatewayError, attempts: int, seconds: float) -> tuple[Failed, Decimal]:
    """That nothing was drawn, and the USD it did or may have cost."""
    lost = task.usd if isinstance(error, OutcomeUnknown) else money.total(error.attempts).usd
    reason = error.attempts[-1].outcome if error.attempts else type(error).__name__
    failed = Failed(
        prompt=task.prompt.key, lane=task.lane.name, reason=reason, lost=lost, attempts=attempts, seconds=seconds
    )  # fmt: skip
    return failed, lost


def _line(task: Task, result: ImageResult, attempts: int) -> Drawn:
    image = result.images[0]
    return Drawn(
        id=result.request_id, prompt=task.prompt.key, lane=task.lane.name, task=task.prompt.task, size=result.size,
        file=with_image_suffix(task.request.save_to / result.request_id, image.mime_type).name,  # type: ignore[operator]
        mime_type=image.mime_type, width=image.width, height=image.height, usd=result.cost.usd,
        lost=max(Decimal(0), result.total_cost.usd - result.cost.usd), price=task.lane.prices[task.request.size],
        attempts=attempts, seconds=result.elapsed,
    )  # fmt: skip
