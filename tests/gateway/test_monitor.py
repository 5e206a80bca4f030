"""The door through which every call passes: who is let in, who waits, and who is turned away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import NoLaneAvailable
from gateway.clock import Clock
from gateway.health.health import Standing, concurrency, has_room, shut
from gateway.health.monitor import Entry, Monitor
from gateway.router.lanes import Lane
from providers.outcome import Billed, Outcome, OutcomeName
from tests.gateway.lanes import FLASH, at
from tests.gateway.upstreams import fails, relay, studio
from tests.gateway.virtual_time import VirtualTime
from tests.loop_turns import Turns

FREE = ("rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "overloaded", "transport")
LONG = 1000.0
"""Seconds that nobody in these tests waits in vain."""


class Door:
    """A monitor over some lanes in virtual time, and the calls it has let in."""

    def __init__(self, *lanes: Lane, at_once: int | None = None, clock: Clock | None = None) -> None:
        self.time = VirtualTime()
        self.changes: list[tuple[str, str, str]] = []
        self.monitor = Monitor(clock or self.time.clock, lambda: 0.0, self._changed)
        self.lanes = lanes
        self.open_to(at_once)

    def _changed(self, lane: Lane, before: Standing, after: Standing) -> None:
        self.changes.append((lane.provider, before.state, after.state))

    def open_to(self, at_once: int | None) -> None:
        """Every provider takes so many calls at a time from now on."""
        lanes = {lane.name: lane for lane in self.lanes}
        self.monitor.watch(lanes, {lane.provider: at_once for lane in self.lanes}, Decimal(1))

    def entry(self, lane: Lane | None = None, **facts: Any) -> Entry:
        return Entry(**{"lane": lane or self.lanes[0], "size": "1K", "lease": 80.0, **facts})

    async def enter(self, lane: Lane | None = None, seconds: float = LONG) -> int | None:
        return await self.monitor.admitted(self.entry(lane), seconds)

    def enter_as_last(self) -> int | None:
        return asyncio.run(self.monitor.admitted_as_last(self.entry()))

    async def entered(self, lane: Lane | None = None) -> int:
        """The number of a call that gets in at once."""
        call = await self.enter(lane, 0.0)
        assert call is not None
        return call

    def leave(
        self, call: int | None, lane: Lane | None = None, outcome: OutcomeName = "ok", duration: float = 5.0
    ) -> None:
        assert call is not None
        billed: Billed = "no" if outcome in FREE else "yes" if outcome == "ok" else "maybe"
        answer = Outcome(name=outcome, billed=billed)
        self.monitor.ended(call, self.entry(lane), outcome, answer, duration, telling=True)

    def in_flight(self) -> list[int]:
        return [each.in_flight for each in self.monitor.health()]

    def run(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.time.run(job)


async def settle() -> None:
    """Let everybody who can go on do so."""
    for _ in range(6):
        await asyncio.sleep(0)


def queue(door: Door, *lanes: Lane) -> list[asyncio.Task[int | None]]:
    return [asyncio.ensure_future(door.enter(lane)) for lane in lanes]


# Waiting for room


def test_calls_get_in_up_to_the_limit_of_the_lane_and_no_further() -> None:
    async def job() -> None:
        limit = door.monitor.health()[0].limit
        assert limit is not None
        for _ in range(limit):
            await door.entered()
        assert await door.enter(seconds=5.0) is None
        assert door.time.now == 1005.0

    door = Door(at("acme"))
    door.run(job)


def test_who_came_first_gets_in_first() -> None:
    async def job() -> None:
        inside = await door.entered()
        waiting = queue(door, *[door.lanes[0]] * 3)
        order = []
        for _ in range(3):
            await settle()
            door.leave(inside)
            await settle()
            (number,) = [place for place, task in enumerate(waiting) if task.done() and place not in order]
            order.append(number)
            inside = waiting[number].result() or 0
        assert order == [0, 1, 2]

    door = Door(at("acme"), at_once=1)
    door.run(job)


def test_calls_at_once_count_over_all_lanes_of_a_provider_and_of_no_other() -> None:
    async def job() -> None:
        call = await door.entered(flash)
        assert await door.enter(pro, 1.0) is None
        await door.entered(elsewhere)
        door.leave(call, flash)
        await door.entered(pro)

    flash, pro, elsewhere = at("acme"), at("acme", model="pro"), at("other")
    door = Door(flash, pro, elsewhere, at_once=1)
    door.run(job)


def test_a_seat_goes_to_whoever_waited_longest_whatever_the_lane() -> None:
    async def job() -> None:
        inside = await door.entered(flash)
        tasks = []
        for lane in (flash, pro, flash):
            tasks += queue(door, lane)
            await settle()
        order = []
        for lane in (flash, flash, pro):  # those who leave: the first one, then the first two of the queue
            door.leave(inside, lane)
            await settle()
            (place,) = [place for place, task in enumerate(tasks) if task.done() and place not in order]
            order.append(place)
            inside = tasks[place].result() or 0
        assert order == [0, 1, 2]

    flash, pro = at("acme"), at("acme", model="pro")
    door = Door(flash, pro, at_once=1)
    door.run(job)


def test_nobody_overtakes_those_who_wait() -> None:
    async def job() -> None:
        inside = await door.entered()
        waiting = queue(door, door.lanes[0])
        await settle()
        door.leave(inside)
        assert await door.enter(seconds=0.0) is None
        assert waiting[0].result() is not None

    door = Door(at("acme"), at_once=1)
    door.run(job)


def test_those_whose_patience_ends_together_go_on_one_after_the_other() -> None:
    gone: list[int] = []

    async def job() -> None:
        async def enter() -> None:
            assert await door.enter(seconds=5.0) is None
            gone.append(turns.taken)

        turns = Turns()
        await door.entered()
        await asyncio.gather(*(enter() for _ in range(5)))

    door = Door(at("acme"), at_once=1)
    door.run(job)
    assert len(set(gone)) == 5


def test_room_that_a_new_configuration_makes_is_used_at_once() -> None:
    async def job() -> None:
        await door.entered()
        waiting = queue(door, *[door.lanes[0]] * 2)
        await settle()
        door.open_to(3)
        await settle()
        assert [task.done() for task in waiting] == [True, True]
        assert door.in_flight() == [3]

    door = Door(at("acme"), at_once=1)
    door.run(job)


# Turned away


@pytest.mark.parametrize("outcome", ["rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone"])
def test_those_who_wait_for_a_lane_that_is_shut_meanwhile_are_sent_away_at_once(outcome: OutcomeName) -> None:
    async def job() -> None:
        inside = await door.entered()
        waiting = queue(door, *[door.lanes[0]] * 3)
        await settle()
        door.leave(inside, outcome=outcome)
        assert await asyncio.gather(*waiting) == [None, None, None]
        assert (door.time.now, door.in_flight()) == (1000.0, [0])

    door = Door(at("acme"), at_once=1)
    door.run(job)


def test_nobody_waits_for_a_lane_that_is_shut() -> None:
    async def job() -> None:
        door.leave(await door.entered(), outcome="rate_limited")
        assert await door.enter() is None
        assert door.time.now == 1000.0
        await asyncio.sleep(20)
        await door.entered()

    door = Door(at("acme"))
    door.run(job)


def test_a_newcomer_finds_out_for_all_that_calls_have_become_overdue() -> None:
    async def job() -> None:
        for _ in range(2):
            await door.entered()
        waiting = queue(door, *[door.lanes[0]] * 2)
        await asyncio.sleep(46)
        assert [task.done() for task in waiting] == [False, False]
        assert await door.enter(seconds=0.0) is None
        assert await asyncio.gather(*waiting) == [None, None]
        assert door.time.now == 1046.0

    door = Door(at("acme"), at_once=2)
    door.run(job)


def test_a_probe_gets_in_alone() -> None:
    async def job() -> None:
        for _ in range(4):
            door.leave(await door.entered(), outcome="overloaded")
        assert await door.enter() is None
        await asyncio.sleep(8)
        probe, others = await door.entered(), [await door.enter() for _ in range(3)]
        assert others == [None, None, None]
        door.leave(probe)
        await door.entered()
        assert await door.enter(seconds=1.0) is None  # it starts slowly
        assert door.time.now == 1009.0

    door = Door(at("acme"))
    door.run(job)


@pytest.mark.parametrize(
    ("outcome", "spread"), [("balance", True), ("auth", True), ("quota_exhausted", False), ("region", False)]
)
def test_what_befalls_the_account_befalls_its_other_lanes(outcome: OutcomeName, spread: bool) -> None:
    async def job() -> None:
        door.leave(await door.entered(flash), flash, outcome)
        states = {each.lane: each.state != "closed" for each in door.monitor.health()}
        assert states == {"acme/flash": True, "acme/pro": spread, "other/flash": False}
        assert (await door.enter(pro, 0.0) is None) is spread

    flash, pro, elsewhere = at("acme"), at("acme", model="pro"), at("other")
    door = Door(flash, pro, elsewhere)
    door.run(job)


def test_those_who_wait_for_another_lane_of_an_empty_account_are_sent_away_too() -> None:
    async def job() -> None:
        inside = await door.entered(flash)
        waiting = queue(door, pro)
        await settle()
        door.leave(inside, flash, "balance")
        assert await waiting[0] is None
        assert door.time.now == 1000.0

    flash, pro = at("acme"), at("acme", model="pro")
    door = Door(flash, pro, at_once=1)
    door.run(job)


def test_a_quota_is_taken_at_the_door_so_that_calls_side_by_side_stay_within_it() -> None:
    async def job() -> None:
        entered = await asyncio.gather(*[door.enter(seconds=0.0) for _ in range(4)])
        assert [call is not None for call in entered] == [True, True, False, False]
        assert door.monitor.refusal(door.entry()) == pytest.approx(60, abs=5)
        await asyncio.sleep(65)
        await door.entered()

    door = Door(at("acme", quota={"rpm": 3}))  # of which 95 %, hence two, are used
    door.run(job)


def test_a_lane_in_shadow_takes_calls_whatever_its_health() -> None:
    async def job() -> None:
        for _ in range(9):
            door.leave(await door.entered(), outcome="timeout", duration=1.0)
        assert door.monitor.health()[0].state != "closed"
        await door.entered()

    door = Door(at("acme", mode="shadow"))
    door.run(job)


# The last lane


def shut_door(door: Door) -> None:
    """Open the breaker of the first lane."""
    for _ in range(4):
        call = door.enter_as_last()
        door.leave(call, outcome="overloaded")
        door.time.now += 10


def test_the_last_lane_is_asked_once_in_ten_seconds_though_its_breaker_is_open() -> None:
    door = Door(at("acme"))
    shut_door(door)
    assert door.monitor.health()[0].state == "half_open"
    asked = []
    for _ in range(25):
        if door.enter_as_last() is not None:
            asked.append(door.time.now - 1040)
        door.time.now += 1
    assert asked == [0, 10, 20]


def test_a_long_call_to_the_last_lane_closes_its_breaker_though_others_began_in_the_meantime() -> None:
    door = Door(at("acme"))
    shut_door(door)
    calls = []
    for _ in range(3):
        calls.append(door.enter_as_last())
        door.time.now += 10
    door.leave(calls[0], duration=30.0)
    assert door.monitor.health()[0].state == "closed"


def test_the_last_lane_is_not_asked_beyond_its_calls_at_once_nor_its_quota_nor_while_it_rests() -> None:
    crowded, metered, resting = Door(at("acme"), at_once=1), Door(at("acme", quota={"rpm": 2})), Door(at("acme"))
    for door in (crowded, metered, resting):
        call = door.enter_as_last()
        if door is not crowded:
            door.leave(call, outcome="balance" if door is resting else "ok")
        door.time.now += 11
        assert door.enter_as_last() is None


# Cancelled


def test_who_is_cancelled_while_waiting_leaves_the_queue() -> None:
    async def job() -> None:
        inside = await door.entered()
        first, second = queue(door, *[door.lanes[0]] * 2)
        await settle()
        first.cancel()
        await settle()
        assert door.monitor.crowds() == {"acme/flash": 2}
        door.leave(inside)
        assert await second is not None
        assert door.in_flight() == [1]

    door = Door(at("acme"), at_once=1)
    door.run(job)


def test_who_is_cancelled_in_the_moment_of_being_let_in_gives_the_place_to_the_next() -> None:
    async def job() -> None:
        inside = await door.entered()
        first, second = queue(door, *[door.lanes[0]] * 2)
        await settle()
        door.leave(inside)  # lets the first in, who does not know it yet
        first.cancel()
        await settle()
        assert first.cancelled()
        assert second.result() is not None
        assert door.in_flight() == [1]
        door.leave(second.result())
        assert door.in_flight() == [0]

    door = Door(at("acme"), at_once=1)
    door.run(job)


def test_whose_time_is_up_in_the_moment_of_being_let_in_is_in() -> None:
    async def job() -> None:
        inside = await door.entered()
        waiting = asyncio.ensure_future(door.enter(seconds=5.0))
        await asyncio.sleep(4.999)
        door.leave(inside)
        door.time.now += 1
        assert await waiting is not None
        assert door.in_flight() == [1]

    door = Door(at("acme"), at_once=1)
    door.run(job)


def test_nobody_is_let_in_for_a_loop_that_was_closed_under_the_waiting() -> None:
    async def begin() -> None:
        nonlocal inside
        inside = await door.entered()

    async def job() -> None:
        door.leave(inside)
        assert door.in_flight() == [0]
        await door.entered()

    inside = 0
    door = Door(at("acme"), at_once=1)
    door.run(begin)
    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(door.enter())
    loop.run_until_complete(settle())
    loop.close()
    door.run(job)
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # the scope that it waits in misses its loop
        abandoned.get_coro().close()  # type: ignore[union-attr]


# Told


def test_each_change_of_standing_is_told_also_what_time_alone_changed() -> None:
    async def job() -> None:
        calls = [await door.entered() for _ in range(2)]
        await asyncio.sleep(80)
        for call in calls:
            door.leave(call, outcome="timeout", duration=80.0)
        for _ in range(2):
            call = await door.entered()
            await asyncio.sleep(5)
            door.leave(call)
        assert [(before, after) for _, before, after in door.changes if before != after] == [
            ("closed", "half_open"), ("half_open", "closed"),
        ]  # fmt: skip

    door = Door(at("acme"))
    door.run(job)


def test_a_lane_whose_state_stays_the_same_is_not_told_of() -> None:
    async def job() -> None:
        for _ in range(9):
            door.leave(await door.entered())
        assert door.changes == []

    door = Door(at("acme"))
    door.run(job)


# Time


@pytest.mark.parametrize("days", [-1, 1, -400])
def test_a_wall_clock_that_jumps_moves_no_cooldown(days: int) -> None:
    async def job() -> None:
        door.leave(await door.entered(), outcome="quota_exhausted")
        before = door.monitor.refusal(door.entry())
        door.time.start += timedelta(days=days)
        assert door.monitor.refusal(door.entry()) == before

    door = Door(at("acme"))
    door.run(job)


def test_a_days_quota_rests_until_midnight_in_california() -> None:
    async def job() -> None:
        door.leave(await door.entered(), outcome="quota_exhausted")
        assert door.monitor.refusal(door.entry()) == 19 * 3600  # noon in UTC is five in the morning there

    door = Door(at("acme"))
    door.run(job)


# Forgetting


def test_what_is_forgotten_does_not_take_the_calls_under_way_with_it() -> None:
    async def job() -> None:
        calls = [await door.entered() for _ in range(2)]
        door.leave(calls[0], outcome="rate_limited")
        door.monitor.forget(["acme/flash"])
        assert (door.monitor.health()[0].state, door.in_flight()) == ("closed", [1])
        door.leave(calls[1])
        assert door.in_flight() == [0]

    door = Door(at("acme"))
    door.run(job)


# Several loops


def test_those_who_wait_in_another_threads_loop_are_let_in() -> None:
    """Two event loops in two threads use one seat in turn; each waits for the other, none for a clock."""
    door = Door(at("acme"), at_once=1, clock=Clock())
    inside, most = 0, 0

    async def visits() -> None:
        nonlocal inside, most
        for _ in range(40):
            call = await door.enter(seconds=60.0)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            door.leave(call)

    threads = [threading.Thread(target=lambda: asyncio.run(visits()), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert not any(thread.is_alive() for thread in threads)
    assert (most, door.in_flight()) == (1, [0])


# Whatever happens


STEPS = st.one_of(
    st.tuples(st.just("enter"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["leave", "fail", "throttle", "cancel"]), st.integers(0, 30)),
    st.tuples(st.just("sleep"), st.sampled_from([1, 30, 61])),
    st.tuples(st.just("open"), st.integers(1, 5)),
)
ENDINGS: dict[str, OutcomeName] = {"leave": "ok", "fail": "overloaded", "throttle": "rate_limited"}


@given(st.lists(STEPS, max_size=60))
def test_nobody_waits_while_there_is_room_and_every_number_is_given_back_once(steps: list[tuple[str, int]]) -> None:
    lanes = (at("acme"), at("acme", model="pro"), at("other"))
    door, tasks, gone = Door(*lanes, at_once=3), [], set()
    at_once = 3

    async def step(name: str, number: int) -> None:
        nonlocal at_once
        inside = [
            place
            for place, (_, task) in enumerate(tasks)
            if task.done() and place not in gone and not task.cancelled() and task.result() is not None
        ]
        if name == "enter":
            tasks.append((lanes[number], asyncio.ensure_future(door.enter(lanes[number], 40.0))))
        elif name == "sleep":
            await asyncio.sleep(number)
        elif name == "open":
            at_once = number
            door.open_to(number)
        elif name == "cancel":
            pending = [task for _, task in tasks if not task.done()]
            if pending:
                pending[number % len(pending)].cancel()
        elif inside:
            place = inside[number % len(inside)]
            gone.add(place)
            door.leave(tasks[place][1].result(), tasks[place][0], ENDINGS[name])

    def nobody_waits_in_vain() -> None:
        now = door.time.now
        flying = {lane.name: each.in_flight for lane, each in zip(lanes, door.monitor.health(), strict=True)}
        for lane in lanes:
            state = door.monitor.state(lane)
            waiting = door.monitor.crowds().get(lane.name, 0) - flying[lane.name]
            seats = at_once - sum(flying[each.name] for each in lanes if each.provider == lane.provider)
            assert not (waiting and seats > 0 and shut(state, now) is None and has_room(state, now))

    async def job() -> None:
        for name, number in steps:
            await step(name, number)
            await settle()
            if name == "sleep":  # time alone opens and half-opens breakers, which the next to come finds out
                tasks.extend((lane, asyncio.ensure_future(door.enter(lane, 0.0))) for lane in lanes)
                await settle()
            nobody_waits_in_vain()
        for _, task in tasks:
            task.cancel()
        await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
        for place, (lane, task) in enumerate(tasks):
            if not task.cancelled() and task.result() is not None and place not in gone:
                door.leave(task.result(), lane)
        assert door.in_flight() == [0, 0, 0]
        assert door.monitor.crowds() == {}
        for lane in (lanes[0], lanes[2]):
            assert door.monitor._in_flight.get(lane.provider, 0) == 0

    door.run(job)


def test_a_limit_that_the_configuration_does_not_set_is_the_lanes_own() -> None:
    door = Door(FLASH, replace(FLASH, provider="other"), at_once=None)
    assert [each.limit for each in door.monitor.health()] == [concurrency(door.monitor.state(FLASH))] * 2


# As a request meets it


def test_a_request_whose_lanes_were_all_shut_while_it_waited_is_told_so_and_not_that_its_time_was_over() -> None:
    async def job() -> None:
        busy = [
            asyncio.ensure_future(painters.gateway.generate("a", providers={"only": [name]}))
            for name in ("first", "second")
        ]
        await asyncio.sleep(1.0)
        with pytest.raises(NoLaneAvailable) as caught:
            await painters.gateway.generate("b")
        assert caught.value.retry_after == pytest.approx(900, abs=1)
        assert painters.time.now == 1041.0
        await asyncio.gather(*busy, return_exceptions=True)

    one = {"max_concurrency": 1}
    painters = studio(first=relay(**one), second=relay(**one))
    painters.script("first", fails("balance", seconds=40.0))
    painters.script("second", fails("balance", seconds=41.0))
    painters.time.run(job)
