"""What can go wrong with a Redis server: it is down, silent, read-only, restarted, or does not take our password."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.money.budgets import Budget
from gateway.money.ledger import Booking
from gateway.state import State, open_state
from gateway.state.claims import Claim, Held, New
from gateway.state.redis_address import TIMEOUT
from gateway.state.stores import StateUnavailable
from providers.errors import ConfigError
from tests.state.books import a_day, books, entry, paid, run, spent
from tests.state.redis_server import RedisServer

Fault = Callable[[RedisServer], None]


def dies(server: RedisServer) -> None:
    server.kill()


def falls_silent(server: RedisServer) -> None:
    server.pause()


def becomes_read_only(server: RedisServer) -> None:
    server.tell("REPLICAOF", "127.0.0.1", "1")


def recovers(server: RedisServer, from_: Fault) -> None:
    {dies: server.start, falls_silent: server.resume, becomes_read_only: lambda: server.tell("REPLICAOF", "NO", "ONE")}[
        from_
    ]()


every_fault = pytest.mark.parametrize(
    "fault", [dies, falls_silent, becomes_read_only], ids=lambda fault: fault.__name__
)


@pytest.fixture
def state(redis_server: RedisServer) -> State:
    # Longer than the default: a loaded machine is not the fault that is tested.
    return open_state(f"{redis_server.url}?timeout=0.5")


async def answers_again(state: State) -> None:
    """Look until the server has come back; each look takes its own time, or is refused at once."""
    for _ in range(1000):
        try:
            return await state.engine.check()
        except StateUnavailable:
            await asyncio.sleep(0)
    raise AssertionError("the server does not come back")


def test_a_command_takes_a_tenth_of_a_second_at_most_by_default(redis_server: RedisServer) -> None:
    assert TIMEOUT == 0.1
    state: Any = open_state(redis_server.url)
    assert state.engine._link.timeout == 0.1


@every_fault
def test_with_a_hard_budget_nothing_is_sent_and_nothing_stays_reserved(
    state: State, redis_server: RedisServer, fault: Fault
) -> None:
    async def main() -> None:
        ledger = books(state, a_day("10"))
        booking = await ledger.reserve(entry("0.20"))
        fault(redis_server)
        for _ in range(2):  # the first one asks, the second one knows
            with pytest.raises(StateUnavailable, match=r"a hard budget applies, so nothing was sent") as refused:
                await ledger.reserve(entry("0.40"))
            assert refused.value.retry_after == 1
        paid(ledger, booking, "0.15")
        assert state.engine.degraded
        recovers(redis_server, fault)
        await answers_again(state)
        assert state.engine.degraded == ""
        assert await state.engine.flush() == 0
        assert await spent(ledger) == ["0.15"]
        assert sum(each.usd for each in await ledger.entries()) * 100 == 15
        assert {each.state for each in await ledger.entries()} == {"settled"}
        await ledger.reserve(entry("0.40"))
        assert await spent(ledger) == ["0.55"]

    run(state, main)


@every_fault
def test_without_a_hard_budget_the_books_are_kept_in_memory_and_handed_in_later(
    state: State, redis_server: RedisServer, fault: Fault
) -> None:
    async def main() -> None:
        ledger = books(state, a_day("0.25", mode="soft"))
        await ledger.reserve(entry("0.10"))
        fault(redis_server)
        bookings = [await ledger.reserve(entry("0.20")) for _ in range(3)]
        assert all("kept in memory" in booking.warnings[0] for booking in bookings)
        for booking in bookings[:2]:
            paid(ledger, booking, "0.15")
        recovers(redis_server, fault)
        await answers_again(state)
        assert sorted((each.state, f"{each.usd:.2f}") for each in await ledger.entries()) == [
            ("reserved", "0.10"), ("reserved", "0.20"), ("settled", "0.15"), ("settled", "0.15"),
        ]  # fmt: skip
        assert await spent(ledger) == ["0.60"]

    run(state, main)


@every_fault
def test_no_key_is_claimed_that_nobody_else_can_see(state: State, redis_server: RedisServer, fault: Fault) -> None:
    claim = Claim(key="k", fingerprint="f", owner="first", lease=60)

    async def main() -> None:
        assert await state.claims.claim(claim) == New()
        fault(redis_server)
        for owner in ("second", "third"):
            with pytest.raises(StateUnavailable):
                await state.claims.claim(Claim(key="z", fingerprint="f", owner=owner, lease=60))
        with pytest.raises(StateUnavailable):
            await state.claims.spending("k", "first")
        recovers(redis_server, fault)
        await answers_again(state)
        assert await state.claims.claim(Claim(key="z", fingerprint="f", owner="fourth", lease=60)) == New()
        assert await state.claims.claim(Claim(key="k", fingerprint="f", owner="fifth", lease=60)) == Held("first")

    run(state, main)


def test_a_restart_forgets_the_scripts_and_nothing_else(state: State, redis_server: RedisServer) -> None:
    async def main() -> None:
        ledger = books(state, a_day("10"))
        booking = await ledger.reserve(entry("0.20"))
        redis_server.kill()
        redis_server.start()
        await answers_again(state)
        paid(ledger, booking, "0.15")
        await ledger.reserve(entry("0.30"))
        await state.engine.flush()
        assert await spent(ledger) == ["0.45"]

    run(state, main)


def test_a_reservation_that_was_given_up_does_not_come_to_life_when_the_server_wakes(
    state: State, redis_server: RedisServer
) -> None:
    """A silent server has the command in its buffer, and runs it when it wakes."""

    async def main() -> None:
        ledger = books(state, a_day("1"))
        await ledger.reserve(entry("0.10"))
        redis_server.pause()
        gone = await asyncio.gather(*(ledger.reserve(entry("0.20")) for _ in range(8)), return_exceptions=True)
        assert {type(each) for each in gone} == {StateUnavailable}
        redis_server.resume()
        await answers_again(state)
        assert await spent(ledger) == ["0.10"]
        assert sum(each.usd for each in await ledger.entries()) * 10 == 1

    run(state, main)


def test_a_reservation_that_arrives_after_it_was_taken_back_counts_for_nothing(state: State) -> None:
    async def main() -> None:
        ledger, late = books(state, a_day("1")), entry("0.20")
        await ledger.reserve(entry("0.10"))
        ledger.settle(Booking(late, ()), "cancelled", "no", None)
        await state.engine.flush()
        await ledger.reserve(late)
        assert await spent(ledger) == ["0.10"]
        assert len(await ledger.entries()) == 1

    run(state, main)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "redis://:wrong-password@127.0.0.1:{port}/0"])
def test_a_wrong_or_missing_password_is_told_without_showing_it(tmp_path: Path, url: str) -> None:
    server = RedisServer(tmp_path, "--requirepass", "the-real-password")
    state = open_state(url.format(port=server.port) + "?timeout=0.5")

    async def main() -> None:
        for ledger in (books(state, a_day("10")), books(state)):
            with pytest.raises(ConfigError, match="password") as refused:
                await ledger.reserve(entry())
            assert str(refused.value).startswith(f"state: redis://127.0.0.1:{server.port}/0 ")
            assert "wrong-password" not in str(refused.value)
        with pytest.raises(ConfigError):
            await state.engine.check()

    try:
        run(state, main)
    finally:
        server.kill()


def test_every_key_but_the_ledgers_ends_by_itself_and_all_are_in_one_slot(
    state: State, redis_server: RedisServer
) -> None:
    async def main() -> None:
        ledger = books(state, a_day("10"), Budget(usd=a_day("10").usd, per="month", provider="google"))
        paid(ledger, await ledger.reserve(entry("0.20")), "0.15")
        await ledger.reserve(entry("0.20"))
        await state.claims.claim(Claim(key="k", fingerprint="f", owner="first", lease=60))
        await state.engine.flush()
        keys: Any = redis_server.tell("KEYS", "*")
        lasting = {str(key).partition(":")[2].partition(":")[0] for key in keys if redis_server.tell("TTL", key) == -1}
        assert lasting == {"entry", "entries", "open"}
        assert {str(key).partition(":")[2].partition(":")[0] for key in keys} - lasting == {"spent", "workers", "claim"}
        assert {str(key).partition(":")[0] for key in keys} == {"{image-gateway}"}  # what a cluster hashes

    run(state, main)


def test_a_server_in_cluster_mode_runs_every_script(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--cluster-enabled", "yes")
    server.tell("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    state = open_state(f"{server.url}?timeout=5")

    async def main() -> None:
        ledger = books(state, a_day("10"), a_day("5", provider="google"))
        paid(ledger, await ledger.reserve(entry("0.20")), "0.15")
        await ledger.reserve(entry("0.20"))
        assert await state.claims.claim(Claim(key="k", fingerprint="f", owner="first", lease=60)) == New()
        assert await state.engine.flush() == 0
        assert await spent(ledger) == ["0.35", "0.35"]
        assert len(await ledger.entries()) == 2

    try:
        while "cluster_state:ok" not in str(server.tell("CLUSTER", "INFO")):
            pass
        run(state, main)
    finally:
        server.kill()


def test_an_entry_is_unknown_once_its_workers_lease_is_over_and_not_before(
    state: State, redis_server: RedisServer
) -> None:
    other = open_state(f"{redis_server.url}?timeout=5")

    async def main() -> None:
        ledger = books(state, a_day("10"))
        booking = await ledger.reserve(entry("0.20"))
        assert [each.state for each in await books(other).entries()] == ["reserved"]
        engine: Any = state.engine
        redis_server.tell("ZADD", engine.key("workers"), "1", engine.worker)
        assert [each.state for each in await books(other).entries()] == ["unknown"]
        paid(ledger, booking, "0.15")  # it was slow, not dead
        await state.engine.flush()
        assert [each.state for each in await books(other).entries()] == ["settled"]
        assert await spent(ledger) == ["0.15"]
        await other.engine.aclose()

    run(state, main)


def test_what_is_still_to_be_written_at_the_end_is_told(
    state: State, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        ledger = books(state)
        booking: Booking = await ledger.reserve(entry("0.20"))
        redis_server.kill()
        paid(ledger, booking, "0.15")
        await state.engine.aclose()
        assert "1 facts could not be written; open calls count as unknown" in caplog.text

    run(state, main)
