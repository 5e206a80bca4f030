"""Whether an image is whole down to its pixels: what every delivered image has to pass.

``providers.facts`` reads the structure and refuses too many pixels before anything is decoded. Then the pixel data itself
is gone through: a PNG is inflated and counted, a JPEG's coefficients and a WebP are decoded. Costs and limits of that are
in ``docs/verification.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from providers.facts import ImageDefect, ImageFacts, dissect, inspect
from providers.facts.parts import Part
from providers.verification import jpeg, png, webp

__all__ = ["PixelDefect", "verify", "verify_all"]

_CHECKS: Final[dict[str, Callable[[memoryview, Sequence[Part]], None]]] = {
    "image/png": png.check_pixels,
    "image/jpeg": jpeg.check_pixels,
    "image/webp": webp.check_pixels,
}

_WORKERS: Final = os.cpu_count() or 1
"""Images checked at a time on one event loop: the work is all CPU, more threads than cores only wait for each other."""

_SMALL: Final = 32 * 1024
"""Bytes of an image, and pixels a side, that are gone through in less time than it takes to hand them to a thread."""
_SMALL_EDGE: Final = 1024

_limiter: Final = RunVar[anyio.CapacityLimiter]("providers.verification")


class PixelDefect(ImageDefect):
    """The image is whole as a file, so all of it arrived, but its pixel data is not what its header announces."""


def verify(data: bytes) -> ImageFacts:
    """The facts of the image that *data* starts with, once its pixel data has been gone through as well.

    It takes tens of milliseconds of CPU at 4K, most of it without the interpreter lock: call it in a thread.

    Raises:
        PixelDefect: the structure is sound, the pixel data is not.
        ImageDefect: as ``providers.facts.inspect`` does, before anything is decoded.
    """
    facts, parts = dissect(data)
    try:
        _CHECKS[facts.mime_type](memoryview(data)[: facts.end], parts)
    except ImageDefect as defect:
        raise PixelDefect(str(defect)) from None
    return facts


async def verify_all(images: Sequence[bytes]) -> list[ImageFacts | ImageDefect]:
    """What :func:`verify` returns or raises for each of *images*, worked out side by side in threads.

    When cancelled, images that wait for a thread are left out; one that is being checked is checked to its end, which
    touches nothing but its own bytes.
    """
    if all(map(_is_small, images)):
        return [_judged(data) for data in images]
    results: dict[int, ImageFacts | ImageDefect] = {}

    async def check(number: int, data: bytes) -> None:
        results[number] = await anyio.to_thread.run_sync(_judged, data, limiter=_current_limiter())

    async with anyio.create_task_group() as group:
        for number, data in enumerate(images):
            group.start_soon(check, number, data)
    return [results[number] for number in range(len(images))]


def _judged(data: bytes) -> ImageFacts | ImageDefect:
    try:
        return verify(data)
    except ImageDefect as defect:
        return defect


def _is_small(data: bytes) -> bool:
    if len(data) > _SMALL:
        return False
    try:
        facts = inspect(data)
    except ImageDefect:
        return True  # nothing is decoded then
    return max(facts.width, facts.height) <= _SMALL_EDGE


def _current_limiter() -> anyio.CapacityLimiter:
    """The limiter of the running event loop: other threads of the application must not wait for images, nor hold them up."""
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_WORKERS)
        _limiter.set(limiter)
        return limiter
