"""One contender in a process of its own: a warm-up with a small image, then one 4K image under observation.

The warm-up asks another upstream, whose images are small: what it leaves in the heap would hide what the 4K image takes.

It reports CPU seconds, the peak of resident memory above what was there before (bytes, Linux), and the longest time in
which a ticker of 1 ms was not served (s).
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PROMPT = "A launch poster that says HELLO"
Draw = Callable[[str], Awaitable[int]]


async def main(contender: str, small: str, large: str) -> None:
    draw, close = CONTENDERS[contender](small)
    await draw("1K")
    await close()
    draw, close = CONTENDERS[contender](large)
    with suppress(Exception):  # this upstream refuses 1K at once; the client has connected by then
        await draw("1K")
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before, started = _status("VmRSS"), time.process_time()
    stalls: list[float] = []
    ticker = asyncio.create_task(_tick(stalls))
    image = await draw("4K")
    cpu, peak = time.process_time() - started, _status("VmHWM") - before
    await asyncio.sleep(0.01)  # the ticker has to notice what came last
    ticker.cancel()
    await close()
    print(json.dumps({"cpu": cpu, "peak": peak, "stall": max(stalls, default=0.0), "image": image}))


def google_genai(url: str) -> tuple[Draw, Callable[[], Awaitable[Any]]]:
    from google.genai import Client, types

    client = Client(api_key="k", http_options=types.HttpOptions(base_url=url, api_version="v1beta", timeout=60_000))

    async def draw(size: str) -> int:
        config = types.GenerateContentConfig(
            response_modalities=["TEXT", "IMAGE"], image_config=types.ImageConfig(image_size=size)
        )
        answer = await client.aio.models.generate_content(model="gemini-3-pro-image", contents=PROMPT, config=config)
        return max(len(part.inline_data.data) for part in answer.parts or () if part.inline_data)

    return draw, client.aio.aclose


def openai(url: str) -> tuple[Draw, Callable[[], Awaitable[Any]]]:
    import base64

    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0)

    async def draw(size: str) -> int:
        pixels: Any = {"1K": "1024x1024", "4K": "2880x2880"}[size]
        answer = await client.images.generate(model="gpt-image-2", prompt=PROMPT, size=pixels)
        return max(len(base64.b64decode(item.b64_json or "")) for item in answer.data or ())

    return draw, client.close


def gateway_google(url: str) -> tuple[Draw, Callable[[], Awaitable[Any]]]:
    return _gateway({"kind": "google", "base_url": url, "api_key": "benchmark-key"}, "gemini-3-pro-image")


def gateway_openai(url: str) -> tuple[Draw, Callable[[], Awaitable[Any]]]:
    table = {"kind": "openai", "base_url": f"{url}/v1", "dialect": "images", "api_key": "benchmark-key"}
    return _gateway({**table, "lanes": [{"model": "gpt-image-2"}]}, "gpt-image-2")


def _gateway(table: dict[str, Any], model: str) -> tuple[Draw, Callable[[], Awaitable[Any]]]:
    from gateway import AsyncGateway

    gateway = AsyncGateway.from_config({"providers": {"upstream": table}})

    async def draw(size: str) -> int:
        result = await gateway.generate(PROMPT, size=size, model=model)
        return max(len(image.data) for image in result.images)

    return draw, gateway.aclose


CONTENDERS = {
    "google-genai": google_genai,
    "openai": openai,
    "gateway-google": gateway_google,
    "gateway-openai": gateway_openai,
}


async def _tick(stalls: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        stalls.append(now - last - 0.001)
        last = now


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, key
    return int(found[1]) * 1024


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
