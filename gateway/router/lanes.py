"""A lane: one model reached through one provider, with everything the router may know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from providers.sizes import Size

LaneClass = Literal["standard", "premium", "legacy"]

Mode = Literal["normal", "forced-open", "disabled", "shadow"]
"""The operator's switch: *forced-open* is never tried, its breaker held open; *disabled* is left out altogether;
*shadow* has its health computed and shown, and never acted upon."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure comes from, and the day it was *checked* there (None: nobody checked it)."""

    name: str
    checked: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Facts about a lane; nothing here changes while the gateway runs.

    *prices* and *batch_prices* are USD per image by size. *aspect_ratios* None means any. *references* is how many
    reference images one call takes, *images_per_call* how many images one call can return. *turns* is False where a request
    tells of no earlier turns of a conversation, but edits its last image. *takes_size* is False for a model without a
    size field. *seconds* is the expected duration of a call by size. *capabilities* names what the lane
    honours of ``system_instruction``, ``temperature``, ``top_p``, ``seed``, ``thinking``, ``grounding``,
    ``output_format``; *thinking_levels* and *output_formats* are the values it knows of those two, () for any.
    *output_tokens* is how many tokens an image of each size is billed as, *input_tokens* the most one request may hold
    (None: unknown). *published_limits* is what the vendor lets through by tier (``"free"``, ``"paid"``), in the keys of
    *quota*: for information, since a project's own limits differ. *quota_zone* is the time zone whose midnight ends the
    vendor's day of quotas.

    *vendor_host* tells whether the vendor's own rules (refused countries, retirement) hold here.
    *price_configured* says that the configuration set a price; *token_prices* is USD per million tokens of ``input_text``,
    ``input_image``, ``output_text`` (thoughts included) and ``output_image``, as far as they are known.
    *retired_configured* says that the configuration itself set *retired*, which then holds on a relay too. *quota* is
    how many requests per minute (``rpm``) and day (``rpd``) and images per minute (``ipm``) the lane may be given.
    *stream* asks for a streamed answer, None leaves that to the adapter. *mode* is the operator's switch; *enabled* is
    whether it is anything but ``"disabled"``.
    *source* says where the figures come from and *checked* on which day; *sources* says it of the fields for which it is
    another source (:meth:`source_of`).
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
    input_tokens: int | None = None
    output_tokens: Mapping[Size, int] = field(default_factory=dict)
    images_per_call: int = 1
    turns: bool = True
    capabilities: frozenset[str] = frozenset()
    thinking_levels: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
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
    published_limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    quota_zone: str | None = None
    stream: bool | None = None
    mode: Mode = "normal"
    enabled: bool = True
    source: str = ""
    checked: date | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``"provider/model"``, as results, plans and logs call it."""
        return f"{self.provider}/{self.model}"

    def answers_to(self, model: str) -> bool:
        """Whether *model*, in any case, is this lane's canonical id, one of its aliases, or its upstream id."""
        asked = model.lower()
        return any(asked == name.lower() for name in (self.model, self.upstream_model, *self.aliases))

    def supports(self, parameter: str, value: object) -> bool:
        """Whether it honours *parameter* with that *value*."""
        known = {"thinking": self.thinking_levels, "output_format": self.output_formats}.get(parameter)
        return parameter in self.capabilities and (not known or value in known)

    def unsupported(self, parameters: Mapping[str, object]) -> tuple[str, ...]:
        """The names of those *parameters* that it does not honour; ``thinking=low`` if it lacks that value alone."""
        return tuple(
            f"{name}={value}" if name in self.capabilities else name
            for name, value in sorted(parameters.items())
            if not self.supports(name, value)
        )

    def source_of(self, figure: str) -> Source:
        """Where the field called *figure* comes from."""
        return self.sources.get(figure) or Source(self.source, self.checked)
