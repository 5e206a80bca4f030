"""How long an event loop was held up. It imports nothing large: whoever measures memory measures this as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

TICK = 0.001
"""Seconds between two looks at the clock."""


@dataclass(slots=True)
class Stall:
    """The longest one so far, in *seconds*: a list of all would be growth of memory that nobody else caused."""

    seconds: float = 0.0


@asynccontextmanager
async def noticed() -> AsyncIterator[Stall]:
    """By how much a tick inside the block came late at most; complete once it has ended."""
    longest = Stall()
    ticker = asyncio.create_task(_tick(longest))
    await asyncio.sleep(5 * TICK)
    longest.seconds = 0.0
    yield longest
    await asyncio.sleep(10 * TICK)  # the ticker has to notice what came last
    ticker.cancel()


async def _tick(longest: Stall) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(TICK)
        now = time.perf_counter()
        longest.seconds = max(longest.seconds, now - last - TICK)
        last = now
