"""What an outcome does to a lane, as a pure function of state, event and a monotonic now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health import Event, LaneState, next_state, shut, snapshot, success_rate, typical_seconds
from gateway.lanes import Lane
from providers.outcome import Billed, OutcomeName

NOW = 50_000.0
LANE = Lane(provider="relay", model="painter", upstream_model="painter", sizes=("1K", "4K"), seconds={"4K": 25.0})
FRESH = LaneState()

OUTCOMES: tuple[OutcomeName, ...] = (
    "ok", "rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "overloaded", "transport",
    "timeout", "bad_response", "no_image", "blocked", "wrong_size", "invalid", "cancelled",
)  # fmt: skip


def event(outcome: OutcomeName, billed: Billed = "no", **more: Any) -> Event:
    return Event(**{"outcome": outcome, "billed": billed, "size": "1K", "duration": 5.0, **more})


def after(*events: Event, state: LaneState = FRESH, now: float = NOW) -> LaneState:
    for each in events:
        state = next_state(state, each, now)
    return state


@pytest.mark.parametrize(
    ("outcome", "first", "then", "at_most"),
    [
        ("rate_limited", 20, 40, 60),
        ("balance", 900, 1800, 21_600),
        ("model_gone", 3600, 7200, 86_400),
        ("region", 21_600, 21_600, 21_600),
        ("auth", 600, 600, 600),
        ("quota_exhausted", 3600, 3600, 3600),
    ],
)
def test_a_cooldown_doubles_with_each_repetition_up_to_its_cap(
    outcome: OutcomeName, first: float, then: float, at_most: float
) -> None:
    state, now, lengths = FRESH, NOW, []
    for _ in range(12):
        state = next_state(state, event(outcome), now)
        lengths.append(shut(state, now))
        now = state.shut_until
    assert lengths[0] == first
    assert lengths[1] == then
    assert lengths[-1] == at_most


@pytest.mark.parametrize(
    ("hint", "seconds"), [(0.0, 1), (0.2, 1), (7.5, 7.5), (119.0, 119), (500.0, 120), (86_400, 120)]
)
def test_a_hint_decides_on_a_rate_limit_within_1_to_120_seconds(hint: float, seconds: float) -> None:
    assert shut(after(event("rate_limited", retry_after=hint)), NOW) == seconds


@pytest.mark.parametrize(("outcome", "seconds"), [("quota_exhausted", 3600), ("auth", 600), ("region", 21_600)])
def test_a_hint_does_not_shorten_what_lasts_longer(outcome: OutcomeName, seconds: float) -> None:
    assert shut(after(event(outcome, retry_after=47.0)), NOW) == seconds


def test_an_answer_after_the_cooldown_starts_the_doubling_anew() -> None:
    state = after(event("rate_limited"))
    state = after(event("ok", "yes"), event("rate_limited"), state=state, now=NOW + 20)
    assert shut(state, NOW + 20) == 20


def test_calls_that_meet_the_same_limit_together_double_nothing() -> None:
    state = after(*[event("rate_limited")] * 5)
    assert shut(state, NOW) == 20


def test_a_shorter_cooldown_neither_shortens_nor_renames_a_longer_one() -> None:
    state = after(event("region"), event("rate_limited"), *[event("overloaded")] * 6)
    assert shut(state, NOW) == 21_600
    assert state.shut_by == "region"


def test_a_longer_cooldown_takes_over_from_a_shorter_one() -> None:
    state = after(event("rate_limited"), event("balance"))
    assert (shut(state, NOW), state.shut_by) == (900, "balance")


def test_a_call_that_began_before_the_lane_was_shut_does_not_open_it() -> None:
    state = after(event("quota_exhausted"), event("ok", "yes", duration=60.0))
    assert shut(state, NOW) == 3600
    assert success_rate(state, NOW) > success_rate(after(event("quota_exhausted")), NOW)


@pytest.mark.parametrize("outcome", ["blocked", "invalid", "cancelled"])
def test_what_is_the_callers_own_says_nothing_about_the_lane(outcome: OutcomeName) -> None:
    state = after(event("overloaded"), event("ok", "yes"))
    assert next_state(state, event(outcome, "maybe"), NOW + 5) == state


@pytest.mark.parametrize(
    ("outcome", "billed", "failures"),
    [
        ("transport", "no", 4),
        ("overloaded", "no", 4),
        ("overloaded", "maybe", 2),
        ("transport", "maybe", 2),
        ("timeout", "maybe", 2),
        ("timeout", "no", 2),
        ("bad_response", "maybe", 2),
    ],
)
def test_the_breaker_opens_at_a_weight_of_four_in_a_row(outcome: OutcomeName, billed: Billed, failures: int) -> None:
    one_less = after(*[event(outcome, billed)] * (failures - 1))
    assert shut(one_less, NOW) is None
    opened = after(event(outcome, billed), state=one_less)
    assert (shut(opened, NOW), opened.shut_by) == (10, outcome)


@pytest.mark.parametrize("outcome", ["ok", "no_image", "wrong_size"])
def test_any_answer_ends_a_row_of_failures(outcome: OutcomeName) -> None:
    state = after(*[event("overloaded")] * 3, event(outcome, "yes"), *[event("overloaded")] * 3)
    assert shut(state, NOW) is None


@pytest.mark.parametrize("outcome", ["rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone"])
def test_cooldowns_weigh_nothing_for_the_breaker(outcome: OutcomeName) -> None:
    assert after(*[event(outcome)] * 6).weight == 0


def test_the_breaker_stays_open_longer_each_time_up_to_a_minute() -> None:
    state, now, lengths = after(*[event("overloaded")] * 3), NOW, []
    for _ in range(5):
        state = next_state(state, event("overloaded"), now)
        lengths.append(shut(state, now))
        now = state.shut_until
    assert lengths == [10, 20, 40, 60, 60]


def test_failures_of_calls_begun_before_it_opened_do_not_open_the_breaker_again() -> None:
    state = after(*[event("overloaded")] * 8)
    assert shut(state, NOW) == 10
    assert state.opened == 1


def test_a_success_after_the_pause_closes_the_breaker_for_good() -> None:
    state = after(event("ok", "yes"), state=after(*[event("overloaded")] * 4), now=NOW + 10)
    assert (state.weight, state.opened, shut(state, NOW + 10)) == (0, 0, None)


def test_nobody_has_tried_counts_as_nine_in_ten() -> None:
    assert success_rate(FRESH, NOW) == 0.9


def test_the_rate_follows_what_happens() -> None:
    assert success_rate(after(event("ok", "yes")), NOW) == pytest.approx(10 / 11)
    assert success_rate(after(event("timeout", "maybe")), NOW) == pytest.approx(9 / 11)
    assert success_rate(after(event("no_image", "yes")), NOW) == pytest.approx(9 / 11)


def test_experience_loses_half_its_weight_in_ten_minutes() -> None:
    state = after(*[event("timeout", "maybe")] * 2)
    assert success_rate(state, NOW + 600) == pytest.approx(9 / 11)
    assert success_rate(state, NOW + 1e6) == pytest.approx(0.9)


def test_durations_of_three_successes_replace_the_catalogues() -> None:
    two = after(*[event("ok", "yes", size="4K", duration=60.0)] * 2)
    assert typical_seconds(two, LANE, "4K") == 25.0
    three = after(event("ok", "yes", size="4K", duration=9.0), state=two)
    assert typical_seconds(three, LANE, "4K") == 60.0
    assert typical_seconds(three, LANE, "1K") == 10.0


def test_only_successes_tell_how_long_a_call_takes() -> None:
    state = after(*[event("no_image", "yes", duration=1.0), event("timeout", "maybe", duration=90.0)] * 5)
    assert typical_seconds(state, LANE, "1K") == 10.0


def test_only_the_last_twenty_durations_count() -> None:
    state = after(*[event("ok", "yes", duration=90.0)] * 30, *[event("ok", "yes", duration=4.0)] * 20)
    assert typical_seconds(state, LANE, "1K") == 4.0


def test_a_snapshot_shows_why_and_for_how_long_a_lane_is_shut() -> None:
    health = snapshot(after(event("rate_limited", retry_after=30)), LANE, NOW + 10, in_flight=2, limit=5)
    assert (health.lane, health.state, health.reason, health.until) == ("relay/painter", "open", "rate_limited", 20)
    assert (health.in_flight, health.limit, health.p50) == (2, 5, 25.0)


def test_a_snapshot_of_a_lane_that_may_be_tried_names_no_reason() -> None:
    health = snapshot(FRESH, LANE, NOW)
    assert (health.state, health.reason, health.until, health.success_rate) == ("closed", "", None, 0.9)


def test_a_breaker_whose_pause_is_over_is_half_open() -> None:
    assert snapshot(after(*[event("overloaded")] * 4), LANE, NOW + 10).state == "half_open"


def test_a_lane_that_is_switched_off_is_disabled() -> None:
    assert snapshot(FRESH, replace(LANE, enabled=False), NOW).state == "disabled"


EVENTS = st.builds(
    event,
    st.sampled_from(OUTCOMES),
    st.sampled_from(["no", "maybe", "yes"]),
    retry_after=st.none() | st.floats(0, 1e5),
    duration=st.floats(0, 600),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 5000)), max_size=40), st.floats(-1e6, 1e6))
def test_only_differences_of_time_matter(history: list[tuple[Event, float]], shift: float) -> None:
    """Whatever the monotonic clock started at, a lane is shut for as long and no wall clock is asked."""
    lengths = []
    for start in (2e6, 2e6 + shift):
        state, now = replace(FRESH, updated=start), start
        for each, pause in history:
            now += pause
            state = next_state(state, each, now)
        lengths.append((shut(state, now) or 0.0, success_rate(state, now)))
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6, abs=1e-6)


@given(st.lists(EVENTS, max_size=40))
def test_a_lane_is_never_shut_for_more_than_a_day_and_its_rate_is_a_share(history: list[Event]) -> None:
    state = after(*history)
    assert (shut(state, NOW) or 0) <= 86_400
    assert 0 < success_rate(state, NOW) <= 1


@given(st.lists(EVENTS, max_size=10), EVENTS)
def test_an_event_leaves_the_state_before_it_as_it_was(history: list[Event], last: Event) -> None:
    state = after(*history)
    copy = replace(state, durations=dict(state.durations))
    next_state(state, last, NOW + 1)
    assert state == copy
