"""``python -m benchmarks.scale``: what the shared state costs the server, and what a fleet gains by it.

First each operation alone, on a Redis server on loopback. Then 200 workers on 20 lanes in virtual time, with their health
shared, not shared, and with a server that is lost.
``--docs FILE`` writes the tables between the marks of that document.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks.fleet import HANGS, LENGTH, QUOTA, RATE, REFUSES, WORKERS, Figures, Play
from benchmarks.state import BUDGETS, COST, entry, redis_server
from benchmarks.storm.report import fill
from gateway.clock import Clock
from gateway.health.sharing import Facts, News, Opening, Rest
from gateway.money.ledger import Ledger
from gateway.state.claims import Claim
from gateway.state.redis import Server
from gateway.state.redis_claims import RedisClaims
from gateway.state.redis_health import RedisHealth
from gateway.state.redis_ledger import RedisLedger

TIMES: Final = 1_000
"""Calls of each operation."""
LANES: Final = 20
LOST: Final = 20.0
"""Second of the play from which on the server is away, in the third column."""


class Cost(NamedTuple):
    """One operation and its *scripts*: microseconds that the caller waits (median), its process is busy, the server works."""

    name: str
    scripts: int
    waits: float
    busy: float
    works: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--docs", type=Path, help="write the tables between the marks of this document")
    asked = parser.parse_args()
    costs = asyncio.run(_costs())
    plays = {
        "not shared": Play(shared=False).run(),
        "shared": Play(shared=True).run(),
        f"shared, server lost at {LOST:.0f} s": Play(shared=True, lost=LOST).run(),
    }
    told = f"{_operations(costs)}\n{_fleet(plays)}\n{_load(costs, plays['shared'])}"
    print(told)
    if asked.docs:
        asked.docs.write_text(fill(asked.docs.read_text(encoding="utf-8"), told), encoding="utf-8")


async def _costs() -> list[Cost]:
    """What each operation costs, one after the other."""
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), "everysec") as url:
        server = Server(url)
        try:
            return [await _cost(server, name, scripts, work) for name, scripts, work in _works(server)]
        finally:
            await server.aclose()


def _works(server: Server) -> Iterator[tuple[str, int, Callable[[], Awaitable[object]]]]:
    health, claims = RedisHealth(server), RedisClaims(server)
    ledger = Ledger(RedisLedger(server), Clock(), BUDGETS)
    quiet = [News(key=f"lane-{number}") for number in range(LANES)]
    metered = [News(key=f"lane-{number}", quota=True, day="2026-10-01") for number in range(LANES)]
    loud = Facts(rests={"rate_limited": Rest(seconds=20.0)}, opening=Opening(seconds=10.0, openings=1))
    takes = News(key="metered", quota=True, calls=1, images=1, today=1, day="2026-10-01")

    async def book() -> None:
        ledger.settle(await ledger.reserve(entry()), "ok", "yes", COST)
        await server.flush()

    yield "reserve and settle, two budgets (on the request's path: the first)", 2, book
    yield (
        "claim of an idempotency key",
        1,
        lambda: claims.claim(Claim(key=secrets.token_hex(8), fingerprint="f", owner="o", lease=60)),
    )
    yield "leave to probe", 1, lambda: health.lease("lane-0", "probe", 5.0)
    yield "exchange, one lane, nothing new", 2, lambda: health.exchange(quiet[:1])
    yield "exchange, one lane, a breaker and a rest to tell", 2, lambda: health.exchange([News(key="loud", facts=loud)])
    yield "exchange, one lane with a quota, one call taken", 3, lambda: health.exchange([takes])
    yield f"exchange, {LANES} lanes, nothing new", LANES + 1, lambda: health.exchange(quiet)
    yield f"exchange, {LANES} lanes with quotas, nothing new", 2 * LANES + 1, lambda: health.exchange(metered)


async def _cost(server: Server, name: str, scripts: int, work: Callable[[], Awaitable[object]]) -> Cost:
    for _ in range(20):
        await work()
    before, busy, waits = await _worked(server), time.process_time(), list[float]()
    for _ in range(TIMES):
        start = time.perf_counter()
        await work()
        waits.append(time.perf_counter() - start)
    busy = (time.process_time() - busy) / TIMES * 1e6
    return Cost(name, scripts, median(waits) * 1e6, busy, (await _worked(server) - before) / TIMES)


async def _worked(server: Server) -> float:
    """Microseconds that the server has worked on scripts so far, by its own count."""
    (told,) = await server.ask(("INFO", "commandstats"))
    return float(told.get("cmdstat_evalsha", {}).get("usec", 0))


def _operations(costs: list[Cost]) -> str:
    heads = ("operation", "scripts", "waited µs", "CPU of the worker µs", "CPU of the server µs")
    rows = [
        (each.name, str(each.scripts), *(f"{figure:,.0f}" for figure in (each.waits, each.busy, each.works)))
        for each in costs
    ]
    return _table(f"{TIMES:,} calls, one at a time; waited: the median", heads, rows)


def _fleet(plays: dict[str, Figures]) -> str:
    def seconds(value: float | None) -> str:
        return "never" if value is None else f"{value:.0f} s"

    facts: dict[str, Callable[[Figures], str]] = {
        "calls into the lane that hangs": lambda play: str(play.into_the_fault[HANGS]),
        "of these after a breaker had opened there": lambda play: str(play.probes),
        "every worker avoids it after": lambda play: seconds(play.seconds_until_all_avoid(HANGS)),
        "every worker uses it again, after its recovery": lambda play: seconds(play.seconds_until_all_return(HANGS)),
        "calls into the lane that answers 503": lambda play: str(play.into_the_fault[REFUSES]),
        "every worker avoids it after ": lambda play: seconds(play.seconds_until_all_avoid(REFUSES)),
        "every worker uses it again, after its recovery ": lambda play: seconds(play.seconds_until_all_return(REFUSES)),
        f"429 of the lane with {QUOTA} requests a minute": lambda play: str(play.over_quota),
        "images of that lane, a minute": lambda play: f"{play.within_quota * 60 / LENGTH:.0f}",
        "images": lambda play: f"{play.delivered:,}",
        "requests that no lane served": lambda play: f"{play.lost:,}",
        "exchanges a second": lambda play: f"{play.operations['exchange'] / LENGTH:,.0f}",
        "scripts a second": lambda play: f"{_scripts(play) / LENGTH:,.0f}",
    }
    rows = [(name, *(figure(play) for play in plays.values())) for name, figure in facts.items()]
    return _table(f"{WORKERS} workers, {LANES} lanes, {RATE:.0f} requests a second", ("", *plays), rows)


def _load(costs: list[Cost], play: Figures) -> str:
    """What the play would cost a real server."""
    (idle,) = (cost for cost in costs if cost.name == f"exchange, {LANES} lanes, nothing new")
    share = play.operations["exchange"] / LENGTH * idle.works / 1e6
    return f"At these costs the exchanges of the shared fleet take {share:.1%} of one core of the server.\n"


def _scripts(play: Figures) -> int:
    done = play.operations
    return done["tell"] + done["count"] + done["lease"] + done["exchange"]  # each exchange counts the workers as well


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return f"**{title}**\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()
