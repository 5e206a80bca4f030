"""What the three checks share: how far they go, and what Pillow's decoders raise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from providers.facts.parts import WINDOW, ImageDefect, pause


class EnoughError(Exception):
    """As much picture data was gone through as was asked for, and nothing was wrong with it."""


def first(pieces: Iterable[memoryview], amount: int) -> Iterator[memoryview]:
    """*pieces* until they come to *amount* bytes; whoever asks for more gets an :class:`EnoughError`."""
    taken = rested = 0
    for piece in pieces:
        if taken >= amount:
            raise EnoughError
        if taken - rested >= WINDOW:
            rested = taken
            pause()
        yield piece
        taken += len(piece)


@contextmanager
def decoding(form: str) -> Iterator[None]:
    """Whatever a decoder raises of the image in *form*, apart from a lack of memory, is a defect of the image."""
    try:
        yield
    except (EnoughError, ImageDefect, MemoryError):
        raise
    except Exception:  # OSError, SyntaxError, EOFError, ValueError and more: decoders raise what they like
        raise ImageDefect(f"the {form}'s image data cannot be decoded") from None
