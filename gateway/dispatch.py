"""One request, carried out: planned, walked along its plan, concluded; once under its key, and from the cache if it may be."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field, replace
from functools import partial
from random import SystemRandom
from typing import Final

import anyio.to_thread

from gateway import references
from gateway.archive import Archive
from gateway.cache.cache import is_wanted
from gateway.cache.read_through import Payer, ReadThrough, Seeking
from gateway.cache.single_flight import Flights
from gateway.cache.stragglers import walk_of
from gateway.chain import conclusion
from gateway.chain.attempts import Desk, Order, Step, Tried
from gateway.chain.chain import Walk
from gateway.clock import Clock
from gateway.events import Emitter, LaneChanged, RequestStarted
from gateway.fingerprint import fingerprint
from gateway.forking import survives
from gateway.health.checkups import Checkups
from gateway.health.health import Standing
from gateway.health.monitor import Chance, Monitor
from gateway.idempotency import Idempotency, Wish
from gateway.request import ImageRequest
from gateway.result import ImageResult
from gateway.router import router
from gateway.router.acceptance import Verdicts
from gateway.router.lanes import Lane
from gateway.router.plan import Plan
from gateway.saving import Destination
from gateway.setup import Setup
from gateway.setups import Setups
from providers.errors import GatewayError
from providers.images import ReferenceImage
from providers.sizes import Size

_SEEDS: Final = 1 << 53
"""How many seeds there are: as many as a random float tells apart."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One request on its way, *started* on the monotonic clock, and the attempts that were made for it."""

    request: ImageRequest
    request_id: str
    started: float
    tried: list[Tried] = field(default_factory=list)


class Dispatcher:
    """Carries out requests, over the setup in force. Any thread and any event loop may use it.

    Everything that outlives a request and is not in the state store hangs here: the *monitor*, the *verdicts*, and who
    listens to the *emitter*. *chance* gives random numbers from 0 to 1.
    """

    def __init__(self, setup: Setup, clock: Clock, chance: Chance | None = None) -> None:
        self.clock = clock
        self.setups = Setups(setup)
        self.emitter = Emitter()
        self.monitor = Monitor(clock, chance, self._tell)
        self.verdicts = Verdicts()
        self._take_up(setup)
        self._checkups = Checkups(self.monitor, clock)
        self._incumbents: dict[router.Kind, str] = {}
        self._steps: dict[tuple[str, Size], Step] = {}
        self._chance = chance or SystemRandom().random
        self._seed = self._dice()
        self.flights = Flights()
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock."""
        self._lock = threading.Lock()

    def replace(self, new: Setup) -> None:
        """Put *new* in force. What is known of a lane's health is forgotten where its provider's table has changed."""
        with self._lock:
            old, providers = self.setups.replace(new), new.config.providers
            self.monitor.forget(
                name
                for name, lane in new.lanes.items()
                if old.config.providers.get(lane.provider) != providers[lane.provider]
            )
            self._take_up(new)

    async def result(self, request: ImageRequest, started: float) -> ImageResult:
        """What comes of *request*, which was made when the monotonic clock said *started*.

        Raises:
            GatewayError: as :meth:`gateway.client.AsyncGateway.generate` says.
        """
        job = _Job(request, secrets.token_hex(8), started)
        self.emitter.emit(_started(job, self.setups.current.config.record_prompts))
        result, failure = None, ""
        try:
            given = await anyio.to_thread.run_sync(references.load, request.images) if request.images else ()
            result = await (self._served(job, given) if request.idempotency_key is None else self._once(job, given))
            return result
        except BaseException as error:  # a cancellation, too, is an end to tell of
            failure = type(error).__name__
            raise
        finally:
            seconds = self.clock.monotonic() - job.started
            self.emitter.emit(conclusion.ended(job.request, job.request_id, seconds, result, failure, job.tried))

    def plan(self, request: ImageRequest) -> Plan:
        """What would be tried for *request*, in order, and why the rest is left out."""
        return self._plan(self.setups.current, request, references.weights(request.images))

    async def aclose(self) -> None:
        """Wait for the requests under way on this event loop, which are being paid for, and close its connections."""
        self.flights.end_late()
        await self.setups.quiet()
        self._checkups.end()
        await self.setups.aclose()

    def _take_up(self, setup: Setup) -> None:
        if setup.config.acceptance:
            from gateway.trial import lessons  # what it takes to read them is loaded where there are any

            lessons.teach(self.verdicts, setup.config.acceptance)
        setup.watched_by(self.monitor)

    async def _once(self, job: _Job, given: tuple[ReferenceImage, ...]) -> ImageResult:
        """What comes of a request with an idempotency key, now or before."""
        request = job.request
        async with self.setups.in_force() as setup:
            wish = Wish(
                key=request.idempotency_key or "", fingerprint=fingerprint(request, given), request_id=job.request_id,
                seconds=setup.seconds(request), again=request.allow_second_charge,
            )  # fmt: skip
            archive = Archive(setup.state.blobs)
            once = Idempotency(setup.state.claims, archive, self.clock, self.verdicts.judge, setup.sweeper)
            result = await once.once(
                wish, lambda: self._served(job, given), lambda: [tried.attempt.billed for tried in job.tried]
            )
        if result.request_id != job.request_id and request.save_to is not None:  # it was drawn before
            try:
                await anyio.to_thread.run_sync(result.save, request.save_to)
            except OSError as error:
                told = f"the images were drawn before, but could not be saved: {error.strerror}"
                raise GatewayError(told, attempts=result.attempts, images=result.images) from None
        return result

    async def _served(self, job: _Job, given: tuple[ReferenceImage, ...]) -> ImageResult:
        """What the cache has for it, what comes of the same request under way, or else of drawing it."""
        async with self.setups.in_force() as setup:
            if not is_wanted(job.request, setup.config.cache):
                return await self._drawn(setup, job, given)
            unsaved = replace(job, request=job.request.model_copy(update={"save_to": None}))
            cache = ReadThrough.of(setup, self.flights, self.clock, self.verdicts.judge)
            seeking = await Seeking.of(job.request, given, setup, job.request_id, job.started)
            return await cache.result(seeking, partial(self._drawn_for, unsaved, given))

    async def _drawn_for(self, job: _Job, given: tuple[ReferenceImage, ...], payer: Payer) -> ImageResult:
        """Draw, whoever asked first. *payer* may be told before it ends, and is told of what is late."""
        async with self.setups.in_force() as setup:
            return await self._drawn(setup, job, given, payer)

    async def _drawn(
        self, setup: Setup, job: _Job, given: tuple[ReferenceImage, ...], payer: Payer | None = None
    ) -> ImageResult:
        weights = references.weights(given)
        self._checkups.begin(setup.credentials)
        self.monitor.stir()
        planned = self._plan(setup, job.request, weights)
        if not planned.steps:
            raise conclusion.no_lane_error(planned)
        self._settle(job.request, planned)
        order = await self._order(setup, job, given, planned)
        desk = Desk(
            order=order, credentials=setup.credentials, monitor=self.monitor, clock=self.clock,
            emit=self.emitter.emit, ledger=setup.ledger, record_prompts=setup.config.record_prompts,
        )  # fmt: skip
        walk = walk_of(desk, job.tried, payer, partial(self._concluded, job))
        await walk.run()
        self._checkups.begin(setup.credentials)
        if not walk.tried and not walk.out_of_time and walk.refusal is None:  # another request shut the lanes meanwhile
            raise conclusion.no_lane_error(self._plan(setup, job.request, weights))
        return (payer and payer.told) or self._concluded(job, walk)

    async def _order(self, setup: Setup, job: _Job, given: tuple[ReferenceImage, ...], planned: Plan) -> Order:
        request, place = job.request, job.request.save_to
        saved = await anyio.to_thread.run_sync(Destination, place, job.request_id) if place is not None else None
        return Order(
            request=request,
            references=given,
            steps=tuple([self._step(setup, step.name, step.size) for step in planned.steps]),
            policy=setup.config.fallback,
            deadline=job.started + setup.seconds(request),
            request_id=job.request_id,
            last_resort=planned.last_resort,
            destination=saved,
        )

    def _step(self, setup: Setup, name: str, size: Size) -> Step:
        """The step to a lane at *size*: the same for every request, of which there may be many under way."""
        lane, step = setup.lanes[name], self._steps.get((name, size))
        if step is None or step.lane is not lane:  # of another setup
            step = self._steps[name, size] = Step(lane, size)
        return step

    def _plan(self, setup: Setup, request: ImageRequest, weights: tuple[int, ...]) -> Plan:
        setup.check(request)
        situation = router.Situation(
            now=self.clock.monotonic(),
            today=self.clock.today(),
            states=self.monitor.states,
            in_flight=self.monitor.crowds(),
            quotas=self.monitor.usage,
            acceptance=self.verdicts.of(request.task) if request.quality == "auto" else {},
            incumbents=self._incumbents,
            seed=self._seed,
            egress_country=setup.config.egress_country,
            models=setup.config.models,
            sort=setup.config.sort,
            fallback=setup.config.fallback.order,
            references=weights,
        )
        return router.plan(request, setup.config.lanes, situation)

    def _tell(self, lane: Lane, before: Standing, after: Standing) -> None:
        self.emitter.emit(
            LaneChanged(
                lane=lane.name,
                state_before=before.state,
                state_after=after.state,
                reason=after.reason,
                until=after.until,
            )
        )

    def _settle(self, request: ImageRequest, planned: Plan) -> None:
        """Note where *request* goes, and draw anew: until then, :meth:`plan` shows what :meth:`generate` would do."""
        with self._lock:
            router.note(self._incumbents, request, planned)
            self._seed = self._dice()

    def _dice(self) -> int:
        return int(self._chance() * _SEEDS)

    def _concluded(self, job: _Job, walk: Walk) -> ImageResult:
        elapsed = self.clock.monotonic() - job.started
        result = conclusion.result_of(walk, elapsed, self.clock.today(), self.verdicts.judge)
        if result is None:
            raise conclusion.error_of(walk)
        self.verdicts.remember(
            job.request_id, result.lane, job.request.task, result.cost.usd, len(result.images), conclusion.lost(walk)
        )
        return result


def _started(job: _Job, record_prompts: bool) -> RequestStarted:
    request = job.request
    return RequestStarted(
        request_id=job.request_id, size=request.size, n=request.n, model=request.model, task=request.task,
        quality=request.quality, tags=request.tags, prompt=request.prompt if record_prompts else None,
    )  # fmt: skip
