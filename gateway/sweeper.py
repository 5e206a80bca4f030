"""Blobs that nothing refers to any more are removed, now and then, and in a thread that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Container
from datetime import timedelta
from typing import Final

from gateway.blobs import Blobs
from gateway.clock import Clock
from gateway.events import warn
from gateway.forking import survives
from gateway.state import threads
from providers.sanitise import sanitise

EVERY: Final = 3600.0
"""Seconds between two sweeps of one process."""


class Sweeper:
    """Sweeps *blobs*: what was last put longer than *age* ago."""

    def __init__(self, blobs: Blobs, age: timedelta, clock: Clock) -> None:
        self._blobs = blobs
        self._age = age
        self._clock = clock
        self._next = clock.monotonic()
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock."""
        self._lock = threading.Lock()

    def is_due(self) -> bool:
        """Whether it is time to sweep, which is told to one caller only."""
        with self._lock:
            now = self._clock.monotonic()
            due = now >= self._next
            self._next = now + EVERY if due else self._next
            return due

    def sweep(self, spared: Container[str] = ()) -> None:
        """Begin to sweep, except for the hashes *spared*."""
        threads.started(lambda: self._swept(spared))

    def _swept(self, spared: Container[str]) -> None:
        try:
            self._blobs.sweep(self._clock.wall() - self._age, spared)
        except OSError as error:
            warn(f"what is not needed any more could not be removed: {sanitise(error)}")
