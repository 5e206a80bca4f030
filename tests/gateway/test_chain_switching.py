"""What happens when a lane fails: where the chain goes next, where it stops, and what it says in the end."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest

from gateway import (
    AllAttemptsFailed,
    ContentBlocked,
    InvalidRequest,
    NoLaneAvailable,
)
from providers.outcome import Billed, Outcome, OutcomeName
from tests.gateway.endings import failure
from tests.gateway.upstreams import (
    crashes,
    draws,
    fails,
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
    painters.script("first", fails("bad_response", "no", detail="busy"))
    painters.script("second", fails("timeout", "maybe", detail="slow"))
    error = failure(painters, AllAttemptsFailed, size="1K")
    assert [attempt.outcome for attempt in error.attempts] == ["bad_response", "timeout"]
    assert str(error) == (
        "no attempt succeeded: first/painter at 1K: bad_response (busy); second/painter at 1K: timeout (slow); "
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
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
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
