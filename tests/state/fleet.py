"""Processes that share their health, as monitors side by side: time is virtual, exchanges happen when a test says so."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from decimal import Decimal
from typing import Any

from benchmarks.board import Board, Place
from gateway.health.health import LaneHealth
from gateway.health.monitor import Entry, Monitor
from gateway.router.lanes import Lane
from gateway.state.redis import Server
from gateway.state.redis_health import RedisHealth
from gateway.state.stores import HealthStore
from providers.outcome import Billed, Outcome, OutcomeName
from tests.gateway.lanes import at
from tests.gateway.virtual_time import VirtualTime
from tests.state.redis_server import RedisServer

LANE = at("acme")
METERED = at("acme", quota={"rpm": 20})
"""19 calls a minute may be made of it: 95 %."""
LONG: OutcomeName = "balance"
"""An outcome that rests a lane for a quarter of an hour: the server's clock is real, and no test is that slow."""
_numbers = itertools.count(1)

FREE = ("rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "overloaded", "transport")


class ByHand(RedisHealth):
    """Exchanges only when it is told to."""

    def attend(self, exchange: Callable[[], Awaitable[bool]]) -> None:
        """Not in the background."""


class Worker:
    """A process with one *lane*, whose health goes through *store* under *keys*."""

    def __init__(self, store: HealthStore, lane: Lane = LANE, keys: Mapping[str, str] | None = None) -> None:
        self.time = VirtualTime()
        self.lane = lane
        self.monitor = Monitor(self.time.clock, lambda: 0.0)
        self.monitor.watch({lane.name: lane}, {lane.provider: None}, Decimal(1))
        self.monitor.share(store, keys or {lane.name: "0123abcd"})

    @property
    def entry(self) -> Entry:
        return Entry(lane=self.lane, size="1K", lease=80.0)

    @property
    def health(self) -> LaneHealth:
        (health,) = self.monitor.health()
        return health

    @property
    def is_shut(self) -> bool:
        return self.monitor.refusal(self.entry) is not None

    async def exchange(self) -> None:
        await self.monitor.exchange()

    async def enter(self) -> int | None:
        return await self.monitor.admitted(self.entry, 0.0)

    def leave(self, call: int | None, outcome: OutcomeName = "ok", telling: bool = True) -> None:
        assert call is not None
        billed: Billed = "no" if outcome in FREE else "yes" if outcome == "ok" else "maybe"
        self.monitor.ended(call, self.entry, outcome, Outcome(name=outcome, billed=billed), 5.0, telling)

    async def meets(self, outcome: OutcomeName, times: int = 1) -> None:
        """Calls are made, one after the other, and end so."""
        for _ in range(times):
            self.leave(await self.enter(), outcome)

    async def takes(self, most: int = 1000) -> int:
        """How many calls it may make, one after the other, up to *most*."""
        for made in range(most):
            call = await self.enter()
            if call is None:
                return made
            self.leave(call)
        return most


def run(*servers: Server, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *job*, and let go of *servers*."""

    async def whole() -> None:
        try:
            await job()
        finally:
            for server in servers:
                await server.aclose()

    asyncio.run(whole())


class Fleet:
    """Workers that share one place; *run* runs a job among them."""

    def __init__(self, redis: RedisServer | None, prefix: str = "", timeout: float = 20) -> None:
        self._url = f"{redis.url}?timeout={timeout}&prefix={prefix or f'fleet{next(_numbers)}'}" if redis else ""
        self._board = Board(lambda: 1000.0)
        self._servers: list[Server] = []

    def store(self) -> HealthStore:
        """The way of one more process."""
        if not self._url:
            return Place(self._board, f"worker-{next(_numbers)}")
        self._servers.append(Server(self._url))
        return ByHand(self._servers[-1])

    def worker(self, *arguments: Any, **facts: Any) -> Worker:
        return Worker(self.store(), *arguments, **facts)

    def pair(self, *arguments: Any) -> tuple[Worker, Worker]:
        return self.worker(*arguments), self.worker(*arguments)

    def run(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        run(*self._servers, job=job)


async def exchanged(*workers: Worker) -> None:
    """One exchange each, in order."""
    for worker in workers:
        await worker.exchange()


async def half_open(*workers: Worker) -> None:
    """The first has seen the lane fail, all know it, and the open time is over."""
    await workers[0].meets("overloaded", 4)
    await exchanged(*workers)
    assert all(worker.is_shut for worker in workers)
    for worker in workers:
        worker.time.now += 15
