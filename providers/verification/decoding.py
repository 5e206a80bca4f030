"""Pillow's decoders, and what they raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from providers.facts.parts import ImageDefect


@contextmanager
def decoding(form: str) -> Iterator[None]:
    """Whatever a decoder raises of the image in *form*, apart from a lack of memory, is a defect of the image."""
    try:
        yield
    except (ImageDefect, MemoryError):
        raise
    except Exception:  # OSError, SyntaxError, EOFError, ValueError and more: decoders raise what they like
        raise ImageDefect(f"the {form}'s image data cannot be decoded") from None
