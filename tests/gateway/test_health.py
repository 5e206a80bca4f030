"""How a lane is doing: what each outcome does to it, as a pure function of state, event and a monotonic now."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.health import breaker
from gateway.health.health import (
    Event,
    LaneState,
    Started,
    billed_share,
    concurrency,
    expected_seconds,
    has_room,
    is_probing,
    is_proven,
    is_resting,
    next_state,
    patience,
    shut,
    size_shut,
    snapshot,
    standing,
    success_rate,
    tail_seconds,
    typical_seconds,
)  # fmt: skip
from gateway.router.lanes import Lane, Mode
from providers.outcome import Billed, OutcomeName

NOW = 50_000.0
LANE = Lane(provider="relay", model="painter", upstream_model="painter", sizes=("1K", "4K"), seconds={"4K": 25.0})
FRESH = LaneState()

OUTCOMES: tuple[OutcomeName, ...] = (
    "ok", "rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "overloaded", "transport",
    "timeout", "bad_response", "no_image", "blocked", "wrong_size", "invalid", "cancelled",
)  # fmt: skip


def event(outcome: OutcomeName, billed: Billed = "no", **more: Any) -> Event:
    """The end of an attempt, with even luck for the breaker."""
    return Event(**{"outcome": outcome, "billed": billed, "size": "1K", "duration": 5.0, **more})


def after(*events: Event, state: LaneState = FRESH, now: float = NOW) -> LaneState:
    for each in events:
        state = next_state(state, each, now)
    return state


def begun(state: LaneState, *calls: int, now: float = NOW, lease: float = 80.0) -> LaneState:
    for call in calls:
        state = next_state(state, Started(call=call, lease=lease), now)
    return state


# Cooldowns


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [("rate_limited", 20.0), ("balance", 900.0), ("region", 21_600.0), ("model_gone", 3600.0),
     ("quota_exhausted", 3000.0)],
)  # fmt: skip
def test_a_lane_rests_after_what_the_next_call_would_meet_too(outcome: OutcomeName, seconds: float) -> None:
    state = after(event(outcome, luck=0.0, reset=3000.0))
    assert (shut(state, NOW), is_resting(state, NOW)) == (seconds, True)
    assert (shut(state, NOW + seconds), is_resting(state, NOW + seconds)) == (None, False)
    assert standing(state, LANE, NOW).reason == outcome


@pytest.mark.parametrize("outcome", ["rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone"])
def test_cooldowns_weigh_nothing_for_the_breaker(outcome: OutcomeName) -> None:
    assert after(*[event(outcome)] * 9).breaker == breaker.CLOSED


def test_the_longest_rest_counts_and_gives_the_reason() -> None:
    state = after(event("region"), event("rate_limited"), *[event("overloaded")] * 6)
    assert (shut(state, NOW), standing(state, LANE, NOW).reason) == (21_600, "region")


def test_an_answer_to_a_call_begun_after_a_rest_ends_the_doubling() -> None:
    state = after(event("rate_limited", luck=0.0))
    state = after(event("ok", "yes", duration=5.0), state=state, now=NOW + 25)
    assert shut(after(event("rate_limited", luck=0.0), state=state, now=NOW + 25), NOW + 25) == 20


@pytest.mark.parametrize("later", [10.0, 24.9])
def test_an_answer_to_a_call_begun_before_a_rest_was_over_ends_neither_rest_nor_doubling(later: float) -> None:
    state = after(event("rate_limited", luck=0.0))
    state = after(event("ok", "yes", duration=15.0), state=state, now=NOW + later)
    assert (shut(state, NOW + 10) is None) is False
    assert shut(after(event("rate_limited", luck=0.0), state=state, now=NOW + 25), NOW + 25) == 40


def test_a_size_rests_alone_after_three_answers_that_were_not_as_asked() -> None:
    for outcome in ("no_image", "wrong_size"):
        state = after(*[event(outcome, "yes", size="4K")] * 3)
        assert (size_shut(state, "4K", NOW), size_shut(state, "1K", NOW), shut(state, NOW)) == (600, None, None)


def test_good_answers_push_bad_ones_out_of_the_last_ten() -> None:
    bad, good = event("no_image", "yes"), event("ok", "yes")
    assert size_shut(after(bad, bad, *[good] * 8, bad), "1K", NOW) is None


# The breaker


@pytest.mark.parametrize(
    ("outcome", "billed", "failures"),
    [("transport", "no", 4), ("overloaded", "no", 4), ("overloaded", "maybe", 2), ("transport", "maybe", 2),
     ("timeout", "maybe", 2), ("timeout", "no", 2), ("bad_response", "maybe", 2), ("bad_response", "no", 2)],
)  # fmt: skip
def test_the_breaker_opens_at_a_weight_of_four_in_a_row(outcome: OutcomeName, billed: Billed, failures: int) -> None:
    one_less = after(*[event(outcome, billed)] * (failures - 1))
    assert shut(one_less, NOW) is None
    opened = after(event(outcome, billed), state=one_less)
    assert (shut(opened, NOW), is_resting(opened, NOW)) == (10, False)


@pytest.mark.parametrize("outcome", ["ok", "no_image", "wrong_size"])
def test_any_answer_ends_a_row_of_failures(outcome: OutcomeName) -> None:
    state = after(*[event("overloaded")] * 3, event(outcome, "yes"), *[event("overloaded")] * 3)
    assert shut(state, NOW) is None


@pytest.mark.parametrize("outcome", ["blocked", "invalid", "cancelled"])
def test_what_is_the_callers_own_says_nothing_about_the_lane(outcome: OutcomeName) -> None:
    state = after(event("overloaded"), event("ok", "yes"))
    assert next_state(state, event(outcome, "maybe"), NOW + 5) == state


@pytest.mark.parametrize("outcome", ["cancelled", "blocked", "invalid", "rate_limited"])
def test_a_probe_that_proves_nothing_frees_the_slot(outcome: OutcomeName) -> None:
    probing = begun(after(*[event("overloaded")] * 4), 1, now=NOW + 10)
    assert shut(probing, NOW + 11) == 79.0
    freed = next_state(probing, event(outcome, call=1, retry_after=1.0, luck=0.0), NOW + 11)
    assert (shut(freed, NOW + 12), standing(freed, LANE, NOW + 12).state) == (None, "half_open")


def test_two_overdue_calls_open_it_before_either_returns_and_not_again_once_it_has_closed() -> None:
    state = begun(FRESH, 1, 2)
    assert shut(state, NOW + 44.9) is None
    assert shut(state, NOW + 45) == 10
    for probe in (3, 4):
        state = begun(state, probe, now=NOW + 60 + probe)
        state = next_state(state, event("ok", "yes", call=probe), NOW + 60.5 + probe)
    assert standing(state, LANE, NOW + 65) == ("closed", "", None)
    for call in (1, 2):
        state = next_state(state, event("timeout", "maybe", call=call, duration=80.0), NOW + 80)
    assert standing(state, LANE, NOW + 80).state == "closed"


def test_calls_become_overdue_whatever_began_or_ended_beside_them() -> None:
    state = next_state(FRESH, Started(call=1, lease=80.0, patience=90.0), NOW)
    state = begun(state, 2, 3, now=NOW + 1)
    state = begun(state, 4, now=NOW + 2)
    state = next_state(state, Started(call=5, lease=80.0, patience=90.0), NOW + 3)
    state = next_state(state, event("ok", "yes", call=2), NOW + 5)
    assert shut(state, NOW + 46.9) is None
    assert shut(next_state(state, event("cancelled", call=9), NOW + 46.5), NOW + 47) == 10
    assert shut(state, NOW + 47) == 10


def test_calls_that_hang_leave_room_for_a_probe_and_for_new_calls_after_it() -> None:
    """A lane full of calls that it swallowed would otherwise be shut until the last of them has run out of time."""
    full = begun(FRESH, *range(concurrency(FRESH)))
    assert not has_room(full, NOW + 44)
    assert not has_room(full, NOW + 46)  # open
    assert has_room(full, NOW + 56)
    probing = begun(full, 100, now=NOW + 56)
    assert not has_room(probing, NOW + 57)
    closed = next_state(probing, event("ok", "yes", call=100), NOW + 57)
    closed = next_state(begun(closed, 101, now=NOW + 58), event("ok", "yes", call=101), NOW + 59)
    assert has_room(closed, NOW + 59)


def test_after_closing_calls_at_once_double_from_one() -> None:
    state = begun(after(*[event("overloaded")] * 4), 1, now=NOW + 10)
    state = next_state(state, event("ok", "yes", call=1), NOW + 11)
    state = begun(state, 2, now=NOW + 12)
    assert not has_room(state, NOW + 12)
    state = next_state(state, event("ok", "yes", call=2), NOW + 13)
    state = begun(state, 3, now=NOW + 14)
    assert has_room(state, NOW + 14)
    assert not has_room(begun(state, 4, now=NOW + 14), NOW + 14)


# How many at once


def test_a_full_lane_has_no_room() -> None:
    limit = concurrency(FRESH)
    assert has_room(begun(FRESH, *range(limit - 1)), NOW)
    assert not has_room(begun(FRESH, *range(limit)), NOW)


def test_the_limit_grows_with_a_success_while_it_is_in_use() -> None:
    limit = concurrency(FRESH)
    below, full = begun(FRESH, *range(limit - 1)), begun(FRESH, *range(limit))
    assert concurrency(next_state(below, event("ok", "yes", call=0), NOW + 5)) == limit
    assert concurrency(next_state(full, event("ok", "yes", call=limit - 1), NOW + 5)) == limit + 1


@pytest.mark.parametrize(
    ("outcome", "cut"),
    [("rate_limited", True), ("timeout", True), ("overloaded", True), ("bad_response", False), ("transport", False),
     ("no_image", False), ("auth", False), ("cancelled", False)],
)  # fmt: skip
def test_throttles_and_timeouts_cut_the_limit_once_for_calls_begun_together(outcome: OutcomeName, cut: bool) -> None:
    state = begun(FRESH, 1, 2, 3)
    limit = concurrency(state)
    for call in (1, 2, 3):
        state = next_state(state, event(outcome, call=call), NOW + 5)
    assert concurrency(state) == (int(limit * 0.7) if cut else limit)


# The score


def test_nobody_has_tried_counts_as_nine_in_ten() -> None:
    assert success_rate(FRESH, NOW) == 0.9


def test_the_rate_follows_what_happens() -> None:
    assert success_rate(after(event("ok", "yes")), NOW) == pytest.approx(10 / 11)
    assert success_rate(after(event("timeout", "maybe")), NOW) == pytest.approx(9 / 11)
    assert success_rate(after(event("no_image", "yes")), NOW) == pytest.approx(9 / 11)


def test_experience_loses_half_its_weight_in_ten_minutes() -> None:
    state = after(*[event("timeout", "maybe")] * 2)
    assert success_rate(state, NOW + 600) == pytest.approx(9 / 11)
    assert billed_share(state, NOW + 600) == pytest.approx(1.5 / 2)
    assert success_rate(state, NOW + 1e6) == pytest.approx(0.9)
    assert billed_share(state, NOW + 1e6) == pytest.approx(0.5)


def test_the_share_of_failures_that_are_billed_starts_at_a_half_and_is_measured() -> None:
    free, paid, refused = event("overloaded"), event("timeout", "maybe"), event("no_image", "yes")
    assert billed_share(FRESH, NOW) == 0.5
    assert billed_share(after(free, free, free), NOW) == pytest.approx(0.5 / 4)
    assert billed_share(after(free, paid, refused), NOW) == pytest.approx(2.5 / 4)
    assert billed_share(after(event("ok", "yes")), NOW) == 0.5


# How long calls take


def test_durations_of_three_successes_replace_the_catalogues() -> None:
    two = after(*[event("ok", "yes", size="4K", duration=60.0)] * 2)
    assert typical_seconds(two, LANE, "4K") == 25.0
    three = after(event("ok", "yes", size="4K", duration=9.0), state=two)
    assert typical_seconds(three, LANE, "4K") == 60.0
    assert typical_seconds(three, LANE, "1K") == 10.0


def test_only_successes_tell_how_long_a_call_takes() -> None:
    state = after(*[event("no_image", "yes", duration=1.0), event("timeout", "maybe", duration=90.0)] * 5)
    assert typical_seconds(state, LANE, "1K") == 10.0


def test_only_the_last_fifty_durations_count() -> None:
    state = after(*[event("ok", "yes", duration=90.0)] * 60, *[event("ok", "yes", duration=4.0)] * 50)
    assert (typical_seconds(state, LANE, "1K"), tail_seconds(state, LANE, "1K")) == (4.0, 4.0)


def test_the_95th_percentile_is_measured_from_twenty_successes_on() -> None:
    nineteen = after(*[event("ok", "yes", duration=10.0)] * 19)
    assert tail_seconds(nineteen, LANE, "1K") == 23.0
    twenty = after(event("ok", "yes", duration=50.0), state=nineteen)
    assert tail_seconds(twenty, LANE, "1K") == pytest.approx(12.0)  # a twentieth of the way from the 19th to the 20th


@pytest.mark.parametrize(("size", "seconds"), [("1K", 46.0), ("4K", 115.0)])
def test_a_call_is_overdue_after_twice_the_95th_percentile(size: Any, seconds: float) -> None:
    assert patience(FRESH, LANE, size) == pytest.approx(seconds)


def test_a_call_to_a_quick_lane_is_overdue_after_45_seconds() -> None:
    assert patience(after(*[event("ok", "yes", duration=1.0)] * 3), LANE, "1K") == 45.0


def slow(factor: float, calls: int = 10) -> LaneState:
    """A lane that usually takes ten seconds, after some calls a second apart that took longer by that factor."""
    state = after(*[event("ok", "yes", duration=10.0)] * 50, now=NOW - 1000)
    for number in range(calls):
        state = next_state(state, event("ok", "yes", duration=10.0 * factor), NOW - calls + number + 1)
    return state


def test_slow_calls_show_little_by_little_and_fade() -> None:
    seconds = expected_seconds(slow(3.0), LANE, "1K", NOW)
    assert 10.5 < seconds < 13.0
    assert expected_seconds(slow(3.0, calls=1), LANE, "1K", NOW) < 12.1  # one call in ten is that slow by nature
    assert expected_seconds(slow(3.0), LANE, "1K", NOW + 180) == pytest.approx(10 + (seconds - 10) / math.e)
    assert expected_seconds(slow(3.0), LANE, "1K", NOW + 1e5) == pytest.approx(10.0)


def test_slowness_at_one_size_tells_of_the_others_in_proportion() -> None:
    assert expected_seconds(slow(3.0), LANE, "4K", NOW) == pytest.approx(
        2.5 * expected_seconds(slow(3.0), LANE, "1K", NOW)
    )


# One size


def test_a_lane_that_serves_one_size_and_fails_at_another_rests_at_that_one_alone() -> None:
    state = after(event("ok", "yes"), *[event("overloaded", size="4K")] * 3)
    assert (shut(state, NOW), size_shut(state, "4K", NOW), size_shut(state, "1K", NOW)) == (None, 30.0, None)
    assert success_rate(state, NOW) == pytest.approx(10 / 11)


def test_a_size_that_rested_for_the_servers_sake_rests_longer_each_time_up_to_ten_minutes() -> None:
    state, now, rests = FRESH, NOW, []
    for _ in range(7):
        state = after(event("ok", "yes"), *[event("overloaded", size="4K")] * 3, state=state, now=now)
        rests.append(size_shut(state, "4K", now))
        now += rests[-1] or 0.0
    assert rests == [30, 60, 120, 240, 480, 600, 600]


def test_failures_count_against_the_lane_when_no_other_size_came_for_a_minute() -> None:
    state = after(event("ok", "yes"))
    state = after(*[event("timeout", "maybe", size="4K")] * 2, state=state, now=NOW + 61)
    assert shut(state, NOW + 61) is not None


def test_a_lane_that_recovers_is_forgiven_its_outage() -> None:
    state = after(*[event("overloaded")] * 4)
    opened = shut(state, NOW) or 0.0
    later = NOW + opened
    state = next_state(state, Started(call=7, lease=60.0), later)
    state = next_state(state, event("ok", "yes", call=7), later + 5)
    assert shut(state, later + 5) is None
    assert success_rate(state, later + 5) > 0.9


@pytest.mark.parametrize(("seconds", "proven"), [(0.0, True), (60.0, True), (60.1, False)])
def test_a_delivery_proves_a_lane_for_a_minute(seconds: float, proven: bool) -> None:
    assert is_proven(after(event("ok", "yes")), NOW + seconds) is proven


def test_a_failure_ends_the_proof() -> None:
    assert not is_proven(after(event("ok", "yes"), event("transport")), NOW)


# How it stands


def test_a_lane_that_may_be_called_is_closed_without_a_reason() -> None:
    assert standing(FRESH, LANE, NOW) == ("closed", "", None)


def test_the_breaker_is_open_then_half_open_then_probing_then_closed() -> None:
    state = after(*[event("overloaded")] * 4)
    assert standing(state, LANE, NOW + 4) == ("open", "failures", 6.0)
    assert (standing(state, LANE, NOW + 10), is_probing(state, NOW + 10)) == (("half_open", "failures", None), True)
    probing = begun(state, 1, now=NOW + 10)
    assert standing(probing, LANE, NOW + 11) == ("half_open", "a probe is under way", 79.0)
    closed = next_state(probing, event("ok", "yes", call=1), NOW + 12)
    assert (standing(closed, LANE, NOW + 12), is_probing(closed, NOW + 12)) == (("closed", "", None), False)


@pytest.mark.parametrize(
    ("ended", "state"),
    [(event("rate_limited", luck=0.0), "open"), (event("auth"), "latched"), (event("balance"), "open"),
     (event("quota_exhausted", lasting=True), "latched"), (event("quota_exhausted"), "open")],
)  # fmt: skip
def test_only_what_needs_a_new_key_or_configuration_is_latched(ended: Event, state: str) -> None:
    assert standing(after(ended), LANE, NOW).state == state


@pytest.mark.parametrize(
    ("mode", "state", "reason"),
    [("forced-open", "open", "held open by the operator"), ("disabled", "disabled", "switched off in the configuration"),
     ("shadow", "open", "failures"), ("normal", "open", "failures")],
)  # fmt: skip
def test_the_operators_switch_shows(mode: Mode, state: str, reason: str) -> None:
    lane = replace(LANE, mode=mode)
    shown = snapshot(after(*[event("overloaded")] * 4), lane, NOW)
    assert (shown.state, shown.reason, shown.mode) == (state, reason, mode)


def test_a_lane_that_is_switched_off_is_disabled() -> None:
    assert snapshot(FRESH, replace(LANE, enabled=False), NOW).state == "disabled"


def test_a_snapshot_shows_why_and_for_how_long_a_lane_is_shut() -> None:
    state = begun(after(event("rate_limited", retry_after=30, luck=0.0)), 1, 2)
    health = snapshot(state, LANE, NOW + 10, limit=2)
    assert (health.lane, health.state, health.reason, health.until) == ("relay/painter", "open", "rate_limited", 20)
    assert (health.in_flight, health.limit, health.p50) == (2, 2, 25.0)
    assert snapshot(state, LANE, NOW).limit == concurrency(state)


# Whatever happens


EVENTS = st.builds(
    event,
    st.sampled_from([outcome for outcome in OUTCOMES if outcome != "auth"]),  # which time does not heal
    st.sampled_from(["no", "maybe", "yes"]),
    size=st.sampled_from(["1K", "4K"]),
    retry_after=st.none() | st.floats(),
    reset=st.none() | st.floats(0.01, 90_000),
    duration=st.just(0.0) | st.floats(0.001, 600),
    lasting=st.booleans(),
    luck=st.floats(0, 1),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 5000)), max_size=40), st.sampled_from([-1.5e6, -3e5, 3e5, 3e8]))
def test_only_differences_of_time_matter(history: list[tuple[Event, float]], shift: float) -> None:
    """Whatever the monotonic clock started at, a lane is shut for as long; no wall clock is asked."""
    lengths = []
    for start in (3e6, 3e6 + shift):
        state, now = replace(FRESH, updated=start), start
        for each, pause in history:
            now += round(pause)
            state = next_state(state, replace(each, duration=round(each.duration)), now)
        lengths.append((shut(state, now) or 0.0, success_rate(state, now)))
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6, abs=1e-5)


@given(st.lists(EVENTS, max_size=10), EVENTS)
def test_an_event_leaves_the_state_before_it_as_it_was(history: list[Event], last: Event) -> None:
    state = after(*history)
    copy = replace(
        state, durations=dict(state.durations), cooldowns=dict(state.cooldowns), answers=dict(state.answers),
        calls=dict(state.calls),
    )  # fmt: skip
    next_state(state, last, NOW + 1)
    assert state == copy


class LifeOfALane(RuleBasedStateMachine):
    """Calls begin while the lane takes them, end in any way and any order or never, and time passes by days."""

    @initialize(now=st.floats(0, 1e6))
    def wake(self, now: float) -> None:
        self.now, self.state, self.number = now, FRESH, 0
        self.leases: dict[int, float] = {}

    @precondition(lambda self: shut(self.state, self.now) is None and has_room(self.state, self.now))
    @rule(lease=st.floats(1, 180), patience=st.floats(45, 100), luck=st.floats(0, 1))
    def begin(self, lease: float, patience: float, luck: float) -> None:
        self.number += 1
        started = Started(call=self.number, lease=lease, patience=patience, luck=luck)
        self.state = next_state(self.state, started, self.now)
        self.leases[self.number] = self.now + lease

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), ended=EVENTS)
    def end(self, data: st.DataObject, ended: Event) -> None:
        call = data.draw(st.sampled_from(sorted(self.leases)))
        del self.leases[call]
        self.state = next_state(self.state, replace(ended, call=call), self.now)

    @rule(ended=EVENTS)
    def fail_elsewhere(self, ended: Event) -> None:
        """What a lane of the same account met, or a call that another process made."""
        self.state = next_state(self.state, ended, self.now)

    @rule(seconds=st.sampled_from([0.001, 1.0, 9.0, 46.0, 61.0, 700.0, 86_400.0, 300_000.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def waits_are_finite_times_to_come(self) -> None:
        for wait in (shut(self.state, self.now), *(size_shut(self.state, size, self.now) for size in LANE.sizes)):
            assert wait is None or 0 < wait <= 90_121

    @invariant()
    def shares_are_shares(self) -> None:
        assert 0 < success_rate(self.state, self.now) <= 1
        assert 0 < billed_share(self.state, self.now) < 1
        assert concurrency(self.state) >= 1
        assert 0 <= expected_seconds(self.state, LANE, "1K", self.now) < math.inf

    @invariant()
    def one_probe_at_a_time(self) -> None:
        opened = self.state.breaker.opened
        if opened is not None:
            probes = [
                number for number, lease in self.leases.items()
                if lease > self.now and self.state.calls[number].began >= self.state.breaker.until
            ]  # fmt: skip
            assert len(probes) <= 1

    @invariant()
    def it_comes_back_by_itself(self) -> None:
        now = self.now
        for _ in range(5):  # calls in flight may become overdue in the meantime
            wait = shut(self.state, now)
            if wait is None:
                return
            now += wait + 1e-3
        raise AssertionError("still shut")

    @invariant()
    def nothing_grows_with_the_traffic(self) -> None:
        state = self.state
        assert state.calls.keys() == self.leases.keys()
        assert len(state.breaker.slots) <= 10
        assert len(state.cooldowns) <= 6
        assert all(len(known) <= 50 for known in state.durations.values())
        assert all(len(answers.good) <= 10 for answers in state.answers.values())


TestLifeOfALane = LifeOfALane.TestCase
