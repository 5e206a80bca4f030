"""What an image is, read from its bytes: format, pixels, where it ends, and whether it is whole.

Only the structure is judged: bounds, order, checksums, declared sizes. Pixels are not decoded, so image data that is
well framed but too short for its pixels passes; ``providers.verification`` looks at those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from providers.facts import jpeg, png, webp
from providers.facts.parts import ImageDefect, Part, Structure
from providers.sizes import Size, tier_of

__all__ = ["MAX_EDGE", "MAX_PIXELS", "ImageDefect", "ImageFacts", "dissect", "inspect", "sniff"]

MAX_EDGE: Final = 16_384
"""Pixels an edge may have: the longest documented of any model is 12,288 (Gemini 3.1 Flash Image, 4K at 1:8)."""

MAX_PIXELS: Final = 64 * 1024 * 1024
"""Pixels an image may have, 256 MiB once decoded to RGBA.

The largest documented image has 1536 × 12288, or 18.9 million, and a 50-megapixel photograph may be a reference image.
Pillow warns of a decompression bomb above 89 million.
"""

_READERS: Final[dict[str, Callable[[memoryview], Structure]]] = {
    "image/png": png.measure,
    "image/jpeg": jpeg.measure,
    "image/webp": webp.measure,
}

_HEAD_LENGTH: Final = 1024
"""Bytes in which a foreign format has to show itself."""

_FOREIGN: Final = tuple(
    (re.compile(rb"(?is)(?:\xef\xbb\xbf)?\s*" + pattern), sentence)
    for pattern, sentence in (
        (rb"\Z", "the bytes are empty or blank, not an image"),
        (rb"<(?:.*<|!doctype\s+)?html\b", "this is HTML, not an image"),
        (rb"<(?:.*<)?svg\b", "this is SVG, which is not an accepted image format"),
        (rb"<", "this is XML or HTML, not an image"),
        (rb"[{\[]", "this is JSON, not an image"),
        (rb"%PDF-", "this is PDF, not an image"),
        (rb"GIF8[79]a", "this is GIF, which is not an accepted image format"),
        (rb"BM.{4}\0{4}", "this is BMP, which is not an accepted image format"),
        (rb"II\*\0|MM\0\*", "this is TIFF, which is not an accepted image format"),
        (rb".{4}ftypavi[fs]", "this is AVIF, which is not an accepted image format"),
        (rb".{4}ftyp(?:he|mif1)", "this is HEIF, which is not an accepted image format"),
    )
)
"""What is mistaken for an image or sent in its place, and what to say of it; the first match counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the bytes of an image say about it.

    *width* and *height* are pixels as stored: an EXIF orientation, which would turn the picture for display, is left
    alone. *end* is the offset just past the image; bytes from there on are not part of it.
    """

    mime_type: str
    width: int
    height: int
    end: int

    @property
    def tier(self) -> Size | None:
        """The largest size tier the image covers, or None if it is below the smallest."""
        return tier_of(self.width, self.height)


def sniff(head: bytes | memoryview) -> str | None:
    """The media type that the first 12 or more bytes of a PNG, JPEG or WebP show, or None for anything else."""
    head = bytes(head[:12])
    if head.startswith(png.SIGNATURE):
        return "image/png"
    if head.startswith(jpeg.SIGNATURE):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return "image/webp"
    return None


def inspect(data: bytes | memoryview) -> ImageFacts:
    """The facts of the image that *data* starts with.

    PNG: every chunk's bounds and checksum, from the header to the end chunk. JPEG: every segment and scan up to the end
    marker. WebP: every chunk within the declared length, and the headers of the pictures. No bytes are copied.

    Raises:
        ImageDefect: *data* is not a PNG, JPEG or WebP, is cut off or damaged, or has too many pixels or none.
    """
    return dissect(data)[0]


def dissect(data: bytes | memoryview) -> tuple[ImageFacts, Sequence[Part]]:
    """As :func:`inspect`, with the parts of the image that the facts were read from: views of *data*, not copies.

    Raises:
        ImageDefect: as :func:`inspect` does.
    """
    view = memoryview(data)
    mime_type = sniff(view)
    if mime_type is None:
        raise ImageDefect(_foreign(bytes(view[:_HEAD_LENGTH])))
    width, height, end, parts = _READERS[mime_type](view)
    _check_size(width, height)
    return ImageFacts(mime_type=mime_type, width=width, height=height, end=end), parts


def _check_size(width: int, height: int) -> None:
    if not (width and height):
        raise ImageDefect(f"the image has no pixels: {width} × {height}")
    if max(width, height) > MAX_EDGE or width * height > MAX_PIXELS:
        raise ImageDefect(f"the image is too large: {width} × {height} pixels")


def _foreign(head: bytes) -> str:
    """What to say of bytes that are none of the three formats."""
    known = (sentence for pattern, sentence in _FOREIGN if pattern.match(head))
    return next(known, "these bytes are not a PNG, JPEG or WebP image")
