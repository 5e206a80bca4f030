"""Whether what came is what was asked for."""

from __future__ import annotations

import pytest

from gateway import ImageRequest
from gateway.chain.verdicts import Verdict, verdict
from providers.sizes import Size
from tests.gateway.upstreams import image, picture_of


def judged(
    *sizes: tuple[int, int],
    asked: Size = "4K",
    floor: Size | None = None,
    ratio: str | None = None,
    policy: str = "accept",
) -> Verdict:
    request = ImageRequest(prompt="a fox", size=asked, min_size=floor, aspect_ratio=ratio)
    return verdict([image(*size) for size in sizes], asked, request, policy)


@pytest.mark.parametrize("policy", ["accept", "fallback"])
@pytest.mark.parametrize("size", [(4096, 4096), (2816, 2816), (6000, 6000)])
def test_the_size_asked_for_or_a_larger_one_is_accepted(size: tuple[int, int], policy: str) -> None:
    assert judged(size, policy=policy) == Verdict("accept", "4K", as_asked=True)


def test_a_smaller_image_above_the_floor_follows_the_policy() -> None:
    warning = "4K was asked for, and 2K came (2048 × 2048 pixels)"
    assert judged((2048, 2048)) == Verdict("accept", "2K", as_asked=False, warnings=(warning,))
    assert judged((2048, 2048), policy="fallback") == Verdict("keep", "2K", as_asked=False, warnings=(warning,))


@pytest.mark.parametrize("policy", ["accept", "fallback"])
def test_an_image_below_the_floor_is_refused_whatever_the_policy(policy: str) -> None:
    assert judged((1024, 1024), policy=policy).decision == "refuse"
    assert judged((2048, 2048), floor="4K", policy=policy).decision == "refuse"
    assert judged((1024, 1024), floor="1K", policy=policy).decision != "refuse"


def test_an_image_below_every_tier_is_refused() -> None:
    assert judged((100, 100), asked="512", floor="512") == Verdict("refuse", None, as_asked=False)


def test_the_smallest_of_several_images_decides() -> None:
    assert judged((4096, 4096), (2048, 2048)).size == "2K"


@pytest.mark.parametrize(("width", "fits"), [(1024, True), (1075, True), (973, True), (1076, False), (972, False)])
def test_a_ratio_may_be_off_by_five_percent(width: int, fits: bool) -> None:
    found = judged((width, 1024), asked="1K", ratio="1:1")
    assert (found.warnings == ()) is fits
    assert found.decision == "accept"


def test_a_wrong_ratio_is_kept_under_the_policy_fallback() -> None:
    found = judged((2048, 1024), asked="1K", ratio="1:1", policy="fallback")
    assert found.decision == "keep"
    assert found.warnings == ("1:1 was asked for, and 2048 × 1024 pixels came",)


def test_no_ratio_asked_for_means_any() -> None:
    assert judged((2048, 1024), asked="1K").warnings == ()


def test_the_size_of_a_downgraded_step_is_what_its_image_is_held_against() -> None:
    request = ImageRequest(prompt="a fox", size="4K")
    assert verdict([picture_of("2K")], "2K", request, "accept") == Verdict("accept", "2K", as_asked=True)
