"""The setup in force, and those that it replaced: each is closed after the last of its requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio

from gateway.forking import survives
from gateway.setup import Setup


class Setups:
    """Begins with *first*. Any thread and any event loop may use it; connections belong to the loop that opened them."""

    def __init__(self, first: Setup) -> None:
        self._current = first
        self._replaced: list[Setup] = []
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock, and let go of the requests of the parent process."""
        self._closing: list[asyncio.Future[None]] = []
        self._lock = threading.Lock()

    @property
    def current(self) -> Setup:
        """The setup in force."""
        return self._current

    def replace(self, new: Setup) -> Setup:
        """Put *new* in force, and return the one before. Requests in flight keep theirs."""
        with self._lock:
            old, self._current = self._current, new
            self._replaced.append(old)
        return old

    @asynccontextmanager
    async def in_force(self) -> AsyncIterator[Setup]:
        """The setup for one request, which stays open until the request has ended."""
        with self._lock:
            setup = self._current
            setup.count(1)
        try:
            yield setup
        finally:
            with self._lock:
                setup.count(-1)
                self._tell_closing()
            if self._replaced:
                with anyio.CancelScope(shield=True):
                    await self.close_replaced()

    async def close_replaced(self) -> None:
        """Close what this event loop opened for replaced setups that none of its requests uses any more."""
        loop = asyncio.get_running_loop()
        with self._lock:
            idle = [setup for setup in self._replaced if setup.loops.get(loop) == 0]
            for setup in idle:
                del setup.loops[loop]
            self._replaced = [setup for setup in self._replaced if setup.loops]
        for setup in idle:
            with suppress(Exception):  # a request whose images are there must not fail over old connections
                await setup.aclose()
                if setup.state is not self._current.state:
                    await setup.state.engine.aclose()

    async def quiet(self) -> None:
        """Wait until no request is under way on this event loop."""
        while self._under_way():
            ended = asyncio.get_running_loop().create_future()
            self._closing.append(ended)
            await ended

    async def aclose(self) -> None:
        """Close the connections of this event loop, and the state."""
        await self.close_replaced()
        await self._current.aclose()
        await self._current.state.engine.aclose()

    def _under_way(self) -> int:
        """How many requests are under way on the running event loop."""
        loop = asyncio.get_running_loop()
        return sum(setup.loops.get(loop, 0) for setup in (self._current, *self._replaced))

    def _tell_closing(self) -> None:
        """Have those who wait for quiet on the running event loop look again."""
        loop = asyncio.get_running_loop()
        for ended in [each for each in self._closing if each.get_loop() is loop]:
            self._closing.remove(ended)
            if not ended.done():
                ended.set_result(None)
