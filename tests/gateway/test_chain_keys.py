"""A provider's keys are used in turn when one is refused or exhausted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from gateway import AllAttemptsFailed, ContentBlocked
from providers.outcome import Outcome, OutcomeName
from tests.gateway.upstreams import Studio, draws, fails, lane, relay, studio


def with_keys(*keys: str, max_attempts: int = 4) -> Studio:
    return studio(
        {"max_attempts": max_attempts}, first=relay(keys=keys), second=relay(lane(price=0.06), keys=("other",))
    )


def used(painters: Studio) -> list[str | None]:
    return [call.key for call in painters.calls]


@pytest.mark.parametrize("trouble", ["auth", "balance", "quota_exhausted"])
def test_the_next_key_is_used_on_the_same_lane(trouble: OutcomeName) -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails(trouble))
    result = painters.draw(size="4K")
    assert used(painters) == ["a", "b"]
    assert painters.asked == [("first", "4K"), ("first", "4K")]
    assert [attempt.outcome for attempt in result.attempts] == [trouble, "ok"]


def test_a_key_without_balance_is_passed_over_for_a_quarter_of_an_hour() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("balance"))
    painters.draw()
    painters.draw()
    painters.time.now += 900
    painters.draw()
    assert used(painters) == ["a", "b", "b", "a"]


def test_a_refused_key_is_checked_for_free_at_once_and_every_ten_minutes_and_not_used_meanwhile() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("auth"))
    for _ in range(5):  # every five minutes
        painters.draw()
        painters.time.now += 295
    assert used(painters) == ["a", *["b"] * 5]
    assert [(name, key) for name, key, _ in painters.checks] == [("first", "a")] * 3
    gaps = [later[2] - earlier[2] for earlier, later in pairwise(painters.checks)]
    assert all(600 <= gap <= 605 for gap in gaps)


def test_a_refused_key_that_a_check_finds_good_is_used_again() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("auth"))
    painters.draw()
    painters.good_keys.add("a")
    painters.time.now += 600
    painters.draw()
    assert used(painters) == ["a", "b", "a"]


def test_a_lane_whose_only_key_is_refused_stays_shut_until_a_check_finds_it_good() -> None:
    painters = with_keys("a")
    painters.script("first", fails("auth"))
    painters.draw()
    painters.time.now += 86_400
    painters.draw()
    shown = painters.gateway.health()[0]
    assert (used(painters), shown.state, shown.until) == (["a", "other", "other"], "latched", None)
    painters.good_keys.add("a")
    painters.time.now += 600
    painters.draw()
    assert painters.gateway.health()[0].state == "closed"


def test_a_refusal_about_one_model_does_not_keep_the_others_shut() -> None:
    """403 for a model that the account may not use: the check finds the key good."""
    painters = studio(first=relay(lane("gated", price=0.01), lane("open", price=0.02), keys=("a",)))
    painters.good_keys.add("a")
    painters.script("first", fails("auth"))
    with pytest.raises(AllAttemptsFailed):
        painters.draw()
    assert [each.state for each in painters.gateway.health()] == ["closed", "closed"]
    painters.script("first", fails("auth"))
    assert painters.draw().model == "open"


def test_the_trouble_of_one_key_is_not_held_against_the_lane() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("auth"))
    painters.draw()
    health = painters.gateway.health()[0]
    assert health.state == "closed"
    assert health.success_rate == pytest.approx(10 / 11)


def test_when_every_key_is_in_trouble_the_lane_is_shut_and_another_is_asked() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("auth"), fails("balance"))
    result = painters.draw()
    assert used(painters) == ["a", "b", "other"]
    assert result.lane == "second/painter"
    assert painters.gateway.health()[0].reason == "balance"


def test_a_lane_with_one_key_is_shut_by_its_trouble() -> None:
    painters = with_keys("a")
    painters.script("first", fails("auth"))
    painters.draw()
    assert used(painters) == ["a", "other"]
    assert painters.gateway.health()[0].reason == "auth"


@pytest.mark.parametrize("other", ["overloaded", "rate_limited", "blocked", "region", "model_gone"])
def test_another_key_is_not_tried_for_what_no_key_would_change(other: OutcomeName) -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails(other))
    with suppress(ContentBlocked):
        painters.draw()
    assert used(painters)[:2] != ["a", "b"]


def test_each_key_counts_as_an_attempt() -> None:
    painters = with_keys("a", "b", "c", max_attempts=2)
    painters.script("first", *[fails("auth")] * 3)
    with pytest.raises(AllAttemptsFailed):
        painters.draw()
    assert used(painters) == ["a", "b"]


def test_side_by_side_calls_refused_with_one_key_all_move_to_the_next() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("auth"), fails("auth"), draws(), draws())
    result = painters.draw(n=2)
    assert used(painters) == ["a", "a", "b", "b"]
    assert len(result.images) == 2


def test_a_refused_key_counts_whatever_else_failed_beside_it() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("auth", seconds=1.0), fails("overloaded", seconds=2.0))
    painters.draw(n=2)
    assert used(painters) == ["a", "a", "b", "b"]


def test_closing_gives_up_a_check_under_way() -> None:
    painters = with_keys("a", "b")
    painters.script("first", fails("auth"))

    async def job() -> int:
        async def hangs(timeout: float) -> Outcome:
            await asyncio.sleep(3600)
            raise AssertionError("unreachable")

        painters.adapters[0].check = hangs  # type: ignore[method-assign]
        await painters.gateway.generate("a fox")
        await asyncio.sleep(1)
        await painters.gateway.aclose()
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert painters.time.run(job) == 1  # this one
