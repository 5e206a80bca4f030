"""A simulator that says what it answers, request by request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from providers.simulator import RecordedRequest, Simulator
from providers.simulator.effects import Whole
from providers.simulator.messages import Request
from providers.simulator.server import Connection
from providers.simulator.upstream import Outgoing, Upstream


@dataclass(frozen=True, slots=True)
class Seen:
    """A request with what came of it: the *status* of the answer, or None if there is no whole answer."""

    request: RecordedRequest
    status: int | None


Watcher = Callable[[Seen], None]


class WatchedSimulator(Simulator):
    """Tells *watcher* of each request, on the simulator's own thread."""

    def __init__(self, watcher: Watcher, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watcher = watcher

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        watched = _Watched(self._upstream, self._watcher)
        await Connection(reader, writer, cast("Upstream", watched)).serve()


@dataclass(frozen=True, slots=True)
class _Watched:
    """Does for a connection what *upstream* does, and tells *watcher*."""

    upstream: Upstream
    watcher: Watcher

    def strikes_early(self, request: Request) -> bool:
        struck = self.upstream.strikes_early(request)
        if struck:
            self._tell(request, None)
        return struck

    async def respond(self, request: Request, origin: str) -> Outgoing:
        outgoing = await self.upstream.respond(request, origin)
        self._tell(request, outgoing.answer.status if isinstance(outgoing.delivery, Whole) else None)
        return outgoing

    def _tell(self, request: Request, status: int | None) -> None:
        # Several requests may be under way: the record is the one that holds this very body.
        mine = (each for each in reversed(self.upstream.book.requests) if each.body is request.body)
        self.watcher(Seen(next(each for each in mine if each.path == request.path), status))
