"""JPEG image data: ITU-T T.81 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf), Annexes B, F and G.

Pillow decodes it at an eighth of the size, so that most of the work is the entropy decoding. libjpeg makes up what is
missing before a marker and Pillow hears nothing of it. So a picture of one scan gets no end marker: then data that is
missing has to be asked for, and data that is left over is not taken.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, cycle, pairwise
from typing import IO, Final, cast

from providers.facts.jpeg import FRAMES, SCAN, START_LENGTH
from providers.facts.parts import WINDOW, ImageDefect, Part, let_go, pause
from providers.verification.decoding import EnoughError, decoding

_RESTART_INTERVAL: Final = b"\xdd"
_KEPT: Final = FRAMES | {SCAN, b"\xc4", b"\xcc", b"\xdb", _RESTART_INTERVAL}
"""What the decoder is given: frame, scans, tables and the restart interval; nothing that says how to show them."""

_PROGRESSIVE: Final = frozenset({b"\xc2", b"\xc6", b"\xca", b"\xce"})
_COEFFICIENTS: Final = frozenset(range(64))
_MAX_SCANS: Final = 100
"""Scans one picture may have: libjpeg's own script has 10, and each is a walk over all its coefficients."""

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_AHEAD: Final = b"\xff\x00" * 8
"""Eight bytes of ones, which no code word consists of: libjpeg reads up to 64 bits ahead of what it decodes.

It makes a block or two of them, so a cut that takes no more than the last two blocks may go unnoticed.
"""

_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_RESTARTS: Final = [bytes([0xFF, code]) for code in range(0xD0, 0xD8)]


def check_pixels(view: memoryview, parts: Sequence[Part], amount: int) -> None:
    """Raise unless the image data can be decoded, has its scans complete and, in a picture of one scan, is all there.

    Of a picture in several scans, progressive ones above all, the last one may be cut unnoticed: detail that is missing.
    Of more than *amount* bytes, the first ones are decoded.
    """
    scans = [part for part in parts if part.kind == SCAN]
    if len(scans) > _MAX_SCANS:
        raise ImageDefect("the JPEG has far too many scans")
    if any(part.kind == _RESTART_INTERVAL for part in parts):
        _check_restarts(view, parts)
    (frame,) = (part for part in parts if part.kind in FRAMES)
    if len(scans) > 1 or frame.kind in _PROGRESSIVE:
        _check_coverage(frame, scans)
        _decode(_Input([*_kept(view, parts), _END], amount))
    else:
        _decode_single([*_kept(view, parts), _AHEAD], amount)


def _kept(view: memoryview, parts: Sequence[Part]) -> Iterator[bytes | memoryview]:
    """The file from its start marker on, without what the decoder does not need and without its end marker."""
    yield _START
    starts = (START_LENGTH, *(part.end for part in parts))
    for start, part in zip(starts, parts, strict=False):
        if part.kind in _KEPT:
            yield view[start : part.end]


def _check_restarts(view: memoryview, parts: Sequence[Part]) -> None:
    """Raise unless the restart markers of each scan count up, from 0 to 7 and again."""
    for before, scan in pairwise(parts):
        if scan.kind == SCAN:
            found = _RESTART.findall(view[before.end : scan.end])
            if any(code != expected for code, expected in zip(found, cycle(_RESTARTS), strict=False)):
                raise ImageDefect("a restart marker of the JPEG is missing")


def _check_coverage(frame: Part, scans: Sequence[Part]) -> None:
    """Raise unless *scans* bring every coefficient of every component of *frame* down to its last bit."""
    missing = {component: set(_COEFFICIENTS) for component in frame.body[6::3]}
    for scan in scans:
        count = scan.body[0] if scan.body else 0
        components, rest = scan.body[1 : 1 + 2 * count : 2], bytes(scan.body[1 + 2 * count : 4 + 2 * count])
        if len(rest) == 3 and rest[2] & 0x0F == 0:
            for component in components:
                missing.get(component, set()).difference_update(range(rest[0], rest[1] + 1))
    if any(missing.values()):
        raise ImageDefect("the JPEG lacks scans: not all of its detail has come")


class _Input(io.RawIOBase):
    """A file made of *pieces*, read where they stand, that tells the decoder when it asks for more than there is.

    It keeps its last *held* bytes apart, and ends the decoding after *amount* bytes.
    """

    def __init__(self, pieces: Sequence[bytes | memoryview], amount: int, held: int = 0) -> None:
        self._pieces = [memoryview(piece) for piece in pieces]
        self._amount = amount
        self._starts = [0, *accumulate(map(len, pieces))]
        self._cut = self._starts[-1] - held
        self._at = 0
        self._fresh = 0

    @property
    def is_asked_for_all(self) -> bool:
        return self._at > self._cut

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._starts[-1])[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        if self._at >= self._amount:
            raise EnoughError
        end = self._starts[-1] if size is None or size < 0 else min(self._at + size, self._starts[-1])
        if self._at < self._cut < end:
            end = self._cut
        data = b"".join(self._between(self._at, end))
        self._at = max(self._at, end)
        if not data and size:
            raise ImageDefect("the JPEG has less image data than pixels")
        return data

    def _between(self, start: int, end: int) -> Iterator[memoryview]:
        for first, piece in zip(self._starts, self._pieces, strict=False):
            if first < end and start < first + len(piece):
                yield piece[max(0, start - first) : end - first]
        if start - self._fresh >= WINDOW:
            self._fresh = start
            for piece in self._pieces:
                let_go(piece)
            pause()


def _decode_single(picture: Sequence[bytes | memoryview], amount: int) -> None:
    """Decode *picture*, whose last byte the decoder must need: it is held back until asked for."""
    held = _Input(picture, amount, held=len(_AHEAD) + 1)
    _decode(held)
    if not held.is_asked_for_all:
        raise ImageDefect("the JPEG has more image data than pixels, or damaged data")


def _decode(file: _Input) -> None:
    from PIL.JpegImagePlugin import JpegImageFile

    with decoding("JPEG"), JpegImageFile(cast(IO[bytes], file)) as image:
        image.draft("L", (1, 1))
        image.load()
