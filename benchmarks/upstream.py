"""``python -m benchmarks.upstream FOLDER``: canned answers in a process of their own, over plain HTTP and over TLS.

The simulator answers once, at the start, and photographs take the place of its images; then the bytes are only sent, so
that the upstream costs the same whoever asks. The address tells the size of the image (``/4K/…``), the prompt whether the
answer shall be tiny.
It prints the two ports, and leaves the certificate of its authority in FOLDER.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from PIL import Image

from benchmarks.pictures import jpeg, png, weighing
from providers.simulator import Simulator
from tests.providers.wire import Authority

IMAGE_BYTES: Final[Mapping[str, int]] = {"1K": 1_500_000, "2K": 5_600_000, "4K": 21_400_000}
"""Sizes of real answers' images."""
TINY: Final = "tiny"
"""In a prompt: an image of 1K that has next to no bytes."""
_PIECE: Final = 2**20
_ENDS: Final = 4096
_EDGES: Final = {"1K": 1024, "2K": 2048, "4K": 4096}
_PIXELS: Final = {"1K": 1024, "2K": 2048, "4K": 2880}
"""Pixels a side, as gpt-image-2 draws them."""

Answers = Mapping[tuple[str, str], bytes]
"""Bodies by wire (google, images, chat) and size."""


def answers() -> Answers:
    with Simulator() as simulator:
        return {key: body for size in IMAGE_BYTES for key, body in _heavy(simulator.url, size).items()} | _tiny()


def _heavy(url: str, size: str) -> Answers:
    """Answers with a photograph of the *size*."""
    google, images = json.loads(_google(url, size)), json.loads(_images(url, size))
    _inline(google)["data"] = _base64(weighing(IMAGE_BYTES[size], _EDGES[size], jpeg))
    images["data"][0]["b64_json"] = _base64(weighing(IMAGE_BYTES[size], _PIXELS[size], png))
    return {
        ("google", size): json.dumps(google).encode(),
        ("images", size): json.dumps(images).encode(),
        ("chat", size): _as_chat(google),
    }


def _tiny() -> dict[tuple[str, str], bytes]:
    """Answers with a grey square of 1024 pixels: a few thousand bytes."""
    file = io.BytesIO()
    Image.new("L", (1024, 1024), 128).save(file, "JPEG", quality=10)
    image = _base64(file.getvalue())
    content = {"role": "model", "parts": [{"inlineData": {"mimeType": "image/jpeg", "data": image}}]}
    google = {"candidates": [{"content": content, "finishReason": "STOP"}]}
    return {
        ("google", TINY): json.dumps(google).encode(),
        ("images", TINY): json.dumps({"created": 1, "data": [{"b64_json": image}]}).encode(),
        ("chat", TINY): _as_chat(google),
    }


def _google(url: str, size: str) -> bytes:
    config = {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"imageSize": size}}
    question = {"contents": [{"parts": [{"text": "a fox"}]}], "generationConfig": config}
    return _asked(f"{url}/v1beta/models/gemini-3-pro-image:generateContent", question)


def _images(url: str, size: str) -> bytes:
    return _asked(
        f"{url}/v1/images/generations",
        {"model": "gpt-image-2", "prompt": "a fox", "size": f"{_PIXELS[size]}x{_PIXELS[size]}"},
    )


def _as_chat(answer: Any) -> bytes:
    """Google's answer as relays pass it on in chat."""
    inline = _inline(answer)
    picture = f"![image](data:{inline['mimeType']};base64,{inline['data']})"
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": picture}}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    ).encode()


def _inline(answer: Any) -> Any:
    """The image in Google's *answer*."""
    return next(part["inlineData"] for part in answer["candidates"][0]["content"]["parts"] if "inlineData" in part)


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode()


def _asked(url: str, question: Any) -> bytes:
    headers = {"content-type": "application/json", "authorization": "Bearer k", "x-goog-api-key": "k"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(question).encode(), headers)) as answer:
        return bytes(answer.read())


class Upstream:
    """Answers each request with the canned body it asks for."""

    def __init__(self, bodies: Answers) -> None:
        self._bodies = bodies

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head, await _body(reader, head), writer)
        writer.close()

    async def _answer(self, head: bytes, question: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split(b" ", 2)[1].decode()
        size = TINY if TINY.encode() in question else path.split("/")[1]
        wire = "google" if "generateContent" in path else "chat" if path.endswith("completions") else "images"
        body = memoryview(self._bodies[wire, size])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), _PIECE):
            writer.write(body[start : start + _PIECE])
            await writer.drain()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The first and last bytes of the request's body: the rest is reference images."""
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    left, kept = int(found[1]) if found else 0, b""
    while left:
        data = await reader.read(min(left, _PIECE))
        left -= len(data)
        kept += data
        if len(kept) > 2 * _ENDS:
            kept = kept[:_ENDS] + kept[-_ENDS:]
    return kept


async def main(folder: Path) -> None:
    upstream = Upstream(answers())
    authority = Authority(folder)
    plain = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=2 * _PIECE)
    secure = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=2 * _PIECE, ssl=authority.server())
    print(*(server.sockets[0].getsockname()[1] for server in (plain, secure)), authority.path, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
