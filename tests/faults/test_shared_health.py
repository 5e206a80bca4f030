"""Rows 42 and 54: processes that share their health through Redis, and what becomes of a request when Redis fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.board import Board, Place
from gateway.configuration import config as configuration
from gateway.health.sharing import News, Reply
from gateway.state.redis_address import TIMEOUT
from gateway.state.redis_health import WAIT
from gateway.state.stores import StateUnavailable
from tests.gateway.upstreams import Studio, fails, lane, relay, tables
from tests.gateway.virtual_time import counted
from tests.state.processes import context
from tests.state.redis_server import RedisServer
from tests.state.test_redis import Fault, answers_again, every_fault, recovers

FIRST, SECOND = "first/painter", "second/painter"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def made(state: str) -> Studio:
    """A gateway over two upstreams of different owners, for whose state virtual time waits."""
    first, second = relay(lane(price=0.05), keys=("key-1",)), relay(lane(price=0.06), keys=("key-2",))
    loaded = configuration.load({**tables(first=first, second=second), "gateway": {"state": state}}, environ={})
    return Studio(loaded)


def broken(studio: Studio) -> None:
    """The first upstream fails until its breaker opens, and the open time is over."""
    studio.script("first", *[fails("overloaded")] * 8)
    while health(studio)[FIRST].state == "closed":
        studio.draw()
    studio.script("first")
    studio.time.now += 15
    assert health(studio)[FIRST].state == "half_open"


def health(studio: Studio) -> dict[str, Any]:
    return {each.lane: each for each in studio.gateway.health()}


# Row 42


def probe(url: str, together: Any, let_in: Any) -> None:
    """In a process of its own: see the lane fail, wait for the others, and ask for leave to probe."""
    from gateway.state.redis import Server
    from tests.state.fleet import ByHand, Worker

    async def main() -> None:
        server = Server(f"{url}?timeout=20")
        worker = Worker(ByHand(server))
        await worker.meets("overloaded", 4)
        worker.time.now += 15
        await server.check()
        together.wait(60)
        let_in.put(await worker.enter() is not None)
        together.wait(60)
        await server.aclose()

    asyncio.run(main())


def test_row_42_of_two_processes_one_alone_probes(redis_server: RedisServer) -> None:
    processes = context()
    together, let_in = processes.Barrier(2), processes.Queue()
    both = [processes.Process(target=probe, args=(redis_server.url, together, let_in), daemon=True) for _ in range(2)]
    for process in both:
        process.start()
    assert sorted(let_in.get(timeout=120) for _ in both) == [False, True]
    for process in both:
        process.join(60)


# Row 54


@every_fault
def test_row_54_requests_are_served_by_local_state_and_wait_for_redis_once(
    redis_server: RedisServer, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio, "wrap_future", counted(asyncio.wrap_future))
    studio = made(f"{redis_server.url}?timeout=0.5")
    broken(studio)
    link = studio.gateway._dispatcher.setups.current.state.engine._link  # type: ignore[attr-defined]
    waited = counting(link, monkeypatch)
    fault(redis_server)
    begun = studio.time.now
    assert studio.draw().lane == FIRST  # the probe, by the rule of this process
    assert (health(studio)[FIRST].state, studio.time.now - begun) == ("closed", 5.0)
    assert len(waited) <= 1  # then it is known to be away
    assert all("cannot be used" in each.degraded for each in health(studio).values())
    studio.script("first", fails("balance"))
    assert studio.draw().lane == SECOND
    assert health(studio)[FIRST].reason == "balance"
    recovers(redis_server, fault)
    asyncio.run(recovered(studio))
    assert {each.degraded for each in health(studio).values()} == {""}
    assert health(studio)[FIRST].reason == "balance"
    asyncio.run(studio.gateway.aclose())


def counting(link: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The questions that requests wait for from now on, as the seconds that each may take."""
    waited: list[float] = []
    ask = link._answered

    async def answered(question: Any, seconds: float) -> Any:
        if asyncio.current_task() not in (link._beating, link._working, link._delivering):  # nobody waits for these
            waited.append(seconds)
        return await ask(question, seconds)

    monkeypatch.setattr(type(link), "_answered", lambda self, question, seconds: answered(question, seconds))
    return waited


async def recovered(studio: Studio) -> None:
    await answers_again(studio.gateway._dispatcher.setups.current.state)
    while any(each.degraded for each in studio.gateway.health()):
        await studio.gateway._dispatcher.monitor.exchange()
        await asyncio.sleep(0.001)


class Silent(Place):
    """A server that takes everything and answers nothing, on the clock of the test."""

    silent = False

    async def exchange(self, news: Sequence[News]) -> tuple[Sequence[Reply], int]:
        await self._wait()
        return await super().exchange(news)

    async def lease(self, key: str, purpose: str, seconds: float) -> bool:
        await self._wait()
        return await super().lease(key, purpose, seconds)

    async def _wait(self) -> None:
        if self.silent:
            await asyncio.sleep(WAIT)
            raise StateUnavailable("no answer")


def test_row_54_a_silent_redis_adds_a_tenth_of_a_second_to_a_probe_and_nothing_to_other_requests() -> None:
    studio, store = made("memory"), Silent(Board(lambda: 1000.0), "worker")
    studio.gateway._dispatcher.monitor.share(store, {FIRST: "first", SECOND: "second"})
    broken(studio)
    store.silent = True
    took = [studio.draw().elapsed for _ in range(2)]
    assert took == [pytest.approx(5.0 + WAIT), 5.0]
    assert TIMEOUT == WAIT == 0.1  # so long a question may take; the next one is not asked while the server is away
