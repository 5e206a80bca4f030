"""The keys of one provider, used in turn when one is refused or exhausted."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        self._room = PerLoop(lambda: anyio.CapacityLimiter(max_concurrency or math.inf))
        self._resting = [0.0] * len(self.adapters)

    @property
    def room(self) -> anyio.CapacityLimiter:
        """To be held during a call; it belongs to the running event loop."""
        return self._room.get()

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
