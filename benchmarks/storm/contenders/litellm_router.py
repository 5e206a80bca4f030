"""LiteLLM's Router: one group of deployments with ``order``, cheapest first, so that cooldowns apply to each of them.

A failed order falls back to the next one by itself; retries stay at 0 because they would ask the same deployment again.
Of the cooldowns tried (``allowed_fails`` 0, 1, 3 and unset; 15 to 120 s and unset) one failure and 30 s did best. An attempt
may last half as long as its caller waits.

Gemini and OpenRouter are asked for images by a blocking client in worker threads, whatever the caller awaits. Here that
client's bytes go through the event loop, so that it lives in virtual time as well, and threads are never short.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, ClassVar

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched at import

import httpx
import litellm
from litellm import Router
from litellm.llms.custom_httpx.http_handler import HTTPHandler

from benchmarks.storm.lanes import LANES, MODEL, Lane
from benchmarks.storm.pictures import EDGE, Size
from benchmarks.storm.traffic import PATIENCE
from benchmarks.storm.virtual_time import VirtualLoop

ATTEMPT_SHARE = 0.5

QUALITY = {"1K": "standard", "4K": "high"}


class ThroughTheLoop(httpx.BaseTransport):
    """Carries the requests of a blocking client over an async transport, with the client's own timeouts."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def send() -> httpx.Response:
            response = await self._transport.handle_async_request(request)
            try:
                content = await response.aread()
            finally:
                await response.aclose()
            return httpx.Response(response.status_code, headers=response.headers, content=content)

        return self._loop.await_from_thread(send)


class Contestant:
    lanes: ClassVar = tuple(lane.name for lane in LANES)

    def __init__(self, urls: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        HTTPHandler._create_sync_transport = lambda self: ThroughTheLoop(loop)
        litellm.telemetry = False
        litellm.drop_params = True  # the quality is for OpenRouter, which reads the size from it
        litellm.suppress_debug_info = True
        deployments = [_deployment(order, lane, urls[lane.name]) for order, lane in enumerate(LANES, 1)]
        self._router = Router(
            model_list=deployments,
            num_retries=0,
            max_fallbacks=len(LANES),
            allowed_fails=1,
            cooldown_time=30,
        )

    async def draw(self, prompt: str, size: Size) -> tuple[bytes | None, bool]:
        answer = await self._router.aimage_generation(
            model="poster",
            prompt=prompt,
            size=f"{EDGE[size]}x{EDGE[size]}",
            quality=QUALITY[size],
            timeout=ATTEMPT_SHARE * PATIENCE[size],
        )
        return next((b64decode(image.b64_json) for image in answer.data or () if image.b64_json), None), False

    async def aclose(self) -> None:
        pass


def _deployment(order: int, lane: Lane, url: str) -> dict[str, Any]:
    wires = {
        "google": {"model": f"gemini/{MODEL}", "api_base": f"{url}/v1beta"},
        "images": {"model": f"openai/{MODEL}", "api_base": f"{url}/v1"},
        "chat": {"model": f"openrouter/google/{MODEL}", "api_base": f"{url}/v1"},
    }
    more = {"api_key": "storm-key", "order": order, "max_retries": 0}
    return {"model_name": "poster", "litellm_params": {**wires[lane.wire], **more}}
