"""pydantic-ai's FallbackModel: both lanes of Google's wire, cheapest first, moving on after errors and imageless answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic_ai import Agent, BinaryImage, ModelAPIError, ModelResponse
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.native_tools import ImageGenerationTool
from pydantic_ai.providers.google import GoogleProvider

from benchmarks.storm.lanes import MODEL
from benchmarks.storm.pictures import Size
from benchmarks.storm.traffic import PATIENCE


def no_image(response: ModelResponse) -> bool:
    return not response.images


class Contestant:
    lanes: ClassVar = ("alpha-google", "google")

    def __init__(self, urls: Mapping[str, str]) -> None:
        models = [
            GoogleModel(MODEL, provider=GoogleProvider(api_key="storm-key", base_url=urls[lane])) for lane in self.lanes
        ]
        model = FallbackModel(*models, fallback_on=[ModelAPIError, no_image])
        sizes: tuple[Size, ...] = ("1K", "4K")
        self._agents = {
            size: Agent(
                model,
                output_type=BinaryImage,
                capabilities=[NativeTool(ImageGenerationTool(size=size))],
                model_settings={"timeout": PATIENCE[size] / 2},
            )
            for size in sizes
        }

    async def draw(self, prompt: str, size: Size) -> tuple[bytes | None, bool]:
        result = await self._agents[size].run(prompt)
        return result.output.data, False

    async def aclose(self) -> None:
        pass
