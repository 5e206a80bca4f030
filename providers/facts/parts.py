"""What the three readers share: a part of a file, where a picture ends, and what is wrong with one."""

from __future__ import annotations

import mmap
import time
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


WINDOW: Final = 2**19
"""Bytes of an image to read before :func:`let_go`."""
_PAUSE: Final = 1e-5
"""Seconds; the system makes some 60 µs of it."""


def limited(parts: Iterable[Part]) -> Iterator[Part]:
    """*parts*, as long as there are no more than MAX_PARTS."""
    seen = 0
    for count, part in enumerate(parts, start=1):
        if count > MAX_PARTS:
            raise ImageDefect("the image is cut into far too many parts")
        if part.end - seen >= WINDOW:
            seen = part.end
            let_go(part.body)
            pause()
        yield part


def let_go(view: memoryview) -> None:
    """Have the system take back the memory in which *view* was read, if it is of a mapped file; it can be read again."""
    if isinstance(view.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        view.obj.madvise(mmap.MADV_DONTNEED)


def pause() -> None:
    """Let other threads have their turn: between two windows of a large image, which is never looked at on an event loop.

    Without it they wait for 5 ms, since a search keeps the interpreter to itself, and longer where there is one core.
    """
    time.sleep(_PAUSE)


def windows(view: memoryview) -> Iterator[memoryview]:
    """*view* in windows, each of which is let go when the next one is asked for."""
    for start in range(0, len(view), WINDOW):
        yield view[start : start + WINDOW]
        let_go(view)
