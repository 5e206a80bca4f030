"""Small real images, damaged ones, and the placeholders that stand for them in the cases.

``<PNG_B64>`` is the base64 of a PNG, ``<PNG_B64:2>`` that of another one, ``<PNG_B64:2|urlsafe>`` the same written in
another way. ``<HOST>`` is the scripted server, whose ``/images/PNG:2`` is the same image once more.
"""

from __future__ import annotations

import base64
import io
import random
import re
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Final

from PIL import Image

_PLACEHOLDER: Final = re.compile(r"<([A-Z_]+)_B64(:\d+)?((?:\|[a-z]+)*)>")
_SIZE: Final = (24, 16)
_FORMATS: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def media_type(name: str) -> str:
    """The media type of the sample *name*: ``"PNG"`` or ``"PNG:2"``."""
    return _FORMATS[name.partition(":")[0]]


@cache
def sample(name: str) -> bytes:
    """The bytes of the sample *name*: a whole image, or one of the damaged kinds."""
    kind, _, number = name.partition(":")
    return _DAMAGED[kind]() if kind in _DAMAGED else _drawn(kind, int(number or 1))


def expanded(text: str, host: str = "") -> str:
    """*text* with every placeholder replaced."""
    text = _PLACEHOLDER.sub(lambda found: _written(found[1] + (found[2] or ""), found[3]), text)
    for mark, value in _FILLERS.items():
        text = text.replace(mark, value)
    return text.replace("<HOST>", host)


def _drawn(kind: str, number: int) -> bytes:
    """Noise, so that the base64 holds characters of every kind."""
    width, height = _SIZE
    noise = random.Random(f"{kind}{number}").randbytes(3 * width * height)
    file = io.BytesIO()
    Image.frombytes("RGB", _SIZE, noise).save(file, kind, **({} if kind == "PNG" else {"quality": 95}))
    return file.getvalue()


def _written(name: str, manners: str) -> str:
    text = base64.b64encode(sample(name)).decode()
    for manner in manners.split("|")[1:]:
        text = _MANNERS[manner](text)
    return text


_MANNERS: Final[dict[str, Callable[[str], str]]] = {
    "urlsafe": lambda text: text.replace("+", "-").replace("/", "_"),
    "mixed": lambda text: text.replace("/", "_"),
    "unpadded": lambda text: text.rstrip("="),
    "escaped": lambda text: text.replace("/", "\\/"),
    "uri": lambda text: f"data:image/png;base64,{text}",
    "wrapped": lambda text: "\\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    "half": lambda text: text[: len(text) // 8 * 4],
    "odd": lambda text: text[: len(text) // 8 * 4 + 1],
    "uneven": lambda text: text[: len(text) // 8 * 4 + 2],
    "begun": lambda text: text[:400],
    "ended": lambda text: text[400:],
    "garbled": lambda text: text[:100] + "!*" + text[100:],
}
"""Ways to write base64, and to spoil it; the lengths that are cut off leave 0, 1 and 2 characters of a group of four."""

_FILLERS: Final = {
    "<DEEP>": "[" * 100_000,
    "<DIGITS>": "9" * 5_000,
    "<LARGE>": "9" * 400,
    "<BOM>": "\ufeff",
    "<LONG>": "word " * 400,
}


def _png_with_bad_checksum() -> bytes:
    data = bytearray(sample("PNG"))
    data[-20] ^= 0xFF
    return bytes(data)


def _png_header(width: int, height: int) -> bytes:
    """A whole PNG that says it has that many pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""),
    )  # fmt: skip
    framed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


_PAGE: Final = b"<!DOCTYPE html><html><head><title>Not found</title></head><body>No image here</body></html>"
_DRAWING: Final = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'

_DAMAGED: Final[dict[str, Callable[[], bytes]]] = {
    "PNG_WITH_BAD_CRC": _png_with_bad_checksum,
    "PNG_WITHOUT_END": lambda: sample("PNG")[:-12],
    "PNG_WITH_SCRIPT": lambda: sample("PNG") + b"<script>alert(1)</script>",
    "HUGE_PNG": lambda: _png_header(20_000, 20_000),
    "HALF_JPEG": lambda: sample("JPEG")[: len(sample("JPEG")) // 2],
    "HALF_WEBP": lambda: sample("WEBP")[: len(sample("WEBP")) // 2],
    "HTML": lambda: _PAGE,
    "SVG": lambda: _DRAWING,
    "GIF": lambda: b"GIF89a" + bytes(60),
    "TEXT": lambda: b"Sorry, I cannot draw that. " * 4,
}
