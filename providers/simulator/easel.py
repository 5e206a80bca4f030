"""From a job, and what a fault does to it, to the answer; what is drawn is charged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from providers.simulator.drawing import Picture
from providers.simulator.effects import Redraw, Reply, Spoil
from providers.simulator.flavours import Site
from providers.simulator.jobs import Job
from providers.simulator.messages import Answer
from providers.simulator.recording import Book
from providers.simulator.studio import DrawnImage, finished
from providers.simulator.wire import Wire

Draw = Callable[[Picture], Awaitable[DrawnImage]]


class Easel:
    """Answers jobs: draws with *draw*, and charges in *book*."""

    def __init__(self, draw: Draw, book: Book, site: Site) -> None:
        self._draw = draw
        self._book = book
        self._site = site

    async def answer(self, wire: Wire, job: Job, effect: object) -> Answer:
        """The answer to *job* on *wire*. An *effect* that concerns the connection is nothing to an easel."""
        if isinstance(effect, Reply):
            return self.reply(wire, job, effect)
        if isinstance(effect, Redraw):
            job = job.redrawn(effect)
        if isinstance(effect, Spoil):
            job = replace(job, mime_type=effect.mime_type or job.mime_type)
        images = await asyncio.gather(*map(self._draw, job.pictures()))
        self._book.charge(len(images), job.price)
        if isinstance(effect, Spoil):
            images = [_spoilt(image, effect) for image in images]
        return wire.compose(job, images, self._site)

    def reply(self, wire: Wire, job: Job | None, effect: Reply) -> Answer:
        """What *effect* answers instead of an image; *job* None: to a free call."""
        if job and effect.charged and wire.family != "imagen":
            self._book.charge(1, job.price)
        answer = wire.reply(effect, self._site)
        model = job.asked_model if job else ""
        return replace(answer, body=tuple(piece.replace(b"{model}", model.encode()) for piece in answer.body))


def _spoilt(image: DrawnImage, effect: Spoil) -> DrawnImage:
    data, encoded = effect.how(image.data, image.base64)
    return replace(finished(data, effect.claims or image.mime_type, image.width, image.height), base64=encoded)
