"""Who is measured. Each is imported only when it is its turn, and may live in an environment of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

PIXELS: Final = {"1K": "1024x1024", "2K": "2048x2048", "4K": "2880x2880"}


class Draw(Protocol):
    """Asks for one image and returns its bytes; nothing, if it was saved. *images* are references."""

    def __call__(self, prompt: str, size: str, images: Sequence[bytes] = ()) -> Awaitable[bytes]: ...


Close = Callable[[], Awaitable[Any]]


def google_genai(url: str) -> tuple[Draw, Close]:
    from google.genai import Client, types

    client = Client(api_key="k", http_options=types.HttpOptions(base_url=url, api_version="v1beta", timeout=60_000))

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        config = types.GenerateContentConfig(
            response_modalities=["TEXT", "IMAGE"], image_config=types.ImageConfig(image_size=size)
        )
        contents: Any = [prompt, *(types.Part.from_bytes(data=data, mime_type="image/png") for data in images)]
        answer = await client.aio.models.generate_content(model="gemini-3-pro-image", contents=contents, config=config)
        return next(part.inline_data.data or b"" for part in answer.parts or () if part.inline_data)

    return draw, client.aio.aclose


def openai(url: str) -> tuple[Draw, Close]:
    import base64

    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0)

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        asked: Any = {"model": "gpt-image-2", "prompt": prompt, "size": PIXELS[size]}
        if images:
            answer = await client.images.edit(**asked, image=[("a.png", data, "image/png") for data in images])
        else:
            answer = await client.images.generate(**asked)
        return next(base64.b64decode(item.b64_json or "") for item in answer.data or ())

    return draw, client.close


def openai_chat(url: str) -> tuple[Draw, Close]:
    import base64

    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0)

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        links = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in images]
        content: Any = [
            {"type": "text", "text": prompt},
            *({"type": "image_url", "image_url": {"url": u}} for u in links),
        ]
        answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": content}])
        text = answer.choices[0].message.content or ""
        return base64.b64decode(text.partition("base64,")[2].rstrip(")"))

    return draw, client.close


def gateway_google(url: str, **fields: Any) -> tuple[Draw, Close]:
    return _gateway({"kind": "google", "base_url": url, "api_key": "k"}, "gemini-3-pro-image", fields)


def gateway_openai(url: str, **fields: Any) -> tuple[Draw, Close]:
    table = {"kind": "openai", "base_url": f"{url}/v1", "dialect": "images", "api_key": "k"}
    return _gateway({**table, "lanes": [{"model": "gpt-image-2"}]}, "gpt-image-2", fields)


def gateway_chat(url: str, **fields: Any) -> tuple[Draw, Close]:
    table = {"kind": "openai", "base_url": f"{url}/v1", "dialect": "chat", "api_key": "k"}
    return _gateway({**table, "lanes": [{"model": "gemini-3-pro-image"}]}, "gemini-3-pro-image", fields)


def gateway_of_lanes(url: str) -> tuple[Draw, Close]:
    """Eight lanes at one price: the router spreads the requests over them."""
    from gateway import AsyncGateway

    table = {"kind": "google", "base_url": url, "api_key": "k", "lanes": [{"model": "gemini-3-pro-image"}]}
    gateway = AsyncGateway.from_config({"providers": {f"upstream-{number}": table for number in range(8)}})

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        return (await gateway.generate(prompt, size=size)).images[0].data

    return draw, gateway.aclose


def _gateway(table: dict[str, Any], model: str, fields: dict[str, Any]) -> tuple[Draw, Close]:
    from gateway import AsyncGateway

    gateway = AsyncGateway.from_config({"providers": {"upstream": table}})

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        result = await gateway.generate(prompt, size=size, model=model, images=tuple(images), **fields)
        return b"" if "save_to" in fields else result.images[0].data

    return draw, gateway.aclose


def litellm_google(url: str) -> tuple[Draw, Close]:
    return _litellm("gemini/gemini-3-pro-image-preview", f"{url}/v1beta")


def litellm_openai(url: str) -> tuple[Draw, Close]:
    return _litellm("openai/gpt-image-1", f"{url}/v1")


def _litellm(model: str, base: str) -> tuple[Draw, Close]:
    import base64

    import litellm

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        answer = await litellm.aimage_generation(model=model, prompt=prompt, api_key="k", api_base=base)
        return next(base64.b64decode(item.b64_json or "") for item in answer.data or ())

    return draw, _nothing


def litellm_router(url: str) -> tuple[Draw, Close]:
    import base64

    from litellm import Router

    deployment = {"model": "openai/gpt-image-1", "api_key": "k", "api_base": f"{url}/v1"}
    router = Router(model_list=[{"model_name": "m", "litellm_params": deployment}], num_retries=0)

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        answer = await router.aimage_generation(model="m", prompt=prompt)
        return next(base64.b64decode(item.b64_json or "") for item in answer.data or ())

    return draw, _nothing


def raw_httpx2(url: str) -> tuple[Draw, Close]:
    import base64

    import httpx2

    client = httpx2.AsyncClient(timeout=60)

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        answer = await client.post(f"{url}/v1/images/generations", json={"prompt": prompt})
        return base64.b64decode(answer.json()["data"][0]["b64_json"])

    return draw, client.aclose


def raw_sockets(url: str) -> tuple[Draw, Close]:
    """The least that can be done: read into one buffer, decode from there, keep the image. No pool, no checks."""
    import ssl
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    open_ones: list[_Drain] = []

    async def draw(prompt: str, size: str, images: Sequence[bytes] = ()) -> bytes:
        loop = asyncio.get_running_loop()
        if open_ones:
            drain = open_ones.pop()
        else:
            _, drain = await loop.create_connection(_Drain, parts.hostname, parts.port, ssl=secure)
        head = f"POST {parts.path}/v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(prompt)}\r\n\r\n"
        image = await drain.ask((head + prompt).encode())
        open_ones.append(drain)
        return image

    async def close() -> None:
        for drain in open_ones:
            drain.transport.close()

    return draw, close


class _Drain(asyncio.BufferedProtocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(256 * 1024))
        self._have = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self, request: bytes) -> bytes:
        self._done = asyncio.get_running_loop().create_future()
        self._image: bytearray | None = None
        self.transport.write(request)
        image: bytes = await self._done
        return image

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._have :]

    def buffer_updated(self, nbytes: int) -> None:
        import pybase64

        self._have += nbytes
        if self._image is None and not self._begin(nbytes):
            return
        self._left -= nbytes
        end = self._buffer.obj.find(b'"', 0, self._have) if self._left <= 0 else -1  # type: ignore[attr-defined]
        whole = (self._have if end < 0 else end) & ~3
        if self._left <= 0 and end < 0:
            whole = 0
        image = pybase64.b64decode(self._buffer[:whole], validate=True) if self._image is not None else b""
        assert self._image is not None
        self._image[self._at : self._at + len(image)] = image
        self._at += len(image)
        self._buffer[: self._have - whole] = self._buffer[whole : self._have]
        self._have -= whole
        if self._left <= 0:
            self._have = 0
            del self._image[self._at :]
            self._done.set_result(self._image)

    def _begin(self, nbytes: int) -> bool:
        text = bytes(self._buffer[: min(self._have, 16_384)])
        start = text.find(b'"b64_json":')
        if start < 0:
            return False
        start = text.index(b'"', start + 11) + 1
        found = re.search(rb"content-length: (\d+)", text, re.IGNORECASE)
        assert found
        length = int(found[1])
        self._left = length - (self._have - text.index(b"\r\n\r\n") - 4) + nbytes
        self._image, self._at = bytearray(length * 3 // 4), 0
        rest = bytes(self._buffer[start : self._have])
        self._buffer[: len(rest)] = rest
        self._have = len(rest)
        return True


async def _nothing() -> None:
    """Nothing to close."""


CONTENDERS: Final[dict[str, Callable[..., tuple[Draw, Close]]]] = {
    "google-genai": google_genai,
    "gateway, google": gateway_google,
    "gateway, 8 lanes": gateway_of_lanes,
    "litellm, gemini": litellm_google,
    "openai": openai,
    "gateway, openai": gateway_openai,
    "litellm, openai": litellm_openai,
    "litellm Router": litellm_router,
    "openai chat": openai_chat,
    "gateway, chat": gateway_chat,
    "httpx2": raw_httpx2,
    "sockets": raw_sockets,
}
