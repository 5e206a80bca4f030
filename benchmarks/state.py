"""``python -m benchmarks.state``: what the ledger adds to a request, for each backend.

A request reserves money before its call and settles afterwards. *reserve* is how long a caller waits for the first,
*settle* how long the second keeps it (it does not wait), alone and with 50 callers at once; *whole* is microseconds per
request when nothing but that is done, everything written. Redis is started on loopback.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from gateway.clock import Clock
from gateway.money.budgets import Budget
from gateway.money.entries import Entry
from gateway.money.ledger import Ledger
from gateway.result import Cost
from gateway.state import open_state

REQUESTS = 2_000
RUNS = 5
BUDGETS = (Budget(usd=Decimal(1_000_000), per="day"), Budget(usd=Decimal(1_000_000), per="month"))
COST = Cost(Decimal("0.15"), "catalogue")


def entry() -> Entry:
    return Entry(
        request_id=secrets.token_hex(8), number=1, lane="google/gemini-3-pro-image", provider="google",
        model="gemini-3-pro-image", size="1K", images=1, quoted=Decimal("0.15"), started=datetime.now(UTC),
        tags={"team": "art"},
    )  # fmt: skip


async def measured(url: str, at_once: int) -> tuple[float, float, float]:
    """Microseconds: the median wait to reserve, the median time to settle, and the time per request over all."""
    state = open_state(url)
    ledger = Ledger(state.ledger, Clock(), BUDGETS)
    reserving, settling = [], []

    async def caller(count: int) -> None:
        for _ in range(count):
            start = time.perf_counter()
            booking = await ledger.reserve(entry())
            reserved = time.perf_counter()
            ledger.settle(booking, "ok", "yes", COST)
            settling.append(time.perf_counter() - reserved)
            reserving.append(reserved - start)

    await caller(20)
    reserving.clear()
    start = time.perf_counter()
    await asyncio.gather(*(caller(REQUESTS // at_once) for _ in range(at_once)))
    await state.engine.flush()
    whole = (time.perf_counter() - start) / REQUESTS
    await state.engine.aclose()
    return median(reserving) * 1e6, median(settling) * 1e6, whole * 1e6


@contextmanager
def redis_server(folder: Path, fsync: str) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("benchmarks.state needs redis-server on the PATH: apt-get install redis-server")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", fsync)
    with subprocess.Popen([program, "--port", str(port), *options], stdout=subprocess.DEVNULL) as process:
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        try:
            yield f"redis://127.0.0.1:{port}/0?timeout=5"
        finally:
            process.terminate()


FIGURES = ("reserve", "settle", "whole", "reserve, 50 at once", "whole, 50 at once")

Costs = dict[str, dict[str, float]]
"""Microseconds per request, by state and figure."""


def costs(runs: int = RUNS) -> Costs:
    """What each backend takes; medians of so many *runs*."""
    with tempfile.TemporaryDirectory() as folder:
        places = Path(folder)
        for name in ("safe", "lax"):
            (places / name).mkdir()
        with redis_server(places / "safe", "always") as safe, redis_server(places / "lax", "everysec") as lax:
            urls = {
                "memory": "memory",
                "SQLite": f"sqlite:///{places}/state.db",
                "Redis, appendfsync everysec": lax,
                "Redis, appendfsync always": safe,
            }
            return {name: _medians(url, runs) for name, url in urls.items()}


def _medians(url: str, runs: int) -> dict[str, float]:
    alone = [asyncio.run(measured(url, 1)) for _ in range(runs)]
    crowd = [asyncio.run(measured(url, 50)) for _ in range(runs)]
    figures = [median(run[figure] for run in alone) for figure in range(3)]
    figures += [median(run[figure] for run in crowd) for figure in (0, 2)]
    return dict(zip(FIGURES, figures, strict=True))


def shown(found: Costs) -> Table:
    """The table of *found*."""
    table = Table("state", title=f"Books: µs per request with two hard budgets, {REQUESTS:,} requests a run")
    for heading in FIGURES:
        table.add_column(heading, justify="right")
    for name, figures in found.items():
        table.add_row(name, *(f"{figure:,.0f}" for figure in figures.values()))
    return table


def main() -> None:
    Console(width=120).print(shown(costs()))


if __name__ == "__main__":
    main()
