"""Virtual time for real connections: it passes only when neither a socket nor a thread has anything left to say."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from unittest.mock import patch

import anyio.to_thread

from tests.gateway.virtual_time import VirtualTime, counted

T = TypeVar("T")

SETTLING: Final = 0.003
"""Real seconds that bytes on loopback get to arrive before the clock is moved; both ends live on the same event loop."""
STUCK: Final = 30.0
"""Real seconds after which a test that waits for nothing in particular is given up."""


class SocketTime(VirtualTime):
    """A monotonic clock in seconds, and event loops with sockets and threads that live by it."""

    def run(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *job* on a fresh event loop."""
        with (
            patch.object(anyio.to_thread, "run_sync", counted(anyio.to_thread.run_sync)),
            asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner,
        ):
            return runner.run(job())


class _Loop(asyncio.SelectorEventLoop):
    """*jobs* is how many calls other threads are working on: the clock waits for them."""

    def __init__(self, time: VirtualTime) -> None:
        self.jobs = 0
        self._virtual = time
        super().__init__(_Selector(time, self))

    def time(self) -> float:
        return self._virtual.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads in real time: since Python 3.13 a timer would end it, at once in virtual time."""
        await super().shutdown_default_executor()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self.jobs += 1
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: object) -> None:
        self.jobs -= 1


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the next timer it moves the clock to it, once all that was sent has arrived."""

    def __init__(self, time: VirtualTime, loop: _Loop) -> None:
        super().__init__()
        self._time = time
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        may_jump = timeout is not None and not self._loop.jobs
        ready = super().select(SETTLING if may_jump else STUCK)
        if ready:
            return ready
        if timeout is None or self._loop.jobs:
            raise RuntimeError("everybody waits, and nothing is going to happen")
        self._time.now += timeout
        return ready
