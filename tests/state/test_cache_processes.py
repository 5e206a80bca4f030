"""Several processes, one state and one cache: a real upstream sees one call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from gateway import AsyncGateway, GatewayError
from providers.simulator import Simulator, faults
from tests.state.books import Place
from tests.state.processes import context, started

PATIENCE = 60
"""Seconds after which a process that hangs is given up."""


def draw(tables: dict[str, Any], together: Any, told: Any) -> None:
    """Draw when all are there, and tell of the image: its bytes, whether it was cached, what it cost; or the error."""

    async def main() -> tuple[Any, ...]:
        async with AsyncGateway.from_config(tables) as gateway:
            await gateway._dispatcher.setups.current.state.engine.check()
            together.wait(PATIENCE)
            try:
                result = await gateway.generate("a fox", cache=True)
            except GatewayError as error:
                return type(error).__name__, [attempt.outcome for attempt in error.attempts], str(error)
            return result.images[0].data, result.cached, str(result.total_cost.usd)

    told.put(asyncio.run(main()))


def tables(place: Place, upstream: Simulator, folder: Path) -> dict[str, Any]:
    lane = {"model": "gemini-3.1-flash-image", "price": {"1K": 0.05}, "sizes": ["1K"]}
    google = {"kind": "google", "base_url": upstream.google_url, "api_key": "canary-key-0123456789", "lanes": [lane]}
    return {
        "gateway": {"state": place.url, "blobs": str(folder)}, "providers": {"google": google},
        "cache": {"store": str(folder / "cache")},
    }  # fmt: skip


@contextmanager
def two_at_once(place: Place, upstream: Simulator, folder: Path) -> Iterator[list[tuple[Any, ...]]]:
    """What two processes tell that draw the same in the same moment."""
    together, told = context().Barrier(2), context().Queue()
    processes = [started(draw, tables(place, upstream, folder), together, told) for _ in range(2)]
    try:
        yield [told.get(timeout=PATIENCE) for _ in processes]
    except Empty:
        pytest.fail("a process hangs")
    finally:
        for process in processes:
            process.kill()
            process.join()


def test_two_processes_make_one_call(shared_place: Place, image_upstream: Simulator, tmp_path: Path) -> None:
    image_upstream.inject(faults.slow(0.5))
    with two_at_once(shared_place, image_upstream, tmp_path) as told:
        (paid_for, *paid), (given, *got) = sorted(told, key=lambda each: bool(each[1]))
        assert paid_for == given
        assert (paid, got) == ([False, "0.05"], [True, "0"])
    assert image_upstream.billed == len(image_upstream.requests) == 1


def test_two_processes_are_told_of_one_refusal(shared_place: Place, image_upstream: Simulator, tmp_path: Path) -> None:
    image_upstream.inject(faults.image_safety(delay=0.5))
    with two_at_once(shared_place, image_upstream, tmp_path) as (first, second):
        assert first == second
        assert first[:2] == ("ContentBlocked", ["blocked"])
    assert len(image_upstream.requests) == 1


def test_when_the_process_that_draws_is_killed_the_one_that_waits_takes_over(
    shared_place: Place, image_upstream: Simulator, tmp_path: Path
) -> None:
    image_upstream.inject(faults.slow(PATIENCE, count=1))
    made = tables(shared_place, image_upstream, tmp_path)
    alone, told = context().Barrier(1), context().Queue()
    process = started(draw, made, alone, told)

    async def main() -> bool:
        async with AsyncGateway.from_config(made) as gateway:
            while not image_upstream.requests:
                await asyncio.sleep(0)
            waiter = asyncio.create_task(gateway.generate("a fox", cache=True))
            await asyncio.sleep(0)
            process.kill()
            await asyncio.to_thread(process.join)
            server: Any = gateway._dispatcher.setups.current.state.engine
            if hasattr(server, "key"):  # its lease would be over in a minute
                await server.ask(("ZREM", server.key("workers"), *await _others(server)))
            return (await waiter).cached

    try:
        assert asyncio.run(main()) is False
    finally:
        process.kill()
        process.join()
    assert len(image_upstream.requests) == 2


async def _others(server: Any) -> list[str]:
    """The workers that are not this process."""
    (workers,) = await server.ask(("ZRANGE", server.key("workers"), 0, -1))
    return [each for each in workers if each != server.worker]
