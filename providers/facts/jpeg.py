"""JPEG structure: ITU-T T.81 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf), Annex B."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from providers.facts.parts import WINDOW, ImageDefect, Part, Structure, let_go, limited, pause

SIGNATURE: Final = b"\xff\xd8\xff"
"""The start marker, and the first byte of the marker that has to follow it."""

START_LENGTH: Final = 2
_LENGTH_FIELD: Final = 2
_END: Final = b"\xd9"
SCAN: Final = b"\xda"
FRAMES: Final = frozenset(bytes([code]) for code in range(0xC0, 0xD0)) - {b"\xc4", b"\xc8", b"\xcc"}
"""The frame headers, one for each coding process; the three codes left out mean tables and an extension."""

_MARKER: Final = re.compile(rb"(?:\xff++[\x01\xd0-\xd7])*+\xff++([\xc0-\xcf\xd9-\xdd\xe0-\xef\xfe])")
"""The next end or segment, past fill bytes and markers that stand alone.

A second start is an error, and so are the reserved and hierarchical codes, which decoders do not agree how to skip.
"""

_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The marker that ends entropy-coded data, in which FF 00 stands for the byte FF and restart markers may occur."""

_FRAME: Final = struct.Struct(">xHHB")
"""Precision (unused), height, width, number of components; three bytes for each component follow."""


def measure(view: memoryview) -> Structure:
    """The structure of the JPEG that *view* starts with: to the first end marker that no segment encloses.

    Thumbnails lie in segments and are skipped with them; further pictures of a multi-picture file lie past the end.
    """
    size: tuple[int, int] | None = None
    scanned = False
    segments = list(limited(_segments(view)))
    for segment in segments:
        if segment.kind in FRAMES:
            if size:
                raise ImageDefect("the JPEG has two frame headers")
            size = _read_frame(segment.body)
        scanned = scanned or (segment.kind == SCAN and size is not None)
    if size is None or not scanned:
        raise ImageDefect("the JPEG has no image data after a frame header")
    return Structure(*size, segments[-1].end, segments)


def _segments(view: memoryview) -> Iterator[Part]:
    """Every segment after the start marker, the end marker last; a scan takes its entropy-coded data with it."""
    kind, end = b"", START_LENGTH
    while kind != _END:
        kind, start = _read_marker(view, end)
        body = view[start : start if kind == _END else _segment_end(view, start)]
        end = start + len(body)
        if kind == SCAN:
            end = _scan_end(view, end)
        yield Part(kind, body[_LENGTH_FIELD:], end)


def _read_marker(view: memoryview, start: int) -> tuple[bytes, int]:
    """The code of the marker at *start* and the offset just past it."""
    marker = _MARKER.match(view, start)
    if not marker:
        raise ImageDefect("the JPEG stops, or is damaged, where a marker has to stand")
    return bytes(marker[1]), marker.end()


def _segment_end(view: memoryview, start: int) -> int:
    """The offset just past the segment whose length stands at *start*; that length counts itself."""
    length = int.from_bytes(view[start : start + _LENGTH_FIELD], "big")
    if length < _LENGTH_FIELD or start + length > len(view):
        raise ImageDefect("a segment of the JPEG is cut off or has an impossible length")
    return start + length


def _scan_end(view: memoryview, start: int) -> int:
    """The offset of the marker that follows the entropy-coded data at *start*."""
    for begin in range(start, len(view), WINDOW):
        marker = _SCAN_END.search(view, begin, begin + WINDOW + 1)
        let_go(view)
        if marker:
            break
        pause()
    else:
        raise ImageDefect("the JPEG stops within its image data")
    if marker.start() == start:
        raise ImageDefect("a scan of the JPEG has no data")
    return marker.start()


def _read_frame(body: memoryview) -> tuple[int, int]:
    """Width and height."""
    if len(body) >= _FRAME.size:
        height, width, components = _FRAME.unpack_from(body)
        if components and len(body) == _FRAME.size + 3 * components:
            return width, height
    raise ImageDefect("the JPEG's frame header has an impossible length")
