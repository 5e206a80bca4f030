"""Reference images on their way out: the SDK builds and signs the request around short stand-ins, the transport puts the
images in their place while it sends.

So neither the SDK's models nor its JSON ever hold megabytes of base64, whichever adapter asks. A stand-in is a random
token, so that nothing else in a request can be taken for it, and looks the same in both alphabets of base64.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Final

import anyio.to_thread
import httpx2
import pybase64

from providers.exchange import Exchange
from providers.images import ReferenceImage
from providers.request import UpstreamRequest

WORTHWHILE: Final = 32 * 1024
"""Bytes from which an image is replaced by a stand-in."""
TOKEN: Final = 24
"""Bytes of randomness in a stand-in: 48 hexadecimal digits, or 64 characters of base64 without padding."""
KEPT: Final = 64 * 2**20
"""Bytes of base64 kept for the next request that sends the same images."""

_PIECE: Final = 192 * 1024
"""Bytes encoded at a time, in whole groups of three."""


class StandInError(httpx2.LocalProtocolError):
    """The SDK did not take over a stand-in as it was; nothing has been sent."""


def lightened(request: UpstreamRequest, exchange: Exchange) -> UpstreamRequest:
    """*request* with stand-ins for its large images; *exchange* says for whoever sends it what they stand for."""
    return replace(request, images=tuple(_stand_in(image, exchange) for image in request.images))


def _stand_in(image: ReferenceImage, exchange: Exchange) -> ReferenceImage:
    if len(image.data) < WORTHWHILE:
        return image
    token = secrets.token_hex(TOKEN).encode()
    exchange.uploads[token] = image
    return replace(image, data=token)


async def put_in(request: httpx2.Request, uploads: Mapping[bytes, ReferenceImage]) -> None:
    """Give *request* the images of *uploads*: bytes where the token stands, base64 where the token's base64 stands.

    A wire that sends no images at all is left alone.

    Raises:
        StandInError: some of the tokens are missing.
    """
    pieces = await _spliced(await request.aread(), uploads)
    request.stream = _Pieces(pieces)
    request.headers["content-length"] = str(sum(map(len, pieces)))


async def _spliced(body: bytes, uploads: Mapping[bytes, ReferenceImage]) -> list[bytes]:
    encoded = {pybase64.b64encode(token): image for token, image in uploads.items()}
    found = re.split(b"(" + b"|".join(map(re.escape, (*uploads, *encoded))) + b")", body)
    if 1 < len(found) <= 2 * len(uploads) - 1:  # texts and stand-ins take turns, texts at both ends
        raise StandInError("the SDK did not send a reference image as it was given")
    pieces: list[bytes] = []
    for part in found:
        if part in uploads:
            pieces.append(uploads[part].data)
        elif part in encoded:
            pieces += await anyio.to_thread.run_sync(base64_of, encoded[part].data)
        else:
            pieces.append(part)
    return pieces


class _Pieces(httpx2.AsyncByteStream):
    """A body in pieces, none of them copied."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class _EncodedOnce:
    """The base64 of the images that were sent last, found again by their content; thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, bytes], tuple[bytes, list[bytes]]] = OrderedDict()

    def get(self, data: bytes) -> list[bytes]:
        """The base64 of *data*, in pieces."""
        with self._lock:
            look = _look_of(data)
            known = self._kept.get(look)
            if known is None or known[0] != data:  # same size, same samples: compare all of it
                known = data, _encoded(data)
            self._kept[look] = known
            self._kept.move_to_end(look)
            while sum(len(each) for each, _ in self._kept.values()) * 4 // 3 > self._limit:
                self._kept.popitem(last=False)
            return known[1]


def _look_of(data: bytes) -> tuple[int, bytes]:
    """What tells most images apart: the length and a few samples. A hash would cost more than encoding does."""
    step = max(1, len(data) // 64)
    return len(data), data[:32] + data[::step] + data[-32:]


def _encoded(data: bytes) -> list[bytes]:
    view = memoryview(data)
    return [pybase64.b64encode(view[start : start + _PIECE]) for start in range(0, len(view), _PIECE)]


base64_of = _EncodedOnce(KEPT).get
"""The base64 of an image's bytes, in pieces; of the images sent last, it is kept."""
