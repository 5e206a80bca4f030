"""This gateway: every lane as a provider with its price, and all of them may be tried; the rest are its defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from benchmarks.storm.lanes import LANES, MODEL, Lane
from benchmarks.storm.pictures import Size
from gateway import AsyncGateway


class Contestant:
    lanes: ClassVar = tuple(lane.name for lane in LANES)

    def __init__(self, urls: Mapping[str, str]) -> None:
        os.environ["STORM_KEY"] = "storm-key"
        providers = {lane.name: _provider(lane, urls[lane.name]) for lane in LANES}
        self._gateway = AsyncGateway.from_config({"providers": providers, "fallback": {"max_attempts": len(LANES)}})

    async def draw(self, prompt: str, size: Size) -> tuple[bytes | None, bool]:
        result = await self._gateway.generate(prompt, size=size)
        return result.images[0].data, result.downgraded

    async def aclose(self) -> None:
        await self._gateway.aclose()


def _provider(lane: Lane, url: str) -> dict[str, Any]:
    table = {"model": MODEL, "sizes": ["1K", "4K"], "price": lane.prices}
    if lane.wire == "google":
        return {"kind": "google", "base_url": url, "api_key": "env:STORM_KEY", "lanes": [table]}
    return {
        "kind": "openai",
        "base_url": f"{url}/v1",
        "api_key": "env:STORM_KEY",
        "dialect": lane.wire,
        "lanes": [table],
    }
