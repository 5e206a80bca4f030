"""An outage must not become a bill: what retries may cost, and how many calls a dead lane still gets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

import pytest

from gateway import AllAttemptsFailed, GatewayError
from gateway.health.monitor import Monitor
from gateway.result import Attempt
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from tests.gateway.endings import failure
from tests.gateway.upstreams import Answer, Studio, draws, fails, hangs, lane, relay, studio, two

WARM_UP, OUTAGE, AFTERMATH = 600.0, 600.0, 300.0
"""Seconds of health, of outage, and of health again, at one request a second."""


def left(painters: Studio) -> Decimal:
    """USD left for retries, as the next one that costs it all would find."""
    monitor: Monitor = painters.gateway._dispatcher.monitor
    return monitor._retries.left


# One request


@pytest.mark.parametrize(
    ("failed", "drawn"),
    [
        (fails("overloaded", "no"), "0"),
        (fails("rate_limited", retry_after=60.0), "0"),
        (fails("timeout", "maybe"), "0.06"),
        (fails("no_image", "yes"), "0.06"),
    ],
)
def test_another_lane_draws_its_full_price_after_what_may_be_billed_and_nothing_after_what_was_free(
    failed: Answer, drawn: str
) -> None:
    painters = two()
    painters.script("first", failed)
    painters.draw()
    assert left(painters) == Decimal("1.00") - Decimal(drawn)


def test_another_try_on_the_same_lane_draws_a_tenth_of_its_price() -> None:
    painters = studio(first=relay())
    painters.script("first", fails("rate_limited", retry_after=3.0))
    painters.draw()
    assert left(painters) == Decimal("0.995")


def test_the_next_key_of_a_lane_draws_nothing() -> None:
    painters = studio(first=relay(keys=("key-1", "key-2")))
    painters.script("first", fails("auth"))
    painters.draw()
    assert left(painters) == 1


def test_a_tenth_of_what_comes_at_the_first_attempt_flows_back() -> None:
    painters = two()
    painters.script("first", fails("timeout", "maybe", seconds=0.0))
    painters.script("second", draws(seconds=0.0))
    painters.draw()  # came at the second attempt: earns nothing
    assert left(painters) == Decimal("0.94")
    painters.script("first", draws(seconds=0.0))
    painters.draw()
    assert left(painters) == Decimal("0.945")


def test_with_the_budget_used_up_the_last_error_comes_at_once() -> None:
    painters = two({"retry_budget": 0.05})
    painters.script("first", fails("timeout", "maybe"))
    error = failure(painters, AllAttemptsFailed)
    assert painters.asked == [("first", "1K")]
    assert painters.time.now == 1001.0
    assert "the budget for retries is used up ([fallback] retry_budget)" in str(error)


def test_a_budget_of_nothing_still_lets_free_failures_go_elsewhere() -> None:
    painters = two({"retry_budget": 0})
    painters.script("first", fails("overloaded", "no"))
    assert painters.draw().lane == "second/painter"


def test_what_was_drawn_for_a_call_that_found_no_room_is_given_back() -> None:
    async def job() -> None:
        busy = asyncio.ensure_future(painters.gateway.generate("a", providers={"only": ["second"]}))
        await asyncio.sleep(0.5)
        with pytest.raises(GatewayError):
            await painters.gateway.generate("b", deadline=30)
        assert left(painters) == 1
        busy.cancel()
        await asyncio.wait([busy])

    painters = studio(first=relay(), second=relay(lane(price=0.06), max_concurrency=1))
    painters.script("first", fails("timeout", "maybe"))
    painters.script("second", draws(seconds=80.0))
    painters.time.run(job)


def test_what_was_drawn_for_a_request_cancelled_while_it_waited_is_given_back() -> None:
    async def job() -> None:
        busy = asyncio.ensure_future(painters.gateway.generate("a", providers={"only": ["second"]}))
        await asyncio.sleep(0.5)
        waiting = asyncio.ensure_future(painters.gateway.generate("b"))
        await asyncio.sleep(5.0)
        assert left(painters) == Decimal("0.94")
        for task in (waiting, busy):
            task.cancel()
        await asyncio.wait([waiting, busy])
        assert left(painters) == 1

    painters = studio(first=relay(), second=relay(lane(price=0.06), max_concurrency=1))
    painters.script("first", fails("timeout", "maybe"))
    painters.script("second", draws(seconds=80.0))
    painters.time.run(job)


# An outage


@dataclass(frozen=True)
class Report:
    """*dead* calls went into the lane that was down, *extra* USD were or may have been spent on failures.

    *served* requests of those begun in the meantime got an image; *back*: the lane was used again afterwards.
    """

    dead: int
    extra: Decimal
    served: int
    back: bool


def outage(answer: Answer, warm_up: float) -> Report:
    """Sixty requests a minute; the far cheaper of two lanes is down for ten minutes, and gives *answer* meanwhile."""
    painters = studio(first=relay(lane(price=0.05)), second=relay(lane(price=0.12)))
    start = painters.time.now + warm_up
    end = start + OUTAGE
    failures: list[Attempt] = []
    served: list[float] = []

    async def first(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        down = start <= painters.time.now < end
        return await (answer if down else draws(seconds=8.0))(request, exchange)

    async def ask() -> None:
        at = painters.time.now
        try:
            attempts = (await painters.gateway.generate("a fox")).attempts
            served.append(at)
        except GatewayError as error:
            attempts = error.attempts
        failures.extend(attempt for attempt in attempts if attempt.outcome != "ok")

    async def traffic() -> None:
        async with asyncio.TaskGroup() as requests:
            while painters.time.now < end + AFTERMATH:
                requests.create_task(ask())
                await asyncio.sleep(1.0)

    painters.script("first", *[first] * 3000)
    painters.script("second", *[draws(seconds=8.0)] * 3000)
    painters.time.run(traffic)
    calls = [call.at for call in painters.calls if call.provider == "first"]
    return Report(
        dead=sum(start <= at < end for at in calls),
        extra=sum((attempt.cost.usd for attempt in failures if attempt.cost), Decimal(0)),
        served=sum(start <= at < end for at in served),
        back=any(at >= end for at in calls),
    )


OUTAGES = {
    "hanging": hangs(),
    "fast 503s": fails("overloaded", "no", seconds=0.3),
    "slow 500s": fails("overloaded", "maybe", seconds=20.0),
}


@pytest.mark.parametrize("warm_up", [0.0, WARM_UP])
@pytest.mark.parametrize("kind", list(OUTAGES))
def test_ten_minutes_of_outage_send_few_calls_into_the_dead_lane_and_cost_little(kind: str, warm_up: float) -> None:
    report = outage(OUTAGES[kind], warm_up)
    print(f"{kind}, after {warm_up:.0f} s of health: {report}")  # noqa: T201
    assert report.dead <= 25
    assert report.extra <= Decimal("1.50")
    assert report.served >= 0.98 * OUTAGE
    assert report.back


def test_a_retry_to_a_lane_that_has_just_delivered_draws_a_tenth() -> None:
    """It buys an image for certain; the whole price is for tries that may be in vain."""
    painters = two({"retry_budget": 0.06})
    for name in ("first", "second"):
        painters.draw(providers={"only": name})
    for _ in range(2):
        painters.script("first", fails("timeout", "maybe"))
        assert painters.draw(providers={"order": "first"}).lane == "second/painter"


def test_a_retry_to_a_lane_that_nothing_is_known_of_draws_its_price() -> None:
    painters = two({"retry_budget": 0.05})
    painters.script("first", fails("timeout", "maybe"))
    failure(painters, AllAttemptsFailed)
