"""PNG pixel data: https://www.w3.org/TR/png-3/, sections 7 to 10. It is inflated piece by piece and counted, not kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import dropwhile, takewhile
from typing import Final, NamedTuple

from providers.facts.fast_zlib import zlib
from providers.facts.parts import ImageDefect, Part, windows
from providers.facts.png import HEADER
from providers.verification.decoding import first

_PIECE: Final = 64 * 1024
"""Bytes inflated at a time, and bytes given in at a time: little enough to stay in a core's cache."""

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by colour type."""

_WHOLE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced image, and the steps to the next ones."""

_MAX_FILTER: Final = 4


class _Pass(NamedTuple):
    """Rows that follow each other in the data: where the first one starts and the last one ends, and bytes of each."""

    start: int
    end: int
    stride: int


def check_pixels(view: memoryview, parts: Sequence[Part], amount: int) -> None:
    """Raise unless the image data is whole, of exactly the length the header implies, with filters that exist.

    Of more than *amount* bytes of it, the first ones are inflated.

    Inflating stops where the data goes beyond that length, and memory in use stays below a megabyte. An animation is
    judged by its first picture.
    """
    passes = list(_passes(parts[0].body))
    at, expected = 0, passes[-1].end
    for raw in _inflated(first(_image_data(parts), amount)):
        if at + len(raw) > expected:
            raise ImageDefect("the PNG has more image data than pixels")
        if any(filters and max(filters) > _MAX_FILTER for filters in _filters(raw, at, passes)):
            raise ImageDefect("a row of the PNG has a filter that does not exist")
        at += len(raw)
    if at < expected:
        raise ImageDefect("the PNG has less image data than pixels")


def _passes(header: memoryview) -> Iterator[_Pass]:
    width, height, depth, colour, _, _, interlaced = HEADER.unpack(header)
    start = 0
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            stride = 1 + (columns * _CHANNELS[colour] * depth + 7) // 8
            yield _Pass(start, start + rows * stride, stride)
            start += rows * stride


def _image_data(parts: Sequence[Part]) -> Iterator[memoryview]:
    """The pieces of the first run of image data: what decoders read, for such chunks have to stand together."""
    begun = dropwhile(lambda part: part.kind != b"IDAT", parts)
    for part in takewhile(lambda part: part.kind == b"IDAT", begun):
        for window in windows(part.body):
            for start in range(0, len(window), _PIECE):
                yield window[start : start + _PIECE]


def _inflated(pieces: Iterator[memoryview]) -> Iterator[bytes]:
    """What *pieces* inflate to, up to a piece at a time; the checksum at the end of the data has to hold."""
    inflate = zlib.decompressobj()
    for piece in pieces:
        given: bytes | memoryview = piece
        full = _PIECE
        while full == _PIECE and not inflate.eof:
            try:
                raw = inflate.decompress(given, _PIECE)
            except zlib.error:  # type: ignore[misc]  # isal's stub takes its class for an instance
                raise ImageDefect("the PNG's image data is damaged") from None
            given, full = inflate.unconsumed_tail, len(raw)
            yield raw
    if not inflate.eof:
        raise ImageDefect("the PNG's image data ends too early")


def _filters(raw: bytes, at: int, passes: Sequence[_Pass]) -> Iterator[bytes]:
    """The first byte of each row that starts in *raw*, which stands at the offset *at* of the data."""
    for start, end, stride in passes:
        if start < at + len(raw) and at < end:
            first = start - at if at <= start else (start - at) % stride
            yield raw[first : end - at : stride]
