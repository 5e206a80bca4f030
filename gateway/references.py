"""Reference images from disk and memory, checked before any money is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.request import Reference
from providers.errors import InvalidRequest
from providers.facts import ImageDefect, inspect
from providers.images import ReferenceImage
from providers.sanitise import sanitise

MAX_REFERENCE: Final = 50 * 2**20
"""Bytes of one reference: the most any catalogued upstream takes is 50 MB (OpenAI's edits)."""


def load(references: tuple[Reference, ...]) -> tuple[ReferenceImage, ...]:
    """The references as bytes with the media type that the bytes show.

    Raises:
        InvalidRequest: one cannot be read, is no image, or is too large; the message says which.
    """
    return tuple(_load(number, reference) for number, reference in enumerate(references))


def weights(references: tuple[Reference, ...]) -> tuple[int, ...]:
    """The bytes of each reference that is in memory; files are not looked at."""
    held = (each.data if isinstance(each, ReferenceImage) else each for each in references)
    return tuple(len(data) for data in held if isinstance(data, bytes))


def _load(number: int, reference: Reference) -> ReferenceImage:
    where = f"images[{number}]"
    if isinstance(reference, Path):
        where = f"{where} ({sanitise(reference.name)})"
        data = _read(where, reference)
    else:
        data = reference.data if isinstance(reference, ReferenceImage) else reference
    if len(data) > MAX_REFERENCE:
        raise InvalidRequest(f"{where}: is over the limit of {MAX_REFERENCE:,} bytes")
    try:
        return ReferenceImage(data, inspect(data).mime_type)
    except ImageDefect as defect:
        raise InvalidRequest(f"{where}: {defect}") from None


def _read(where: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_REFERENCE + 1)
    except OSError as error:
        raise InvalidRequest(f"{where}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidRequest(f"{where}: is not a path") from None
