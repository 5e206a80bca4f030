"""A request that is cancelled: the attempt is written down with what it may cost, and nothing is left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.upstreams import Answer, Studio, draws, hangs, relay, studio


def cancelled_after(painters: Studio, seconds: float, times: int = 1, **fields: Any) -> None:
    """Begin a request and cancel it after so many seconds, *times* times."""

    async def job() -> None:
        task = asyncio.ensure_future(painters.gateway.generate("a fox", **fields))
        await asyncio.sleep(seconds)
        for _ in range(times):
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    painters.time.run(job)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("image_attempt")]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "image_gateway")
    return lambda: logged(caplog)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("answer", "billed"), [(hangs(sent=False), "no"), (hangs(sent=True), "maybe")])
def test_the_attempt_is_logged_with_what_it_may_cost(
    log: Callable[[], list[str]], answer: Answer, billed: str, times: int
) -> None:
    painters = studio(first=relay())
    painters.script("first", answer)
    cancelled_after(painters, 2.0, times)
    (line,) = log()
    assert "'outcome': 'cancelled'" in line
    assert f"'billed': '{billed}'" in line
    assert painters.gateway.health()[0].in_flight == 0


def test_every_call_under_way_is_logged(log: Callable[[], list[str]]) -> None:
    painters = studio(first=relay(max_concurrency=2))
    painters.script("first", *[hangs()] * 3)
    cancelled_after(painters, 2.0, n=3)
    assert ["'maybe'" in line for line in log()] == [True, True]  # the third still waited for room


def test_a_request_that_is_cancelled_while_it_waits_for_room_makes_no_call(log: Callable[[], list[str]]) -> None:
    painters = studio(first=relay(max_concurrency=1))

    async def job() -> None:
        first, second = (asyncio.ensure_future(painters.gateway.generate("a fox")) for _ in range(2))
        await asyncio.sleep(2.0)
        second.cancel()
        await asyncio.wait([first, second])

    painters.time.run(job)
    (line,) = log()
    assert "'outcome': 'ok'" in line
    assert len(painters.calls) == 1


def test_a_request_that_has_ended_is_not_changed_by_a_late_cancel(log: Callable[[], list[str]]) -> None:
    painters = studio(first=relay())

    async def job() -> bool:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.wait([task])
        return task.cancel()

    assert painters.time.run(job) is False
    assert "'outcome': 'ok'" in log()[0]


def test_a_cancelled_request_says_nothing_about_the_lane() -> None:
    painters = studio(first=relay())
    painters.script("first", hangs())
    cancelled_after(painters, 2.0)
    health = painters.gateway.health()[0]
    assert (health.state, health.success_rate) == ("closed", 0.9)


def test_the_room_of_a_cancelled_call_is_free_again() -> None:
    painters = studio(first=relay(max_concurrency=1))
    painters.script("first", hangs(), draws())

    async def job() -> float:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(2.0)
        task.cancel()
        return (await painters.gateway.generate("a fox")).elapsed

    assert painters.time.run(job) == 5.0


def test_no_other_lane_is_asked_after_a_cancel() -> None:
    painters = studio(first=relay(), second=relay())
    painters.script("first", hangs())
    cancelled_after(painters, 2.0)
    assert len(painters.calls) == 1
