"""How long an event loop was held up. It imports nothing large: whoever measures memory measures this as well."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK = 0.001
"""Seconds between two looks at the clock."""


@asynccontextmanager
async def noticed() -> AsyncIterator[array[float]]:
    """Seconds by which each tick inside the block came late; complete once it has ended."""
    stalls = array("d")
    ticker = asyncio.create_task(_tick(stalls))
    await asyncio.sleep(5 * TICK)
    del stalls[:]
    yield stalls
    await asyncio.sleep(10 * TICK)  # the ticker has to notice what came last
    ticker.cancel()


async def _tick(stalls: array[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(TICK)
        now = time.perf_counter()
        stalls.append(now - last - TICK)
        last = now
