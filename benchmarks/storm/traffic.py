"""The traffic: the same requests at the same moments for every contender."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.storm.pictures import Size

PER_MINUTE: Final = 60.0
SHARE_OF_4K: Final = 1 / 6
PATIENCE: Final[dict[Size, float]] = {"1K": 90.0, "4K": 180.0}
"""Seconds a caller waits for an image before it turns away."""


@dataclass(frozen=True, slots=True)
class Request:
    """A wish for one image, *at* seconds after the start."""

    number: int
    at: float
    size: Size

    @property
    def prompt(self) -> str:
        return f"A poster of a red fox, #{self.number}"


def traffic(minutes: float, seed: int) -> list[Request]:
    """Arrivals as chance has them (Poisson), one size in six 4K."""
    chance, now = Random(seed), 0.0
    requests: list[Request] = []
    while True:
        now += chance.expovariate(PER_MINUTE / 60)
        if now >= minutes * 60:
            return requests
        requests.append(Request(len(requests) + 1, now, "4K" if chance.random() < SHARE_OF_4K else "1K"))
