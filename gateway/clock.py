"""Time as the gateway sees it, in one place, so that a test can hold it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import anyio


@dataclass(frozen=True, slots=True)
class Clock:
    """*monotonic* gives seconds that never jump, *today* the day in UTC, *sleep* waits a number of seconds."""

    monotonic: Callable[[], float] = time.monotonic
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
