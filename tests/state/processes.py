"""Processes of their own that spend money: to be killed, or to race each other."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from decimal import Decimal
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

import gateway.state.redis_ledger
import gateway.state.sqlite_ledger  # noqa: F401 - both at once, so that processes start quickly
from gateway.clock import Clock
from gateway.money.ledger import Ledger
from gateway.result import Cost
from gateway.state import open_state
from providers.errors import BudgetExceeded
from tests.state.books import a_day, entry

AT_ONCE = 4
"""Calls that a spender makes side by side."""


def context() -> ForkServerContext:
    """Processes that start quickly, from a server that has imported this module and started no thread."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([__name__])
    return made


def started(work: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that does *work*; it does not outlive this one."""
    process = context().Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def spend_until_killed(url: str, told: Any) -> None:
    """Reserve, send, settle, over and over, and say so into the pipe *told*: each line is true when it is written."""

    async def main() -> None:
        state = open_state(url)
        ledger = Ledger(state.ledger, Clock())

        async def caller() -> None:
            while True:
                booking = await ledger.reserve(entry("0.20", started=Clock().wall()))
                tell(f"sent {booking.entry.id}")
                tell(f"answered {booking.entry.id}")
                ledger.settle(booking, "ok", "yes", Cost(Decimal("0.15"), "reported"))
                await state.engine.flush()
                tell(f"settled {booking.entry.id}")

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    def tell(line: str) -> None:
        os.write(told.fileno(), f"{line}\n".encode())

    asyncio.run(main())


def race(url: str, workers: int, together: Any, granted: Any) -> None:
    """Try to reserve $0.07 twice by each of *workers*, under a cap of $10, and put how often that went well."""

    async def main() -> int:
        state = open_state(url)
        ledger = Ledger(state.ledger, Clock(), (a_day("10"),))

        async def worker() -> int:
            taken = 0
            for _ in range(2):
                try:
                    await ledger.reserve(entry("0.07"))
                except BudgetExceeded:
                    continue
                taken += 1
            return taken

        await state.engine.check()
        together.wait(60)
        try:
            return sum(await asyncio.gather(*(worker() for _ in range(workers))))
        finally:
            await state.engine.aclose()

    granted.put(asyncio.run(main()))
