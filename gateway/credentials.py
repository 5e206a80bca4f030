"""The keys of one provider, used in turn when one is refused or exhausted, and the calls under way on them."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio

from providers.loops import PerLoop
from providers.outcome import OutcomeName
from providers.provider import Provider

KEY_TROUBLE: Final[frozenset[OutcomeName]] = frozenset({"auth", "balance", "quota_exhausted"})
"""Outcomes that another key may not meet."""

REST: Final = 600.0
"""Seconds a key in trouble is passed over while another one works."""


class Credentials:
    """The adapters of one provider, one for each key, and the room they share: *max_concurrency* calls at a time."""

    def __init__(self, adapters: Sequence[Provider], max_concurrency: int | None = None) -> None:
        self.adapters = tuple(adapters)
        self._limiter = PerLoop(lambda: anyio.CapacityLimiter(max_concurrency or math.inf))
        self._resting = [0.0] * len(self.adapters)
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @asynccontextmanager
    async def room(self, lane: str) -> AsyncIterator[None]:
        """To be held during a call to *lane*: waits until there is room on the running event loop."""
        async with self._limiter.get():
            self._count(lane, 1)
            try:
                yield
            finally:
                self._count(lane, -1)

    def in_flight(self, lane: str) -> int:
        """How many calls to *lane* are under way, on all event loops."""
        return self._under_way[lane]

    def pick(self, now: float) -> int:
        """The first key that is not resting; the one that rests the shortest if all are."""
        awake = (index for index, until in enumerate(self._resting) if until <= now)
        return next(awake, min(range(len(self._resting)), key=self._resting.__getitem__))

    def rest(self, index: int, now: float) -> bool:
        """Pass over the key for a while; whether another one is left to use."""
        self._resting[index] = now + REST
        return any(until <= now for until in self._resting)

    async def aclose(self) -> None:
        """Close every adapter."""
        for adapter in self.adapters:
            await adapter.aclose()

    def _count(self, lane: str, change: int) -> None:
        with self._lock:  # event loops in other threads count as well
            self._under_way[lane] += change
