"""Jobs as a caller has them done: submitted, looked after until they are over, and fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from providers.batches import BatchAnswer, BatchLine, BatchProgress, BatchRefused
from providers.google import GoogleProvider
from providers.openai_compatible import OpenAICompatibleProvider
from providers.outcome import Outcome
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret
from tests.providers.wire import KEY

Adapter = GoogleProvider | OpenAICompatibleProvider
T = TypeVar("T")

SECONDS = 20.0


def line(key: str, model: str = "gemini-3.1-flash-image", **asked: Any) -> BatchLine:
    return BatchLine(
        key, UpstreamRequest(model=model, catalogue_model=model, prompt=f"a cat, {key}", size="1K", **asked)
    )


def lines(count: int, **asked: Any) -> list[BatchLine]:
    return [line(f"k{number}", **asked) for number in range(count)]


def google(url: str, **more: Any) -> GoogleProvider:
    return GoogleProvider(ProviderSettings(name="p", kind="google", api_key=Secret(KEY), base_url=url, **more))


def openai(url: str, dialect: str = "images", **more: Any) -> OpenAICompatibleProvider:
    settings = ProviderSettings(
        name="p", kind="openai", api_key=Secret(KEY), base_url=url, options={"dialect": dialect}, **more
    )
    return OpenAICompatibleProvider(settings)


def run(adapter: Adapter, work: Callable[[Adapter], Awaitable[T]]) -> T:
    """What *work* with *adapter* comes to, in a loop of its own."""

    async def main() -> T:
        try:
            return await work(adapter)
        finally:
            await adapter.aclose()

    return asyncio.run(main())


async def finished(adapter: Adapter, batch: list[BatchLine], name: str = "job") -> BatchProgress:
    """The job of *batch* when it is over."""
    return await over(adapter, await adapter.submit_batch(name, batch, SECONDS))


async def over(adapter: Adapter, job: BatchProgress) -> BatchProgress:
    """*job* when it is over."""
    for _ in range(10):
        if job.is_over:
            return job
        job = await adapter.batch_progress(job.id, SECONDS)
    raise AssertionError(f"the job is not over after ten looks: {job}")


async def answers(adapter: Adapter, job: BatchProgress) -> dict[str, Outcome]:
    """The outcomes of *job* by key; an answer that comes twice is one too many."""
    found: dict[str, Outcome] = {}
    async with aclosing(adapter.batch_answers(job.id, SECONDS)) as coming:  # type: ignore[type-var]
        async for answer in coming:
            assert isinstance(answer, BatchAnswer)
            assert answer.key not in found
            found[answer.key] = answer.outcome
    return found


async def done(adapter: Adapter, batch: list[BatchLine]) -> dict[str, Outcome]:
    """The outcomes of *batch*, done as a job."""
    return await answers(adapter, await finished(adapter, batch))


async def refusal(call: Awaitable[object]) -> Outcome:
    """Why *call* was refused."""
    with pytest.raises(BatchRefused) as caught:
        await call
    return caught.value.outcome
