"""Time and money: how long an attempt may take, when one is waited for, and what ends a request early."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway import AllAttemptsFailed, BudgetExceeded, DeadlineExceeded, Gateway, NoLaneAvailable
from providers.outcome import OutcomeName
from tests.gateway.endings import failure
from tests.gateway.upstreams import draws, fails, hangs, lane, relay, studio, two


def test_another_lane_begins_while_there_is_time_for_it_and_the_slow_call_goes_on_beside_it() -> None:
    painters = two()
    painters.script("first", hangs())
    result = painters.draw(deadline=50)
    assert [(attempt.outcome, attempt.billed, attempt.duration) for attempt in result.attempts] == [
        ("timeout", "maybe", 45.0), ("ok", "yes", 5.0),
    ]  # fmt: skip
    assert result.attempts[0].detail == "no answer within 45 s"
    assert [call.at for call in painters.calls] == [1000.0, 1040.0]


def test_a_call_that_hangs_is_not_waited_for_until_time_is_short() -> None:
    painters = two()
    painters.script("first", hangs())
    assert painters.draw(deadline=80).elapsed == 46.0 + 5.0  # twice the 95th percentile


def test_a_slow_call_may_still_be_the_first_to_deliver() -> None:
    painters = two()
    painters.script("first", draws(seconds=47.0))
    result = painters.draw(deadline=80)
    assert (result.lane, result.elapsed) == ("first/painter", 47.0)
    assert [(attempt.lane, attempt.outcome, attempt.billed) for attempt in result.attempts] == [
        ("first/painter", "ok", "yes"), ("second/painter", "cancelled", "maybe"),
    ]  # fmt: skip
    assert result.total_cost.usd == Decimal("0.11")


def test_the_last_lane_gets_all_the_time_there_is() -> None:
    painters = studio(first=relay())
    painters.script("first", draws(seconds=59.0))
    assert painters.draw(deadline=60).elapsed == 59.0


def test_a_providers_timeout_limits_each_attempt() -> None:
    painters = studio(first=relay(timeout=12), second=relay())
    painters.script("first", hangs())
    assert painters.draw(deadline=60).attempts[0].duration == 12.0


def test_the_upstream_is_told_how_long_its_attempt_may_take() -> None:
    painters = two()
    painters.draw(deadline=60)
    assert painters.calls[0].request.timeout == 60.0


def test_a_request_never_takes_longer_than_its_deadline() -> None:
    painters = two()
    painters.script("first", hangs())
    painters.script("second", hangs())
    error = failure(painters, DeadlineExceeded, deadline=60)
    assert painters.time.now == pytest.approx(1060)
    assert [attempt.outcome for attempt in error.attempts] == ["timeout", "timeout"]


def test_a_deadline_below_what_every_lane_usually_takes_is_told_without_a_call() -> None:
    painters = two()
    error = failure(painters, DeadlineExceeded, deadline=9.9)
    assert (painters.calls, error.attempts) == ([], ())
    assert str(error).endswith("nothing was tried and nothing spent")


def test_only_the_lanes_that_can_meet_the_deadline_are_tried() -> None:
    """Of the catalogue's times for 4K, 25 s and 30 s, only one fits."""
    prices = {"4K": 0.30}
    flash = lane("gemini-3.1-flash-image", price=prices, sizes=("4K",))
    pro = lane("gemini-3-pro-image", price={"4K": 0.01}, sizes=("4K",))
    painters = studio(first=relay(flash, pro))
    assert painters.draw(size="4K", deadline=27).model == "gemini-3.1-flash-image"


def test_no_attempt_starts_with_less_time_than_it_usually_takes() -> None:
    painters = two()
    painters.script("first", fails("overloaded", seconds=11.0))
    error = failure(painters, DeadlineExceeded, deadline=19)
    assert painters.asked == [("first", "1K")]
    assert [attempt.outcome for attempt in error.attempts] == ["overloaded"]


def test_the_configured_deadline_depends_on_the_size() -> None:
    painters = studio(first=relay())
    painters.script("first", hangs())
    failure(painters, DeadlineExceeded, size="4K", fallback=[])
    assert painters.time.now == pytest.approx(1180)


# Rate limits


def test_a_short_hint_is_waited_out_once_on_the_same_lane() -> None:
    painters = two()
    painters.script("first", fails("rate_limited", retry_after=3.0))
    result = painters.draw()
    assert [attempt.lane for attempt in result.attempts] == ["first/painter", "first/painter"]
    assert [call.at for call in painters.calls] == [1000.0, 1004.0]


def test_a_hint_is_not_waited_out_twice() -> None:
    painters = two()
    painters.script("first", *[fails("rate_limited", retry_after=3.0)] * 2)
    assert [provider for provider, _ in (painters.draw(), painters.asked)[1]] == ["first", "first", "second"]


@pytest.mark.parametrize(
    ("hint", "deadline"), [(47.0, None), (5.5, None), (3.0, 25.0), (None, None), (-1.0, None), (float("nan"), None)]
)
def test_a_hint_that_is_long_for_the_time_left_switches_at_once(hint: float | None, deadline: float | None) -> None:
    painters = two()
    painters.script("first", fails("rate_limited", retry_after=hint))
    result = painters.draw(deadline=deadline)
    assert painters.asked == [("first", "1K"), ("second", "1K")]
    assert result.elapsed == 6.0


def test_waiting_for_the_last_call_is_not_done_when_no_call_is_left() -> None:
    painters = two(fallback={"max_attempts": 1})
    painters.script("first", fails("rate_limited", retry_after=3.0))
    failure(painters, AllAttemptsFailed)
    assert painters.time.now == 1001.0


def test_a_lane_is_not_asked_again_when_the_wait_leaves_too_little_time() -> None:
    painters = studio(first=relay())
    painters.script("first", fails("rate_limited", retry_after=1.0, seconds=0.0), draws())
    assert len(failure(painters, DeadlineExceeded, deadline=10.5).attempts) == 1


def test_a_shut_lane_is_not_asked_by_the_next_request() -> None:
    painters = studio(first=relay(lane(price=0.05)), second=relay(lane(price=0.09)))
    painters.script("first", fails("rate_limited", retry_after=47.0))
    painters.draw()
    painters.draw()
    assert [provider for provider, _ in painters.asked] == ["first", "second", "second"]
    painters.time.now += 47
    painters.draw()
    assert painters.asked[-1][0] == "first"


@pytest.mark.parametrize(
    ("name", "hint", "expected"),
    [
        ("rate_limited", 47.0, 47.0),
        ("overloaded", 30.0, 30.0),
        ("rate_limited", None, 20.0),
        ("quota_exhausted", 47.0, 68_399.0),
        ("bad_response", None, None),
    ],
)
def test_an_error_tells_when_another_try_makes_sense(
    name: OutcomeName, hint: float | None, expected: float | None
) -> None:
    """Midnight Pacific time is 19 hours from noon in UTC, and the attempt took a second of them."""
    painters = studio(first=relay())
    painters.script("first", fails(name, retry_after=hint))
    assert failure(painters, AllAttemptsFailed).retry_after == expected


def test_an_error_tells_the_earliest_of_several_times() -> None:
    painters = two()
    painters.script("first", fails("rate_limited", retry_after=90.0))
    painters.script("second", fails("rate_limited", retry_after=40.0))
    assert failure(painters, AllAttemptsFailed).retry_after == 40.0


def test_with_every_lane_shut_no_call_is_made_and_the_earliest_time_is_told() -> None:
    painters = two()
    painters.script("first", fails("rate_limited", retry_after=90.0))
    painters.script("second", fails("rate_limited", retry_after=40.0))
    failure(painters, AllAttemptsFailed)
    painters.time.now += 10
    error = failure(painters, NoLaneAvailable)
    assert len(painters.calls) == 2
    assert error.retry_after == 30.0
    assert [(each.lane, each.reason) for each in error.plan.excluded] == [
        ("first/painter", "cooling_down"), ("second/painter", "cooling_down"),
    ]  # fmt: skip
    assert "second/painter: rate_limited: again in 30 s" in str(error)


# Money


def test_attempts_that_may_be_billed_use_up_the_budget() -> None:
    painters = two()
    painters.script("first", fails("timeout", "maybe"))
    error = failure(painters, BudgetExceeded, max_cost=0.10)
    assert painters.asked == [("first", "1K")]
    assert str(error).startswith("max_cost $0.1 does not cover another attempt: first/painter at 1K: timeout")


def test_attempts_that_were_free_do_not() -> None:
    painters = two()
    painters.script("first", fails("overloaded", "no"))
    assert painters.draw(max_cost=0.06).total_cost.usd == Decimal("0.06")


def test_the_budget_may_be_used_to_the_cent() -> None:
    painters = two()
    painters.script("first", fails("timeout", "maybe"))
    assert painters.draw(max_cost=0.11).total_cost.usd == Decimal("0.11")


def test_a_budget_that_fits_no_lane_is_told_without_a_call() -> None:
    painters = two()
    error = failure(painters, BudgetExceeded, max_cost=0.04)
    assert painters.calls == []
    assert {each.reason for each in error.plan.excluded} == {"max_cost"}
    assert "first/painter: costs $0.05 for 1 image(s), over the limit of $0.04" in str(error)


def test_a_limit_that_no_lane_fits_is_a_matter_of_money_though_other_lanes_are_out_for_good() -> None:
    lanes = [{"model": "gemini-3-pro-image", "refused_countries": ["HK"]}, {"model": "gemini-3.1-flash-image"}]
    table = {"kind": "google", "base_url": "http://127.0.0.1:9", "api_key": "sk-never-sent-0123", "lanes": lanes}
    loaded = {"gateway": {"egress_country": "HK"}, "providers": {"p": table}}
    with Gateway.from_config(loaded) as gateway, pytest.raises(BudgetExceeded, match="over the limit"):
        gateway.generate("x", max_cost=0.001)
