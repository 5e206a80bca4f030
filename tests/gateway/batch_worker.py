"""A process that works on a batch, and is killed at a moment of its choosing.

``python -m tests.gateway.batch_worker ORDER``, where ORDER is JSON: the configuration's ``tables``, the ``name`` of the job,
how many ``lines`` it has, and the ``moment`` at which the process kills itself. It prints what it fetched, a line of JSON each.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway import AsyncGateway, ImageResult
from gateway.configuration import config
from providers.batches import BatchAnswer, BatchLine, BatchProgress
from providers.provider import Provider, ProviderSettings, load_provider
from tests.gateway.leaping import Leaping

MOMENTS = ("written down", "sent", "half fetched", "sent again", "never")


class Mortal:
    """An adapter whose process dies at *moment*; everything else is the real one's."""

    def __init__(self, adapter: Any, moment: str) -> None:
        self._adapter = adapter
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    async def submit_batch(self, name: str, lines: Sequence[BatchLine], timeout: float) -> BatchProgress:
        self._reached("written down")
        progress: BatchProgress = await self._adapter.submit_batch(name, lines, timeout)
        self._reached("sent again" if name.endswith("-2") else "sent")
        return progress

    async def find_batch(self, name: str, timeout: float) -> BatchProgress | None:
        found: BatchProgress | None = await self._adapter.find_batch(name, timeout)
        return found

    async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:
        progress: BatchProgress = await self._adapter.batch_progress(batch_id, timeout)
        return progress

    async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
        count = 0
        async for answer in self._adapter.batch_answers(batch_id, timeout):
            count += 1
            if count == 400:
                self._reached("half fetched")
            yield answer

    async def cancel_batch(self, batch_id: str, timeout: float) -> None:
        await self._adapter.cancel_batch(batch_id, timeout)

    async def generate(self, request: Any, exchange: Any) -> Any:
        return await self._adapter.generate(request, exchange)

    async def check(self, timeout: float) -> Any:
        return await self._adapter.check(timeout)

    async def aclose(self) -> None:
        await self._adapter.aclose()

    def _reached(self, moment: str) -> None:
        if moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


async def work(order: Any) -> None:
    def load(settings: ProviderSettings) -> Provider:
        mortal: Any = Mortal(load_provider(settings), order["moment"])
        return mortal  # type: ignore[no-any-return]

    requests = {f"row-{number}": {"prompt": f"fox {number}", "size": "512"} for number in range(order["lines"])}
    async with AsyncGateway(config.load(order["tables"], environ={}), clock=Leaping().clock, load=load) as gateway:
        job = await gateway.batch.submit(requests, name=order["name"])
        async for key, ended in gateway.batch.fetch(job):
            fetched = [key, isinstance(ended, ImageResult), ended.attempts[-1].outcome]
            sys.stdout.write(json.dumps(fetched) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(work(json.loads(sys.argv[1])))
