"""Images on their way in and out: what a caller gives and what an upstream draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
"""File suffixes by media type, for the formats the gateway delivers."""


@dataclass(frozen=True, slots=True)
class ReferenceImage:
    """An image to edit or combine. *mime_type* is what the bytes are, e.g. ``"image/png"``."""

    data: bytes = field(repr=False)
    mime_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """An image an upstream drew, as it arrived.

    *width* and *height* are pixels read from the bytes; *mime_type* is what the bytes are, whatever the upstream said.
    """

    data: bytes = field(repr=False)
    mime_type: str
    width: int
    height: int

    def save(self, path: str | Path) -> Path:
        """Write the image to *path*, its suffix corrected to the real format, and return where it went.

        A suffix that is not an image's (``"poster.v2"``) is kept and the real one added.

        Raises:
            OSError: the file could not be written.
        """
        target = with_image_suffix(Path(path), self.mime_type)
        target.write_bytes(self.data)
        return target


def with_image_suffix(path: Path, mime_type: str) -> Path:
    """*path* with the suffix that belongs to *mime_type*."""
    suffix = SUFFIXES.get(mime_type, ".img")
    known = {*SUFFIXES.values(), ".jpeg"}
    if path.suffix.lower() == suffix or (suffix == ".jpg" and path.suffix.lower() == ".jpeg"):
        return path
    return path.with_suffix(suffix) if path.suffix.lower() in known else path.with_name(path.name + suffix)
