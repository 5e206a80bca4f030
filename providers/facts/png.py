"""PNG structure: https://www.w3.org/TR/png-3/, section 5 (chunks) and 11.2.1 (the header)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from providers.facts.fast_zlib import zlib
from providers.facts.parts import ImageDefect, Part, Structure, limited, windows

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

HEADER: Final = struct.Struct(">IIBBBBB")
"""Width, height, bit depth, colour type, compression, filter, interlace."""

_DEPTHS: Final = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
"""The bit depths each colour type may have."""

_PALETTE: Final = 3
"""The colour type whose pixels are indices into a PLTE chunk."""

_FRAMING: Final = 12
"""Bytes of a chunk around its body: length and kind before it, checksum after it."""


def measure(view: memoryview) -> Structure:
    """The structure of the PNG that *view* starts with, its chunks checked by bounds and checksum."""
    header, *others = limited(_chunks(view))
    width, height, colour = _read_header(header)
    kinds = {chunk.kind for chunk in others}
    if b"IHDR" in kinds:
        raise ImageDefect("the PNG has two headers")
    if b"IDAT" not in kinds:
        raise ImageDefect("the PNG has no image data")
    if colour == _PALETTE and b"PLTE" not in kinds:
        raise ImageDefect("the PNG needs a palette and has none")
    return Structure(width, height, others[-1].end, [header, *others])


def _chunks(view: memoryview) -> Iterator[Part]:
    """Every chunk up to and including IEND."""
    kind, start = b"", len(SIGNATURE)
    while kind != b"IEND":
        end = start + _FRAMING + int.from_bytes(view[start : start + 4], "big")
        if end > len(view):
            raise ImageDefect("the PNG stops before its end chunk")
        if _checksum(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageDefect("a chunk of the PNG fails its checksum")
        kind = bytes(view[start + 4 : start + 8])
        yield Part(kind, view[start + 8 : end - 4], end)
        start = end


def _checksum(view: memoryview) -> int:
    value = 0
    for window in windows(view):
        value = zlib.crc32(window, value)
    return value


def _read_header(chunk: Part) -> tuple[int, int, int]:
    """Width, height and colour type."""
    if chunk.kind != b"IHDR" or len(chunk.body) != HEADER.size:
        raise ImageDefect("the PNG does not start with a header")
    width, height, depth, colour, compression, filtering, interlace = HEADER.unpack(chunk.body)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise ImageDefect("the PNG's header holds values that no PNG may have")
    return width, height, colour
