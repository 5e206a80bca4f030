"""Entries, clocks and places to keep them, for the tests of the state stores."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from gateway.clock import Clock
from gateway.money.budgets import Budget
from gateway.money.entries import Entry
from gateway.money.ledger import Booking, Ledger
from gateway.result import Cost
from gateway.state import State, open_state

T = TypeVar("T")

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


@dataclass
class Wall:
    """A wall clock that moves when it is told to; who sleeps by it moves it."""

    now: datetime = NOON

    def moves(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.moves(seconds)
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: (self.now - NOON).total_seconds(), wall=lambda: self.now, sleep=self.sleep)


@dataclass
class Place:
    """A backend under test: *opened* makes another handle on it, as another process would."""

    name: str
    url: str
    wall: Wall = field(default_factory=Wall)
    states: list[State] = field(default_factory=list)

    def opened(self) -> State:
        if self.name == "memory" and self.states:
            return self.states[0]  # one process is all that shares it
        self.states.append(open_state(self.url, self.wall.clock))
        return self.states[-1]

    def ledger(self, *budgets: Budget) -> Ledger:
        return Ledger(self.opened().ledger, self.wall.clock, budgets)

    async def closed(self) -> None:
        for state in self.states:
            await state.engine.aclose()

    def run(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *job* on a loop of its own, and close what it has opened."""

        async def whole() -> T:
            try:
                return await job()
            finally:
                await self.closed()

        return asyncio.run(whole())


def books(state: State, *budgets: Budget) -> Ledger:
    """A ledger over *state*, at noon."""
    return Ledger(state.ledger, Wall().clock, budgets)


def run(state: State, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *job* on a loop of its own, and close *state*."""

    async def whole() -> None:
        try:
            await job()
        finally:
            await state.engine.aclose()

    asyncio.run(whole())


def entry(usd: str = "0.10", **more: Any) -> Entry:
    facts: dict[str, Any] = {
        "request_id": secrets.token_hex(8), "number": 1, "lane": "google/nano", "provider": "google", "model": "nano",
        "size": "1K", "images": 1, "quoted": Decimal(usd), "started": NOON,
    }  # fmt: skip
    return Entry(**{**facts, **more})


def a_day(usd: str, **more: Any) -> Budget:
    return Budget(usd=Decimal(usd), per="day", **more)


def paid(ledger: Ledger, booking: Booking, usd: str) -> None:
    ledger.settle(booking, "ok", "yes", Cost(Decimal(usd), "reported"))


async def spent(ledger: Ledger) -> list[str]:
    """What is used of each budget, in USD."""
    return [f"{Decimal(micro) / 1_000_000:.2f}" for micro in (await ledger.used()).values()]


Job = Callable[[], Awaitable[None]]
