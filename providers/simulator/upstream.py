"""The upstream itself: from a request to what is sent back, faults included. Knows nothing of sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from providers.simulator import openai_errors
from providers.simulator.effects import Delivery, Recode, Redraw, Reply, Spoil, Whole
from providers.simulator.faults import Fault
from providers.simulator.flavours import Site, rejected
from providers.simulator.google_errors import BAD_KEY, MISSING_KEY, invalid
from providers.simulator.jobs import Job
from providers.simulator.messages import JSON, Answer, Request, RequestError, error
from providers.simulator.recording import Book, RecordedRequest, accepted_key, presented_keys, without_keys
from providers.simulator.routes import Route, Wire, find_route
from providers.simulator.rules import Rules, Target
from providers.simulator.studio import DrawnImage, Studio, finished

_NOT_FOUND = error(404, "NOT_FOUND", "Requested entity was not found.")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent back, how, and after how many seconds."""

    answer: Answer
    delivery: Delivery = field(default_factory=Whole)
    delay: float = 0.0


class Upstream:
    """Reads requests, draws, charges, and fails as its rules say.

    *keys* are the SHA-256 digests of the keys it accepts, None for any. *site* is its flavour and its models.
    """

    def __init__(self, site: Site, rules: Rules, keys: Collection[str] | None, payload_bytes: int | None) -> None:
        self.book = Book()
        self.rules = rules
        self._site = site
        self._keys = keys
        self._studio = Studio(payload_bytes)

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
        return await self._outgoing(route, job, fault)

    def _admit(self, request: Request, route: Route, presented: dict[str, str], origin: str) -> Job | None:
        """The job of *request*, None if it asks for no drawing."""
        if route.purpose == "file":
            return None
        if accepted_key(presented, self._keys) is None:
            raise self._unknown_caller(route.wire, missing=not presented)
        if route.purpose == "list":
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

    async def _outgoing(self, route: Route, job: Job | None, fault: Fault | None) -> Outgoing:
        effect = fault.effect if fault else None
        if isinstance(effect, Reply):
            answer = self._reply(effect, route, job)
        else:
            answer = await self._draw(route.wire, job, effect) if job else self._free(route)
        if isinstance(effect, Recode):
            answer = await asyncio.to_thread(effect.how, answer)
        special = None if isinstance(effect, Reply | Redraw | Spoil | Recode) else effect
        return Outgoing(answer, special or Whole(), fault.delay if fault else 0.0)

    def _reply(self, effect: Reply, route: Route, job: Job | None) -> Answer:
        if job and effect.charged and route.wire.family != "imagen":
            self.book.charge(1, job.price)
        answer = route.wire.reply(effect, self._site)
        model = job.asked_model if job else ""
        return replace(answer, body=tuple(piece.replace(b"{model}", model.encode()) for piece in answer.body))

    def _free(self, route: Route) -> Answer:
        if route.purpose == "list":
            return route.wire.models_list(route.name or None, self._site)
        image = self._studio.file(route.name)
        return Answer(media_type=image.mime_type, body=(image.data,)) if image else _NOT_FOUND

    async def _draw(self, wire: Wire, job: Job, effect: object) -> Answer:
        if isinstance(effect, Redraw):
            job = job.redrawn(effect)
        if isinstance(effect, Spoil):
            job = replace(job, mime_type=effect.mime_type or job.mime_type)
        images = await asyncio.gather(*map(self._studio.draw, job.pictures()))
        self.book.charge(len(images), job.price)
        if isinstance(effect, Spoil):
            images = [_spoilt(image, effect) for image in images]
        return wire.compose(job, images, self._site)

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


def _spoilt(image: DrawnImage, effect: Spoil) -> DrawnImage:
    data, encoded = effect.how(image.data, image.base64)
    return replace(finished(data, effect.claims or image.mime_type, image.width, image.height), base64=encoded)
