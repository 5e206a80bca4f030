"""One piece of work in each turn of the event loop: a crowd that comes at once shall not hold up everything else.

An event loop runs all that is ready before it looks at its clock again, so 256 requests that begin together, or whose answers
come together, would be one long turn. Requests go on before others begin: what an answer has cost is soon delivered, and
few are half done at any time, each of which holds memory that the garbage collector has to walk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from providers.loops import PerLoop

PER_TURN: Final = 1
"""Pieces of work let through in one turn. To plan and send a request, or to take in a small answer, is about half a
millisecond (docs/measurements.md)."""

Queue = deque[asyncio.Future[None]]


async def begin() -> None:
    """Wait until one more request may begin: none at all, unless there is a crowd."""
    turnstile = _turnstiles.get()
    await turnstile.passed(turnstile.beginning)


async def turn() -> None:
    """Wait for one's turn to go on with a request, in the order of those who came: none at all, unless there is a crowd."""
    turnstile = _turnstiles.get()
    await turnstile.passed(turnstile.going_on)


class _Turnstile:
    def __init__(self) -> None:
        self.going_on: Queue = deque()
        self.beginning: Queue = deque()
        self._loop = asyncio.get_running_loop()
        self._left = PER_TURN

    async def passed(self, queue: Queue) -> None:
        if self._left == PER_TURN:  # the first of this turn
            self._loop.call_soon(self._next)
        if self._left:
            self._left -= 1
            return
        turn = self._loop.create_future()
        queue.append(turn)
        await turn

    def _next(self) -> None:
        """A turn is over: those who wait are let through first."""
        self._left = PER_TURN
        while self._left and (queue := self.going_on or self.beginning):
            turn = queue.popleft()
            if not turn.done():  # it may have been cancelled
                turn.set_result(None)
                self._left -= 1
        if self._left < PER_TURN:
            self._loop.call_soon(self._next)


_turnstiles: Final = PerLoop(_Turnstile)
