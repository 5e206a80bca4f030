"""What a batch needs of the gateway that it belongs to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.events import Event
from gateway.health.monitor import Monitor
from gateway.request import ImageRequest
from gateway.result import ImageResult
from gateway.router.acceptance import Verdicts
from gateway.setups import Setups
from providers.errors import GatewayError

Chain = Callable[[Sequence[ImageRequest]], AsyncGenerator[tuple[int, ImageResult | GatewayError], None]]
"""Draws requests the ordinary way, many at once: the place of each, from 0, with what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a batch needs of its gateway."""

    setups: Setups
    clock: Clock
    monitor: Monitor
    verdicts: Verdicts
    emit: Callable[[Event], None]
    chain: Chain
