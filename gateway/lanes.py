"""A lane: one model reached through one provider, with everything the router may know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from providers.sizes import Size

LaneClass = Literal["standard", "premium", "legacy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Facts about a lane; nothing here changes while the gateway runs.

    *prices* and *batch_prices* are USD per image by size. *aspect_ratios* None means any. *references* is how many
    reference images one call takes, *images_per_call* how many images one call can return. *takes_size* is False for a
    model without a size field. *seconds* is the expected duration of a call by size. *capabilities* names what the lane
    honours of ``system_instruction``, ``temperature``, ``top_p``, ``seed``, ``thinking``, ``grounding``,
    ``output_format``. *vendor_host* tells whether the vendor's own rules (refused countries, retirement) hold here.
    *price_configured* says that the configuration set a price; *token_prices* is USD per million tokens of ``input_text``,
    ``input_image``, ``output_text`` (thoughts included) and ``output_image``, as far as they are known.
    *retired_configured* says that the configuration itself set *retired*, which then holds on a relay too. *quota* is
    how many requests per minute (``rpm``) and day (``rpd``) and images per minute (``ipm``) the lane may be given.
    *stream* asks for a streamed answer, None leaves that to the adapter.
    *source* says where the figures come from and *checked* on which day.
    """

    provider: str
    model: str
    upstream_model: str
    lane_class: LaneClass = "standard"
    aliases: tuple[str, ...] = ()
    sizes: tuple[Size, ...] = ("1K",)
    takes_size: bool = True
    aspect_ratios: tuple[str, ...] | None = None
    prices: Mapping[Size, Decimal] = field(default_factory=dict)
    batch_prices: Mapping[Size, Decimal] = field(default_factory=dict)
    price_configured: bool = False
    token_prices: Mapping[str, Decimal] = field(default_factory=dict)
    seconds: Mapping[Size, float] = field(default_factory=dict)
    references: int = 0
    reference_bytes: int | None = None
    images_per_call: int = 1
    capabilities: frozenset[str] = frozenset()
    residency: str | None = None
    refused_countries: frozenset[str] = frozenset()
    egress_country: str | None = None
    released: date | None = None
    retired: date | None = None
    retired_configured: bool = False
    replacement: str | None = None
    vendor_host: bool = True
    timeout: float | None = None
    quota: Mapping[str, int] = field(default_factory=dict)
    stream: bool | None = None
    enabled: bool = True
    source: str = ""
    checked: date | None = None

    @property
    def name(self) -> str:
        """``"provider/model"``, as results, plans and logs call it."""
        return f"{self.provider}/{self.model}"

    def answers_to(self, model: str) -> bool:
        """Whether *model* is this lane's canonical id, one of its aliases, or its upstream id."""
        return model in (self.model, self.upstream_model, *self.aliases)
