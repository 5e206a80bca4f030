"""WebP structure: RFC 9649, with the lossy frame header from RFC 6386, section 9.1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from providers.facts.parts import ImageDefect, Part, Structure, limited

_FRAMING: Final = 8
"""Bytes before the body of a chunk, or of the whole file: four of its kind, four of its length."""

_FIRST_CHUNK: Final = 12
_ANIMATED: Final = 0x02
"""The flag in an extended header that announces frames instead of one picture."""

_FRAME_HEADER: Final = 16
"""Bytes of an animation frame before its chunks: position, size, duration, flags."""

_LOSSY_START: Final = b"\x9d\x01\x2a"
_LOSSLESS_START: Final = 0x2F
_EDGE_BITS: Final = 0x3FFF


class _Pixels(NamedTuple):
    width: int
    height: int


def measure(view: memoryview) -> Structure:
    """The structure of the WebP that *view* starts with: the length its container declares, all of it made of chunks."""
    end = _FRAMING + _number(view[4:8])
    if end > len(view):
        raise ImageDefect("the WebP is shorter than it declares")
    chunks = list(limited(_chunks(view[:end], _FIRST_CHUNK)))
    extended = bool(chunks) and chunks[0].kind == b"VP8X"
    return Structure(*(_canvas(chunks) if extended else _picture(chunks)), end, chunks)


def _chunks(view: memoryview, start: int) -> Iterator[Part]:
    """The chunks that fill *view* from *start*; one of odd length is followed by a byte of padding."""
    while start < len(view):
        length = _number(view[start + 4 : start + _FRAMING])
        end = start + _FRAMING + length
        if end > len(view):
            raise ImageDefect("a chunk of the WebP runs past the end")
        yield Part(bytes(view[start : start + 4]), view[start + _FRAMING : end], end)
        start = end + length % 2


def _canvas(chunks: list[Part]) -> _Pixels:
    """The size in the extended header, once the picture or every frame of the animation fits it."""
    header = chunks[0].body
    if len(header) < 10:
        raise ImageDefect("the WebP's extended header is too short")
    canvas = _Pixels(_number(header[4:7]) + 1, _number(header[7:10]) + 1)
    if header[0] & _ANIMATED:
        _check_frames([chunk.body for chunk in chunks if chunk.kind == b"ANMF"], canvas)
    elif _picture(chunks) != canvas:
        raise ImageDefect("the WebP's picture differs in size from its extended header")
    return canvas


def _check_frames(frames: list[memoryview], canvas: _Pixels) -> None:
    """Raise unless there are *frames* and each holds a picture of the size it declares, within *canvas*."""
    if not frames:
        raise ImageDefect("the WebP is an animation without frames")
    for frame in frames:
        left, top = 2 * _number(frame[0:3]), 2 * _number(frame[3:6])
        pixels = _Pixels(_number(frame[6:9]) + 1, _number(frame[9:12]) + 1)
        # At most an alpha chunk stands before the picture, so a frame of a million chunks is not walked.
        if _picture(islice(_chunks(frame, _FRAME_HEADER), 2)) != pixels:
            raise ImageDefect("a frame of the WebP differs in size from its picture")
        if left + pixels.width > canvas.width or top + pixels.height > canvas.height:
            raise ImageDefect("a frame of the WebP lies outside the picture")


def _picture(chunks: Iterable[Part]) -> _Pixels:
    """The size of the first picture among *chunks*."""
    for chunk in chunks:
        if chunk.kind == b"VP8 ":
            return _lossy(chunk.body)
        if chunk.kind == b"VP8L":
            return _lossless(chunk.body)
    raise ImageDefect("the WebP has no image data")


def _lossy(body: memoryview) -> _Pixels:
    """Three bytes of frame tag, whose lowest bit is 0 in a key frame, the start code, then 14 bits for each edge."""
    if len(body) < 10 or body[0] & 1 or bytes(body[3:6]) != _LOSSY_START:
        raise ImageDefect("the WebP's lossy image data does not start with a key frame")
    return _Pixels(_number(body[6:8]) & _EDGE_BITS, _number(body[8:10]) & _EDGE_BITS)


def _lossless(body: memoryview) -> _Pixels:
    """The start byte, then, from the lowest bit, 14 bits for each edge less one, 1 for alpha, 3 of version 0."""
    bits = _number(body[1:5])
    if len(body) < 5 or body[0] != _LOSSLESS_START or bits >> 29:
        raise ImageDefect("the WebP's lossless image data does not start with its header")
    return _Pixels((bits & _EDGE_BITS) + 1, (bits >> 14 & _EDGE_BITS) + 1)


def _number(field: memoryview) -> int:
    return int.from_bytes(field, "little")
