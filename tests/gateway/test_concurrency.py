"""How many calls a lane may have in flight: more while that helps, fewer under pressure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.health.concurrency import UNKNOWN, Limit, cut, grown

NOW = 50_000.0


FOUR = Limit(4.0)


def test_a_success_at_the_limit_makes_room_for_one_more() -> None:
    assert grown(FOUR, in_use=True).calls == 5


def test_a_success_below_the_limit_says_nothing_about_it() -> None:
    assert grown(FOUR, in_use=False) is FOUR


def test_a_generation_doubles_the_limit_until_the_first_cut_and_adds_one_afterwards() -> None:
    limit = FOUR
    for _ in range(4):
        limit = grown(limit, in_use=True)
    assert limit.calls == 8
    limit = cut(limit, NOW, NOW)
    before = limit.calls
    for _ in range(round(before)):
        limit = grown(limit, in_use=True)
    assert before + 0.8 < limit.calls < before + 1.2


def test_pressure_takes_three_tenths() -> None:
    assert cut(Limit(10.0), NOW, NOW).calls == 7.0


def test_one_generation_of_calls_is_cut_once() -> None:
    limit = cut(Limit(10.0), NOW - 9, NOW)
    assert [cut(limit, start, NOW + 5).calls for start in (NOW - 9, NOW - 0.1)] == [7.0, 7.0]
    assert cut(limit, NOW + 1, NOW + 5).calls < 5


def test_one_call_at_a_time_is_always_left() -> None:
    limit = UNKNOWN
    for number in range(50):
        limit = cut(limit, NOW + number, NOW + number)
    assert limit.calls == 1


@given(st.lists(st.sampled_from(["in use", "idle", "throttled"]), max_size=300))
def test_the_limit_stays_a_number_of_at_least_one(history: list[str]) -> None:
    limit = UNKNOWN
    for number, happened in enumerate(history):
        before = limit
        limit = (
            cut(limit, NOW + number, NOW + number) if happened == "throttled" else grown(limit, happened == "in use")
        )
        assert 1 <= limit.calls <= before.calls + 1
