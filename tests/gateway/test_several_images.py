"""Several images: calls side by side, partial success, and the limits that hold for all of them together."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest

from gateway import AllAttemptsFailed, BudgetExceeded, ContentBlocked, DeadlineExceeded
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from tests.gateway.upstreams import Studio, crashes, draws, fails, hangs, image, lane, picture_of, relay, studio, two


def wanted(painters: Studio) -> list[int]:
    return [call.request.n for call in painters.calls]


def test_a_lane_that_draws_one_image_a_call_is_called_n_times_at_once() -> None:
    painters = two()
    result = painters.draw(n=4)
    assert painters.asked == [("first", "1K")] * 4
    assert {call.at for call in painters.calls} == {1000.0}
    assert (len(result.images), len(result.attempts), result.elapsed) == (4, 4, 5.0)
    assert result.cost.usd == Decimal("0.20")
    assert result.warnings == ()


def test_a_lane_that_draws_several_images_a_call_is_asked_for_as_many() -> None:
    painters = studio(first=relay(lane(n=4)))
    result = painters.draw(n=10)
    assert wanted(painters) == [4, 4, 2]
    assert len(result.images) == 10
    assert result.cost.usd == Decimal("0.50")


def test_the_images_that_came_are_kept_and_the_rest_asked_elsewhere() -> None:
    painters = two()
    painters.script("first", draws(), fails("overloaded"), draws())
    result = painters.draw(n=3)
    assert painters.asked == [("first", "1K")] * 3 + [("second", "1K")]
    assert len(result.images) == 3
    assert result.lane == "first/painter"


def test_fewer_images_than_asked_come_with_a_warning() -> None:
    painters = studio(first=relay())
    painters.script("first", draws(), fails("overloaded"), fails("overloaded"))
    result = painters.draw(n=3)
    assert len(result.images) == 1
    assert result.warnings == ("1 of 3 images came",)
    assert [attempt.outcome for attempt in result.attempts].count("overloaded") == 2


def test_a_call_that_returns_fewer_images_is_made_up_for() -> None:
    painters = studio(first=relay(lane(n=4)), second=relay(lane(price=0.06, n=4)))
    painters.script("first", draws(picture_of("1K"), picture_of("1K")))
    result = painters.draw(n=4)
    assert wanted(painters) == [4, 2]
    assert len(result.images) == 4


def test_more_images_than_asked_are_all_returned() -> None:
    painters = two()
    painters.script("first", draws(picture_of("1K"), picture_of("1K")))
    assert len(painters.draw().images) == 2


def test_a_refusal_beside_a_success_keeps_the_success() -> None:
    painters = two()
    painters.script("first", draws(), fails("blocked"))
    result = painters.draw(n=2)
    assert painters.asked == [("first", "1K")] * 2
    assert result.warnings == ("1 of 2 images came",)


def test_only_refusals_are_content_blocked() -> None:
    painters = two()
    painters.script("first", fails("blocked"), fails("blocked"))
    with pytest.raises(ContentBlocked) as caught:
        painters.draw(n=2)
    assert len(caught.value.attempts) == 2


def test_a_bug_in_one_call_does_not_cost_the_images_of_the_others() -> None:
    painters = studio(first=relay())
    painters.script("first", draws(), crashes(RuntimeError("a bug")))
    result = painters.draw(n=2)
    assert len(result.images) == 1
    assert sorted(attempt.outcome for attempt in result.attempts) == ["bad_response", "ok"]


def test_kept_images_make_up_for_those_that_did_not_come() -> None:
    painters = studio({"on_wrong_size": "fallback"}, first=relay(), second=relay(lane(price=0.06)))
    painters.script("first", draws(image(2000, 2000)), draws(image(2100, 2100)))
    painters.script("second", draws(), fails("overloaded"))
    result = painters.draw(n=2, size="4K", fallback=["switch"])
    assert [each.width for each in result.images] == [4096, 2100]
    assert (result.size, result.downgraded) == ("2K", True)


def test_every_kept_image_is_returned_if_nothing_better_comes() -> None:
    painters = studio({"on_wrong_size": "fallback"}, first=relay())
    painters.script("first", draws(image(2000, 2000)), draws(image(2100, 2100)))
    result = painters.draw(n=2, size="4K", fallback=["switch"])
    assert [each.width for each in result.images] == [2100, 2000]


def test_the_smallest_image_is_the_size_of_the_result() -> None:
    painters = two()
    painters.script("first", draws(picture_of("4K")), draws(picture_of("2K")))
    result = painters.draw(n=2, size="4K")
    assert (result.size, result.downgraded) == ("2K", True)


def test_each_further_image_has_a_call_of_its_own_beyond_max_attempts() -> None:
    painters = studio({"max_attempts": 1}, first=relay(), second=relay(lane(price=0.06)))
    assert len(painters.draw(n=5).attempts) == 5


def test_failed_calls_for_several_images_are_limited_too() -> None:
    painters = studio({"max_attempts": 2}, **{name: relay() for name in ("a", "b", "c")})
    for name in painters.config.providers:
        painters.script(name, *[fails("overloaded")] * 5)
    with pytest.raises(AllAttemptsFailed) as caught:
        painters.draw(n=3)
    assert len(caught.value.attempts) == 4


def test_the_budget_is_never_overdrawn_by_a_call_for_several_images() -> None:
    """After $0.10 that may be gone, $0.15 are left: three images at $0.05, not the four that one call could draw."""
    painters = studio(first=relay(lane(price=0.025, n=4)), second=relay(lane(price=0.05, n=4)))
    painters.script("first", fails("timeout", "maybe"))
    result = painters.draw(n=4, max_cost=0.25)
    assert wanted(painters) == [4, 3]
    assert result.total_cost.usd == Decimal("0.25")
    assert result.warnings == ("3 of 4 images came",)


def test_the_budget_limits_how_many_calls_are_made() -> None:
    painters = two()
    painters.script("first", fails("timeout", "maybe"), fails("timeout", "maybe"), fails("timeout", "maybe"))
    result = painters.draw(n=3, max_cost=0.27)
    assert painters.asked == [("first", "1K")] * 3 + [("second", "1K")] * 2
    assert result.total_cost.usd == Decimal("0.27")


def test_a_budget_that_does_not_cover_all_the_images_is_told_before_any_call() -> None:
    painters = two()
    with pytest.raises(BudgetExceeded):
        painters.draw(n=3, max_cost=0.14)
    assert painters.calls == []


def test_no_more_calls_are_under_way_than_the_provider_takes() -> None:
    under_way, most = 0, 0

    async def counts(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(5)
        under_way -= 1
        return await draws(seconds=0)(request, exchange)

    painters = studio(first=relay(max_concurrency=2))
    painters.script("first", *[counts] * 5)
    assert len(painters.draw(n=5).images) == 5
    assert most == 2


def test_waiting_for_room_is_no_part_of_an_attempts_duration() -> None:
    painters = studio(first=relay(max_concurrency=1))
    painters.script("first", draws(seconds=20.0), draws(seconds=30.0))
    result = painters.draw(n=2, deadline=60)
    assert [attempt.duration for attempt in result.attempts] == [20.0, 30.0]
    assert [call.request.timeout for call in painters.calls] == [60.0, 40.0]


def test_a_call_that_waited_too_long_for_room_is_not_made_and_says_nothing_about_the_lane() -> None:
    painters = studio({"max_attempts": 1}, first=relay(max_concurrency=1))
    painters.script("first", draws(seconds=51.0))
    result = painters.draw(n=2, deadline=60)
    assert len(painters.calls) == len(result.attempts) == 1
    assert "1 of 2 images came" in result.warnings
    assert painters.gateway.health()[0].success_rate == pytest.approx(10 / 11)


def test_a_call_that_never_got_room_is_not_billed() -> None:
    painters = studio({"max_attempts": 1}, first=relay(max_concurrency=1, timeout=30))
    painters.script("first", hangs(), hangs())
    with pytest.raises(DeadlineExceeded) as caught:
        painters.draw(n=2, deadline=60)
    assert [attempt.billed for attempt in caught.value.attempts] == ["maybe", "maybe"]
    assert painters.time.now == 1060.0  # one after the other, and then the time was over
