"""Verdicts: whether the images that came are what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.request import ImageRequest
from gateway.router.router import floor_of
from providers.images import GeneratedImage
from providers.sizes import Size, rank, ratio_matches, tier_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """*accept*: deliver it. *keep*: try for better, deliver it if nothing comes. *refuse*: it may not be delivered.

    *size* is the tier that the pixels cover, None below the smallest. *as_asked* is False where it differs from the order.
    """

    decision: Literal["accept", "keep", "refuse"]
    size: Size | None
    as_asked: bool
    warnings: tuple[str, ...] = ()


def verdict(images: Sequence[GeneratedImage], asked: Size, request: ImageRequest, on_wrong_size: str) -> Verdict:
    """Judge one call's *images* against the size it asked for and the ratio of the request.

    Larger than asked is fine. A smaller image is accepted or kept, as *on_wrong_size* (``"accept"`` or ``"fallback"``) says,
    down to the request's floor, and refused below it. A wrong ratio follows the same policy.
    """
    smallest = min(images, key=lambda image: image.width * image.height)
    size = tier_of(smallest.width, smallest.height)
    warnings = tuple(_ratio_warnings(images, request))
    if size is None or rank(size) < rank(floor_of(request)):
        return Verdict("refuse", size, as_asked=False)
    if rank(size) < rank(asked):
        pixels = f"{smallest.width} × {smallest.height}"
        warnings = (f"{asked} was asked for, and {size} came ({pixels} pixels)", *warnings)
    if not warnings:
        return Verdict("accept", size, as_asked=True)
    as_asked = rank(size) >= rank(asked) and on_wrong_size == "accept"
    return Verdict("accept" if on_wrong_size == "accept" else "keep", size, as_asked, warnings)


def _ratio_warnings(images: Sequence[GeneratedImage], request: ImageRequest) -> list[str]:
    ratio = request.aspect_ratio
    if ratio is None:
        return []
    wrong = [image for image in images if not ratio_matches(image.width, image.height, ratio)]
    return [f"{ratio} was asked for, and {image.width} × {image.height} pixels came" for image in wrong[:1]]
