"""The documented pixels for each aspect ratio and size."""

from __future__ import annotations

from typing import Final

from providers.simulator.models import Model
from providers.sizes import EDGE, SIZES, Size

Pixels = tuple[int, int]

# Google's image generation guide for Gemini 3.1 Flash Image, 2026-03-23: columns 512, 1K, 2K, 4K. The guide prints
# 792x168 for 21:9 at 512, which is not that ratio; 792x336 is.
_GEMINI_3: Final = {
    "1:1": "512x512 1024x1024 2048x2048 4096x4096",
    "1:4": "256x1024 512x2048 1024x4096 2048x8192",
    "1:8": "192x1536 384x3072 768x6144 1536x12288",
    "2:3": "424x632 848x1264 1696x2528 3392x5056",
    "3:2": "632x424 1264x848 2528x1696 5056x3392",
    "3:4": "448x600 896x1200 1792x2400 3584x4800",
    "4:1": "1024x256 2048x512 4096x1024 8192x2048",
    "4:3": "600x448 1200x896 2400x1792 4800x3584",
    "4:5": "464x576 928x1152 1856x2304 3712x4608",
    "5:4": "576x464 1152x928 2304x1856 4608x3712",
    "8:1": "1536x192 3072x384 6144x768 12288x1536",
    "9:16": "384x688 768x1376 1536x2752 3072x5504",
    "16:9": "688x384 1376x768 2752x1536 5504x3072",
    "21:9": "792x336 1584x672 3168x1344 6336x2688",
}

# The same guide, Gemini 2.5 Flash Image: one size.
_GEMINI_2_5: Final = {
    "1:1": "1024x1024", "2:3": "832x1248", "3:2": "1248x832", "3:4": "864x1184", "4:3": "1184x864",
    "4:5": "896x1152", "5:4": "1152x896", "9:16": "768x1344", "16:9": "1344x768", "21:9": "1536x672",
}  # fmt: skip

_IMAGEN: Final = ("1:1", "3:4", "4:3", "9:16", "16:9")
_TALL: Final = ("1:4", "4:1", "1:8", "8:1")


def ratios(model: Model) -> tuple[str, ...]:
    """The aspect ratios *model* draws."""
    if model.method == "predict":
        return _IMAGEN
    return tuple(ratio for ratio in _GEMINI_3 if model.tall_ratios or ratio not in _TALL)


def pixels(model: Model, size: Size, ratio: str) -> Pixels:
    """Width and height of an image of *size* and *ratio* drawn by *model*."""
    if not model.explicit_size:
        return _parse(_GEMINI_2_5[ratio])
    return _parse(_GEMINI_3[ratio].split()[SIZES.index(size)])


def nearest_ratio(model: Model, width: int, height: int) -> str:
    """The aspect ratio of *model* that comes closest to *width* × *height*."""
    return min(ratios(model), key=lambda ratio: abs(_quotient(ratio) - width / height))


def rescale(drawn: Pixels, asked: Size, wanted: Size) -> Pixels:
    """*drawn*, the pixels of size *asked*, in size *wanted*."""
    width, height = drawn
    return max(1, width * EDGE[wanted] // EDGE[asked]), max(1, height * EDGE[wanted] // EDGE[asked])


def _parse(text: str) -> Pixels:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _quotient(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return int(width) / int(height)
