"""The index of the cache in this process alone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta

from gateway.clock import Clock
from gateway.forking import survives
from gateway.state.stores import CacheEntry


class MemoryCache:
    """The entries in a dictionary, in the order of their use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[CacheEntry, datetime]] = OrderedDict()
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock."""
        self._lock = threading.Lock()

    async def find(self, key: str) -> CacheEntry | None:
        """See :class:`~gateway.state.stores.CacheStore`."""
        with self._lock:
            entry, until = self._kept.get(key, (None, None))
            if until is None or until <= self._clock.wall():
                return None
            self._kept.move_to_end(key)
            return entry

    async def keep(self, entry: CacheEntry, limit: int) -> tuple[str, ...]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        now = self._clock.wall()
        with self._lock:
            over = [key for key, (_, until) in self._kept.items() if until <= now and key != entry.key]
            gone = [self._kept.pop(key)[0] for key in (*over, entry.key) if key in self._kept]
            self._kept[entry.key] = entry, now + timedelta(seconds=entry.life)
            while sum(kept.bytes for kept, _ in self._kept.values()) > limit:
                gone.append(self._kept.popitem(last=False)[1][0])
            return self._unused(gone)

    async def drop(self, key: str, reference: str) -> tuple[str, ...]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        with self._lock:
            if key not in self._kept or self._kept[key][0].reference != reference:
                return ()
            return self._unused([self._kept.pop(key)[0]])

    async def blobs(self) -> frozenset[str]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        with self._lock:
            return frozenset(self._used())

    def _used(self) -> set[str]:
        return {blob for entry, _ in self._kept.values() for blob in entry.blobs}

    def _unused(self, gone: Iterable[CacheEntry]) -> tuple[str, ...]:
        used = self._used()
        return tuple(dict.fromkeys(blob for entry in gone for blob in entry.blobs if blob not in used))
