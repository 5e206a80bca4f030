"""The upstream itself: from a request to what is sent back, faults included. Knows nothing of sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from providers.simulator import openai_errors
from providers.simulator.batch_jobs import BatchBehaviour, BatchJobs, Workbench
from providers.simulator.easel import Easel
from providers.simulator.effects import Delivery, Recode, Redraw, Reply, Spoil, Whole
from providers.simulator.faults import Fault
from providers.simulator.files import Files
from providers.simulator.flavours import Site, rejected
from providers.simulator.google_batches import GoogleBatches
from providers.simulator.google_errors import BAD_KEY, MISSING_KEY, invalid
from providers.simulator.jobs import Job
from providers.simulator.messages import JSON, Answer, Request, RequestError, error
from providers.simulator.openai_batches import OpenAIBatches
from providers.simulator.recording import Book, RecordedRequest, accepted_key, presented_keys, without_keys
from providers.simulator.routes import Route, find_route
from providers.simulator.rules import Rules, Target
from providers.simulator.studio import Studio
from providers.simulator.wire import Family, Wire

_NOT_FOUND = error(404, "NOT_FOUND", "Requested entity was not found.")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent back, how, and after how many seconds."""

    answer: Answer
    delivery: Delivery = field(default_factory=Whole)
    delay: float = 0.0


class BatchDesk(Protocol):
    """Answers calls about the batch jobs of one wire, and the files that belong to them."""

    async def answer(self, request: Request, origin: str) -> Answer:
        """The answer to *request*. *origin* is how the client reaches the simulator.

        Raises:
            RequestError: the request is refused.
        """
        ...


class Upstream:
    """Reads requests, draws, charges, and fails as its rules say.

    *keys* are the SHA-256 digests of the keys it accepts, None for any. *site* is its flavour and its models. *behaviour*
    is how batch jobs go on.
    """

    def __init__(
        self,
        site: Site,
        rules: Rules,
        keys: Collection[str] | None,
        payload_bytes: int | None,
        behaviour: BatchBehaviour = BatchBehaviour(),  # noqa: B008 - frozen
    ) -> None:
        self.book = Book()
        self.rules = rules
        self.jobs = BatchJobs(behaviour)
        self._site = site
        self._keys = keys
        self._studio = Studio(payload_bytes)
        self._easel = Easel(self._studio.draw, self.book, site)
        self._desks = _desks(self.jobs, Workbench(_wire_of, site, rules, self.book), site)

    def strikes_early(self, request: Request) -> bool:
        """Whether a fault resets the connection now that the head of *request* (no body yet) is read."""
        route = find_route(request)
        if route is None:
            return False
        fault = self.rules.take(_target(request, route, None), early=True)
        if fault is not None:
            self._record(request, presented_keys(request), None, fault)
        return fault is not None

    async def respond(self, request: Request, origin: str) -> Outgoing:
        """What comes back for *request*. *origin* is how the client reaches the simulator, ``http://host:port``."""
        presented = presented_keys(request)
        route = find_route(request)
        if route is None:
            self._record(request, presented, None, None)
            return Outgoing(_NOT_FOUND)
        try:
            job = self._admit(request, route, presented, origin)
        except RequestError as problem:
            self._record(request, presented, None, None)
            return Outgoing(problem.answer)
        fault = self.rules.take(_target(request, route, job))
        self._record(request, presented, job, fault)
        answer = await self._answer(request, route, job, fault, origin)
        return await _outgoing(answer, fault)

    def _admit(self, request: Request, route: Route, presented: dict[str, str], origin: str) -> Job | None:
        """The job of *request*, None if it asks for no drawing."""
        if route.purpose == "file" or "upload_id" in request.query:  # an upload that has begun is known by its id
            return None
        if accepted_key(presented, self._keys) is None:
            raise self._unknown_caller(route.wire, missing=not presented)
        if route.purpose != "draw":
            return None
        try:
            return replace(route.wire.parse(request, route.name, self._site), origin=origin)
        except (AttributeError, TypeError):
            # A list where an object belongs, and the like: the real parsers refuse that in as few words.
            raise RequestError(invalid("Request contains an invalid argument.")) from None

    def _unknown_caller(self, wire: Wire, *, missing: bool) -> RequestError:
        if wire.google:
            return RequestError(MISSING_KEY if missing else BAD_KEY)
        message = openai_errors.MISSING_KEY if missing else openai_errors.BAD_KEY
        return rejected(self._site, 401, message, "UNAUTHENTICATED")

    async def _answer(
        self, request: Request, route: Route, job: Job | None, fault: Fault | None, origin: str
    ) -> Answer:
        effect = fault.effect if fault else None
        if job:
            return await self._easel.answer(route.wire, job, effect)
        if isinstance(effect, Reply):
            return self._easel.reply(route.wire, None, effect)
        if route.purpose == "batch":
            return await self._batch_answer(request, route, origin)
        return self._free(route)

    async def _batch_answer(self, request: Request, route: Route, origin: str) -> Answer:
        try:
            return await self._desks[route.wire.family].answer(request, origin)
        except RequestError as problem:
            return problem.answer

    def _free(self, route: Route) -> Answer:
        if route.purpose == "list":
            return route.wire.models_list(route.name or None, self._site)
        image = self._studio.file(route.name)
        return Answer(media_type=image.mime_type, body=(image.data,)) if image else _NOT_FOUND

    def _record(self, request: Request, presented: dict[str, str], job: Job | None, fault: Fault | None) -> None:
        place = accepted_key(presented, self._keys) or next(iter(presented), None)
        seen = without_keys(request) | {"auth": place, "key_sha256": presented.get(place or "")}
        self.book.record(RecordedRequest(**seen, **_facts(request, job), fault=fault.name if fault else None))


def _facts(request: Request, job: Job | None) -> JSON:
    """What is known of a request's content."""
    if job is None:
        return {}
    return {
        "model": job.asked_model,
        "size": job.size,
        "aspect_ratio": job.aspect_ratio,
        "images": len(job.references),
        "n": job.n,
    }


def _target(request: Request, route: Route, job: Job | None) -> Target:
    model = job.asked_model if job else (route.name or None)
    return Target(path=request.path, purpose=route.purpose, model=model, size=job.size if job else None)


async def _outgoing(answer: Answer, fault: Fault | None) -> Outgoing:
    """*answer* as *fault* lets it out."""
    if fault is None:
        return Outgoing(answer)
    effect = fault.effect
    if isinstance(effect, Recode):
        answer = await asyncio.to_thread(effect.how, answer)
    delivery = Whole() if isinstance(effect, Reply | Redraw | Spoil | Recode) else effect
    return Outgoing(answer, delivery, fault.delay)


def _wire_of(request: Request) -> Wire:
    """The wire of a request that is known to draw."""
    route = find_route(request)
    assert route is not None
    return route.wire


def _desks(jobs: BatchJobs, bench: Workbench, site: Site) -> Mapping[Family, BatchDesk]:
    """Who answers calls about batch jobs, by the wire they come by."""
    files = Files()
    return {"google": GoogleBatches(jobs, bench, files, site), "chat": OpenAIBatches(jobs, bench, files)}
