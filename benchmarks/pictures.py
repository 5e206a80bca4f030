"""Pictures as models deliver them: soft shapes with the grain of a photograph, as heavy as asked."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageChops

Encode = Callable[[Image.Image], bytes]

_STEPS: Final = 12
"""Halvings in the search for a grain: to within a hundredth of a level."""


def jpeg(picture: Image.Image) -> bytes:
    """*picture* as a JPEG that loses next to nothing: 10 bits a pixel, as real answers' images have at 4K."""
    return _saved(picture, "JPEG", quality=100, subsampling=0)


def png(picture: Image.Image) -> bytes:
    """*picture* as a PNG, compressed in a hurry."""
    return _saved(picture, "PNG", compress_level=1)


def weighing(weight: int, edge: int, encode: Encode) -> bytes:
    """A square photograph of *edge* pixels that *encode* makes about *weight* bytes of, by way of its grain."""
    return encode(photograph((edge, edge), _grain(weight / edge**2, encode)))


def photograph(size: tuple[int, int], grain: float) -> Image.Image:
    """Noise of several scales over each other; *grain* is the finest one's standard deviation, of 256 levels."""
    return Image.merge("RGB", [_channel(size, grain) for _ in range(3)])


def _channel(size: tuple[int, int], grain: float) -> Image.Image:
    channel = Image.effect_noise(size, grain)
    for scale, strength in ((512, 80), (64, 30), (16, 10)):
        coarse = Image.effect_noise((size[0] // scale + 2, size[1] // scale + 2), strength)
        channel = ImageChops.add(channel, coarse.resize(size, Image.Resampling.BICUBIC), offset=-128)
    return channel


def _grain(density: float, encode: Encode) -> float:
    """The grain with which *encode* needs *density* bytes a pixel, found on small pictures."""
    edge = 512
    low, high = 0.0, 100.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        heavy = len(encode(photograph((edge, edge), middle))) > density * edge**2
        low, high = (low, middle) if heavy else (middle, high)
    return (low + high) / 2


def _saved(picture: Image.Image, form: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()
