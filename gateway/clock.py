"""Time as the gateway sees it, in one place, so that a test can hold it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import anyio


@dataclass(frozen=True, slots=True)
class Clock:
    """*monotonic* gives seconds that never jump, *wall* the date and time in UTC, *sleep* waits a number of seconds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep

    def today(self) -> date:
        """The day in UTC."""
        return self.wall().date()
