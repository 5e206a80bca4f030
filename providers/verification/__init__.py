"""Whether an image is whole down to its pixels: what every delivered image has to pass.

``providers.facts`` reads the structure and refuses too many pixels before anything is decoded. Then the picture data itself
is gone through: a PNG is inflated and counted, a JPEG's coefficients and a WebP are decoded. Of heavy images that is the
beginning, or checking them would cost more than everything else. Costs and limits are in ``docs/verification.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from providers.facts import ImageDefect, ImageFacts, dissect, inspect
from providers.facts.parts import Part
from providers.verification import jpeg, png, webp
from providers.verification.decoding import EnoughError

__all__ = ["AMOUNTS", "PixelDefect", "verify", "verify_all"]

AMOUNTS: Final[Mapping[str, int]] = {"image/png": 5 * 2**20, "image/jpeg": 2**20, "image/webp": 2 * 2**20}
"""Bytes of picture data to go through in one image, unless told: most images at 1K are gone through whole, and the rest in
no more than about 15 ms, a tenth of what an SDK takes for 20 MB (``docs/verification.md``). WebP takes longer."""

_CHECKS: Final[dict[str, Callable[[memoryview, Sequence[Part], int], None]]] = {
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


def verify(data: bytes, amount: int | None = None) -> ImageFacts:
    """The facts of the image that *data* starts with, once *amount* bytes of its picture data have been gone through as well.

    *amount* None is the usual one for the format, which takes up to 20 ms of CPU (WebP: 160), most of it without the
    interpreter lock: call it in a thread.

    Raises:
        PixelDefect: the structure is sound, the pixel data is not.
        ImageDefect: as ``providers.facts.inspect`` does, before anything is decoded.
    """
    facts, parts = dissect(data)
    try:
        with suppress(EnoughError):
            _CHECKS[facts.mime_type](memoryview(data)[: facts.end], parts, amount or AMOUNTS[facts.mime_type])
    except ImageDefect as defect:
        raise PixelDefect(str(defect)) from None
    return facts


async def verify_all(images: Sequence[bytes], amount: int | None = None) -> list[ImageFacts | ImageDefect]:
    """What :func:`verify` returns or raises for each of *images*, worked out side by side in threads.

    When cancelled, images that wait for a thread are left out; one that is being checked is checked to its end, which
    touches nothing but its own bytes.
    """
    if all(map(_is_small, images)):
        return [_judged(data, amount) for data in images]
    results: dict[int, ImageFacts | ImageDefect] = {}

    async def check(number: int, data: bytes) -> None:
        results[number] = await anyio.to_thread.run_sync(_judged, data, amount, limiter=_current_limiter())

    async with anyio.create_task_group() as group:
        for number, data in enumerate(images):
            group.start_soon(check, number, data)
    return [results[number] for number in range(len(images))]


def _judged(data: bytes, amount: int | None) -> ImageFacts | ImageDefect:
    try:
        return verify(data, amount)
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
