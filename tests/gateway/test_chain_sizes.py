"""Sizes: what is asked for step by step, what is made of what comes, and the floor below which nothing is delivered."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway import AllAttemptsFailed
from providers.outcome import Billed
from providers.sizes import Size
from tests.gateway.upstreams import Studio, draws, fails, image, lane, picture_of, relay, studio, two


def overloaded_at(*sizes: Size) -> Studio:
    """Two lanes, each overloaded for as many calls as there are *sizes*."""
    painters = two(fallback={"max_attempts": 9})
    for name in ("first", "second"):
        painters.script(name, *[fails("overloaded")] * len(sizes))
    return painters


def test_4k_is_downgraded_to_2k_with_a_warning() -> None:
    result = overloaded_at("4K").draw(size="4K")
    assert (result.requested_size, result.size, result.downgraded) == ("4K", "2K", True)
    assert [attempt.size for attempt in result.attempts] == ["4K", "4K", "2K"]
    assert result.warnings == ("4K could not be had: first/painter was asked for 2K instead",)


def test_4k_is_not_downgraded_below_2k_unasked() -> None:
    painters = overloaded_at("4K", "2K", "4K")
    with pytest.raises(AllAttemptsFailed) as caught:
        painters.draw(size="4K")
    assert [attempt.size for attempt in caught.value.attempts] == ["4K", "4K", "2K", "2K", "4K"]  # one free retry


def test_a_floor_equal_to_the_size_forbids_downgrading() -> None:
    painters = overloaded_at("4K", "4K")
    with pytest.raises(AllAttemptsFailed):
        painters.draw(size="4K", min_size="4K")
    assert {size for _, size in painters.asked} == {"4K"}


def test_a_lower_floor_allows_more_steps() -> None:
    assert overloaded_at("4K", "2K").draw(size="4K", min_size="1K").size == "1K"


def test_downgrading_first_stays_with_the_lane() -> None:
    painters = overloaded_at("4K")
    painters.draw(size="4K", fallback=["downgrade", "switch"])
    assert painters.asked == [("first", "4K"), ("first", "2K")]


@pytest.mark.parametrize(("billed", "asked"), [("no", ["4K", "4K", "4K"]), ("maybe", ["4K", "4K", "2K"])])
def test_a_lane_that_was_not_even_reached_is_not_asked_for_less(billed: Billed, asked: list[Size]) -> None:
    painters = two()
    for name in ("first", "second"):
        painters.script(name, *[fails("transport", billed)] * (2 if billed == "no" else 1))
    if billed == "no":
        with pytest.raises(AllAttemptsFailed):
            painters.draw(size="4K")
    else:
        assert painters.draw(size="4K").size == "2K"
    assert [size for _, size in painters.asked] == asked


def test_an_empty_fallback_is_one_attempt() -> None:
    painters = overloaded_at("4K")
    with pytest.raises(AllAttemptsFailed) as caught:
        painters.draw(size="4K", fallback=[])
    assert [attempt.lane for attempt in caught.value.attempts] == ["first/painter"]


def test_the_configurations_order_applies_to_requests_without_one() -> None:
    painters = two(fallback={"order": []})
    painters.script("first", fails("overloaded"))
    with pytest.raises(AllAttemptsFailed):
        painters.draw(size="4K")
    assert painters.asked == [("first", "4K")]


# What comes is smaller


def test_a_smaller_image_is_accepted_with_a_warning() -> None:
    painters = two()
    painters.script("first", draws(picture_of("2K")))
    result = painters.draw(size="4K")
    assert painters.asked == [("first", "4K")]
    assert (result.size, result.downgraded) == ("2K", True)
    assert result.warnings == ("4K was asked for, and 2K came (2048 × 2048 pixels)",)
    assert [(attempt.outcome, attempt.billed) for attempt in result.attempts] == [("wrong_size", "yes")]


def test_under_the_policy_fallback_a_better_one_is_looked_for() -> None:
    painters = two(fallback={"on_wrong_size": "fallback"})
    painters.script("first", draws(picture_of("2K")))
    result = painters.draw(size="4K")
    assert (result.lane, result.size, result.downgraded) == ("second/painter", "4K", False)
    assert [attempt.outcome for attempt in result.attempts] == ["wrong_size", "ok"]
    assert (result.cost.usd, result.total_cost.usd) == (Decimal("0.06"), Decimal("0.11"))
    assert result.warnings == ()


def test_under_the_policy_fallback_the_kept_image_is_returned_if_nothing_better_comes() -> None:
    painters = two(fallback={"on_wrong_size": "fallback"})
    kept = image(2100, 2000)
    painters.script("first", draws(kept))
    painters.script("second", fails("overloaded"))
    result = painters.draw(size="4K", fallback=["switch"])
    assert result.images == (kept,)
    assert (result.lane, result.size, result.downgraded) == ("first/painter", "2K", True)
    assert result.warnings == ("4K was asked for, and 2K came (2100 × 2000 pixels)",)


def test_of_several_kept_images_the_largest_is_returned() -> None:
    painters = studio(
        fallback={"on_wrong_size": "fallback"},
        first=relay(),
        second=relay(lane(price=0.06)),
        third=relay(lane(price=0.07)),
    )
    painters.script("first", draws(image(2000, 2000)))
    painters.script("second", draws(image(2300, 2300)))
    painters.script("third", draws(image(2200, 2200)))
    result = painters.draw(size="4K", fallback=["switch"])
    assert (result.lane, result.images[0].width) == ("second/painter", 2300)


@pytest.mark.parametrize("policy", ["accept", "fallback"])
def test_an_image_below_the_floor_is_not_delivered(policy: str) -> None:
    painters = two(fallback={"on_wrong_size": policy})
    painters.script("first", draws(picture_of("1K")))
    result = painters.draw(size="4K", fallback=["switch"])
    assert (result.lane, result.size) == ("second/painter", "4K")


def test_images_below_the_floor_are_on_the_error() -> None:
    painters = two()
    small, smaller = picture_of("1K"), picture_of("512")
    painters.script("first", draws(small))
    painters.script("second", draws(smaller))
    with pytest.raises(AllAttemptsFailed) as caught:
        painters.draw(size="4K", fallback=["switch"])
    assert caught.value.images == (small, smaller)
    assert [attempt.outcome for attempt in caught.value.attempts] == ["wrong_size", "wrong_size"]


def test_a_ratio_that_is_off_is_accepted_with_a_warning() -> None:
    painters = two()
    painters.script("first", draws(image(1200, 1000)))
    result = painters.draw(aspect_ratio="1:1")
    assert (result.lane, result.downgraded) == ("first/painter", False)
    assert result.warnings == ("1:1 was asked for, and 1200 × 1000 pixels came",)


def test_a_ratio_that_is_off_makes_the_chain_go_on_under_the_policy_fallback() -> None:
    painters = two(fallback={"on_wrong_size": "fallback"})
    painters.script("first", draws(image(1200, 1000)))
    assert painters.draw(aspect_ratio="1:1").lane == "second/painter"


def test_a_ratio_within_five_percent_is_none_of_this() -> None:
    painters = two(fallback={"on_wrong_size": "fallback"})
    painters.script("first", draws(image(1049, 1000)))
    result = painters.draw(aspect_ratio="1:1")
    assert (result.lane, result.warnings) == ("first/painter", ())
