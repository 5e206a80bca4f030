"""How long an event loop was held up. It imports nothing large: whoever measures memory measures this as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK = 0.001
"""Seconds between two looks at the clock."""


@asynccontextmanager
async def noticed() -> AsyncIterator[list[float]]:
    """Seconds by which each tick inside the block came late; complete once it has ended."""
    stalls: list[float] = []
    ticker = asyncio.create_task(_tick(stalls))
    await asyncio.sleep(5 * TICK)
    stalls.clear()
    yield stalls
    await asyncio.sleep(10 * TICK)  # the ticker has to notice what came last
    ticker.cancel()


async def _tick(stalls: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(TICK)
        now = time.perf_counter()
        stalls.append(now - last - TICK)
        last = now
