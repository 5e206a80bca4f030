"""google-genai alone, on the cheapest lane of Google's wire, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from google.genai import Client, types

from benchmarks.storm.lanes import MODEL
from benchmarks.storm.pictures import Size


class Contestant:
    lanes: ClassVar = ("alpha-google",)

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._client = Client(api_key="storm-key", http_options=types.HttpOptions(base_url=urls[self.lanes[0]]))

    async def draw(self, prompt: str, size: Size) -> tuple[bytes | None, bool]:
        config = types.GenerateContentConfig(
            response_modalities=["TEXT", "IMAGE"], image_config=types.ImageConfig(image_size=size)
        )
        answer = await self._client.aio.models.generate_content(model=MODEL, contents=prompt, config=config)
        return next((part.inline_data.data for part in answer.parts or () if part.inline_data), None), False

    async def aclose(self) -> None:
        await self._client.aio.aclose()
