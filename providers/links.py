"""Images inside text: data URIs and links, with the markdown around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.answers import Piece, image_piece

_PICTURE: Final = re.compile(
    r"!\[[^\]\n]*\]\(\s*<?(?P<embedded>data:image/[^)\s>]+|https?://[^)\s>]+)[^)\n]*\)"
    r"|\[[^\]\n]*\]\(\s*<?(?P<linked>data:image/[^)\s>]+|https?://[^)\s>?#]+\.(?:png|jpe?g|webp)(?:[?#][^)\s>]*)?)[^)\n]*\)"
    r"|(?P<bare>data:image/[\w.+-]+;base64,[A-Za-z0-9+/=_-]+)"
    r"|(?P<url>https?://[^\s<>()\[\]\"'?#]+\.(?:png|jpe?g|webp)(?:\?[^\s<>()\[\]\"']*)?)",
    re.IGNORECASE,
)
"""A picture in markdown, a link to one, a data URI, or an address that ends like a picture's."""

_ASKED: Final = frozenset({"input", "inputs", "request", "messages", "prompt", "instances", "contents"})
"""Keys under which an upstream may repeat what it was asked, reference images included."""

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
        words = None if found["embedded"] else found[0]
        yield image_piece(target, images) if target[:5].lower() == "data:" else Piece(url=target, words=words)
        position = found.end()
    if text[position:].strip():
        yield Piece(text=text[position:])


def pieces_anywhere(value: Any, images: Mapping[str, bytes]) -> Iterator[Piece]:
    """The images that stand anywhere in an answer of a shape nobody has told us, in order; *images* by marker."""
    if isinstance(value, str) and value.rpartition(",")[2] in images:
        yield image_piece(value, images)
    elif isinstance(value, Mapping) and not _is_preliminary(value):
        for key, each in value.items():
            yield from () if key in _ASKED else pieces_anywhere(each, images)
    elif isinstance(value, list):
        for each in value:
            yield from pieces_anywhere(each, images)


def _is_preliminary(item: Mapping[str, Any]) -> bool:
    """Whether *item* is a thought or a preview."""
    return item.get("thought") is True or "partial" in str(item.get("type"))
