"""The tables of ``gateway.toml``: their keys, what each may hold, and the defaults.

Tables are strict: a number is not accepted as text nor text as a number, and an unknown key is an error. No message of
this module shows a value, since any value may be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    model_validator,
)

from gateway.lanes import LaneClass
from providers.presets import Preset, presets
from providers.sizes import SIZES, Size, parse_ratio, parse_size
from providers.tasks import TaskRow

DEADLINES: Final[Mapping[Size, float]] = {"512": 90.0, "1K": 90.0, "2K": 90.0, "4K": 180.0}
"""Seconds for a whole request by size, unless configured (the public contract's figures)."""

MAX_PRICE: Final = Decimal(1000)
"""USD per image. No image costs a hundredth of it: above, a price is a slip of the pen."""

SECRET_KEYS: Final = ("api_key", "headers", "proxy")
"""The keys of a provider under which nothing is ever shown."""

Sort = Literal["price", "latency", "success"]
Step = Literal["switch", "downgrade"]
Dialect = Literal["images", "images-json", "openrouter-images", "chat", "chat-flat", "new-api", "auto"]
Auth = Literal["bearer", "x-goog-api-key", "api-key"]
SizeAs = Literal["model-suffix", "prompt"]
Capability = Literal["system_instruction", "temperature", "top_p", "seed", "thinking", "grounding", "output_format"]

_Item = TypeVar("_Item")


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("expected a number")
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)  # 0.05 means what it says
    if not number.is_finite() or number <= 0:
        raise ValueError("expected a finite number above 0")
    return number


def _day(value: object) -> date:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        day = None
    if not isinstance(day, date) or isinstance(day, datetime):
        raise ValueError("expected a date such as 2026-12-31")
    return day


def _country(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise ValueError('expected a country code of two letters (ISO 3166-1), such as "HK"')
    return text.upper()


def _ratio(text: str) -> str:
    parsed = parse_ratio(text)
    if parsed is None:
        raise ValueError('expected a ratio such as "16:9"')
    return f"{parsed[0]}:{parsed[1]}"


def _size(value: object) -> Size:
    size = parse_size(value) if isinstance(value, str) else None
    if size is None:
        raise ValueError(f"expected a size: {', '.join(SIZES)}")
    return size


def _different(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if len(set(values)) < len(values):
        raise ValueError("expected each value once")
    return _some(values)


def _some(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if not values:
        raise ValueError("expected at least one value")
    return values


def _by_size(table: object) -> object:
    """*table* with its keys normalised; what is not a size is left for the field's own type to refuse."""
    if not isinstance(table, Mapping):
        return table
    normal = {parse_size(key) or key: value for key, value in table.items()}
    if not normal or len(normal) < len(table):
        raise ValueError("expected at least one size, and each of them once")
    return normal


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _address(text: str, *schemes: str) -> SplitResult | None:
    """*text* taken apart, if it is an address with one of *schemes* and a host."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in schemes and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if usable and re.fullmatch(r"[\x21-\x7e]+", text) else None


def _base_url(text: str) -> str:
    parts = _address(text, "http", "https")
    if parts is None or "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("expected an http(s) address with a host, and without credentials, query or fragment")
    return text.rstrip("/")


def _proxy(text: str) -> str:
    if _address(text, "http", "https", "socks5") is None:
        raise ValueError("expected the address of a proxy: http://, https:// or socks5://, and a host")
    return text


def _headers(value: object) -> Mapping[str, str]:
    """Checked as one: errors below this key would show a header's name, where a key may have been pasted."""
    wanted = "expected a table of header names and printable ASCII texts"
    if not isinstance(value, Mapping):
        raise ValueError(wanted)
    for name, text in value.items():
        if not (isinstance(text, str) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)):
            raise ValueError(wanted)
        if not re.fullmatch(r"([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?", text):
            raise ValueError(wanted)
    return dict(value)


def _preset(name: str) -> str:
    if name not in presets():
        near = difflib.get_close_matches(name, presets(), n=1, cutoff=0)[0]
        raise ValueError(f"expected one of {', '.join(presets())}; the nearest is {near}")
    return name


def _installed(kind: str, info: ValidationInfo) -> str:
    kinds: tuple[str, ...] = (info.context or {}).get("kinds", ())
    if kind not in kinds:
        raise ValueError(f"expected a kind that is installed: {', '.join(kinds) or 'none is'}")
    return kind


Price = Annotated[Decimal, BeforeValidator(_number), Field(le=MAX_PRICE)]
Seconds = Annotated[float, BeforeValidator(lambda value: float(_number(value))), Field(gt=0, allow_inf_nan=False)]
Day = Annotated[date, PlainValidator(_day)]
Country = Annotated[str, AfterValidator(_country)]
Ratio = Annotated[str, AfterValidator(_ratio)]
Tier = Annotated[Size, PlainValidator(_size)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]
"""A model, a preset, a host: one printable word."""
ProviderName = Annotated[str, Field(pattern=r"^[\p{L}\p{N}][\w.-]{0,63}$")]
State = Annotated[str, Field(pattern=r"^(memory|sqlite:///[\x21-\x7e].*|rediss?://[\x21-\x7e]+)$")]
Several = Annotated[tuple[_Item, ...], Field(strict=False), AfterValidator(_different)]
Prices = Annotated[Mapping[Size, Price], BeforeValidator(_by_size)]
Deadlines = Annotated[Mapping[Size, Seconds], BeforeValidator(_by_size)]


class Table(BaseModel):
    """What all tables share."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, defer_build=True)


class GatewayTable(Table):
    """``[gateway]``."""

    egress_country: Country | None = None
    state: State = Field(default="memory", repr=False)
    deadline: Deadlines = Field(default_factory=dict)


class RouterTable(Table):
    """``[router]``. *models* are what a request without a model may get."""

    sort: Sort = "price"
    models: Several[Name] | None = None


class FallbackTable(Table):
    """``[fallback]``: how the chain gives way, and when it does not."""

    order: Annotated[tuple[Step, ...], Field(strict=False)] = ("switch", "downgrade")
    max_attempts: Count = 4
    on_wrong_size: Literal["accept", "fallback"] = "accept"
    on_no_image: Literal["switch", "stop"] = "switch"
    on_blocked: Literal["stop", "switch"] = "stop"


class QuotaTable(Table):
    """``quota`` of a lane: requests per minute and per day, images per minute."""

    rpm: Count | None = None
    rpd: Count | None = None
    ipm: Count | None = None


class LaneTable(Table):
    """``[[providers.NAME.lanes]]``. What is left out comes from the catalogue."""

    model: Name
    upstream_model: Name | None = None
    sizes: Several[Tier] | None = None
    aspect_ratios: Several[Ratio] | None = None
    price: Prices = Field(default_factory=dict)
    batch_price: Prices = Field(default_factory=dict)
    lane_class: LaneClass | None = Field(default=None, alias="class")
    residency: Name | None = None
    refused_countries: Annotated[tuple[Country, ...], Field(strict=False)] | None = None
    references: Annotated[int, Field(ge=0)] | None = None
    capabilities: Annotated[tuple[Capability, ...], Field(strict=False)] | None = None
    n: Count | None = None
    released: Day | None = None
    retired: Day | None = None
    replacement: Name | None = None
    quota: QuotaTable = QuotaTable()
    stream: bool | None = None
    enabled: bool = True


class ProviderTable(Table):
    """``[providers.NAME]``."""

    kind: Annotated[str, AfterValidator(_installed)]
    api_key: Annotated[Several[str] | None, BeforeValidator(_one_or_more)] = Field(default=None, repr=False)
    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    auth: Auth | None = None
    dialect: Dialect | None = None
    preset: Annotated[str, AfterValidator(_preset)] | None = None
    size_as: SizeAs | None = None
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    task: TaskRow | None = None
    project: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$")] | None = None
    location: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")] | None = None
    api_version: Annotated[str, Field(pattern=r"^v[0-9a-z]+$")] | None = None
    timeout: Seconds | None = None
    headers: Annotated[Mapping[str, str], PlainValidator(_headers)] = Field(default_factory=dict, repr=False)
    proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(default=None, repr=False)
    egress_country: Country | None = None
    max_concurrency: Count | None = None
    enabled: bool = True
    download_hosts: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    lanes: Annotated[tuple[LaneTable, ...], Field(strict=False), AfterValidator(_some)] | None = None

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


class Settings(Table):
    """The whole file."""

    gateway: GatewayTable = GatewayTable()
    router: RouterTable = RouterTable()
    fallback: FallbackTable = FallbackTable()
    providers: Mapping[ProviderName, ProviderTable] = Field(default_factory=dict)


def known_keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the table at *path* of the file may have, or () if there is no such table."""
    shapes: dict[tuple[str, ...], type[Table]] = {
        (): Settings, ("gateway",): GatewayTable, ("router",): RouterTable, ("fallback",): FallbackTable,
        ("providers", "*"): ProviderTable, ("providers", "*", "lanes", "*"): LaneTable,
        ("providers", "*", "lanes", "*", "quota"): QuotaTable,
    }  # fmt: skip
    table = shapes.get(tuple("*" if depth in (1, 3) else str(key) for depth, key in enumerate(path)))
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
