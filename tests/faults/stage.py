"""A gateway over two upstreams on loopback: the first fails as a test scripts it, the second delivers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import pytest

from gateway import AsyncGateway, Attempt, GatewayError, ImageResult, LaneHealth
from gateway.configuration import config
from tests.faults.socket_time import SocketTime
from tests.gateway.upstreams import lane
from tests.providers.bodies import encoded, written
from tests.providers.wire import GOOD, KEY, KINDS, PICTURE, Received, Script, Upstream, answer, answering
from tests.relays.relay import png

both = pytest.mark.parametrize("kind", KINDS)
"""On either wire, through either SDK."""

PRICES: Final = {"first": 0.05, "second": 0.10}
"""USD per image."""
OTHER_KEY: Final = "canary-key-9876543210"
ENVIRON: Final = {"KEY": KEY, "OTHER_KEY": OTHER_KEY}
BOTH_KEYS: Final = ("env:KEY", "env:OTHER_KEY")
CHANCE: Final = 0.5
"""What every throw of the dice comes to, so that jitter shows."""
ENOUGH: Final = 6
"""Failures in a row after which a lane that still serves is never going to be shut by them."""


@lru_cache
def poster(width: int = 1024, height: int = 1024) -> bytes:
    """A PNG of a tier's size and few bytes."""
    return png(width, height)


@lru_cache
def body(kind: str, image: bytes | None = None) -> bytes:
    """A good answer on the wire of *kind*, with *image*, or a poster."""
    return written(GOOD[kind]).replace(encoded(PICTURE).encode(), encoded(image or poster()).encode())


def delivers(kind: str, image: bytes | None = None) -> Script:
    """Answers every request with *image*, or a poster."""
    return answering(answer(body(kind, image)))


def provider(kind: str, url: str, **more: Any) -> dict[str, Any]:
    """A table of ``[providers.NAME]`` for the upstream at *url*, with the first of ENVIRON's keys unless told otherwise."""
    address = {"base_url": url} if kind == "google" else {"base_url": f"{url}/v1", "dialect": "images"}
    return {"kind": kind, **address, "api_key": "env:KEY", **more}


@dataclass(frozen=True)
class Ended:
    """How a request ended: *result* or *error*, virtual *seconds*, and the lanes' health by provider right after it."""

    result: ImageResult | None
    error: GatewayError | None
    seconds: float
    health: Mapping[str, LaneHealth]

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        ended = self.result or self.error
        assert ended is not None
        return ended.attempts

    @property
    def asked(self) -> tuple[str, ...]:
        """The providers that were asked, in order."""
        return tuple(attempt.lane.partition("/")[0] for attempt in self.attempts)

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """Outcome and ``billed`` of each attempt."""
        return tuple((attempt.outcome, attempt.billed) for attempt in self.attempts)

    @property
    def spent(self) -> str:
        """USD that all attempts did or may have cost; a result says the same."""
        total = sum((attempt.cost.usd for attempt in self.attempts if attempt.cost), Decimal(0))
        assert self.result is None or self.result.total_cost.usd == total
        assert all((attempt.cost is None) == (attempt.billed == "no") for attempt in self.attempts)
        return f"{total:.2f}"


@dataclass
class Stage:
    """A gateway over *upstreams*, by the name of their provider."""

    time: SocketTime
    gateway: AsyncGateway
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)

    async def draw(self, prompt: str = "a fox", **fields: Any) -> Ended:
        """One request."""
        result = error = None
        begun = self.time.now
        try:
            result = await self.gateway.generate(prompt, **fields)
        except GatewayError as caught:
            error = caught
        return Ended(result, error, self.time.now - begun, self.health)

    @property
    def health(self) -> dict[str, LaneHealth]:
        return {health.lane.partition("/")[0]: health for health in self.gateway.health()}

    def calls(self, name: str = "first") -> int:
        """How many requests for images have reached the upstream of *name*."""
        return len(self.requests(name, "POST"))

    def requests(self, name: str, method: str) -> list[Received]:
        """The requests with that *method* which have reached the upstream of *name*."""
        return [request for request in self.upstreams[name].requests if request.line.startswith(f"{method} ")]


@asynccontextmanager
async def staged(
    kind: str,
    *scripts: Script,
    time: SocketTime | None = None,
    tls: Any = None,
    scheme: str = "",
    urls: Mapping[str, str] | None = None,
    fallback: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[Stage]:
    """A gateway whose providers ``first``, ``second`` … play *scripts*; without a second, one that delivers.

    *tls* is what the first one shows, *scheme* how it is called whatever it shows. *urls* puts others in place of the
    upstreams' addresses. *facts* are keys of the first one's lane, *more* those of its table.
    """
    time = time or SocketTime()
    played = scripts if len(scripts) > 1 else (*scripts, delivers(kind))
    async with AsyncExitStack() as stack:
        upstreams: dict[str, Upstream] = {}
        tables: dict[str, Any] = {}
        for name, script in zip(PRICES, played, strict=False):
            is_first = name == "first"
            upstream = await stack.enter_async_context(Upstream(script, tls=tls if is_first else None))
            spoken = scheme or ("https" if tls else "http")
            url = upstream.url.replace("http", spoken) if is_first else upstream.url
            own, keys = (more, facts or {}) if is_first else ({}, {})
            made = lane(price=PRICES[name], **{"sizes": ("1K", "2K"), **keys})
            tables[name] = provider(kind, (urls or {}).get(name, url), lanes=[made], **own)
            upstreams[name] = upstream
        loaded = config.load({"fallback": dict(fallback or {}), "providers": tables}, environ=ENVIRON)
        gateway = await stack.enter_async_context(AsyncGateway(loaded, clock=time.clock, chance=lambda: CHANCE))
        yield Stage(time, gateway, upstreams)


def played(kind: str, *scripts: Script, fields: Mapping[str, Any] | None = None, **more: Any) -> Ended:
    """How one request ends over upstreams that play *scripts*; *more* as in :func:`staged`."""
    time = SocketTime()

    async def main() -> Ended:
        async with staged(kind, *scripts, time=time, **more) as stage:
            return await stage.draw(**(fields or {}))

    return time.run(main)


@dataclass(frozen=True)
class Fate:
    """What comes of a failure: the first attempt's outcome and ``billed``, the providers asked, the USD spent on the whole
    request, and the number of such failures, one after the other, after which the lane is shut (None: never)."""

    outcome: str
    billed: str
    asked: tuple[str, ...]
    spent: str
    shut_after: int | None


def fate(kind: str, script: Script, fields: Mapping[str, Any] | None = None, **more: Any) -> Fate:
    """What comes of the failure that *script* plays; *more* as in :func:`staged`."""
    time = SocketTime()

    async def main() -> Fate:
        async with staged(kind, script, time=time, **more) as stage:
            ended = first = await stage.draw(**(fields or {}))
            times = 0
            while ended.asked[:1] == ("first",) and times < ENOUGH:
                times += 1
                ended = await stage.draw(**(fields or {}))
            (outcome, billed), *_ = first.told
            return Fate(outcome, billed, first.asked, first.spent, None if times == ENOUGH else times)

    return time.run(main)


def moves_on(outcome: str, billed: str, shut_after: int | None) -> Fate:
    """The fate of a failure after which the second provider delivers; what may have been billed adds to its price."""
    spent = PRICES["second"] + (PRICES["first"] if billed != "no" else 0)
    return Fate(outcome, billed, ("first", "second"), f"{spent:.2f}", shut_after)
