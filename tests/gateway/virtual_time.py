"""Time that passes only when everybody waits for it, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio

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
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(job())


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: VirtualTime) -> None:
        super().__init__(_Selector(time))
        self._virtual = time

    def time(self) -> float:
        return self._virtual.now


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the next timer it moves the clock to it; with no timer it waits, for another thread."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._time.now += timeout
        return ready
