"""The health that processes share: through a real Redis server, and through the board that stands for one in simulations."""

from __future__ import annotations

import pytest

from gateway.health.fleet import PROBE_LEASE
from tests.gateway.lanes import at
from tests.state.fleet import LONG, METERED, Fleet, exchanged, half_open


@pytest.fixture(params=["redis", "board"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """Workers over a healthy server, and over what stands for it."""
    return Fleet(request.getfixturevalue("shared_redis") if request.param == "redis" else None)


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
