"""What happens when a lane fails: where the chain goes next, where it stops, and what it says in the end."""

from __future__ import annotations

import logging
import pickle
from decimal import Decimal
from typing import Any

import pytest

from gateway import (
    AllAttemptsFailed,
    BudgetExceeded,
    ContentBlocked,
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    NoLaneAvailable,
)
from providers.outcome import Billed, Outcome, OutcomeName
from tests.gateway.upstreams import (
    Studio,
    crashes,
    draws,
    fails,
    hangs,
    image,
    lane,
    picture_of,
    relay,
    studio,
    two,
)

FAILURES: tuple[OutcomeName, ...] = (
    "rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "overloaded", "transport", "timeout",
    "bad_response", "no_image", "invalid",
)  # fmt: skip


def failure(painters: Studio, kind: type[GatewayError] = GatewayError, **fields: Any) -> GatewayError:
    """The error that a request ends in; it comes back from a pickle as it was."""
    with pytest.raises(kind) as caught:
        painters.draw(**fields)
    error = caught.value
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), vars(back)) == (str(error), vars(error))
    return error


@pytest.mark.parametrize("name", FAILURES)
def test_another_lane_is_asked_for_the_same_size_after_any_failure(name: OutcomeName) -> None:
    painters = two()
    painters.script("first", fails(name))
    result = painters.draw(size="4K")
    assert painters.asked == [("first", "4K"), ("second", "4K")]
    assert [attempt.outcome for attempt in result.attempts] == [name, "ok"]
    assert (result.lane, result.provider, result.model) == ("second/painter", "second", "painter")
    assert (result.size, result.downgraded, result.warnings) == ("4K", False, ())


def test_an_attempt_tells_what_happened() -> None:
    painters = two()
    painters.script(
        "first", fails("overloaded", "maybe", seconds=3.0, retry_after=7.0, detail="busy\x1b[2J\n" + "x " * 200)
    )
    attempt = painters.draw(size="2K").attempts[0]
    assert (attempt.lane, attempt.size, attempt.outcome, attempt.billed) == (
        "first/painter",
        "2K",
        "overloaded",
        "maybe",
    )
    assert (attempt.duration, attempt.retry_after) == (3.0, 7.0)
    assert attempt.detail.startswith("busy")
    assert attempt.detail.isprintable()
    assert len(attempt.detail) <= 200


def test_the_total_adds_what_failed_attempts_did_or_may_have_cost() -> None:
    painters = studio(
        a=relay(lane(price=0.01)), b=relay(lane(price=0.02)), c=relay(lane(price=0.04)), d=relay(lane(price=0.08))
    )
    painters.script("a", fails("overloaded", "no"))
    painters.script("b", fails("timeout", "maybe"))
    painters.script("c", fails("no_image", "yes"))
    result = painters.draw()
    assert result.cost.usd == Decimal("0.08")
    assert result.total_cost.usd == Decimal("0.14")
    assert [attempt.cost and attempt.cost.usd for attempt in result.attempts] == [
        None, Decimal("0.02"), Decimal("0.04"), Decimal("0.08"),
    ]  # fmt: skip


def test_elapsed_is_the_whole_request_and_duration_each_attempt() -> None:
    painters = two()
    painters.script("first", fails("overloaded", seconds=2.0))
    result = painters.draw()
    assert [attempt.duration for attempt in result.attempts] == [2.0, 5.0]
    assert result.elapsed == 7.0


def test_when_nothing_is_left_the_error_tells_every_attempt() -> None:
    painters = two()
    painters.script("first", fails("overloaded", detail="busy"))
    painters.script("second", fails("timeout", "maybe", detail="slow"))
    error = failure(painters, AllAttemptsFailed, size="1K")
    assert [attempt.outcome for attempt in error.attempts] == ["overloaded", "timeout"]
    assert str(error) == (
        "no attempt succeeded: first/painter at 1K: overloaded (busy); second/painter at 1K: timeout (slow); "
        "at most $0.06 was spent"
    )


def test_a_failed_lane_may_be_asked_for_a_smaller_size_if_the_failure_may_lie_there() -> None:
    painters = two()
    painters.script("first", fails("overloaded"))
    painters.script("second", fails("overloaded"))
    result = painters.draw(size="4K")
    assert painters.asked == [("first", "4K"), ("second", "4K"), ("first", "2K")]
    assert (result.size, result.requested_size, result.downgraded) == ("2K", "4K", True)
    assert result.warnings == ("4K could not be had: first/painter was asked for 2K instead",)


@pytest.mark.parametrize(
    "name", ["rate_limited", "balance", "auth", "region", "model_gone", "quota_exhausted", "invalid", "no_image"]
)
def test_a_lane_is_not_asked_again_at_a_smaller_size_for_what_concerns_all_of_it(name: OutcomeName) -> None:
    painters = studio(first=relay())
    painters.script("first", fails(name))
    assert len(failure(painters, size="4K").attempts) == 1


def test_a_lane_that_shuts_during_the_request_is_passed_over() -> None:
    painters = studio(fallback={"max_attempts": 9}, first=relay())
    painters.script("first", *[fails("timeout", "maybe")] * 9)
    error = failure(painters, AllAttemptsFailed, size="4K", min_size="512", deadline=900)
    assert [attempt.size for attempt in error.attempts] == ["4K", "2K"]  # a weight of 4 opens the breaker


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_calls_are_made_than_max_attempts(limit: int) -> None:
    painters = studio(fallback={"max_attempts": limit}, **{name: relay() for name in ("a", "b", "c", "d")})
    for name in painters.config.providers:
        painters.script(name, fails("overloaded"))
    assert len(failure(painters, AllAttemptsFailed).attempts) == limit


def test_the_plan_lists_every_step_whatever_max_attempts_is() -> None:
    assert len(two(fallback={"max_attempts": 1}).gateway.plan("a fox", size="4K").candidates) == 4


# Refusals


def test_a_refusal_of_the_content_stops_the_chain() -> None:
    painters = two()
    painters.script("first", fails("blocked", detail="SAFETY"))
    error = failure(painters, ContentBlocked)
    assert painters.asked == [("first", "1K")]
    assert [attempt.outcome for attempt in error.attempts] == ["blocked"]
    assert str(error).startswith("the model refused to draw this: first/painter at 1K: blocked (SAFETY)")


def test_a_refusal_switches_where_the_policy_says_so() -> None:
    painters = two(fallback={"on_blocked": "switch"})
    painters.script("first", fails("blocked"))
    assert painters.draw().lane == "second/painter"


def test_a_refusal_by_all_is_content_blocked_under_the_policy_too() -> None:
    painters = two(fallback={"on_blocked": "switch"})
    painters.script("first", fails("blocked"))
    painters.script("second", fails("overloaded"))
    assert len(failure(painters, ContentBlocked).attempts) == 2


def test_a_refusal_costs_the_lane_nothing() -> None:
    painters = two()
    painters.script("first", fails("blocked"))
    failure(painters, ContentBlocked)
    health = painters.gateway.health()[0]
    assert (health.state, health.success_rate) == ("closed", 0.9)


def test_without_an_image_one_other_lane_is_asked() -> None:
    painters = studio(first=relay(), second=relay(), third=relay())
    for name in ("first", "second"):
        painters.script(name, fails("no_image"))
    error = failure(painters, AllAttemptsFailed)
    assert painters.asked == [("first", "1K"), ("second", "1K")]
    assert {attempt.outcome for attempt in error.attempts} == {"no_image"}


def test_without_an_image_the_chain_stops_where_the_policy_says_so() -> None:
    painters = two(fallback={"on_no_image": "stop"})
    painters.script("first", fails("no_image"))
    assert len(failure(painters, AllAttemptsFailed).attempts) == 1


def test_an_answer_that_claims_success_without_an_image_is_no_image() -> None:
    async def boasts(request: object, exchange: object) -> Outcome:
        return Outcome(name="ok", billed="yes")

    painters = two()
    painters.script("first", boasts)
    assert [attempt.outcome for attempt in painters.draw().attempts] == ["no_image", "ok"]


def test_a_request_that_every_lane_refuses_is_invalid() -> None:
    painters = two()
    painters.script("first", fails("invalid"))
    painters.script("second", fails("invalid"))
    error = failure(painters, InvalidRequest)
    assert [attempt.outcome for attempt in error.attempts] == ["invalid", "invalid"]
    assert str(error).startswith("every lane that was asked refused the request: first/painter")


def test_one_other_failure_makes_it_more_than_an_invalid_request() -> None:
    painters = two()
    painters.script("first", fails("invalid"))
    painters.script("second", fails("overloaded"))
    failure(painters, AllAttemptsFailed)


@pytest.mark.parametrize(("billed", "usd"), [("maybe", "0.05")])
def test_a_bug_in_an_adapter_is_a_bad_response_that_may_be_billed(billed: Billed, usd: str) -> None:
    painters = two()
    painters.script("first", crashes(KeyError("sk-secret-0123456789")))
    attempt = painters.draw().attempts[0]
    assert (attempt.outcome, attempt.billed, attempt.detail) == (
        "bad_response",
        billed,
        "the adapter failed with KeyError",
    )
    assert attempt.cost is not None
    assert attempt.cost.usd == Decimal(usd)


# Time


def test_an_attempt_leaves_the_time_that_another_lane_needs() -> None:
    painters = two()
    painters.script("first", hangs())
    result = painters.draw(deadline=60)
    assert [(attempt.outcome, attempt.billed, attempt.duration) for attempt in result.attempts] == [
        ("timeout", "maybe", 50.0), ("ok", "yes", 5.0),
    ]  # fmt: skip
    assert result.attempts[0].detail == "no answer within 50 s"


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
    assert painters.calls[0].request.timeout == 50.0


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
    painters = two()
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
        ("quota_exhausted", 47.0, 3600.0),
        ("overloaded", None, None),
    ],
)
def test_an_error_tells_when_another_try_makes_sense(
    name: OutcomeName, hint: float | None, expected: float | None
) -> None:
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


# Nothing to try


def test_a_request_that_no_lane_could_ever_serve_is_both_invalid_and_without_a_lane() -> None:
    painters = two()
    error = failure(painters, NoLaneAvailable, model="sculptor")
    assert isinstance(error, InvalidRequest)
    assert {each.reason for each in error.plan.excluded} == {"model"}


def test_a_lane_that_may_serve_later_is_no_fault_of_the_request() -> None:
    painters = studio(first=relay(lane(retired="2026-10-01")))
    error = failure(painters, NoLaneAvailable)
    assert not isinstance(error, InvalidRequest)
    assert "retired on 2026-10-01" in str(error)


def test_a_provider_that_is_not_configured_cannot_be_wished_for() -> None:
    painters = two()
    with pytest.raises(InvalidRequest, match="providers: 'secnd' is not configured; configured are: first, second"):
        painters.draw(providers={"order": ["secnd"]})
    assert painters.calls == []


# What is sent, and what is logged


def test_the_lane_gets_what_it_supports_and_the_result_warns_of_the_rest() -> None:
    painters = studio(first=relay(lane(capabilities=["seed", "temperature"], upstream_model="painter-001")))
    result = painters.draw(seed=7, temperature=0.5, grounding=True, aspect_ratio="16:9", size="2K")
    sent = painters.calls[0].request
    assert (sent.model, sent.prompt, sent.size, sent.aspect_ratio, sent.n) == ("painter-001", "a fox", "2K", "16:9", 1)
    assert (sent.seed, sent.temperature, sent.grounding) == (7, 0.5, False)
    assert result.warnings == ("first/painter does not support grounding: not sent",)


def test_a_model_without_a_size_field_is_asked_without_one() -> None:
    painters = studio(first=relay(lane("gemini-2.5-flash-image", sizes=("1K",))))
    painters.draw(model="gemini-2.5-flash-image")
    assert painters.asked == [("first", None)]


def test_text_beside_the_image_is_on_the_result() -> None:
    painters = two()
    painters.script("first", draws(text="Here you are."))
    assert painters.draw().text == "Here you are."


def test_one_event_is_logged_for_each_attempt_and_one_for_the_request(caplog: pytest.LogCaptureFixture) -> None:
    painters = two()
    painters.script("first", fails("overloaded"))
    with caplog.at_level(logging.INFO, "image_gateway"):
        result = painters.draw(prompt="the mayor", tags={"team": "posters"})
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in lines] == ["image_attempt", "image_attempt", "image_request"]
    assert all(result.request_id in line and "posters" in line and "mayor" not in line for line in lines)


def test_a_picture_larger_than_asked_is_welcome() -> None:
    painters = two()
    painters.script("first", draws(picture_of("4K")))
    result = painters.draw(size="1K")
    assert (result.size, result.downgraded, result.attempts[0].outcome) == ("4K", False, "ok")


def test_images_are_as_the_upstream_gave_them() -> None:
    painters = two()
    drawn = image(1100, 1000, "image/webp")
    painters.script("first", draws(drawn))
    assert painters.draw().images == (drawn,)
