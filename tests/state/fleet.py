"""Processes that share their health, as monitors side by side: time is virtual, exchanges happen when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from decimal import Decimal
from typing import Any

from gateway.health import LaneHealth
from gateway.lanes import Lane
from gateway.monitor import Entry, Monitor
from gateway.state.redis import Server
from gateway.state.redis_health import RedisHealth
from gateway.state.stores import HealthStore
from providers.outcome import Billed, Outcome, OutcomeName
from tests.gateway.lanes import at
from tests.gateway.virtual_time import VirtualTime

LANE = at("acme")
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
