"""The lanes of this world: what they are called, which wire they speak, what they charge, how long they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.storm.pictures import Size
from benchmarks.storm.wires import Wire

MODEL: Final = "gemini-3-pro-image"
"""What every lane draws with: they differ in price and in who runs them."""
SECONDS: Final[Mapping[Size, float]] = {"1K": 10.0, "4K": 30.0}
"""The median duration of a call, the catalogue's for this model."""
SPREAD: Final = 0.506
"""Standard deviation of the logarithm of a duration: the 95th percentile is 2.3 times the median."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One model at one provider. *prices* are USD per image."""

    name: str
    provider: str
    wire: Wire
    prices: Mapping[Size, float]


LANES: Final = (
    Lane("alpha-google", "alpha", "google", {"1K": 0.050, "4K": 0.080}),
    Lane("alpha-images", "alpha", "images", {"1K": 0.060, "4K": 0.100}),
    Lane("beta-images", "beta", "images", {"1K": 0.070, "4K": 0.120}),
    Lane("gamma-chat", "gamma", "chat", {"1K": 0.080, "4K": 0.140}),
    Lane("delta-images", "delta", "images", {"1K": 0.100, "4K": 0.180}),
    Lane("google", "google", "google", {"1K": 0.134, "4K": 0.240}),
)
"""Cheapest first; the last one is the vendor's own door, which never fails."""
