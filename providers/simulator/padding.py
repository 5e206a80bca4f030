"""Images made as heavy as asked without a change to what they show."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from random import Random
from typing import Final

_SEGMENT: Final = 65_533
"""Bytes a JPEG comment can hold: its two-byte length counts itself (ITU-T T.81, B.2.4.5)."""

_SOI_AND_APP0: Final = 20
"""Bytes of Pillow's JPEG header: JFIF wants its APP0 segment first, so comments come after it."""

_IEND: Final = 12
"""Bytes of a PNG's last chunk."""


def pad(image: bytes, mime_type: str, target: int) -> bytes:
    """*image* brought to about *target* bytes, still valid; unchanged if it is heavier, or neither JPEG nor PNG."""
    missing = target - len(image)
    if missing <= 0:
        return image
    if mime_type == "image/jpeg":
        return image[:_SOI_AND_APP0] + _comments(missing) + image[_SOI_AND_APP0:]
    if mime_type == "image/png":
        return image[:-_IEND] + _chunk(missing) + image[-_IEND:]
    return image


def _comments(amount: int) -> bytes:
    """JPEG comment segments of *amount* bytes in all, to within one segment's header."""
    filler = _filler(amount)
    parts = (filler[start : start + _SEGMENT] for start in range(0, amount, _SEGMENT))
    return b"".join(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)


def _chunk(amount: int) -> bytes:
    """A private, ancillary, safe-to-copy PNG chunk of *amount* bytes of filler."""
    body = b"paDd" + _filler(amount)
    return struct.pack(">I", amount) + body + struct.pack(">I", zlib.crc32(body))


@lru_cache(maxsize=4)
def _filler(amount: int) -> bytes:
    """Bytes that do not compress, the same each time."""
    return Random(0).randbytes(amount)  # noqa: S311 - ballast
