"""Upstreams that answer from a script, and gateways over them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel

from gateway import AsyncGateway, ImageResult
from gateway.configuration import config as configuration
from gateway.configuration.config import Config
from providers.exchange import Exchange
from providers.images import GeneratedImage
from providers.outcome import Billed, Outcome, OutcomeName, Part, Usage
from providers.provider import Provider, ProviderSettings
from providers.request import UpstreamRequest
from providers.sizes import EDGE, Size, parse_ratio
from tests.gateway.virtual_time import VirtualTime

FREE = (
    "rate_limited",
    "quota_exhausted",
    "balance",
    "auth",
    "region",
    "model_gone",
    "overloaded",
    "transport",
    "invalid",
)

Answer = Callable[[UpstreamRequest, Exchange], Awaitable[Outcome]]


def image(width: int = 1024, height: int = 1024, mime_type: str = "image/png") -> GeneratedImage:
    return GeneratedImage(
        data=f"{mime_type} {width}x{height}".encode(), mime_type=mime_type, width=width, height=height
    )


def picture_of(size: Size, ratio: str | None = None) -> GeneratedImage:
    """An image of exactly that tier's area, in that ratio."""
    across, down = parse_ratio(ratio or "1:1") or (1, 1)
    return image(round(EDGE[size] * (across / down) ** 0.5), round(EDGE[size] * (down / across) ** 0.5))


def draws(
    *images: GeneratedImage,
    seconds: float = 5.0,
    text: str = "",
    usage: Usage | None = None,
    reported: str | None = None,
) -> Answer:
    """Answers with *images*, or with as many as are asked for, of the size asked for."""

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        exchange.sent = True
        await anyio.sleep(seconds)
        drawn = images or tuple(picture_of(request.size or "1K", request.aspect_ratio) for _ in range(request.n))
        parts = (*(Part(text=text) for _ in range(bool(text))), *(Part(image=each) for each in drawn))
        cost = None if reported is None else Decimal(reported)
        return Outcome(name="ok", billed="yes", parts=parts, usage=usage, reported_cost=cost)

    return answer


def fails(
    name: OutcomeName,
    billed: Billed | None = None,
    *,
    retry_after: float | None = None,
    seconds: float = 1.0,
    detail: str = "",
) -> Answer:
    """Fails in that way after *seconds*."""

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        exchange.sent = True
        await anyio.sleep(seconds)
        fate: Billed = billed or ("no" if name in FREE else "yes" if name in ("blocked", "no_image") else "maybe")
        return Outcome(name=name, billed=fate, retry_after=retry_after, detail=detail or f"{name} for a test")

    return answer


def hangs(*, sent: bool = True) -> Answer:
    """Never answers; whether the request has been *sent* by then."""

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        exchange.sent = sent
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    return answer


def crashes(error: BaseException) -> Answer:
    """Has a bug: raises *error* after it has sent the request."""

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        exchange.sent = True
        raise error

    return answer


@dataclass(frozen=True)
class Call:
    """A call as an upstream saw it; *at* is the virtual time in seconds."""

    provider: str
    key: str | None
    request: UpstreamRequest
    at: float


class Scripted:
    """A :class:`Provider` that answers from the script of its name."""

    def __init__(self, settings: ProviderSettings, studio: Studio) -> None:
        self.settings = settings
        self.closed = 0
        self._studio = studio

    async def generate(self, request: UpstreamRequest, exchange: Exchange) -> Outcome:
        key = self.settings.api_key.reveal() if self.settings.api_key else None
        studio = self._studio
        studio.calls.append(Call(self.settings.name, key, request, studio.time.now))
        script = studio.scripts.get(self.settings.name, [])
        answer = script.pop(0) if script else draws()
        return await answer(request, exchange)

    async def check(self, timeout: float) -> Outcome:
        key = self.settings.api_key.reveal() if self.settings.api_key else None
        self._studio.checks.append((self.settings.name, key, self._studio.time.now))
        return Outcome(name="ok" if key in self._studio.good_keys else "auth", billed="no")

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1


@dataclass
class Studio:
    """Every scripted upstream of a test, the calls they saw, and the gateway over them.

    *checks* are the free ones: who, with which key, when. They find only *good_keys* good.
    """

    config: Config
    time: VirtualTime = field(default_factory=VirtualTime)
    scripts: dict[str, list[Answer]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    adapters: list[Scripted] = field(default_factory=list)
    checks: list[tuple[str, str | None, float]] = field(default_factory=list)
    good_keys: set[str | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gateway = AsyncGateway(self.config, clock=self.time.clock, load=self.load, chance=lambda: 0.0)

    def load(self, settings: ProviderSettings) -> Provider:
        adapter = Scripted(settings, self)
        self.adapters.append(adapter)
        return adapter

    def script(self, provider: str, *answers: Answer) -> None:
        """What *provider* answers to its next calls; after these it draws."""
        self.scripts[provider] = list(answers)

    def draw(self, prompt: str = "a fox", **fields: Any) -> ImageResult:
        """One request on an event loop of its own."""
        return self.time.run(lambda: self.gateway.generate(prompt, **fields))

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        """Who was called for which size, in order."""
        return [(call.provider, call.request.size) for call in self.calls]


def lane(model: str = "painter", price: float | Mapping[str, float] = 0.05, **keys: Any) -> dict[str, Any]:
    """A table of ``[[providers.NAME.lanes]]`` for a model the catalogue does not know, at one price for each size."""
    sizes = keys.pop("sizes", ("1K", "2K", "4K"))
    prices = dict(price) if isinstance(price, Mapping) else dict.fromkeys(sizes, price)
    return {"model": model, "sizes": list(sizes), "price": prices, **keys}


def relay(*lanes: Mapping[str, Any], keys: tuple[str, ...] = ("key-1",), **more: Any) -> dict[str, Any]:
    """A table of ``[providers.NAME]`` for a host of nobody's in particular."""
    return {
        "kind": "openai",
        "base_url": "https://relay.example/v1",
        "dialect": "chat",
        "api_key": list(keys),
        "lanes": list(lanes) or [lane()],
        **more,
    }


def tables(fallback: Mapping[str, Any] | None = None, **providers: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as a mapping, with a table for each of *providers*."""
    return {"fallback": dict(fallback or {}), "providers": providers}


def studio(fallback: Mapping[str, Any] | None = None, **providers: Mapping[str, Any]) -> Studio:
    """A studio with these providers; the first named is the cheapest unless their lanes say otherwise."""
    made = {name.replace("_", "-"): table for name, table in providers.items()}
    return Studio(configuration.load(tables(fallback, **made), environ={}))


def two(fallback: Mapping[str, Any] | None = None, **keys: Any) -> Studio:
    """The usual studio: ``first`` at $0.05 and ``second`` at $0.06, each with every size from 1K on."""
    first, second = relay(lane(price=0.05, **keys)), relay(lane(price=0.06, **keys))
    return studio(fallback, first=first, second=second)
