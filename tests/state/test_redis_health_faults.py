"""What can go wrong with the server through which processes share their health, and what is in it."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from gateway import AsyncGateway
from gateway.configuration import config as configuration
from gateway.health.monitor import Entry
from gateway.state.redis import Server
from gateway.state.redis_health import WAIT, RedisHealth
from gateway.state.stores import StateUnavailable
from providers.outcome import Outcome
from tests.gateway import upstreams
from tests.gateway.lanes import at
from tests.state.fleet import LONG, METERED, ByHand, Fleet, Worker, exchanged, half_open, run
from tests.state.processes import started
from tests.state.redis_server import RedisServer
from tests.state.test_redis import Fault, every_fault, falls_silent, recovers


@pytest.fixture
def frail(redis_server: RedisServer) -> Fleet:
    """Workers over a server that a test may do to what it likes."""
    return Fleet(redis_server, timeout=0.5)


# When the server fails


async def found_again(worker: Worker) -> None:
    """Look until the server has come back; each look takes its own time, or is refused at once."""
    for _ in range(1000):
        await worker.exchange()
        if not worker.health.degraded:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the server does not come back")


@every_fault
def test_without_the_server_a_process_judges_by_itself_says_so_and_recovers(
    frail: Fleet, redis_server: RedisServer, fault: Fault
) -> None:
    one, other = frail.pair(METERED)

    async def job() -> None:
        await exchanged(one, other, one, other)  # two workers have been seen by now
        fault(redis_server)
        await one.meets("overloaded", 4)
        await exchanged(one, other)
        assert one.is_shut
        assert not other.is_shut
        assert "cannot be used" in one.health.degraded
        assert one.health.degraded.endswith("lanes are judged by what this process has seen itself")
        if fault.__name__ == "becomes_read_only":  # who has nothing to tell can still hear
            assert other.health.degraded == ""
        recovers(redis_server, fault)
        await found_again(one)
        await found_again(other)
        assert (one.health.degraded, other.health.degraded) == ("", "")
        assert other.health.state == "open"  # what was learnt meanwhile has been told

    frail.run(job)


@every_fault
def test_without_the_server_the_quota_is_divided_by_the_number_of_processes(
    frail: Fleet, redis_server: RedisServer, fault: Fault
) -> None:
    one, other = frail.pair(METERED)

    async def job() -> None:
        await exchanged(one, other, one, other)
        fault(redis_server)
        assert await other.takes(1) == 1
        await exchanged(other)
        assert await other.takes() == 19 // 2 - 1
        recovers(redis_server, fault)
        await found_again(other)
        await exchanged(one)
        lost = int(fault is falls_silent)  # it heard of one call, but its answer was lost: that one counts twice
        assert 19 - 9 - lost <= await one.takes() <= 19 - 9
        await exchanged(one, other)
        assert await other.takes() == 0

    frail.run(job)


@every_fault
def test_without_the_server_the_own_breaker_decides_who_probes(
    frail: Fleet, redis_server: RedisServer, fault: Fault
) -> None:
    one, other = frail.pair()

    async def job() -> None:
        await half_open(one, other)
        fault(redis_server)
        assert await one.enter() is not None
        assert await other.enter() is not None

    frail.run(job)


def test_a_request_waits_for_leave_to_probe_a_tenth_of_a_second_at_most(shared_redis: RedisServer) -> None:
    class Watched(Server):
        async def run(self, *arguments: Any, within: float | None = None) -> Any:
            waits.append(within)
            raise StateUnavailable("no answer")

    waits: list[float | None] = []
    worker = Worker(ByHand(Watched(shared_redis.url)))

    async def job() -> None:
        await worker.meets("overloaded", 4)
        worker.time.now += 15
        assert await worker.enter() is not None
        assert waits == [WAIT] == [0.1]

    run(job=job)


def test_a_silent_server_is_given_up_after_the_time_that_a_question_may_take(redis_server: RedisServer) -> None:
    server = Server(f"{redis_server.url}?timeout=30")

    async def job() -> None:
        await server.check()
        redis_server.pause()
        with pytest.raises(StateUnavailable, match=r"no answer within 0\.1 s"):
            await RedisHealth(server).lease("lane", "probe", 5.0)
        redis_server.resume()

    run(server, job=job)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "redis://:wrong-password@127.0.0.1:{port}/0"])
def test_a_wrong_or_missing_password_shows_and_costs_no_request(tmp_path: Path, url: str) -> None:
    redis = RedisServer(tmp_path, "--requirepass", "the-real-password")
    server = Server(url.format(port=redis.port) + "?timeout=0.5")
    worker = Worker(ByHand(server), METERED)

    async def job() -> None:
        await worker.exchange()
        assert "password" in worker.health.degraded
        assert "wrong-password" not in worker.health.degraded
        assert await worker.takes() == 19

    try:
        run(server, job=job)
    finally:
        redis.kill()


def test_a_server_that_lost_its_scripts_gets_them_again(frail: Fleet, redis_server: RedisServer) -> None:
    one, other = frail.pair()

    async def job() -> None:
        await exchanged(one, other)
        redis_server.tell("SCRIPT", "FLUSH")
        await one.meets(LONG)
        await exchanged(one, other)
        assert other.health.reason == LONG
        assert one.health.degraded == ""

    frail.run(job)


def test_a_server_that_lost_its_memory_is_told_everything_anew(frail: Fleet, redis_server: RedisServer) -> None:
    one, late = frail.pair()

    async def job() -> None:
        await one.meets(LONG)
        await one.exchange()
        redis_server.tell("FLUSHALL")
        await exchanged(one, one, late)
        assert late.health.reason == LONG

    frail.run(job)


# Keys


def test_every_key_ends_by_itself_and_those_of_a_lane_are_in_one_slot(frail: Fleet, redis_server: RedisServer) -> None:
    one, other = frail.pair(at("acme", quota={"rpm": 20, "rpd": 500}))

    async def job() -> None:
        await half_open(one, other)
        await one.enter()
        await one.monitor.admitted_as_last(one.entry)
        await exchanged(one, other)
        keys: Any = redis_server.tell("KEYS", "*:0123abcd}:*")
        assert {key.partition("}:")[2].partition(":")[0] for key in keys} == {"facts", "probe", "minute", "day"}
        every: Any = redis_server.tell("KEYS", "*")
        assert all(int(str(redis_server.tell("PTTL", key))) > 0 for key in every)
        assert len({key.partition("}")[0] for key in keys}) == 1  # what a cluster hashes

    frail.run(job)


def test_facts_are_kept_as_long_as_they_hold_and_a_while_longer(frail: Fleet, redis_server: RedisServer) -> None:
    one = frail.worker()

    async def job() -> None:
        await one.meets("model_gone")
        await one.exchange()
        (key,) = redis_server.tell("KEYS", "*:facts")  # type: ignore[misc]
        assert 3600 < int(str(redis_server.tell("TTL", key))) <= 3600 + 600

    frail.run(job)


def test_an_exchange_without_news_writes_nothing(frail: Fleet, redis_server: RedisServer) -> None:
    one = frail.worker(METERED)

    async def job() -> None:
        await one.exchange()
        assert not [key for key in redis_server.tell("KEYS", "*") if "workers" not in key]  # type: ignore[attr-defined]

    frail.run(job)


def test_a_server_in_cluster_mode_runs_every_script(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path, "--cluster-enabled", "yes")
    redis.tell("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    fleet = Fleet(redis, timeout=5)
    one, other = fleet.pair(METERED)

    async def job() -> None:
        await half_open(one, other)
        await one.meets("ok")
        await exchanged(one, other)
        assert (other.health.state, other.health.degraded) == ("closed", "")

    try:
        while "cluster_state:ok" not in str(redis.tell("CLUSTER", "INFO")):
            pass
        fleet.run(job)
    finally:
        redis.kill()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_is_a_worker_of_its_own(shared_redis: RedisServer) -> None:
    process = started(forks, f"{shared_redis.url}?timeout=20&prefix=forked")
    process.join(60)
    assert process.exitcode == 42


def forks(url: str) -> None:
    """In a process of its own: a child that goes on with the monitor it has inherited, beside its parent."""
    server = Server(url)
    worker = Worker(ByHand(server), METERED)

    async def take(calls: int) -> None:
        await worker.exchange()
        assert await worker.takes(calls) == calls
        await worker.exchange()

    asyncio.run(take(5))
    assert asyncio.run(worker.takes(2)) == 2  # which the parent alone has to tell of
    child = os.fork()
    if not child:
        asyncio.run(take(4))
        asyncio.run(worker.meets(LONG))
        asyncio.run(worker.exchange())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    async def look() -> None:
        await worker.exchange()
        assert (worker.health.reason, worker.health.degraded) == (LONG, "")
        _, calls, _ = map(sum, zip(*worker.monitor.usage["acme/flash"].taken, strict=True))
        assert calls == 5 + 2 + 4 + 1
        await server.aclose()
        os._exit(42)

    asyncio.run(look())


# Whole gateways


def test_gateways_with_the_same_configuration_share_and_say_when_they_cannot(redis_server: RedisServer) -> None:
    relay = upstreams.relay(upstreams.lane(model="flash"), keys=("key-1",))
    tables = {**upstreams.tables(acme=relay), "gateway": {"state": f"{redis_server.url}?timeout=5"}}

    async def job() -> None:
        one, other = (AsyncGateway(configuration.load(tables, environ={})) for _ in range(2))
        entry = Entry(lane=one.config.lanes[0], size="1K", lease=80.0)
        call = await one._dispatcher.monitor.admitted(entry, 0.0)
        assert call is not None
        one._dispatcher.monitor.ended(call, entry, LONG, Outcome(name=LONG, billed="no"), 1.0, telling=True)
        await one.hear()
        await other.hear()
        assert [(each.reason, each.degraded) for each in other.health()] == [(LONG, "")]
        redis_server.kill()
        await other.hear()
        assert "cannot be used" in other.health()[0].degraded
        assert "key-1" not in other.health()[0].degraded
        await one.aclose()
        await other.aclose()

    asyncio.run(job())


# In the background


def test_exchanges_happen_by_themselves_while_requests_are_made(shared_redis: RedisServer) -> None:
    url = f"{shared_redis.url}?timeout=20&prefix=background"
    servers = Server(url), Server(url)
    one, other = (Worker(RedisHealth(server)) for server in servers)

    async def job() -> None:
        await one.meets(LONG)
        for _ in range(10_000):  # each look lets the threads go on
            one.monitor.stir()
            other.monitor.stir()
            if other.is_shut:
                break
            await asyncio.sleep(0.001)
        assert other.health.reason == LONG

    run(*servers, job=job)


def test_exchanges_end_with_the_monitor(shared_redis: RedisServer) -> None:
    server = Server(f"{shared_redis.url}?timeout=20&prefix=ends")
    workers = [Worker(RedisHealth(server))]

    async def job() -> None:
        workers[0].monitor.stir()
        await server.check()

    run(server, job=job)
    assert [chore() for chore in server._chores] == [workers[0].monitor.exchange]
    workers.clear()
    gc.collect()
    assert [chore() for chore in server._chores] == [None]
