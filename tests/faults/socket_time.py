"""Virtual time for real connections: it passes only when neither a socket nor a thread has anything left to say."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, Final

from tests.gateway.virtual_time import VirtualLoop, VirtualSelector, VirtualTime

SETTLING: Final = 0.003
"""Real seconds that bytes on loopback get to arrive before the clock is moved; both ends live on the same event loop."""
STUCK: Final = 30.0
"""Real seconds after which a test that waits for nothing in particular is given up."""


class SocketTime(VirtualTime):
    """A monotonic clock in seconds, and event loops with sockets and threads that live by it."""

    def _loop(self) -> asyncio.AbstractEventLoop:
        return _Loop(self, _Selector(self))


class _Loop(VirtualLoop):
    """It counts its own threads' calls, too."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self.jobs += 1
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: object) -> None:
        self.jobs -= 1


class _Selector(VirtualSelector):
    """Instead of waiting for the next timer it moves the clock to it, once all that was sent has arrived."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._waited(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        may_jump = timeout is not None and not self.loop.jobs
        ready = self._waited(SETTLING if may_jump else STUCK)
        if ready:
            return ready
        if timeout is None or self.loop.jobs:
            raise RuntimeError("everybody waits, and nothing is going to happen")
        self.time.now += timeout
        return ready

    def _waited(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready within so many real seconds."""
        return selectors.DefaultSelector.select(self, seconds)
