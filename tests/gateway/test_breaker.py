"""The circuit breaker of one lane: what opens it, for how long, and what closes it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.breaker import (
    CLOSED,
    WINDOW,
    Breaker,
    Underway,
    began,
    failed,
    freed,
    noticed,
    status,
    succeeded,
    wait,
)  # fmt: skip

NOW = 50_000.0
EVEN = 0.5
"""The luck with which the open time is neither longer nor shorter."""
PROBE = 99


def after_failures(*weights: int, breaker: Breaker = CLOSED, now: float = NOW) -> Breaker:
    """*breaker* after calls that began and failed with these weights at *now*."""
    for weight in weights:
        breaker = failed(breaker, -1, now, now, weight, EVEN)
    return breaker


def probed(breaker: Breaker, good: bool, now: float, weight: int = 1) -> Breaker:
    """*breaker* after one probe that began at *now* and ended a second later."""
    breaker = began(breaker, PROBE, now, 80.0)
    if good:
        return succeeded(breaker, PROBE, now, now + 1)
    return failed(breaker, PROBE, now, now + 1, weight, EVEN)


# What opens it


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (2, 2), (1, 1, 2), (2, 1, 1)])
def test_failures_in_a_row_open_it_at_a_weight_of_four(weights: Sequence[int]) -> None:
    assert status(after_failures(*weights[:-1]), NOW) == "closed"
    assert status(after_failures(*weights), NOW) == "open"


def test_a_success_ends_the_row() -> None:
    breaker = succeeded(after_failures(1, 1, 1), -1, NOW, NOW)
    assert status(after_failures(1, 1, 1, breaker=breaker), NOW) == "closed"


def mixed(outcomes: str, apart: float = 0.0) -> Breaker:
    """A breaker after these outcomes: ``+`` went well, a digit failed with that weight; *apart* seconds in between."""
    breaker = CLOSED
    for number, outcome in enumerate(outcomes):
        now, weight = NOW + number * apart, int(outcome.replace("+", "0"))
        breaker = failed(breaker, -1, now, now, weight, EVEN) if weight else succeeded(breaker, -1, now, now)
    return breaker


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ("+1+1+1+1", True),  # half of eight
        ("+1+1+11", False),  # more than half, of seven
        ("+++1+1+1", False),  # three of eight
        ("+2+2++2", False),  # seven
        ("++2+2++2", True),  # three of eight, of more than half the weight
        ("+++++2+2", False),  # four of ten by weight
    ],
)
def test_half_the_weight_of_eight_outcomes_in_the_window_opens_it(outcomes: str, opens: bool) -> None:
    assert (status(mixed(outcomes), NOW) == "open") is opens


def test_what_began_before_the_window_does_not_count() -> None:
    assert mixed("+1+1+1+1", apart=WINDOW / 10).opened is not None
    assert mixed("+1+1+1+1", apart=WINDOW / 4).opened is None


@pytest.mark.parametrize(("lasted", "opens"), [(5.0, True), (269.0, True), (331.0, False)])
def test_an_attempt_counts_from_its_start(lasted: float, opens: bool) -> None:
    """Eight calls that begin together, every other one to fail, are half of eight for as long as their start is recent."""
    breaker, end = CLOSED, NOW + lasted
    for _ in range(4):
        breaker = succeeded(breaker, -1, NOW, end)
        breaker = failed(breaker, -1, NOW, end, 1, EVEN)
    assert (status(breaker, end) == "open") is opens


# Calls that hang


def hanging(*overdue: float, start: float = NOW - 45) -> list[Underway]:
    return [Underway(start, at) for at in overdue]


def test_two_overdue_calls_open_it_before_either_returns() -> None:
    assert noticed(CLOSED, hanging(NOW), NOW, EVEN) is CLOSED
    assert noticed(CLOSED, hanging(NOW, NOW + 0.1), NOW, EVEN) is CLOSED
    opened = noticed(CLOSED, hanging(NOW, NOW), NOW, EVEN)
    assert (status(opened, NOW), wait(opened, NOW)) == ("open", 10.0)


@pytest.mark.parametrize(("weight", "needed"), [(0, 2), (1, 2), (2, 1), (3, 1)])
def test_overdue_calls_count_on_top_of_the_failures_in_a_row(weight: int, needed: int) -> None:
    breaker = after_failures(*[1] * weight)
    assert noticed(breaker, hanging(*[NOW] * (needed - 1)), NOW, EVEN) is breaker
    assert status(noticed(breaker, hanging(*[NOW] * needed), NOW, EVEN), NOW) == "open"


def test_it_opened_when_the_call_that_was_one_too_many_became_overdue() -> None:
    """However late somebody looks: the open time does not start with the look."""
    late = noticed(CLOSED, hanging(NOW, NOW + 3, NOW + 5), NOW + 8, EVEN)
    assert wait(late, NOW + 8) == 5.0
    assert status(noticed(CLOSED, hanging(NOW, NOW + 3), NOW + 100, EVEN), NOW + 100) == "half_open"


def test_a_failure_beside_a_call_long_overdue_opens_it_from_the_failure_on() -> None:
    """Not from when the call became overdue: then its open time would be over before it began."""
    breaker = after_failures(2, now=NOW + 16)
    opened = noticed(breaker, hanging(NOW), NOW + 16, EVEN)
    assert (status(opened, NOW + 16), wait(opened, NOW + 16)) == ("open", 10.0)


def closed_again(breaker: Breaker, now: float) -> Breaker:
    """*breaker* after as many good probes as it takes, the first at *now*."""
    while breaker.opened is not None:
        breaker = probed(breaker, True, now)
        now += 2
    return breaker


def test_the_same_hung_calls_do_not_open_it_again_once_a_probe_has_closed_it() -> None:
    calls = hanging(NOW, NOW)
    breaker = closed_again(noticed(CLOSED, calls, NOW, EVEN), NOW + 10)
    assert noticed(breaker, calls, NOW + 30, EVEN) is breaker
    new = hanging(NOW + 60, NOW + 60, start=NOW + 15)
    assert status(noticed(breaker, [*calls, *new], NOW + 60, EVEN), NOW + 60) == "open"


def test_nor_do_they_when_they_fail_at_last() -> None:
    breaker = closed_again(noticed(CLOSED, hanging(NOW, NOW), NOW, EVEN), NOW + 10)
    for _ in range(9):
        breaker = failed(breaker, -1, NOW - 45, NOW + 35, 2, EVEN)
    assert status(breaker, NOW + 35) == "closed"


def test_nor_does_an_old_call_that_ends_well_hasten_the_slow_start() -> None:
    breaker = closed_again(after_failures(2, 2), NOW + 10)
    assert succeeded(breaker, -1, NOW - 45, NOW + 35).allowed == 1


# How long it stays open


@pytest.mark.parametrize(
    ("weight", "lengths"), [(1, [10, 20, 40, 60, 60, 60]), (2, [10, 20, 40, 80, 120, 120])]
)  # fmt: skip
def test_it_stays_open_twice_as_long_each_time_up_to_a_cap(weight: int, lengths: list[float]) -> None:
    breaker, now, seen = after_failures(*[weight] * (4 // weight)), NOW, []
    for _ in lengths:
        seen.append(wait(breaker, now))
        now += seen[-1] or 0
        breaker, now = probed(breaker, False, now, weight), now + 1
    assert seen == lengths


@pytest.mark.parametrize(("luck", "seconds"), [(0.0, 8.0), (0.25, 9.0), (1.0, 12.0)])
def test_luck_spreads_the_openings_by_a_fifth_either_way(luck: float, seconds: float) -> None:
    breaker = failed(after_failures(2), -1, NOW, NOW, 2, luck)
    assert wait(breaker, NOW) == pytest.approx(seconds)


def opened_times(times: int) -> tuple[Breaker, float]:
    """A breaker that has just opened so many times in a row, and when."""
    breaker, now = after_failures(1, 1, 1, 1), NOW
    for _ in range(times - 1):
        now = breaker.until
        breaker, now = probed(breaker, False, now), now + 1
    return breaker, now


def test_each_closing_forgets_one_opening() -> None:
    breaker, _ = opened_times(3)
    assert breaker.until - (breaker.opened or 0) == 40
    closed = probed(breaker, True, breaker.until)
    again = after_failures(1, 1, 1, 1, breaker=closed, now=NOW + 1000)
    assert wait(again, NOW + 1000) == 40  # opened three times, closed once: ten seconds doubled twice


@pytest.mark.parametrize(("minutes", "seconds"), [(4.9, 40), (5, 20), (10, 10), (600, 10)])
def test_five_healthy_minutes_forget_one_opening_each(minutes: float, seconds: float) -> None:
    breaker, _ = opened_times(3)
    closed = probed(breaker, True, breaker.until)
    later = closed.reset + 60 * minutes
    healthy = succeeded(closed, -1, later, later)
    assert wait(after_failures(1, 1, 1, 1, breaker=healthy, now=later), later) == seconds


def test_minutes_with_a_failure_in_them_are_not_healthy() -> None:
    breaker, _ = opened_times(2)
    closed = probed(breaker, True, breaker.until)
    shaken = failed(closed, -1, closed.reset + 299, closed.reset + 299, 1, EVEN)
    later = closed.reset + 310
    assert succeeded(shaken, -1, later, later).openings == closed.openings


# Half open


def test_half_open_it_lets_one_probe_through() -> None:
    breaker = after_failures(2, 2)
    assert (status(breaker, NOW + 9.9), wait(breaker, NOW + 9.9)) == ("open", pytest.approx(0.1))
    assert (status(breaker, NOW + 10), wait(breaker, NOW + 10)) == ("half_open", None)
    probing = began(breaker, PROBE, NOW + 10, 80.0)
    assert (status(probing, NOW + 11), wait(probing, NOW + 11)) == ("half_open", 79.0)


def test_the_lease_of_a_probe_that_is_never_heard_of_again_ends() -> None:
    probing = began(after_failures(2, 2), PROBE, NOW + 10, 80.0)
    assert wait(probing, NOW + 89.9) == pytest.approx(0.1)
    assert wait(probing, NOW + 90) is None
    second = began(probing, PROBE + 1, NOW + 90, 80.0)
    assert wait(second, NOW + 91) == 79.0
    assert succeeded(second, PROBE, NOW + 10, NOW + 92).probe == PROBE + 1


def test_another_call_does_not_take_the_place_of_a_probe_under_way() -> None:
    """As happens to the last lane, which is asked even while it is open: the first of the calls is to be heard."""
    breaker = began(after_failures(1, 1, 1, 1), PROBE, NOW + 10, 80.0)
    breaker = began(breaker, PROBE + 1, NOW + 20, 80.0)
    assert status(succeeded(breaker, PROBE, NOW + 10, NOW + 25), NOW + 25) == "closed"


def test_a_probe_that_proves_nothing_frees_the_slot_at_once() -> None:
    breaker = after_failures(2, 2)
    probing = began(breaker, PROBE, NOW + 10, 80.0)
    assert wait(freed(probing, PROBE + 1), NOW + 11) == 79.0
    assert (wait(freed(probing, PROBE), NOW + 11), status(freed(probing, PROBE), NOW + 11)) == (None, "half_open")


def test_one_good_probe_closes_it_after_free_failures_and_two_where_they_may_be_billed() -> None:
    assert status(probed(after_failures(1, 1, 1, 1), True, NOW + 10), NOW + 11) == "closed"
    once = probed(after_failures(2, 2), True, NOW + 10)
    assert (status(once, NOW + 11), wait(once, NOW + 11)) == ("half_open", None)
    assert status(probed(once, True, NOW + 12), NOW + 13) == "closed"


def test_two_good_probes_means_two_in_a_row() -> None:
    breaker = probed(probed(after_failures(2, 2), True, NOW + 10), False, NOW + 12, 2)
    assert status(probed(breaker, True, breaker.until), breaker.until + 1) == "half_open"


def test_a_single_failure_of_the_probe_opens_it_again() -> None:
    assert status(probed(after_failures(1, 1, 1, 1), False, NOW + 10), NOW + 11) == "open"


def test_the_results_of_calls_begun_before_it_opened_do_not_count() -> None:
    breaker = after_failures(1, 1, 1, 1)
    late = failed(succeeded(breaker, 7, NOW - 3, NOW + 1), 8, NOW - 3, NOW + 1, 1, EVEN)
    assert (late.opened, late.until, late.openings) == (breaker.opened, breaker.until, 1)
    probing = began(late, PROBE, NOW + 10, 80.0)
    assert wait(failed(probing, 8, NOW - 3, NOW + 11, 1, EVEN), NOW + 11) == 79.0


def test_after_closing_the_calls_at_once_double_from_one() -> None:
    breaker, seen = probed(after_failures(1, 1, 1, 1), True, NOW + 10), []
    for number in range(7):
        seen.append(breaker.allowed)
        breaker = succeeded(breaker, -1, NOW + 20 + number, NOW + 20 + number)
    assert seen == [1, 2, 4, 8, 16, 32, math.inf]


def test_what_failed_before_does_not_count_once_it_has_closed() -> None:
    breaker = probed(after_failures(1, 1, 1, 1), True, NOW + 10)
    assert status(after_failures(1, 1, 1, breaker=breaker, now=NOW + 12), NOW + 12) == "closed"


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 300), st.sampled_from([0, 1, 2])), max_size=200))
def test_it_remembers_no_more_however_many_calls_there_are(history: list[tuple[float, float, int]]) -> None:
    breaker, now = CLOSED, NOW
    for pause, duration, weight in history:
        now += pause / 1000
        if weight:
            breaker = failed(breaker, -1, now - duration, now, weight, EVEN)
        else:
            breaker = succeeded(breaker, -1, now - duration, now)
        assert len(breaker.slots) <= 10
        assert all(slot.failed <= slot.weight and slot.outcomes <= slot.weight for slot in breaker.slots)
