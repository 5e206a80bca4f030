"""Results taken in as upstreams hand them out, however slow the caller takes them: an upstream does not wait for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gateway.batch.endings import Ending
from gateway.batch.jobs import Line
from gateway.result import ImageResult
from providers.errors import GatewayError

HELD: Final = 16
"""Results that wait for the caller in memory; of more, the archive has what came of them."""

Taken = tuple[Line, ImageResult | GatewayError | None]
"""A line that has ended, and how; None: the archive has it."""


async def ahead(endings: AsyncGenerator[Ending, None]) -> AsyncGenerator[Taken, None]:
    """What *endings* brings. It goes on by itself, until it has ended or nobody takes any more of it."""
    queue: asyncio.Queue[Taken | None] = asyncio.Queue()

    async def work() -> None:
        try:
            async with aclosing(endings):
                async for ending in endings:
                    queue.put_nowait((ending.line, ending.ended if queue.qsize() < HELD else None))
        finally:
            queue.put_nowait(None)

    task = asyncio.get_running_loop().create_task(work())
    try:
        while (taken := await queue.get()) is not None:
            yield taken
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
