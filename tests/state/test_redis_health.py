"""The health that processes share: through a real Redis server, and through the board that stands for one in simulations."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from benchmarks.board import Board, Place
from gateway import AsyncGateway
from gateway import config as configuration
from gateway.fleet import PROBE_LEASE
from gateway.monitor import Entry
from gateway.state.redis import Server
from gateway.state.redis_health import WAIT, RedisHealth
from gateway.state.stores import HealthStore, StateUnavailable
from providers.outcome import Outcome, OutcomeName
from tests.gateway import upstreams
from tests.gateway.lanes import at
from tests.state.fleet import ByHand, Worker, run
from tests.state.processes import started
from tests.state.redis_server import RedisServer
from tests.state.test_redis import Fault, every_fault, falls_silent, recovers

METERED = at("acme", quota={"rpm": 20})
"""19 calls a minute may be made of it: 95 %."""
LONG: OutcomeName = "balance"
"""An outcome that rests a lane for a quarter of an hour: the server's clock is real, and no test is that slow."""

_numbers = itertools.count(1)
Job = Callable[[], Coroutine[Any, Any, None]]


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

    def run(self, job: Job) -> None:
        run(*self._servers, job=job)


@pytest.fixture(params=["redis", "board"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """Workers over a healthy server, and over what stands for it."""
    return Fleet(request.getfixturevalue("shared_redis") if request.param == "redis" else None)


@pytest.fixture
def frail(redis_server: RedisServer) -> Fleet:
    """Workers over a server that a test may do to what it likes."""
    return Fleet(redis_server, timeout=0.5)


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


# What is shut, and opens again


def test_a_lane_that_broke_in_one_process_is_avoided_by_the_others_after_an_exchange(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await one.meets("overloaded", 4)
        assert not other.is_shut
        await exchanged(one, other)
        assert (other.health.state, other.health.reason) == ("open", "failures")
        assert other.health.degraded == ""

    fleet.run(job)


def test_a_rest_is_shared_and_never_shortened(fleet: Fleet) -> None:
    one, other, third = fleet.worker(), fleet.worker(), fleet.worker()

    async def job() -> None:
        await one.meets(LONG)
        await exchanged(one, other)
        assert other.health.until == pytest.approx(900, abs=60)
        await third.meets("rate_limited")
        await exchanged(third, one)
        assert [worker.health.reason for worker in (one, third)] == [LONG, LONG]
        assert one.health.until == 900

    fleet.run(job)


def test_a_success_of_one_closes_the_breaker_of_all(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await half_open(one, other)
        await other.meets("ok")
        await exchanged(other, one)
        assert [worker.health.state for worker in (one, other)] == ["closed", "closed"]

    fleet.run(job)


def test_a_probe_that_fails_keeps_the_lane_shut_for_all(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await half_open(one, other)
        await other.meets("overloaded")
        await exchanged(other, one)
        assert [worker.health.state for worker in (one, other)] == ["open", "open"]

    fleet.run(job)


def test_failures_in_a_row_count_wherever_they_are_met(fleet: Fleet) -> None:
    workers = [fleet.worker() for _ in range(4)]

    async def job() -> None:
        for worker in workers:
            await worker.meets("overloaded")
            await exchanged(*workers)
        await exchanged(*workers)
        assert [worker.health.state for worker in workers] == ["open"] * 4

    fleet.run(job)


def test_a_success_anywhere_ends_the_row(fleet: Fleet) -> None:
    one, other, third = fleet.worker(), fleet.worker(), fleet.worker()

    async def job() -> None:
        await one.meets("overloaded", 3)
        await one.exchange()
        await other.meets("ok")
        await exchanged(other, one, third)
        await third.meets("overloaded", 3)
        assert not third.is_shut

    fleet.run(job)


def test_a_process_that_starts_hears_of_what_is_shut(fleet: Fleet) -> None:
    async def job() -> None:
        one = fleet.worker()
        await one.meets(LONG)
        await one.exchange()
        late = fleet.worker()
        await late.exchange()
        assert late.health.reason == LONG

    fleet.run(job)


def test_processes_with_other_keys_do_not_hear_of_each_other(fleet: Fleet) -> None:
    one, other = fleet.worker(), fleet.worker(keys={"acme/flash": "another"})

    async def job() -> None:
        await one.meets(LONG)
        await exchanged(one, other)
        assert not other.is_shut

    fleet.run(job)


# Probes


def test_one_process_alone_probes(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await half_open(one, other)
        assert await one.enter() is not None
        assert await other.enter() is None
        assert (other.health.state, other.health.reason) == ("half_open", "a probe is under way")

    fleet.run(job)


def test_others_know_of_a_probe_by_the_exchange_and_need_not_ask(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await half_open(one, other)
        await one.enter()
        await exchanged(one, other)
        assert 0 < (other.health.until or 0) <= PROBE_LEASE

    fleet.run(job)


def test_a_probe_that_proved_nothing_leaves_its_place_to_another_process(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await half_open(one, other)
        call = await one.enter()
        assert await other.enter() is None
        one.leave(call, "cancelled", telling=False)
        await exchanged(one, other)
        assert await other.enter() is not None

    fleet.run(job)


def test_two_proofs_may_come_from_two_processes(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await one.meets("timeout", 2)  # may have been billed
        await exchanged(one, other)
        one.time.now += 15
        other.time.now += 15
        await one.meets("ok")
        await exchanged(one, one, other)
        assert one.health.state == "half_open"
        await other.meets("ok")
        await exchanged(other, one)
        assert [worker.health.state for worker in (one, other)] == ["closed", "closed"]

    fleet.run(job)


def test_the_last_lane_is_asked_once_in_ten_seconds_by_the_whole_fleet(fleet: Fleet) -> None:
    one, other = fleet.pair()

    async def job() -> None:
        await half_open(one, other)
        asked = [await worker.monitor.admitted_as_last(worker.entry) for worker in (one, other)]
        assert [call is not None for call in asked] == [True, False]

    fleet.run(job)


# Quotas


def test_a_quota_is_used_by_all_together(fleet: Fleet) -> None:
    one, other = fleet.pair(METERED)

    async def job() -> None:
        assert await one.takes(12) == 12
        await exchanged(one, other)
        assert await other.takes() == 7
        await exchanged(other, one)
        assert await one.takes() == 0

    fleet.run(job)


def test_what_a_process_took_itself_is_counted_once(fleet: Fleet) -> None:
    one, other = fleet.pair(METERED)

    async def job() -> None:
        for _ in range(3):
            assert await one.takes(3) == 3
            await exchanged(one, other, one)
        assert await one.takes() == 10

    fleet.run(job)


def test_the_overshoot_is_what_is_taken_between_two_exchanges(fleet: Fleet) -> None:
    one, other = fleet.pair(METERED)

    async def job() -> None:
        assert (await one.takes(12), await other.takes(12)) == (12, 12)
        await exchanged(one, other, one)
        assert (await one.takes(), await other.takes()) == (0, 0)

    fleet.run(job)


def test_a_daily_quota_is_used_by_all_together_and_a_new_process_knows(fleet: Fleet) -> None:
    lane = at("acme", quota={"rpd": 20})

    async def job() -> None:
        one = fleet.worker(lane)
        assert await one.takes(12) == 12
        await one.exchange()
        late = fleet.worker(lane)
        await late.exchange()
        assert await late.takes() == 7

    fleet.run(job)


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
