"""Answers with images in them, and what has to come of them: json.loads and two regular expressions are the oracle."""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
from typing import Any

from providers.extraction import ImageExtractor, Limits

MIN_IMAGE = 48
"""Bytes below which the oracle takes nothing for an image."""

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff"
WEBP = b"RIFF"

NO_LIMITS = Limits()
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
"""A JSON string."""
_RUN = r"((?:iVBORw0KGgo|[/_]9j[/_]|UklGR)[A-Za-z0-9+/_-]*)=*"
_BARE = re.compile(_RUN)
_DATA_URI = re.compile("base64," + _RUN)
_ESCAPES = {"/": ("\\/", "\\u002f", "\\u002F"), "+": ("\\u002b", "\\u002B"), "=": ("\\u003d", "\\u003D"),
            "-": ("\\u002d", "\\u002D"), "_": ("\\u005f", "\\u005F")}  # fmt: skip


def image(size: int = 300, start: bytes = PNG, seed: int = 1) -> bytes:
    """Bytes that begin like an image; nothing here looks further."""
    return start + random.Random(seed).randbytes(size - len(start))


def encoded(data: bytes, *, url_safe: bool = False, padded: bool = True) -> str:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    return text if padded else text.rstrip("=")


def data_uri(data: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{encoded(data)}"


def markdown(data: bytes) -> str:
    return f'Here it is:\n\n![image]({data_uri(data)})\n\nEnjoy "it".'


def written(document: Any, *, ascii_only: bool = True, escapes: float = 0.0, seed: int = 1) -> bytes:
    """*document* as JSON; the share *escapes* of the characters ``/+=-_`` in its strings is written as an escape."""
    chance = random.Random(seed)

    def escaped(character: re.Match[str]) -> str:
        return chance.choice(_ESCAPES[character[0]]) if chance.random() < escapes else character[0]

    def rewritten(string: re.Match[bytes]) -> bytes:
        return re.sub("[-/+=_]", escaped, string[0].decode()).encode()

    return STRING.sub(rewritten, json.dumps(document, ensure_ascii=ascii_only).encode())


def extracted(*pieces: bytes, limits: Limits = NO_LIMITS) -> tuple[bytes, list[bytes]]:
    """What is left of the body that *pieces* make, ``<image 1>`` in place of each marker, and the images."""
    extractor = ImageExtractor(limits)
    for piece in pieces:
        extractor.feed(piece)
    extractor.close()
    left = extractor.document
    for number, marker in enumerate(extractor.images, 1):
        assert left.count(marker.encode()) == 1
        left = left.replace(marker.encode(), f"<image {number}>".encode())
    return left, list(extractor.images.values())


def expected(body: bytes) -> tuple[bytes, list[bytes]]:
    """The same as :func:`extracted`, by the oracle; strings come back in the form json.dumps gives them."""
    images: list[bytes] = []

    def replaced(found: re.Match[str]) -> str:
        data = _decoded(found[1])
        if data is None:
            return found[0]
        images.append(data)
        return found[0].removesuffix(found[0].removeprefix("base64,")) + f"<image {len(images)}>"

    def rewritten(string: re.Match[bytes]) -> bytes:
        text = json.loads(string[0])
        bare = _BARE.fullmatch(text)
        return json.dumps(replaced(bare) if bare else _DATA_URI.sub(replaced, text)).encode()

    return STRING.sub(rewritten, body), images


def normal(body: bytes) -> bytes:
    """*body* with every string in the form json.dumps gives it."""
    return STRING.sub(lambda string: json.dumps(json.loads(string[0])).encode(), body)


def cut(body: bytes, *places: int) -> list[bytes]:
    """*body* in pieces that end at *places*."""
    edges = [0, *sorted(places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def _decoded(text: str) -> bytes | None:
    if (re.search("[+/]", text) and re.search("[-_]", text)) or len(text) % 4 == 1:
        return None
    text = text.replace("+", "-").replace("/", "_")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    is_whole = encoded(data, url_safe=True, padded=False) == text
    return data if len(data) >= MIN_IMAGE and is_whole else None
