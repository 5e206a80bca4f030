"""Images inside text: data URIs and links, with the markdown around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from providers.answers import Piece, image_piece

_PICTURE: Final = re.compile(
    r"!\[[^\]\n]*\]\(\s*<?(?P<embedded>data:image/[^)\s>]+|https?://[^)\s>]+)[^)\n]*\)"
    r"|\[[^\]\n]*\]\(\s*<?(?P<linked>data:image/[^)\s>]+|https?://[^)\s>?#]+\.(?:png|jpe?g|webp)(?:[?#][^)\s>]*)?)[^)\n]*\)"
    r"|(?P<bare>data:image/[\w.+-]+;base64,[A-Za-z0-9+/=_-]+)"
    r"|(?P<url>https?://[^\s<>()\[\]\"'?#]+\.(?:png|jpe?g|webp)(?:\?[^\s<>()\[\]\"']*)?)",
    re.IGNORECASE,
)
"""A picture in markdown, a link to one, a data URI, or an address that ends like a picture's."""

_LONE_URL: Final = re.compile(r"\s*(https?://[^\s<>\"']+)\s*")


def pieces_of(text: str, images: Mapping[str, bytes]) -> Iterator[Piece]:
    """The text and the pictures in *text*, in order. *images* is the bytes by marker."""
    alone = _LONE_URL.fullmatch(text)
    if alone and not _PICTURE.fullmatch(text.strip()):
        yield Piece(url=alone[1])
        return
    position = 0
    for found in _PICTURE.finditer(text):
        if text[position : found.start()].strip():
            yield Piece(text=text[position : found.start()])
        target = next(group for group in found.groups() if group)
        yield image_piece(target, images) if target[:5].lower() == "data:" else Piece(url=target)
        position = found.end()
    if text[position:].strip():
        yield Piece(text=text[position:])
