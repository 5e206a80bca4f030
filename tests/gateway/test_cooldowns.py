"""How long a lane rests, by what failed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.cooldowns import NO_ANSWERS, Answers, Cause, Cooldown, answered, causes_rest, rest, size_wait
from providers.outcome import OutcomeName

NOW = 50_000.0


def length(outcome: OutcomeName, luck: float = 0.0, **cause: object) -> float:
    """Seconds of the first rest after *outcome*."""
    return rest(None, Cause(outcome=outcome, luck=luck, **cause), NOW).until - NOW  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "first", "then", "at_most"),
    [
        ("rate_limited", 20, 40, 60),
        ("balance", 900, 1800, 21_600),
        ("region", 21_600, 21_600, 21_600),
        ("model_gone", 3600, 7200, 86_400),
    ],
)
def test_a_rest_doubles_with_each_repetition_up_to_its_cap(
    outcome: OutcomeName, first: float, then: float, at_most: float
) -> None:
    now, cooldown, lengths = NOW, None, []
    for _ in range(30):
        cooldown = rest(cooldown, Cause(outcome=outcome, luck=0.0), now)
        lengths.append(cooldown.until - now)
        now = cooldown.until
    assert (lengths[0], lengths[1], max(lengths), lengths[-1]) == (first, then, at_most, at_most)


@pytest.mark.parametrize("outcome", ["overloaded", "transport", "timeout", "bad_response", "ok", "no_image", "blocked"])
def test_what_the_breaker_or_the_caller_has_to_answer_for_rests_nothing(outcome: OutcomeName) -> None:
    assert not causes_rest(outcome)


def test_calls_that_meet_the_same_limit_together_are_one_occasion() -> None:
    first = rest(None, Cause(outcome="rate_limited", luck=0.0), NOW)
    second = rest(first, Cause(outcome="rate_limited", luck=0.0), NOW + 19.9)
    assert second.streak == 1
    assert rest(second, Cause(outcome="rate_limited", luck=0.0), second.until).streak == 2


def test_a_rest_is_never_shortened() -> None:
    first = rest(None, Cause(outcome="rate_limited", hint=100.0, luck=0.0), NOW)
    assert rest(first, Cause(outcome="rate_limited", hint=2.0, luck=0.0), NOW + 1).until == NOW + 100


@pytest.mark.parametrize(("luck", "seconds"), [(0.0, 20), (0.5, 22), (1.0, 24)])
def test_luck_lengthens_a_rate_limit_and_never_shortens_it(luck: float, seconds: float) -> None:
    assert length("rate_limited", luck) == pytest.approx(seconds)


@pytest.mark.parametrize("outcome", ["balance", "auth", "region", "model_gone"])
def test_luck_moves_no_other_rest(outcome: OutcomeName) -> None:
    assert length(outcome, 0.0) == length(outcome, 1.0)


@pytest.mark.parametrize(("hint", "seconds"), [(1.0, 1), (7.5, 7.5), (120.0, 120), (0.2, 1), (500.0, 120)])
def test_a_hint_decides_on_a_rate_limit_within_1_to_120_seconds(hint: float, seconds: float) -> None:
    assert length("rate_limited", hint=hint) == seconds
    assert length("rate_limited", luck=1.0, hint=hint) == pytest.approx(seconds * 1.2)


@pytest.mark.parametrize("hint", [math.nan, math.inf, -math.inf, -5.0, 86_401.0])
def test_a_hint_that_cannot_be_meant_is_as_none(hint: float) -> None:
    assert length("rate_limited", hint=hint) == 20


@pytest.mark.parametrize("outcome", ["balance", "auth", "region", "model_gone", "quota_exhausted"])
def test_a_hint_changes_nothing_that_lasts_longer(outcome: OutcomeName) -> None:
    assert length(outcome, hint=47.0) == length(outcome)


@pytest.mark.parametrize(("luck", "more"), [(0.0, 0), (0.5, 60), (1.0, 120)])
def test_a_days_quota_rests_until_its_reset_and_up_to_two_minutes(luck: float, more: float) -> None:
    assert length("quota_exhausted", luck, reset=3000.0) == 3000 + more


def test_a_days_quota_whose_reset_is_unknown_rests_a_day() -> None:
    assert length("quota_exhausted") == 86_400


@pytest.mark.parametrize(
    ("outcome", "lasting", "latched"),
    [("auth", False, True), ("quota_exhausted", True, True), ("quota_exhausted", False, False), ("balance", True, True),
     ("rate_limited", False, False)],
)  # fmt: skip
def test_what_time_alone_does_not_heal_is_latched(outcome: OutcomeName, lasting: bool, latched: bool) -> None:
    assert rest(None, Cause(outcome=outcome, lasting=lasting), NOW).latched is latched


# One size


def told(answers: str, before: Answers = NO_ANSWERS, now: float = NOW) -> Answers:
    """What is known after these answers: ``+`` was as asked, ``-`` was not."""
    for answer in answers:
        before = answered(before, answer == "+", now)
    return before


@pytest.mark.parametrize("answers", ["---", "-+-+-", "-+++++++--", "++++++++++---", "-++++-+++-"])
def test_three_of_the_last_ten_rest_a_size_for_ten_minutes(answers: str) -> None:
    assert size_wait({"4K": told(answers)}, "4K", NOW) == 600
    assert size_wait({"4K": told(answers[:-1])}, "4K", NOW) is None


def test_what_is_more_than_ten_answers_ago_does_not_count() -> None:
    assert size_wait({"4K": told("-++++++++--")}, "4K", NOW) is None


def test_no_other_size_rests() -> None:
    assert size_wait({"4K": told("---")}, "1K", NOW) is None


def test_the_rest_of_a_size_doubles_up_to_two_hours() -> None:
    now, answers, lengths = NOW, NO_ANSWERS, []
    for _ in range(7):
        answers = told("---", answers, now)
        lengths.append(answers.until - now)
        now = answers.until
    assert lengths == [600, 1200, 2400, 4800, 7200, 7200, 7200]


def test_ten_good_answers_end_the_doubling_of_a_size() -> None:
    rested = told("---")
    nine, ten = (told("+" * good, rested, rested.until) for good in (9, 10))
    assert told("---", nine, rested.until).until - rested.until == 1200
    assert told("---", ten, rested.until).until - rested.until == 600


def test_answers_that_were_on_their_way_when_a_size_was_put_to_rest_lengthen_nothing() -> None:
    """Six calls side by side that all come back without an image are one occasion."""
    assert size_wait({"4K": told("------")}, "4K", NOW) == 600


def test_a_refused_key_rests_until_it_is_changed_or_found_good() -> None:
    assert length("auth") == float("inf")


OUTCOMES = st.sampled_from(["rate_limited", "quota_exhausted", "balance", "region", "model_gone"])
CAUSES = st.builds(
    Cause,
    outcome=OUTCOMES,
    hint=st.none() | st.floats(),
    reset=st.none() | st.floats(0.01, 90_000),
    lasting=st.booleans(),
    luck=st.floats(0, 1),
)


@given(st.lists(st.tuples(CAUSES, st.floats(0, 1e5)), max_size=60))
def test_a_rest_ends_after_at_most_a_day_and_two_minutes(history: list[tuple[Cause, float]]) -> None:
    """25 hours on the day on which the clocks go back."""
    now = NOW
    rests: dict[OutcomeName, Cooldown] = {}
    for cause, pause in history:
        now += pause
        before = rests.get(cause.outcome)
        rests[cause.outcome] = rest(before, cause, now)
        assert now < rests[cause.outcome].until <= now + 90_120 or cause.reset == 0
        assert before is None or rests[cause.outcome].until >= before.until
