"""The tables of ``gateway.toml`` that hold for all providers. Those of a provider and its lanes are in ``settings``."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.configuration.values import (
    Bytes,
    Count,
    Country,
    Name,
    ProviderName,
    Seconds,
    SecondsBySize,
    Several,
    Share,
    State,
    Tag,
    Usd,
    Words,
    Zone,
)
from providers.sizes import Size

DEADLINES: Final[Mapping[Size, float]] = {"512": 90.0, "1K": 90.0, "2K": 90.0, "4K": 180.0}
"""Seconds for a whole request by size, unless configured (the public contract's figures)."""

RETRY_BUDGET: Final = Decimal("1.00")
"""USD that may be spent on retries before successes have filled the budget up, unless configured."""

HEDGE: Final = Decimal("0.02")
"""The share of spend that may go to second calls beside slow first ones, unless configured."""

Sort = Literal["price", "latency", "success"]
Step = Literal["switch", "downgrade"]


class Table(BaseModel):
    """What all tables share. The sentences below keys are their descriptions in the JSON Schema.

    Only :class:`~gateway.configuration.settings.Settings` is ever built, with all the tables in it: to build each by itself as
    well would double the time it takes. Hence ``model_construct`` for a table that is left out, and :meth:`stated` for
    ``model_dump``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, defer_build=True)

    def stated(self) -> dict[str, Any]:
        """The values that are not None, by key; those of a table in it likewise."""
        return {key: value.stated() if isinstance(value, Table) else value for key, value in self if value is not None}


class GatewayTable(Table):
    """The gateway as a whole."""

    egress_country: Country | None = None
    """Where calls leave from, ISO 3166-1 alpha-2: lanes that refuse this country are not tried."""
    state: State = Field(default="memory", repr=False)
    """Where health, budgets and the ledger are kept: memory, sqlite:///path or redis://host:port/0."""
    blobs: Words | None = None
    """The folder in which images are kept, for idempotency keys and the cache."""
    deadline: SecondsBySize = Field(default_factory=dict)
    """Seconds for a whole request, by size."""
    record_prompts: bool = False
    """Whether listeners, traces and the ledger are told the prompts. Logs never are."""


class RouterTable(Table):
    """How lanes are chosen."""

    sort: Sort = "price"
    """What the best lane is."""
    models: Several[Name] | None = None
    """The models that a request without a model may get: ids or aliases."""
    acceptance: Several[Words] = ()
    """The folders of trials (image-gateway trial) whose verdicts quality auto begins with."""


class FallbackTable(Table):
    """How the chain gives way, and when it does not."""

    order: Annotated[tuple[Step, ...], Field(strict=False)] = ("switch", "downgrade")
    """What comes first: another lane at the same size, or a smaller size."""
    max_attempts: Count = 4
    """Calls for one image at most."""
    on_wrong_size: Literal["accept", "fallback"] = "accept"
    """An image smaller than asked, but not below min_size: take it, or try for a better one and keep it meanwhile."""
    on_no_image: Literal["switch", "stop"] = "switch"
    """An answer without an image: try one other lane, or stop."""
    on_blocked: Literal["stop", "switch"] = "stop"
    """A refusal by policy: stop, or try another lane."""
    retry_budget: Usd = RETRY_BUDGET
    """USD that may be spent on retries before successes have filled the budget up; 0: no retry that costs anything."""
    hedge: Share = HEDGE
    """The share of spend, 0 to 1, that may go to a second call beside a slow first one; 0: never."""


class CacheTable(Table):
    """The cache of results."""

    enabled: bool = False
    """Whether it is used for requests that do not say."""
    max_bytes: Bytes = 5_000_000_000
    """What it may take up: bytes, or a text such as "5GB" or "512MiB"."""
    max_age: Seconds = 30 * 86_400.0
    """Seconds for which a result is kept."""
    store: Words | None = None
    """Where its images are kept: a folder, or an object store such as s3://bucket/prefix."""


class BudgetTable(Table):
    """What may be spent in a day or a month: on everything, at one provider, under one tag."""

    usd: Usd
    """USD; 0: nothing."""
    per: Literal["day", "month"]
    """How long it lasts."""
    mode: Literal["hard", "soft"] = "hard"
    """Refuse before sending what would go beyond, or warn of it on the result."""
    provider: ProviderName | None = None
    """Only what is spent at this provider."""
    tag: Tag | None = None
    """Only what is spent on requests with this tag: "team=art"."""
    zone: Zone = "UTC"
    """The time zone in which its days and months begin."""
