"""Ways to spoil an image, its base64, or a whole answer. Each is a pure function of bytes."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import Final

import pybase64

from providers.simulator.messages import Answer

Spoilt = tuple[bytes, bytes]

_HTML: Final = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
_SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def _encoded(data: bytes) -> Spoilt:
    return data, pybase64.b64encode(data)


def bad_crc(data: bytes, _: bytes) -> Spoilt:
    """The checksum of the PNG's first IDAT chunk is off by one bit."""
    start = data.index(b"IDAT") - 4
    end = start + 8 + struct.unpack(">I", data[start : start + 4])[0]
    return _encoded(data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :])


def short_pixels(data: bytes, _: bytes) -> Spoilt:
    """The file stops after half of its pixels."""
    return _encoded(data[: len(data) // 2])


def truncated_base64(data: bytes, encoded: bytes) -> Spoilt:
    """The base64 stops in the middle of a group of four."""
    return data, encoded[: len(encoded) // 8 * 4 + 1]


def garbage_in_base64(data: bytes, encoded: bytes) -> Spoilt:
    """Characters of no alphabet stand in the middle of the base64."""
    middle = len(encoded) // 2
    return data, encoded[:middle] + b"!?*" + encoded[middle + 3 :]


def not_an_image(_: bytes, __: bytes) -> Spoilt:
    """The bytes are text."""
    return _encoded(b"This is not an image. " * 20)


def html_page(_: bytes, __: bytes) -> Spoilt:
    """The bytes are a proxy's error page."""
    return _encoded(_HTML)


def svg(_: bytes, __: bytes) -> Spoilt:
    """The bytes are a drawing that carries a script."""
    return _encoded(_SVG)


def trailing_script(data: bytes, _: bytes) -> Spoilt:
    """A script follows the end of the image."""
    return _encoded(data + b"<script>alert(1)</script>")


def giant_header(_: bytes, __: bytes) -> Spoilt:
    """A PNG that claims 20000 × 20000 pixels and has almost none."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return _encoded(b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(name, body) for name, body in chunks))


def compressed(answer: Answer) -> Answer:
    """The body in gzip, and said so."""
    return _recoded(answer, gzip.compress(answer.content, 1, mtime=0), ("Content-Encoding", "gzip"))


def corrupt_gzip(answer: Answer) -> Answer:
    """The body in gzip, with a byte in the middle changed."""
    body = bytearray(gzip.compress(answer.content, 1, mtime=0))
    body[len(body) // 2] ^= 0xFF
    return _recoded(answer, bytes(body), ("Content-Encoding", "gzip"))


def truncated_gzip(answer: Answer) -> Answer:
    """The first half of the body in gzip, with a Content-Length that agrees."""
    body = gzip.compress(answer.content, 1, mtime=0)
    return _recoded(answer, body[: len(body) // 2], ("Content-Encoding", "gzip"))


def false_gzip(answer: Answer) -> Answer:
    """A plain body that says it is gzip, as a proxy sends that unpacks and forgets the header."""
    return _recoded(answer, answer.content, ("Content-Encoding", "gzip"))


def gzip_bomb(answer: Answer) -> Answer:
    """A quarter of a megabyte that unpacks to 256 MB of blanks."""
    packer = zlib.compressobj(9, wbits=31)
    blanks = b" " * 2**20
    body = b"".join(packer.compress(blanks) for _ in range(256)) + packer.flush()
    return _recoded(answer, body, ("Content-Encoding", "gzip"))


def as_html(answer: Answer) -> Answer:
    """The right body under the wrong content type."""
    return Answer(status=answer.status, body=answer.body, media_type="text/html", headers=answer.headers)


def trailing_garbage(answer: Answer) -> Answer:
    """The right body with something after it."""
    return _recoded(answer, answer.content + b"\n<!-- served by cache -->")


def _recoded(answer: Answer, body: bytes, *headers: tuple[str, str]) -> Answer:
    return Answer(status=answer.status, body=(body,), media_type=answer.media_type, headers=(*answer.headers, *headers))


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
