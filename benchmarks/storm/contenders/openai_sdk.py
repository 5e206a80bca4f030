"""openai alone, on the cheapest lane of its images wire, with its defaults: two retries and ten minutes for each call."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, ClassVar

from openai import AsyncOpenAI

from benchmarks.storm.lanes import MODEL
from benchmarks.storm.pictures import EDGE, Size


class Contestant:
    lanes: ClassVar = ("alpha-images",)

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._client = AsyncOpenAI(api_key="storm-key", base_url=f"{urls[self.lanes[0]]}/v1")

    async def draw(self, prompt: str, size: Size) -> tuple[bytes | None, bool]:
        pixels: Any = f"{EDGE[size]}x{EDGE[size]}"
        answer = await self._client.images.generate(model=MODEL, prompt=prompt, size=pixels)
        return next((b64decode(image.b64_json) for image in answer.data or () if image.b64_json), None), False

    async def aclose(self) -> None:
        await self._client.close()
