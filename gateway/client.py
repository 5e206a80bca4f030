"""The class that applications use: :class:`AsyncGateway`. Its sync face is in :mod:`gateway.sync`."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from random import SystemRandom
from types import TracebackType
from typing import Any, Final, Self

import anyio.to_thread

from gateway import conclusion, config, feeding, references, router
from gateway.acceptance import Verdicts
from gateway.archive import Archive
from gateway.attempts import Desk, Order, Step, Tried
from gateway.batch.faces import Batch
from gateway.batch.means import Means
from gateway.bulk import Bulk, Ended, Terms
from gateway.cache import is_wanted
from gateway.caching import Caching, Payer, Seeking
from gateway.chain import Walk
from gateway.chat import AsyncChat
from gateway.checkups import Checkups
from gateway.clock import Clock
from gateway.config import Config
from gateway.events import Emitter, LaneChanged, Listener, RequestStarted
from gateway.feeding import Feed, Requests
from gateway.fingerprint import fingerprint
from gateway.flights import Flights
from gateway.forking import survives
from gateway.health import LaneHealth, Standing
from gateway.idempotency import Idempotency, Wish
from gateway.lanes import Lane
from gateway.late import walk_of
from gateway.ledger import Ledger
from gateway.monitor import Chance, Monitor
from gateway.plan import Plan
from gateway.request import ImageRequest
from gateway.result import ImageResult
from gateway.saving import Destination
from gateway.setup import Setup
from gateway.setups import Setups
from gateway.trial import lessons
from providers.images import ReferenceImage
from providers.provider import ProviderFactory, load_provider
from providers.turnstile import turn

_SEEDS: Final = 1 << 53
"""How many seeds there are: as many as a random float tells apart."""

Source = str | os.PathLike[str] | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One request on its way, *started* on the monotonic clock, and the attempts that were made for it."""

    request: ImageRequest
    request_id: str
    started: float
    tried: list[Tried] = field(default_factory=list)


class AsyncGateway:
    """Draws images through whichever configured lane serves best. Use it as an async context manager, or ``aclose()`` it.

    One instance serves any number of tasks, threads and event loops. *load* makes the adapter for a key of a provider;
    normally it is found by the provider's kind. *chance* gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        configuration: Config,
        *,
        clock: Clock | None = None,
        load: ProviderFactory = load_provider,
        chance: Chance | None = None,
    ) -> None:
        self._load = load
        self._clock = clock or Clock()
        self._setups = Setups(Setup.of(configuration, load, self._clock))
        self._emitter = Emitter()
        self._monitor = Monitor(self._clock, chance, self._tell)
        self._setups.current.watched_by(self._monitor)
        self._verdicts = Verdicts()
        lessons.teach(self._verdicts, configuration.acceptance)
        self._checkups = Checkups(self._monitor, self._clock)
        self._incumbents: dict[router.Kind, str] = {}
        self._chance = chance or SystemRandom().random
        self._seed = self._dice()
        self._flights = Flights()
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock."""
        self._lock = threading.Lock()

    @classmethod
    def from_config(cls, source: Source = None, *, clock: Clock | None = None) -> Self:
        """A gateway from a TOML file, a mapping of the same shape, or what is found.

        None looks at ``$IMAGE_GATEWAY_CONFIG``, then ``./gateway.toml``, then the usual API keys in the environment.

        Raises:
            ConfigError: the configuration cannot be used, or there is none; the message says where and what to do.
        """
        return cls(config.load(source), clock=clock)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._setups.current.config

    @property
    def ledger(self) -> Ledger:
        """The books: what was reserved, spent and refused."""
        return self._setups.current.ledger

    async def generate(self, prompt: str | ImageRequest, **fields: Any) -> ImageResult:
        """Draw: route, call, verify, fall back. *fields* are those of :class:`ImageRequest`.

        Raises:
            InvalidRequest: the request cannot be meant, or every lane refused it.
            NoLaneAvailable: no lane may serve it now.
            AllAttemptsFailed: lanes were tried and none delivered.
            ContentBlocked: the model refused the content.
            DeadlineExceeded: the time ran out, or could not suffice.
            BudgetExceeded: ``max_cost``, or a hard budget, does not suffice.
            OutcomeUnknown: money may have been spent under the idempotency key, and nobody knows what came of it.
        """
        started = self._clock.monotonic()
        await turn()
        job = _Job(as_request(prompt, fields), secrets.token_hex(8), started)
        self._emitter.emit(_started(job, self.config.record_prompts))
        result, failure = None, ""
        try:
            request = job.request
            given = await anyio.to_thread.run_sync(references.load, request.images) if request.images else ()
            result = await (self._served(job, given) if request.idempotency_key is None else self._once(job, given))
            return result
        except BaseException as error:  # a cancellation, too, is an end to tell of
            failure = type(error).__name__
            raise
        finally:
            seconds = self._clock.monotonic() - job.started
            self._emitter.emit(conclusion.ended(job.request, job.request_id, seconds, result, failure, job.tried))

    def generate_many(
        self,
        requests: Requests,
        concurrency: int | None = None,
        *,
        budget: Decimal | float | None = None,
        run: str | None = None,
    ) -> AsyncGenerator[Ended, None]:
        """Draw many: the place of each request, from 0, with its result or error, in the order in which they end.

        *requests* are prompts, mappings of fields or :class:`ImageRequest`, read as there is room. *concurrency* is at most
        how many are under way; None: as many as the lanes take. *budget* is USD for all together, never exceeded. *run* is
        a name under which the same requests are paid for once, however often the run is begun anew (see ``docs/bulk.md``).

        Raises:
            InvalidRequest: an argument cannot be meant. What is wrong with one of the requests is its result.
            ConfigError: while it runs: the configuration cannot be used after all.
        """
        terms = Terms(concurrency=concurrency, budget=budget, run=run)
        return feeding.results(Bulk(self, terms, self._clock), Feed(requests))

    @property
    def batch(self) -> Batch:
        """Many requests as one job at batch prices: ``submit``, ``status``, ``fetch``, ``cancel`` (see ``docs/batch.md``)."""
        return Batch(
            Means(
                setups=self._setups, clock=self._clock, monitor=self._monitor, verdicts=self._verdicts,
                emit=self._emitter.emit, chain=self.generate_many,
            )
        )  # fmt: skip

    async def feedback(self, request_id: str, accepted: bool, cleanup_cost: Decimal | float = 0) -> None:
        """Tell whether the images of a request were usable: *quality* ``"auto"`` learns from it, per task.

        *cleanup_cost* is the USD it took to make them usable, or was lost in trying. The last verdict on a request counts.

        Raises:
            InvalidRequest: no result of this gateway has that *request_id*, or the cost is not an amount.
        """
        self.judge(request_id, accepted, cleanup_cost)

    def judge(self, request_id: str, accepted: bool, cleanup_cost: Decimal | float = 0) -> None:
        """:meth:`feedback` for code that cannot wait."""
        self._verdicts.judge(request_id, accepted, cleanup_cost)

    def chat(self, **fields: Any) -> AsyncChat:
        """A conversation: each ``send`` goes on from the images before. *fields* of :class:`ImageRequest` hold for all.

        Raises:
            InvalidRequest: a field is unknown, belongs to a single turn, or its value cannot be meant.
        """
        return AsyncChat.begun(self.generate, fields)

    def load_chat(self, path: str | os.PathLike[str]) -> AsyncChat:
        """The conversation that was saved at *path*.

        Raises:
            InvalidRequest: the file cannot be read, is damaged, or comes from too late a version; the message says which.
        """
        return AsyncChat.loaded(self.generate, path)

    def plan(self, prompt: str | ImageRequest, **fields: Any) -> Plan:
        """What :meth:`generate` would try, in order, and why the rest is left out. Makes no call and reads no file.

        Raises:
            InvalidRequest: the request cannot be meant.
        """
        request = as_request(prompt, fields)
        return self._plan(self._setups.current, request, references.weights(request.images))

    def health(self) -> list[LaneHealth]:
        """How every lane is doing right now."""
        return self._monitor.health()

    async def hear(self) -> None:
        """Hear at once what other processes know of the lanes, where they share it; else that happens beside requests."""
        await self._monitor.exchange()

    def on_event(self, listener: Listener) -> Callable[[], None]:
        """Tell *listener* of every event (:mod:`gateway.events`) from now on, until what is returned is called.

        It is called on the thread and at the moment of the event, so it must be quick. What it raises costs no image.

        Raises:
            TypeError: *listener* is a coroutine function.
        """
        return self._emitter.on_event(listener)

    def reload(self, source: Source = None) -> None:
        """Swap the configuration. Requests in flight finish on the old one, whose connections are closed after the last.

        What is known of a lane's health is forgotten where its provider's table has changed: a new key, a new start.

        Raises:
            ConfigError: the new configuration cannot be used; nothing has changed.
        """
        new = Setup.of(config.load(source), self._load, self._clock, self._setups.current)
        lessons.teach(self._verdicts, new.config.acceptance)
        with self._lock:
            old, providers = self._setups.replace(new), new.config.providers
            self._monitor.forget(
                name
                for name, lane in new.lanes.items()
                if old.config.providers.get(lane.provider) != providers[lane.provider]
            )
            new.watched_by(self._monitor)

    def drain(self) -> None:
        """Begin no further call, for good: requests under way end with the calls that are already being paid for.

        Meant for the end of a service: ``drain()`` at SIGTERM, then :meth:`aclose`.
        """
        self._monitor.drain()

    async def aclose(self) -> None:
        """Wait for the requests under way on this event loop, which are being paid for, and close its connections."""
        self._flights.end_late()
        await self._setups.quiet()
        self._checkups.end()
        await self._setups.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.source}: {len(self._setups.current.lanes)} lanes>"

    async def _once(self, job: _Job, given: tuple[ReferenceImage, ...]) -> ImageResult:
        """What comes of a request with an idempotency key, now or before."""
        request = job.request
        async with self._setups.in_force() as setup:
            wish = Wish(
                key=request.idempotency_key or "", fingerprint=fingerprint(request, given), request_id=job.request_id,
                seconds=setup.seconds(request), again=request.allow_second_charge,
            )  # fmt: skip
            archive = Archive(setup.state.blobs)
            once = Idempotency(setup.state.claims, archive, self._clock, self._verdicts.judge, setup.broom)
            result = await once.once(
                wish, lambda: self._served(job, given), lambda: [tried.attempt.billed for tried in job.tried]
            )
        if result.request_id != job.request_id and request.save_to is not None:  # it was drawn before
            await anyio.to_thread.run_sync(result.save, request.save_to)
        return result

    async def _served(self, job: _Job, given: tuple[ReferenceImage, ...]) -> ImageResult:
        """What the cache has for it, what comes of the same request under way, or else of drawing it."""
        async with self._setups.in_force() as setup:
            if not is_wanted(job.request, setup.config.cache):
                return await self._drawn(job, given)
            unsaved = replace(job, request=job.request.model_copy(update={"save_to": None}))
            caching = Caching.of(setup, self._flights, self._clock, self._verdicts.judge)
            seeking = await Seeking.of(job.request, given, setup, job.request_id, job.started)
            return await caching.result(seeking, partial(self._drawn, unsaved, given))

    async def _drawn(self, job: _Job, given: tuple[ReferenceImage, ...], payer: Payer | None = None) -> ImageResult:
        """Draw. *payer* may be told before it ends, and is told of what is late."""
        weights = references.weights(given)
        async with self._setups.in_force() as setup:
            self._checkups.begin(setup.credentials)
            self._monitor.stir()
            planned = self._plan(setup, job.request, weights)
            if not planned.candidates:
                raise conclusion.no_lane_error(planned, job.request)
            self._settle(job.request, planned)
            order = await _order(setup, job, given, planned)
            desk = Desk(
                order=order, credentials=setup.credentials, monitor=self._monitor, clock=self._clock,
                emit=self._emitter.emit, ledger=setup.ledger, record_prompts=setup.config.record_prompts,
            )  # fmt: skip
            walk = walk_of(desk, job.tried, payer, partial(self._concluded, job))
            await walk.run()
            self._checkups.begin(setup.credentials)
            if (
                not walk.tried and not walk.out_of_time and walk.refusal is None
            ):  # another request shut the lanes a moment ago
                raise conclusion.no_lane_error(self._plan(setup, job.request, weights), job.request)
        return (payer and payer.told) or self._concluded(job, walk)

    def _plan(self, setup: Setup, request: ImageRequest, weights: tuple[int, ...]) -> Plan:
        setup.check(request)
        situation = router.Situation(
            now=self._clock.monotonic(),
            today=self._clock.today(),
            states=self._monitor.states,
            in_flight=self._monitor.crowds(),
            quotas=self._monitor.usage,
            acceptance=self._verdicts.of(request.task) if request.quality == "auto" else {},
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
        self._emitter.emit(
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
        elapsed = self._clock.monotonic() - job.started
        result = conclusion.result_of(walk, elapsed, self._clock.today(), self._verdicts.judge)
        if result is None:
            raise conclusion.error_of(walk)
        self._verdicts.remember(
            job.request_id, result.lane, job.request.task, result.cost.usd, len(result.images), conclusion.lost(walk)
        )
        return result


def _started(job: _Job, record_prompts: bool) -> RequestStarted:
    request = job.request
    return RequestStarted(
        request_id=job.request_id, size=request.size, n=request.n, model=request.model, task=request.task,
        quality=request.quality, tags=request.tags, prompt=request.prompt if record_prompts else None,
    )  # fmt: skip


async def _order(setup: Setup, job: _Job, given: tuple[ReferenceImage, ...], planned: Plan) -> Order:
    request, place = job.request, job.request.save_to
    return Order(
        request=request,
        references=given,
        steps=tuple(Step(setup.lanes[step.lane], step.size) for step in planned.candidates),
        policy=setup.config.fallback,
        deadline=job.started + setup.seconds(request),
        request_id=job.request_id,
        last_resort=planned.last_resort,
        destination=await anyio.to_thread.run_sync(Destination, place, job.request_id) if place is not None else None,
    )


def as_request(prompt: str | ImageRequest, fields: Mapping[str, Any]) -> ImageRequest:
    """The request that ``generate(prompt, **fields)`` means.

    Raises:
        InvalidRequest: a field is unknown or its value cannot be meant.
    """
    if not isinstance(prompt, ImageRequest):
        return ImageRequest(prompt=prompt, **fields)
    if not fields:
        return prompt
    given = {name: getattr(prompt, name) for name in prompt.model_fields_set}
    return ImageRequest(**{**given, **fields})
