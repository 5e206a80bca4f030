"""What the three readers share: a part of a file, where a picture ends, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

MAX_PARTS: Final = 32_768
"""Chunks or segments one image may have: real ones have thousands at most, and walking more would hold up a server."""


class ImageDefect(ValueError):  # noqa: N818 - it is found in the bytes; nothing has gone wrong here
    """Bytes that are not a whole, sound image; the message says why in one sentence, without any of the bytes."""


class Part(NamedTuple):
    """A chunk or segment: its *kind* as written in the file, its *body*, and the offset just past it."""

    kind: bytes
    body: memoryview
    end: int


class Structure(NamedTuple):
    """The pixels of a picture as stored, the offset just past its last byte, and what the file is made of up to there."""

    width: int
    height: int
    end: int
    parts: Sequence[Part]


def limited(parts: Iterable[Part]) -> Iterator[Part]:
    """*parts*, as long as there are no more than MAX_PARTS."""
    for count, part in enumerate(parts, start=1):
        if count > MAX_PARTS:
            raise ImageDefect("the image is cut into far too many parts")
        yield part
