"""The router's decision: what would be tried, in which order, and why the rest is out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from providers.sizes import Size

ExclusionReason = Literal[
    "size", "aspect_ratio", "retired", "not_released", "region", "residency", "model", "quality", "capability",
    "max_cost", "circuit_open", "cooling_down", "quota", "preference", "disabled",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One step the chain may take: *lane* (``"provider/model"``) at *size*.

    *expected_cost* is USD per image, *expected_seconds* the typical duration of a call, *success_rate* from 0 to 1.
    """

    lane: str
    size: Size
    expected_cost: Decimal
    expected_seconds: float
    success_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A lane that will not be tried. *retry_after* is the seconds until that may change, or None."""

    lane: str
    reason: ExclusionReason
    detail: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order they would be tried, and the lanes left out with their reasons."""

    candidates: tuple[Candidate, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        rows = [("#", "lane", "size", "USD", "seconds", "success")]
        rows += [
            (str(number), step.lane, step.size, f"{step.expected_cost:.4f}", f"{step.expected_seconds:.0f}",
             f"{step.success_rate:.0%}")
            for number, step in enumerate(self.candidates, 1)
        ]  # fmt: skip
        lines = _aligned(rows) if self.candidates else ["no lane can serve this request"]
        if self.excluded:
            lines += ["", "left out:"]
            lines += [f"  {line}" for line in _aligned([(e.lane, e.reason, e.detail) for e in self.excluded])]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
