"""The tables of ``gateway.toml``: their keys, what each may hold, and the defaults. Here are those of providers and lanes.

Tables are strict: a number is not accepted as text nor text as a number, and an unknown key is an error. No message of
this module shows a value, since any value may be a secret in the wrong place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.configuration.general_settings import (
    BudgetTable,
    CacheTable,
    FallbackTable,
    GatewayTable,
    RouterTable,
    Table,
)
from gateway.configuration.values import (
    MAX_COUNT,
    BaseUrl,
    Bytes,
    Count,
    Country,
    Day,
    Headers,
    Keys,
    Kind,
    Name,
    PresetName,
    Price,
    Prices,
    ProviderName,
    Proxy,
    Ratio,
    Seconds,
    SecondsBySize,
    Several,
    Tier,
    Words,
    some,
)
from gateway.router.lanes import LaneClass, Mode
from providers.presets import Preset, presets
from providers.request import Thinking
from providers.tasks import TaskRow

SECRET_KEYS: Final = ("api_key", "headers", "proxy")
"""The keys of a provider under which nothing is ever shown."""

_KIND_OR_PRESET: Final[Any] = {"required": [], "anyOf": [{"required": ["kind"]}, {"required": ["preset"]}]}
"""The JSON Schema's way to say that a preset fills the kind in."""

Dialect = Literal["images", "images-json", "openrouter-images", "chat", "chat-flat", "new-api", "auto"]
Auth = Literal["bearer", "x-goog-api-key", "api-key"]
SizeAs = Literal["model-suffix", "prompt"]
Wire = Literal["generate-content", "interactions"]
Capability = Literal["system_instruction", "temperature", "top_p", "seed", "thinking", "grounding", "output_format"]

OutputFormat = Literal["png", "jpeg", "webp"]


class QuotaTable(Table):
    """What a lane may be given, at most."""

    rpm: Count | None = None
    """Requests per minute."""
    rpd: Count | None = None
    """Requests per day."""
    ipm: Count | None = None
    """Images per minute."""


class TokenPricesTable(Table):
    """USD per million tokens."""

    input_text: Price | None = None
    """Of text that is sent."""
    input_image: Price | None = None
    """Of reference images."""
    output_text: Price | None = None
    """Of text that comes back, thoughts included."""
    output_image: Price | None = None
    """Of images that come back."""


class LaneTable(Table):
    """One model at this provider. What is left out comes from the catalogue."""

    model: Name
    """The model: a canonical id or an alias of the catalogue, or any name together with sizes and price."""
    upstream_model: Name | None = None
    """The id that is sent."""
    sizes: Several[Tier] | None = None
    """The sizes it draws."""
    aspect_ratios: Several[Ratio] | None = None
    """The aspect ratios it draws."""
    price: Prices = Field(default_factory=dict)
    """USD per image, by size."""
    batch_price: Prices = Field(default_factory=dict)
    """USD per image in batch mode, by size."""
    token_prices: TokenPricesTable | None = None
    """USD per million tokens."""
    lane_class: LaneClass | None = Field(default=None, alias="class")
    """Which requests get it: those for standard or premium quality, or only those that name the model (legacy)."""
    residency: Name | None = None
    """The place in which it promises to process, such as eu."""
    refused_countries: Annotated[tuple[Country, ...], Field(strict=False)] | None = None
    """The countries (ISO 3166-1 alpha-2) from which it takes no calls."""
    references: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = None
    """Reference images in one call, at most."""
    reference_bytes: Annotated[int, Field(ge=1)] | None = None
    """Bytes of one reference image, at most."""
    input_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens of one request, at most. For information: they are not counted before a call."""
    capabilities: Annotated[tuple[Capability, ...], Field(strict=False)] | None = None
    """The parameters it honours."""
    thinking_levels: Several[Thinking] | None = None
    """The levels it knows, if it honours thinking."""
    output_formats: Several[OutputFormat] | None = None
    """The formats that may be asked for, if it honours output_format."""
    n: Count | None = None
    """Images one call can return."""
    takes_size: bool | None = None
    """Whether it has a field for the size."""
    seconds: SecondsBySize = Field(default_factory=dict)
    """The usual duration of a call, by size, until it is measured."""
    released: Day | None = None
    """The day from which it may be used."""
    retired: Day | None = None
    """The day from which it may not be used any more."""
    replacement: Name | None = None
    """The model to use instead."""
    quota: QuotaTable = Field(default_factory=QuotaTable.model_construct)
    """What it may be given, at most; each key wins over the provider's."""
    stream: bool | None = None
    """Whether to ask for a streamed answer."""
    mode: Mode | None = None
    """The operator's switch; wins over the provider's."""
    enabled: bool = True
    """Whether it is used at all; false is the mode "disabled"."""
    source: Words | None = None
    """Where the figures stated here come from."""
    checked: Day | None = None
    """The day on which they were checked."""


class ProviderTable(Table):
    """An upstream with its key. Its name is yours."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(_KIND_OR_PRESET))

    kind: Kind
    """What it speaks: google, vertex, openai, or what an installed package adds."""
    api_key: Keys | None = Field(default=None, repr=False)
    """"env:NAME" or "file:PATH"; several are used in turn when one is refused or exhausted."""
    base_url: BaseUrl | None = None
    """The address."""
    auth: Auth | None = None
    """Under which header the key goes."""
    dialect: Dialect | None = None
    """For kind openai: how it is asked."""
    wire: Wire | None = None
    """For kind google: which of Google's APIs is spoken; generate-content unless stated."""
    preset: PresetName | None = None
    """A row of what is known about relays; fills in kind, address, dialect and names."""
    size_as: SizeAs | None = None
    """Where the size goes at upstreams without a field for it."""
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    """JSON added to every request."""
    task: TaskRow | None = None
    """How its tasks work, if it answers with a task id."""
    project: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$")] | None = None
    """For kind vertex: the Google Cloud project."""
    location: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")] | None = None
    """For kind vertex: where it processes, such as eu or global."""
    api_version: Annotated[str, Field(pattern=r"^v[0-9a-z]+$")] | None = None
    """For google and vertex: the version of the API."""
    timeout: Seconds | None = None
    """Seconds for one whole attempt."""
    headers: Headers = Field(default_factory=dict, repr=False)
    """Added to every call."""
    proxy: Proxy | None = Field(default=None, repr=False)
    """The proxy for its calls; none is ever taken from the environment."""
    egress_country: Country | None = None
    """Where its calls leave from, if not from where the process runs."""
    max_concurrency: Count | None = None
    """Calls at a time, at most."""
    quota: QuotaTable = Field(default_factory=QuotaTable.model_construct)
    """What each of its lanes may be given, at most, unless the lane says otherwise."""
    mode: Mode = "normal"
    """The operator's switch for its lanes that have none of their own."""
    enabled: bool = True
    """Whether it is used at all; its keys are not looked up if not."""
    download_hosts: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Exceptions for links to images, as host:port: plain http and private addresses included."""
    pixel_check: Bytes | None = None
    """How much of the picture data of each image is decoded to see that it is sound; all of any image with "64MiB"."""
    lanes: (
        Annotated[tuple[LaneTable, ...], Field(strict=False, json_schema_extra={"minItems": 1}), AfterValidator(some)]
        | None
    ) = None
    """Its lanes, and no others. Without this key: those of the catalogue for the kind or preset."""

    @model_validator(mode="before")
    @classmethod
    def _filled_from_preset(cls, table: object) -> object:
        """What the table leaves out, its preset fills in."""
        if not isinstance(table, Mapping) or not isinstance(table.get("preset"), str):
            return table
        row = presets().get(table["preset"])
        if row is None:
            return table  # the key's own check says so
        filled = {
            name: getattr(row, name)
            for name in ("kind", "base_url", "dialect", "auth", "size_as")
            if getattr(row, name)
        }
        return {**filled, **table, **_merged_maps(row, table)}

    @model_validator(mode="after")
    def _reachable(self) -> ProviderTable:
        if self.kind == "vertex" and not self.api_key and not (self.project and self.location):
            raise ValueError('kind "vertex" expects project and location, or api_key (express mode)')
        if self.wire == "interactions" and self.kind != "google":
            raise ValueError('wire "interactions" is offered for kind "google" alone: leave it out, or use that kind')
        if self.kind in ("google", "openai") and not self.api_key and not self.base_url:
            raise ValueError('expected api_key: "env:NAME" or "file:PATH"')
        if self.preset and not self.base_url and presets()[self.preset].kind == "openai":
            raise ValueError(f"expected base_url: preset {self.preset} is for a server of your own")
        return self


def _merged_maps(row: Preset, table: Mapping[str, object]) -> dict[str, object]:
    """The keys whose value is a table in both: the preset's entries, and over them the configuration's."""
    merged: dict[str, object] = {}
    for key, preset in (("headers", row.headers), ("extra_body", row.extra_body)):
        stated = table.get(key, {})
        if preset and isinstance(stated, Mapping):
            merged[key] = {**preset, **stated}
    return merged


def mode_of(table: ProviderTable, lane: LaneTable | None) -> Mode:
    """The operator's switch for *lane*, or for a lane of the catalogue (None). What is not enabled stays off."""
    if not (table.enabled and (lane is None or lane.enabled)):
        return "disabled"
    return (lane and lane.mode) or table.mode


def switched_on(table: ProviderTable) -> bool:
    """Whether any lane of the provider is on."""
    return any(mode_of(table, lane) != "disabled" for lane in table.lanes or (None,))


class Settings(Table):
    """gateway.toml: which upstreams there are, and how a request finds its way among them."""

    gateway: GatewayTable = Field(default_factory=GatewayTable.model_construct)
    router: RouterTable = Field(default_factory=RouterTable.model_construct)
    fallback: FallbackTable = Field(default_factory=FallbackTable.model_construct)
    cache: CacheTable = Field(default_factory=CacheTable.model_construct)
    budgets: Annotated[tuple[BudgetTable, ...], Field(strict=False)] = ()
    """What may be spent, all told."""
    providers: Mapping[ProviderName, ProviderTable] = Field(
        default_factory=dict, json_schema_extra={"additionalProperties": False}
    )
    """The upstreams, by a name of your own."""


def known_keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the table at *path* of the file may have, or () if there is no such table."""
    table = _TABLES.get(tuple("*" if depth in (1, 3) else str(key) for depth, key in enumerate(path)))
    return tuple(field.alias or name for name, field in table.model_fields.items()) if table else ()


def key_path(*path: str | int) -> str:
    """*path* as one writes it: ``providers.acme.lanes[0].price.1K``. Nothing below a key that may hold a secret."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{_shown(key)}" if text else _shown(key)
        if key in SECRET_KEYS:
            break
    return text


def _shown(key: str) -> str:
    return key if re.fullmatch(r"[\w-]{1,64}", key) else json.dumps(key[:64])


_TABLES: Final[Mapping[tuple[str, ...], type[BaseModel]]] = {
    (): Settings,
    ("gateway",): GatewayTable,
    ("router",): RouterTable,
    ("fallback",): FallbackTable,
    ("budgets", "*"): BudgetTable,
    ("cache",): CacheTable,
    ("providers", "*"): ProviderTable,
    ("providers", "*", "quota"): QuotaTable,
    ("providers", "*", "task"): TaskRow,
    ("providers", "*", "lanes", "*"): LaneTable,
    ("providers", "*", "lanes", "*", "quota"): QuotaTable,
    ("providers", "*", "lanes", "*", "token_prices"): TokenPricesTable,
}
"""The table at each path; ``*`` stands for any name and number."""
