"""Rows 38 to 41, 43, 44 and 46: the circuit breaker, as a user of the gateway meets it."""

from __future__ import annotations

import asyncio
import time as wall
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway import GatewayError, NoLaneAvailable
from tests.faults.answers import OVERLOADED, THROTTLED, refusal, refuses
from tests.faults.socket_time import SocketTime
from tests.faults.stage import Stage, both, delivers, fate, moves_on, staged
from tests.gateway.upstreams import Answer, fails, hangs, two
from tests.providers.wire import Script, Wire, parting

FREE = ("overloaded", "no")
DRAWN = ("ok", "yes")


def on_stage(kind: str, *scripts: Script, act: Callable[[Stage], Awaitable[None]], **more: Any) -> None:
    """Play *act* over upstreams that play *scripts*; *more* as in :func:`staged`."""
    time = SocketTime()

    async def main() -> None:
        async with staged(kind, *scripts, time=time, **more) as stage:
            await act(stage)

    time.run(main)


async def never_answers(wire: Wire) -> None:
    """Takes the request in, and that is the last one hears of it."""
    await wire.request()
    await wire.client_left()


class Changing:
    """Plays one script until told to play another one, each time on a connection of its own."""

    def __init__(self, script: Script) -> None:
        self.now = script

    async def __call__(self, wire: Wire) -> None:
        await self.now(wire)


@both
def test_row_38_after_four_fast_503_the_fifth_request_goes_elsewhere_at_once(kind: str) -> None:
    async def act(stage: Stage) -> None:
        for number in range(4):
            assert stage.health["first"].state == "closed", number
            ended = await stage.draw()
            assert (ended.told, ended.asked, ended.spent) == ((FREE, DRAWN), ("first", "second"), "0.10")
        assert stage.health["first"].state == "open"
        ended = await stage.draw()
        assert (ended.told, ended.asked, stage.calls()) == ((DRAWN,), ("second",), 4)
        (left_out,) = stage.gateway.plan("a fox").excluded
        assert (left_out.lane, left_out.reason) == ("first/painter", "circuit_open")
        until = stage.health["first"].until
        assert until is not None
        assert 8 <= until <= 12

    on_stage(kind, refuses(OVERLOADED), act=act)
    assert fate(kind, refuses(OVERLOADED)) == moves_on(*FREE, 4)


@both
def test_row_39_two_overdue_calls_in_flight_open_the_breaker_before_either_returns(kind: str) -> None:
    async def act(stage: Stage) -> None:
        # Where no other lane can take over, a call goes on.
        alone: dict[str, Any] = {"providers": {"only": ["first"]}, "deadline": 200}
        hanging = [asyncio.create_task(stage.draw(**alone)) for _ in range(2)]
        await asyncio.sleep(44)
        assert (stage.health["first"].state, stage.health["first"].in_flight) == ("closed", 2)
        await asyncio.sleep(4)  # overdue is what takes longer than max(45 s, twice the 95th percentile)
        assert (stage.health["first"].state, stage.health["first"].in_flight) == ("open", 2)
        ended = await stage.draw()
        assert (ended.told, ended.asked, ended.spent, stage.calls()) == ((DRAWN,), ("second",), "0.10", 2)
        for each in await asyncio.gather(*hanging):
            assert (each.told, each.spent) == ((("timeout", "maybe"),), "0.05")

    on_stage(kind, never_answers, act=act)


@both
def test_row_40_requests_that_the_gateway_itself_turns_away_do_not_count(kind: str) -> None:
    async def act(stage: Stage) -> None:
        for _ in range(4):
            await stage.draw()
        before = stage.health["first"]
        for _ in range(20):
            assert (await stage.draw(providers={"only": ["first"]})).attempts == ()
        assert stage.health["first"] == before
        assert stage.calls() == 4
        assert before.until is not None
        await asyncio.sleep(before.until + 0.001)
        assert (await stage.draw()).asked[0] == "first"  # the probe is not put off by what was turned away

    on_stage(kind, refuses(OVERLOADED), act=act)


@both
def test_row_40_requests_that_time_or_money_rule_out_do_not_count(kind: str) -> None:
    async def act(stage: Stage) -> None:
        before = stage.health
        for fields in ({"deadline": 1}, {"max_cost": 0.01}):
            for _ in range(6):
                ended = await stage.draw(**fields)
                assert (ended.attempts, ended.spent) == ((), "0.00")
        assert stage.health == before
        assert stage.calls() == 0

    on_stage(kind, delivers(kind), act=act)


async def opened(stage: Stage) -> None:
    """Open the first lane's breaker with free failures, and wait until it may be probed."""
    for _ in range(4):
        await stage.draw()
    until = stage.health["first"].until
    assert until is not None
    await asyncio.sleep(until + 0.001)
    assert stage.health["first"].state == "half_open"


@both
def test_row_41_a_cancelled_probe_frees_the_slot(kind: str) -> None:
    script = Changing(parting(refusal(OVERLOADED)))

    async def act(stage: Stage) -> None:
        await opened(stage)
        script.now = never_answers
        probe = asyncio.create_task(stage.draw())
        await asyncio.sleep(1)
        assert (await stage.draw()).asked == ("second",)  # one probe at a time
        probe.cancel()
        await asyncio.wait([probe])
        assert (stage.health["first"].state, stage.health["first"].in_flight) == ("half_open", 0)
        script.now = delivers(kind)
        ended = await stage.draw()
        assert (ended.told, ended.asked, ended.spent) == ((DRAWN,), ("first",), "0.05")
        assert stage.health["first"].state == "closed"

    on_stage(kind, script, act=act)


@both
def test_row_41_a_probe_that_hangs_gives_its_slot_up_with_its_timeout_and_opens_the_breaker_again(kind: str) -> None:
    script = Changing(parting(refusal(OVERLOADED)))

    async def act(stage: Stage) -> None:
        await opened(stage)
        script.now = never_answers
        probe = await stage.draw()
        assert (probe.told, probe.asked) == ((("timeout", "maybe"), DRAWN), ("first", "second"))
        assert (probe.attempts[0].duration, probe.spent) == (pytest.approx(30), "0.15")
        assert (stage.health["first"].state, stage.health["first"].in_flight) == ("open", 0)
        until = stage.health["first"].until
        assert until is not None
        assert 16 <= until <= 24  # twice the first time
        await asyncio.sleep(until + 0.001)
        script.now = delivers(kind)
        assert (await stage.draw()).asked == ("first",)

    on_stage(kind, script, act=act, timeout=30)


@both
def test_row_43_when_every_lane_rests_no_call_is_made_and_the_error_says_when_to_come_back(kind: str) -> None:
    async def act(stage: Stage) -> None:
        ended = await stage.draw()
        assert ended.told == (("rate_limited", "no"), ("rate_limited", "no"))
        for _ in range(5):
            ended = await stage.draw()
            assert type(ended.error) is NoLaneAvailable
            assert (ended.attempts, ended.spent) == ((), "0.00")
            assert ended.error.retry_after is not None
            assert 20 <= ended.error.retry_after <= 24
        assert (stage.calls("first"), stage.calls("second")) == (1, 1)
        assert {health.state for health in stage.health.values()} == {"open"}

    on_stage(kind, refuses(THROTTLED), refuses(THROTTLED), act=act)


@both
def test_row_43_when_every_breaker_is_open_one_call_in_ten_seconds_is_made(kind: str) -> None:
    async def act(stage: Stage) -> None:
        for _ in range(8):
            await stage.draw()
        calls = stage.calls("first") + stage.calls("second")
        for _ in range(5):
            ended = await stage.draw()
            assert type(ended.error) is NoLaneAvailable
            assert ended.error.retry_after is not None
            assert 0 < ended.error.retry_after <= 10
        assert stage.calls("first") + stage.calls("second") == calls

    on_stage(kind, refuses(OVERLOADED), refuses(OVERLOADED), act=act)


OUTAGES: dict[str, Answer] = {
    "every call hangs": hangs(),
    "every call fails": fails("overloaded", "maybe", seconds=2.0),
    "every answer is cut": fails("bad_response", "maybe", seconds=5.0),
}


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES.keys())
def test_row_44_a_total_outage_of_ten_minutes_costs_at_most_a_dollar_and_a_half_in_retries(answer: Answer) -> None:
    painters = two()
    painters.script("first", *[answer] * 2000)
    painters.script("second", *[answer] * 2000)
    ended: list[GatewayError] = []

    async def ask() -> None:
        with pytest.raises(GatewayError) as caught:
            await painters.gateway.generate("a fox")
        ended.append(caught.value)

    async def main() -> None:
        async with asyncio.TaskGroup() as requests:
            for _ in range(600):
                requests.create_task(ask())
                await asyncio.sleep(1)

    painters.time.run(main)
    assert len(ended) == 600
    retries = [attempt for error in ended for attempt in error.attempts[1:]]
    assert sum((attempt.cost.usd for attempt in retries if attempt.cost), Decimal(0)) <= Decimal("1.50")
    assert len(painters.calls) <= 40  # of 600 requests, first attempts included
    assert all(error.retry_after is not None for error in ended if not error.attempts)


@both
@pytest.mark.parametrize("days", [-1, 1])
def test_row_46_a_wall_clock_that_jumps_a_day_moves_no_cooldown(
    kind: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = SocketTime()

    async def main() -> None:
        async with staged(kind, refuses(THROTTLED), time=time) as stage:
            await stage.draw()
            before = stage.health["first"]
            jumped = wall.time() + days * 86_400
            monkeypatch.setattr(wall, "time", lambda: jumped)
            time.start += timedelta(days=days)
            assert stage.health["first"] == before
            assert (await stage.draw()).asked == ("second",)
            assert before.until is not None
            await asyncio.sleep(before.until - 0.5)
            assert (await stage.draw()).asked == ("second",)
            await asyncio.sleep(1)
            assert (await stage.draw()).asked == ("first", "second")

    time.run(main)
