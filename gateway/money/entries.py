"""What the ledger holds: one entry for each call that was sent, or was about to be.

Money in the books is whole micro-USD (millionths of a dollar), so that sums are exact in every store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Final, Literal

from gateway.result import CostBasis
from providers.outcome import Billed, OutcomeName
from providers.sizes import Size

MICRO: Final = 1_000_000
"""Micro-USD in a dollar."""

EntryState = Literal["reserved", "settled", "unknown"]
"""``reserved``: about to be sent, or under way. ``settled``: it ended, and how is known. ``unknown``: its process died."""


def micro(usd: Decimal) -> int:
    """*usd* in micro-USD, rounded up: the books never hold less than was charged."""
    return int((usd * MICRO).to_integral_value(ROUND_CEILING))


def usd(micro: int) -> Decimal:
    """*micro* micro-USD in USD."""
    return Decimal(micro) / MICRO


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How a call ended, at *ended* (UTC). *usd* is what it did or may have cost, and *basis* who says so; None: free."""

    outcome: OutcomeName
    billed: Billed
    usd: Decimal
    basis: CostBasis | None
    ended: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call: attempt *number* of a request, for *images* images, reserved at *quoted* USD in all at *started* (UTC).

    *worker* is the process that made it. *prompt* is None unless ``gateway.record_prompts`` is on.
    """

    request_id: str
    number: int
    lane: str
    provider: str
    model: str
    size: Size
    images: int
    quoted: Decimal
    started: datetime
    task: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    worker: str = ""
    prompt: str | None = field(default=None, repr=False)
    state: EntryState = "reserved"
    settlement: Settlement | None = None

    @property
    def id(self) -> str:
        """The entry's own name, the same however often it is written."""
        return f"{self.request_id}/{self.number}"

    @property
    def usd(self) -> Decimal:
        """What it counts for: the actual cost, or the quoted one as long as that is not known."""
        return self.quoted if self.settlement is None else self.settlement.usd
