"""Images on their way out: the SDK builds and signs the request around short stand-ins, the transport puts the images in
their place while it sends.

So neither the SDK's models nor its JSON ever hold megabytes of base64, whichever adapter asks, and however many images
a conversation has gathered. A stand-in is a random token, so that nothing else in a request can be taken for it, and
looks the same in both alphabets of base64. Thought signatures go the same way: they have to come back as the very text
that they were, and google-genai would write them in the other alphabet.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import anyio.to_thread
import httpx2
import pybase64

from providers.exchange import Exchange
from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Part
from providers.request import UpstreamRequest
from providers.turns import Turn

WORTHWHILE: Final = 32 * 1024
"""Bytes from which an image is replaced by a stand-in."""
TOKEN: Final = 24
"""Bytes of randomness in a stand-in: 48 hexadecimal digits, or 64 characters of base64 without padding."""
KEPT: Final = 64 * 2**20
"""Bytes of base64 kept for the next request that sends the same images."""

_NONE: Final[Mapping[bytes, str]] = MappingProxyType({})
_PIECE: Final = 192 * 1024
"""Bytes encoded at a time, in whole groups of three."""


class StandInError(httpx2.LocalProtocolError):
    """The SDK did not take over a stand-in as it was; nothing has been sent."""


def lightened(request: UpstreamRequest, exchange: Exchange) -> UpstreamRequest:
    """*request* with stand-ins for its large images; *exchange* says for whoever sends it what they stand for.

    The thought signatures of its history have stand-ins too, whatever their length.
    """
    if not request.images and not request.history:
        return request
    return replace(
        request,
        images=tuple(_stand_in(image, exchange) for image in request.images),
        history=tuple(_lightened_turn(turn, exchange) for turn in request.history),
    )


def _lightened_turn(turn: Turn, exchange: Exchange) -> Turn:
    images = tuple(_stand_in(image, exchange) for image in turn.images)
    return replace(turn, images=images, answer=tuple(_lightened_part(part, exchange) for part in turn.answer))


def _lightened_part(part: Part, exchange: Exchange) -> Part:
    image, signature = part.image, part.signature
    if image is not None:
        given = ReferenceImage(image.data, image.mime_type)
        data = _stand_in(given, exchange).data
        image = GeneratedImage(data=data, mime_type=image.mime_type, width=image.width, height=image.height)
    if signature is not None:
        token = secrets.token_hex(TOKEN).encode()
        exchange.signatures[token] = signature
        signature = pybase64.b64encode_as_string(token)
    return replace(part, image=image, signature=signature)


def _stand_in(image: ReferenceImage, exchange: Exchange) -> ReferenceImage:
    if len(image.data) < WORTHWHILE:
        return image
    token = secrets.token_hex(TOKEN).encode()
    exchange.uploads[token] = image
    return replace(image, data=token)


async def put_in(
    request: httpx2.Request, uploads: Mapping[bytes, ReferenceImage], signatures: Mapping[bytes, str] = _NONE
) -> None:
    """Give *request* the images of *uploads*: bytes where the token stands, base64 where the token's base64 stands.

    Where the base64 of the token of one of the *signatures* stands, its text is put. A wire that sends no images at all
    is left alone, and so is one that sends no signatures.

    Raises:
        StandInError: some of the images' tokens are missing.
    """
    pieces = await _spliced(await request.aread(), uploads, signatures)
    request.stream = _Pieces(pieces)
    request.headers["content-length"] = str(sum(map(len, pieces)))


async def _spliced(
    body: bytes, uploads: Mapping[bytes, ReferenceImage], signatures: Mapping[bytes, str]
) -> list[bytes]:
    encoded = {pybase64.b64encode(token): image for token, image in uploads.items()}
    texts = {pybase64.b64encode(token): _in_json(text) for token, text in signatures.items()}
    found = _split(body, (*uploads, *encoded, *texts))
    shown = sum(part in uploads or part in encoded for part in found)
    if len(found) > 1 and shown < len(uploads):
        raise StandInError("the SDK did not send an image as it was given")
    pieces: list[bytes] = []
    for part in found:
        if part in uploads:
            pieces.append(uploads[part].data)
        elif part in texts:
            pieces.append(texts[part])
        elif part in encoded:
            pieces += await anyio.to_thread.run_sync(base64_of, encoded[part].data)
        else:
            pieces.append(part)
    return pieces


def _split(body: bytes, tokens: Iterable[bytes]) -> list[bytes]:
    """*body* in pieces: each of *tokens*, wherever it stands, and what is between them. No token is part of another."""
    pieces = [body]
    for token in tokens:
        pieces = [each for piece in pieces for each in _around(token, piece)]
    return pieces


def _around(token: bytes, piece: bytes) -> Iterator[bytes]:
    before, found, after = piece.partition(token)
    yield before
    while found:
        yield found
        before, found, after = after.partition(token)
        yield before


def _in_json(text: str) -> bytes:
    """*text* inside the quotes of a JSON string: an upstream's own text must not be able to end it."""
    return json.dumps(text)[1:-1].encode()


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
