"""Size tiers, aspect ratios, and the pixels that stand for them.

A *tier* is what a caller asks for ("4K"); pixels are what an upstream returns. Upstreams deviate from their own tables by
a few percent, so tiers are read from the area and ratios are compared with a tolerance.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Size = Literal["512", "1K", "2K", "4K"]

SIZES: Final[tuple[Size, ...]] = get_args(Size)
"""Every tier, smallest first."""

EDGE: Final[dict[Size, int]] = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
"""The edge, in pixels, of the square image of each tier."""

TIER_COVERAGE: Final = 0.47
"""The share of a tier's square area an image must cover to count as that tier (the public contract's figure)."""

RATIO_TOLERANCE: Final = 0.05
"""How far a delivered ratio may be off the asked one, as a share of it (the public contract's figure)."""


def parse_size(text: str) -> Size | None:
    """The tier that *text* names in either case, or None."""
    wanted = text.strip().upper()
    return next((size for size in SIZES if size == wanted), None)


def tier_of(width: int, height: int) -> Size | None:
    """The largest tier an image of *width* × *height* pixels covers, or None below the smallest."""
    area = width * height
    return next((size for size in reversed(SIZES) if area >= TIER_COVERAGE * EDGE[size] ** 2), None)


def rank(size: Size) -> int:
    """The position of *size* among the tiers, 0 for the smallest."""
    return SIZES.index(size)


def smaller(size: Size) -> Size | None:
    """The next tier below *size*, or None at the smallest."""
    position = rank(size)
    return SIZES[position - 1] if position else None


def parse_ratio(text: str) -> tuple[int, int] | None:
    """(width, height) of a ratio such as ``"16:9"``, or None if *text* is not one."""
    left, colon, right = text.strip().partition(":")
    if not (colon and _is_count(left) and _is_count(right)):
        return None
    width, height = int(left), int(right)
    return (width, height) if width and height else None


def ratio_matches(width: int, height: int, ratio: str) -> bool:
    """Whether *width* × *height* pixels are within the tolerance of *ratio*."""
    parsed = parse_ratio(ratio)
    if parsed is None or not height:
        return False
    across, down = width * parsed[1], height * parsed[0]
    return abs(across - down) <= RATIO_TOLERANCE * down


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4
