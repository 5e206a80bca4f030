"""``AsyncGateway``: several event loops, what is under way, and the swap of a configuration."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from gateway import AsyncGateway, ConfigError, GatewayError, LaneHealth
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from tests.gateway.upstreams import Studio, draws, fails, hangs, lane, relay, studio, tables, two

THIRD = tables(third=relay())


def closed(painters: Studio) -> dict[str, int]:
    """How often the adapters of each provider were closed, the newest last."""
    return {f"{adapter.settings.name} {number}": adapter.closed for number, adapter in enumerate(painters.adapters)}


def health(painters: Studio, name: str = "first/painter") -> LaneHealth:
    return next(each for each in painters.gateway.health() if each.lane == name)


def test_it_is_an_async_context_manager_that_closes() -> None:
    painters = two()

    async def job() -> str:
        async with painters.gateway as gateway:
            return (await gateway.generate("a fox")).lane

    assert painters.time.run(job) == "first/painter"
    assert closed(painters) == {"first 0": 1, "second 1": 1}


def test_a_call_after_closing_works() -> None:
    painters = two()

    async def job() -> str:
        await painters.gateway.aclose()
        return (await painters.gateway.generate("a fox")).lane

    assert painters.time.run(job) == "first/painter"


def test_one_instance_serves_two_loops_in_two_threads_at_once() -> None:
    painters = studio(first=relay(max_concurrency=2))
    together = threading.Barrier(2)
    seen: list[int] = []

    async def meets_the_other(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        await anyio.to_thread.run_sync(together.wait, 30)
        seen.append(health(painters).in_flight)
        await anyio.to_thread.run_sync(together.wait, 30)
        return await draws(seconds=0.0)(request, exchange)

    async def job() -> str:
        async with painters.gateway as gateway:
            return (await gateway.generate("a fox")).lane

    painters.script("first", *[meets_the_other] * 2)
    with ThreadPoolExecutor(2) as threads:
        lanes = list(threads.map(lambda _: asyncio.run(job()), range(2)))
    assert lanes == ["first/painter"] * 2
    assert seen == [2, 2]
    assert closed(painters) == {"first 0": 2}
    assert health(painters).in_flight == 0


def test_closing_waits_for_what_is_being_paid_for() -> None:
    painters = studio(first=relay())
    seen: list[int] = []

    async def job() -> str:
        request = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(1)
        seen.append(painters.adapters[0].closed)
        await painters.gateway.aclose()
        seen.append(painters.adapters[0].closed)
        assert request.done()
        return (await request).lane

    assert painters.time.run(job) == "first/painter"
    assert painters.time.now == 1005.0
    assert seen == [0, 1]


def test_closing_that_is_cancelled_lets_the_requests_go_on() -> None:
    painters = studio(first=relay())

    async def job() -> str:
        request = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(1)
        with anyio.move_on_after(1):
            await painters.gateway.aclose()
        return (await request).lane

    assert painters.time.run(job) == "first/painter"


def test_many_requests_share_one_loop() -> None:
    painters = two()

    async def job() -> set[str]:
        results = await asyncio.gather(*(painters.gateway.generate("a fox") for _ in range(50)))
        return {result.request_id for result in results}

    assert len(painters.time.run(job)) == 50
    assert painters.time.now == 1015.0  # 8 at first, then 16, and the rest


# What is under way


def test_health_tells_how_many_calls_are_under_way_and_how_many_may_be() -> None:
    painters = studio(first=relay(lane("painter"), lane("sculptor", price=0.06), max_concurrency=3), second=relay())
    seen: list[tuple[int, int | None]] = []

    async def ask(model: str) -> None:
        await painters.gateway.generate("a fox", model=model, providers={"only": "first"})

    async def job() -> None:
        async with anyio.create_task_group() as group:
            for model in ("painter", "painter", "sculptor", "sculptor"):
                group.start_soon(ask, model)
            await asyncio.sleep(1)
            for name in ("first/painter", "first/sculptor", "second/painter"):
                seen.append((health(painters, name).in_flight, health(painters, name).limit))

    painters.time.run(job)
    assert seen == [(2, 3), (1, 3), (0, 8)]
    assert [each.in_flight for each in painters.gateway.health()] == [0, 0, 0]


def test_a_disabled_provider_is_shown_as_such() -> None:
    painters = studio(first=relay(enabled=False, max_concurrency=3), second=relay())
    shown = health(painters)
    assert (shown.state, shown.in_flight, shown.limit) == ("disabled", 0, 3)


def test_health_learns_from_what_happens() -> None:
    painters = two()
    painters.script("first", *[draws(seconds=4.0)] * 3)
    for _ in range(3):
        painters.draw(size="4K")
    assert health(painters).p50 == 4.0
    assert health(painters).success_rate > 0.9


# Reloading


def test_a_request_in_flight_finishes_on_the_old_configuration() -> None:
    painters = two()
    painters.script("first", fails("overloaded", seconds=2.0))

    async def job() -> tuple[str, str]:
        old = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(1)
        painters.gateway.reload(THIRD)
        new = await painters.gateway.generate("a fox")
        return (await old).lane, new.lane

    assert painters.time.run(job) == ("second/painter", "third/painter")


def test_the_old_adapters_are_closed_when_their_last_request_ends_and_not_before() -> None:
    painters = studio(first=relay())
    painters.script("first", draws(seconds=2.0), draws(seconds=9.0))
    seen: list[int] = []

    async def job() -> None:
        tasks = [asyncio.ensure_future(painters.gateway.generate("a fox")) for _ in range(2)]
        await asyncio.sleep(1)
        painters.gateway.reload(THIRD)
        await painters.gateway.generate("a fox")
        for seconds in (0, 2, 2):  # at 6, 8 and 10 s; the second request ends at 9 s
            await asyncio.sleep(seconds)
            seen.append(painters.adapters[0].closed)
        await asyncio.gather(*tasks)

    painters.time.run(job)
    assert seen == [0, 0, 1]
    assert closed(painters) == {"first 0": 1, "third 1": 0}


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_the_old_adapters_are_closed_however_their_last_request_ends(how: str) -> None:
    painters = studio(first=relay())
    painters.script("first", fails("blocked", seconds=2.0) if how == "fails" else hangs())

    async def job() -> None:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(1)
        painters.gateway.reload(THIRD)
        if how == "is cancelled":
            task.cancel()
        await asyncio.wait([task])
        task.exception() if not task.cancelled() else None

    painters.time.run(job)
    assert closed(painters) == {"first 0": 1, "third 1": 0}


def test_the_old_adapters_are_closed_when_the_scope_of_their_last_request_is_cancelled() -> None:
    painters = studio(first=relay())
    painters.script("first", hangs())

    async def job() -> bool:
        asyncio.get_running_loop().call_later(1, painters.gateway.reload, THIRD)
        with anyio.move_on_after(2) as scope:
            await painters.gateway.generate("a fox")
        return scope.cancelled_caught

    assert painters.time.run(job) is True
    assert closed(painters) == {"first 0": 1, "third 1": 0}


def test_idle_old_adapters_are_closed_with_the_next_request_or_with_the_gateway() -> None:
    for finish in ("generate", "aclose"):
        painters = studio(first=relay())

        async def job(painters: Studio = painters, finish: str = finish) -> list[int]:
            await painters.gateway.generate("a fox")
            painters.gateway.reload(THIRD)
            await (painters.gateway.generate("a fox") if finish == "generate" else painters.gateway.aclose())
            return [adapter.closed for adapter in painters.adapters]

        assert painters.time.run(job) == [1, 0 if finish == "generate" else 1]


def test_old_adapters_are_closed_once_however_many_requests_follow() -> None:
    painters = studio(first=relay())

    async def job() -> None:
        await painters.gateway.generate("a fox")
        painters.gateway.reload(THIRD)
        for _ in range(3):
            await painters.gateway.generate("a fox")

    painters.time.run(job)
    assert closed(painters) == {"first 0": 1, "third 1": 0}


def test_old_adapters_are_closed_once_on_each_loop_that_used_them() -> None:
    painters = studio(first=relay())
    reloaded = threading.Event()

    async def one_loop() -> None:
        await painters.gateway.generate("a fox")
        used.wait(30)
        await asyncio.to_thread(reloaded.wait, 30)
        await painters.gateway.generate("a fox")

    used = threading.Barrier(3)
    painters.scripts = {name: [draws(seconds=0.0)] * 4 for name in ("first", "third")}
    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(lambda: asyncio.run(one_loop())) for _ in range(2)]
        used.wait(30)
        painters.gateway.reload(THIRD)
        reloaded.set()
        for each in jobs:
            each.result(30)
    assert closed(painters) == {"first 0": 2, "third 1": 0}


def test_an_adapter_that_cannot_be_closed_does_not_cost_a_result() -> None:
    painters = studio(first=relay())

    async def aclose() -> None:
        raise RuntimeError("a bug")

    painters.adapters[0].aclose = aclose  # type: ignore[method-assign]

    async def job() -> str:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(1)
        painters.gateway.reload(THIRD)
        return (await task).lane

    assert painters.time.run(job) == "first/painter"


@pytest.mark.parametrize(
    "source",
    [{"providers": {}}, {"gatway": {}, "providers": {"first": relay()}}, {"providers": {"first": {"kind": "openai"}}}],
)
def test_a_bad_configuration_changes_nothing(source: dict[str, Any]) -> None:
    painters = two()
    before = painters.gateway.config
    with pytest.raises(ConfigError):
        painters.gateway.reload(source)
    assert painters.gateway.config is before
    assert painters.draw().lane == "first/painter"
    assert closed(painters) == {"first 0": 0, "second 1": 0}


def test_a_bad_file_is_named_and_changes_nothing(tmp_path: Path) -> None:
    painters = two()
    file = tmp_path / "gateway.toml"
    file.write_text("[providers.first]\nkind = ", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"gateway\.toml, end of document: expected valid TOML"):
        painters.gateway.reload(file)
    assert painters.draw().lane == "first/painter"


def test_an_adapter_that_cannot_be_made_changes_nothing() -> None:
    painters = two()

    def refuses(settings: object) -> Any:
        raise ConfigError("providers.third.kind: not installed")

    gateway = AsyncGateway(painters.config, clock=painters.time.clock, load=painters.load)
    gateway._load = refuses
    with pytest.raises(ConfigError, match="not installed"):
        gateway.reload(THIRD)
    assert [each.lane for each in gateway.health()] == ["first/painter", "second/painter"]


def test_calls_of_the_old_configuration_still_count_as_under_way() -> None:
    painters = studio(first=relay())

    async def job() -> tuple[int, int]:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(1)
        painters.gateway.reload(tables(first=relay(keys=("another",))))
        during = health(painters).in_flight
        await task
        return during, health(painters).in_flight

    assert painters.time.run(job) == (1, 0)


def test_a_new_key_opens_a_lane_that_the_old_one_shut() -> None:
    painters = two()
    painters.script("first", fails("auth"))
    painters.draw()
    assert health(painters).state == "latched"
    second = relay(lane(price=0.06))
    painters.gateway.reload(tables(first=relay(), second=second))
    assert health(painters).state == "latched"
    painters.gateway.reload(tables(first=relay(keys=("another",)), second=second))
    assert health(painters).state == "closed"
    assert health(painters, "second/painter").success_rate > 0.9


def test_a_reload_keeps_the_books() -> None:
    painters = two()
    painters.draw()
    painters.gateway.reload(tables(first=relay(lane(price=0.07))))
    painters.draw()
    entries = painters.time.run(painters.gateway.ledger.entries)
    assert [(entry.lane, str(entry.usd)) for entry in entries] == [("first/painter", "0.05"), ("first/painter", "0.07")]


# The end of a service


def test_after_draining_the_call_under_way_delivers_and_no_other_begins() -> None:
    painters = two()
    painters.script("first", fails("timeout", "maybe", seconds=5.0))

    async def job() -> tuple[str, str]:
        falling = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(2)
        drawing = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(1)
        painters.gateway.drain()
        with pytest.raises(GatewayError) as caught:
            await falling
        return (await drawing).lane, caught.value.attempts[0].outcome

    assert painters.time.run(job) == ("first/painter", "timeout")
    assert len(painters.calls) == 2


def test_a_drained_gateway_takes_no_request() -> None:
    painters = two()
    painters.gateway.drain()
    with pytest.raises(GatewayError):
        painters.draw()
    assert painters.calls == []
