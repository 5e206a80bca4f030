"""Time that passes only when everybody waits for it, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

import anyio
import anyio.to_thread

from gateway.clock import Clock

T = TypeVar("T")

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
TODAY = NOON.date()


class VirtualTime:
    """A monotonic clock in seconds, and event loops that live by it."""

    def __init__(self, now: float = 1000.0, wall: datetime = NOON) -> None:
        self.now = now
        self.start = wall - timedelta(seconds=now)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, wall=self.wall, sleep=anyio.sleep)

    def wall(self) -> datetime:
        """The date and time in UTC."""
        return self.start + timedelta(seconds=self.now)

    def run(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *job* on a fresh event loop."""
        with (
            patch.object(anyio.to_thread, "run_sync", counted(anyio.to_thread.run_sync)),
            asyncio.Runner(loop_factory=self._loop) as runner,
        ):
            return runner.run(job())

    def _loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop(self, VirtualSelector(self))


class VirtualLoop(asyncio.SelectorEventLoop):
    """*jobs* is how many calls other threads are working on: the clock waits for them."""

    def __init__(self, time: VirtualTime, selector: VirtualSelector) -> None:
        self.jobs = 0
        self._virtual = time
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads in real time: since Python 3.13 a timer would end it, at once in virtual time."""
        await super().shutdown_default_executor()


class VirtualSelector(selectors.DefaultSelector):
    """Instead of waiting for the next timer it moves the clock to it; while a thread works, or with no timer, it waits."""

    loop: VirtualLoop

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self.time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.loop.jobs:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.time.now += timeout
        return ready


def counted(run_sync: Callable[..., Any]) -> Callable[..., Any]:
    """anyio's *run_sync*, with its calls counted by the loop that makes them: it brings threads of its own."""

    async def counting(*args: Any, **options: Any) -> Any:
        loop: Any = asyncio.get_running_loop()
        if not hasattr(loop, "jobs"):
            return await run_sync(*args, **options)
        loop.jobs += 1
        try:
            return await run_sync(*args, **options)
        finally:
            loop.jobs -= 1

    return counting
