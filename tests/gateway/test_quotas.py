"""How much of a configured quota is used, and when there is room again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.quotas import MINUTE, STEP, Usage, room, take, until_midnight
from gateway.router.lanes import Lane
from tests.gateway.lanes import at

NOW = 50_000.0
UNUSED = Usage()


def limited(**quota: int) -> Lane:
    return at("acme", quota=quota)


def taken(lane: Lane, calls: int, images: int = 1, now: float = NOW, usage: Usage = UNUSED) -> Usage:
    for _ in range(calls):
        usage = take(usage, lane, images, now)
    return usage


def test_a_lane_without_a_quota_always_has_room() -> None:
    free = at("acme")
    assert room(taken(free, 1000, 10), free, 10, NOW) is None
    assert taken(free, 1000) == UNUSED


@pytest.mark.parametrize(("rpm", "calls"), [(1, 1), (2, 1), (20, 19), (60, 57), (1000, 950)])
def test_of_the_requests_per_minute_ninety_five_percent_are_used_and_one_at_least(rpm: int, calls: int) -> None:
    lane = limited(rpm=rpm)
    assert room(taken(lane, calls - 1), lane, 1, NOW) is None
    assert room(taken(lane, calls), lane, 1, NOW) == MINUTE


def test_room_comes_back_a_minute_after_it_was_taken() -> None:
    lane = limited(rpm=3)
    usage = taken(lane, 1, now=NOW + 20, usage=taken(lane, 1, now=NOW))
    assert room(usage, lane, 1, NOW + 20) == 40
    assert room(usage, lane, 1, NOW + 60) is None
    assert room(taken(lane, 1, now=NOW + 60, usage=usage), lane, 1, NOW + 60) == 20


def test_images_per_minute_count_the_images_of_each_call() -> None:
    lane = limited(ipm=20)
    usage = taken(lane, 4, images=4)
    assert room(usage, lane, 3, NOW) is None
    assert room(usage, lane, 4, NOW) == MINUTE


def test_a_call_for_more_images_than_the_quota_holds_needs_the_whole_quota() -> None:
    lane = limited(ipm=2)
    assert room(UNUSED, lane, 4, NOW) is None
    assert room(taken(lane, 1, images=4), lane, 4, NOW) == MINUTE


def test_the_tightest_limit_decides() -> None:
    lane = limited(rpm=100, ipm=2, rpd=1)
    usage = take(UNUSED, lane, 1, NOW, midnight=NOW + 3000)
    assert room(usage, lane, 1, NOW) == 3000
    assert room(usage, lane, 1, NOW + 3000) is None


def test_a_day_ends_at_the_midnight_that_was_told() -> None:
    lane = limited(rpd=2)
    usage = take(UNUSED, lane, 1, NOW, midnight=NOW + 100)
    assert room(usage, lane, 1, NOW + 40) == 60
    usage = take(usage, lane, 1, NOW + 100, midnight=NOW + 100 + 86_400)
    assert room(usage, lane, 1, NOW + 100) == 86_400


def test_without_a_midnight_a_day_lasts_from_its_first_call() -> None:
    lane = limited(rpd=1)
    usage = taken(lane, 1)
    assert room(usage, lane, 1, NOW + 1) == 86_399
    assert room(usage, lane, 1, NOW + 86_400) is None


calls = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 4)), max_size=120)


@given(calls, st.integers(1, 20), st.integers(4, 40))
def test_whoever_asks_first_never_exceeds_the_quota_in_any_minute(
    waits: list[tuple[float, int]], rpm: int, ipm: int
) -> None:
    lane, usage, now = limited(rpm=rpm, ipm=ipm), UNUSED, NOW
    made: list[tuple[float, int]] = []
    for wait, images in waits:
        now += wait
        if room(usage, lane, images, now) is None:
            usage = take(usage, lane, images, now)
            made.append((now, images))
    for start, _ in made:
        minute = [images for when, images in made if start <= when < start + MINUTE]
        assert len(minute) <= max(1, rpm * 95 // 100)
        assert sum(minute) <= max(4, ipm * 95 // 100)


@given(calls)
def test_after_the_seconds_it_names_there_is_room(waits: list[tuple[float, int]]) -> None:
    lane, usage, now = limited(rpm=10, ipm=20), UNUSED, NOW
    for wait, images in waits:
        now += wait
        seconds = room(usage, lane, images, now)
        if seconds is not None:
            assert 0 < seconds <= MINUTE + STEP
            now += seconds + 1e-6
            assert room(usage, lane, images, now) is None
        usage = take(usage, lane, images, now)


def test_what_is_remembered_does_not_grow_with_the_traffic() -> None:
    lane, usage = limited(rpm=1_000_000), UNUSED
    for number in range(5000):
        usage = take(usage, lane, 1, NOW + number / 20)
    assert len(usage.taken) <= MINUTE / STEP + 1


@pytest.mark.parametrize(
    ("moment", "hours"),
    [
        (datetime(2026, 7, 1, 7, 0, tzinfo=UTC), 24),  # midnight in summer time
        (datetime(2026, 7, 1, 6, 30, tzinfo=UTC), 0.5),
        (datetime(2026, 1, 15, 7, 0, tzinfo=UTC), 1),  # an hour later in winter
        (datetime(2026, 3, 8, 8, 0, tzinfo=UTC), 23),  # the day on which the clocks go forward
        (datetime(2026, 11, 1, 7, 0, tzinfo=UTC), 25),  # and back
        (datetime(2026, 7, 1, 15, 0, tzinfo=timezone(timedelta(hours=8))), 24),
    ],
)
def test_the_day_of_quotas_ends_at_midnight_pacific_time(moment: datetime, hours: float) -> None:
    assert until_midnight(moment) == hours * 3600
