"""The images of this world: whole PNGs with every pixel they claim, of one colour so that they cost next to nothing."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from functools import cache
from typing import Final, Literal

Size = Literal["1K", "4K"]

EDGE: Final[dict[Size, int]] = {"1K": 1024, "4K": 4096}


@cache
def picture(size: Size) -> bytes:
    """A square PNG of *size*, one bit a pixel."""
    edge = EDGE[size]
    rows = (b"\0" + b"\xff" * (edge // 8)) * edge
    header = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


@cache
def encoded(size: Size) -> str:
    """:func:`picture` in base64."""
    return b64encode(picture(size)).decode()


def size_of(data: bytes | None) -> Size | None:
    """Which of this world's pictures *data* is; None if it is none of them."""
    sizes: tuple[Size, ...] = ("1K", "4K")
    return next((size for size in sizes if data == picture(size)), None)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
