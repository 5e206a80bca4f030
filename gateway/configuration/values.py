"""What a value of ``gateway.toml`` may be: types that check and normalise it, each with its JSON Schema.

No message of this module shows a value, since any value may be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from providers.presets import presets
from providers.sizes import SIZES, Size, parse_ratio, parse_size

MAX_PRICE: Final = Decimal(1000)
"""USD per image. No image costs a hundredth of it: above, a price is a slip of the pen."""

MAX_USD: Final = Decimal(1_000_000)
"""USD. Above it, a budget is a slip of the pen."""

MAX_COUNT: Final = 1_000_000
"""Calls, images, requests per day: above it, a limit is none."""

_UNITS: Final = ("", "K", "M", "G", "T")
_SIZE_IN_BYTES: Final = re.compile(r"(?P<number>\d{1,15}(\.\d{1,3})?) ?(?P<unit>[kKMGT]?)(?P<binary>i?)B")

_Item = TypeVar("_Item")

_SIZES_IN_ANY_CASE: Final = (*SIZES, *(size.lower() for size in SIZES if size.lower() != size))


def _finite(value: object) -> Decimal | None:
    """*value*, which must be a number, or None if it is none that can be counted with."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("expected a number")
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)  # 0.05 means what it says
    return number if number.is_finite() else None


def _above_0(value: object) -> Decimal:
    number = _finite(value)
    if number is None or number <= 0:
        raise ValueError("expected a finite number above 0")
    return number


def _not_below_0(value: object) -> Decimal:
    number = _finite(value)
    if number is None or number < 0:
        raise ValueError("expected a finite number that is not below 0")
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
    return some(values)


def some(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    """*values*, of which there must be one."""
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


def one_or_more(value: object) -> object:
    """A text by itself as a tuple of one."""
    return (value,) if isinstance(value, str) else value


def _bytes(value: object) -> int:
    """A number of bytes, or a text such as "5GB" or "512 MiB"."""
    found = _SIZE_IN_BYTES.fullmatch(value) if isinstance(value, str) else None
    if found:
        base, power = 1024 if found["binary"] else 1000, _UNITS.index(found["unit"].upper())
        value = int(Decimal(found["number"]) * base**power)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError('expected bytes: an integer above 0, or a text such as "5GB" or "512MiB"')
    return value


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


def zone_name(name: str) -> str:
    """*name*, which must be that of a time zone; raises ValueError."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('expected a time zone such as "UTC" or "Asia/Hong_Kong"') from None
    return name


def _tag(text: str) -> str:
    name, _, value = text.partition("=")
    if not (name and value):
        raise ValueError('expected a tag as name=value, such as "team=art"')
    return text


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


def _schema_by_size(of: Mapping[str, Any]) -> WithJsonSchema:
    """A table with *of* for each size, in either case."""
    return WithJsonSchema(
        {
            "type": "object",
            "properties": dict.fromkeys(SIZES, of),
            "patternProperties": {"^[124]k$": of},
            "additionalProperties": False,
            "minProperties": 1,
        }
    )


def _texts(schema: Mapping[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


_PRICE: Final = {"type": "number", "exclusiveMinimum": 0, "maximum": int(MAX_PRICE)}
_BYTES: Final = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9.]+ ?[kKMGT]?i?B$"}]}
_SECONDS: Final = {"type": "number", "exclusiveMinimum": 0}

Price = Annotated[Decimal, BeforeValidator(_above_0), Field(le=MAX_PRICE), WithJsonSchema(_PRICE)]
Usd = Annotated[
    Decimal,
    BeforeValidator(_not_below_0),
    Field(le=MAX_USD),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": int(MAX_USD)}),
]
Share = Annotated[
    Decimal, BeforeValidator(_not_below_0), Field(le=1), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
]
Seconds = Annotated[
    float,
    BeforeValidator(lambda value: float(_above_0(value))),
    Field(gt=0, allow_inf_nan=False),
    WithJsonSchema(_SECONDS),
]
Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema(_BYTES),
]
Day = Annotated[date, PlainValidator(_day), _texts({"format": "date"})]
Country = Annotated[str, AfterValidator(_country), _texts({"pattern": "^[A-Za-z]{2}$"})]
Ratio = Annotated[str, AfterValidator(_ratio), _texts({"pattern": r"^\s*[0-9]{1,4}:[0-9]{1,4}\s*$"})]
Tier = Annotated[Size, PlainValidator(_size), WithJsonSchema({"enum": [*_SIZES_IN_ANY_CASE]})]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]
"""A model, a preset, a host: one printable word."""
Zone = Annotated[str, AfterValidator(zone_name), _texts({"examples": ["UTC", "Asia/Hong_Kong"]})]
Tag = Annotated[str, AfterValidator(_tag), _texts({"pattern": "^[^=]+=.+$"})]
"""A tag of requests and its value: ``team=art``."""
Words = Annotated[str, Field(min_length=1, max_length=500)]
ProviderName = Annotated[
    str,
    # No {0,63}: to compile the class of all letters 63 times takes 20 ms of every start.
    Field(pattern=r"^[\p{L}\p{N}][\w.-]*$", max_length=64),
    # JSON Schema knows no classes of letters: whatever is neither space nor ASCII punctuation
    _texts({"pattern": r"^[^\s!-/:-@\[-`{-~][^\s!-,/:-@\[-^`{-~]{0,63}$"}),
]
State = Annotated[str, Field(pattern=r"^(memory|sqlite:///[\x21-\x7e].*|rediss?://[\x21-\x7e]+)$")]
Several = Annotated[
    tuple[_Item, ...], Field(strict=False, json_schema_extra={"minItems": 1}), AfterValidator(_different)
]
Prices = Annotated[Mapping[Size, Price], BeforeValidator(_by_size), _schema_by_size(_PRICE)]
SecondsBySize = Annotated[Mapping[Size, Seconds], BeforeValidator(_by_size), _schema_by_size(_SECONDS)]
Kind = Annotated[str, AfterValidator(_installed), _texts({"examples": ["google", "vertex", "openai"]})]
PresetName = Annotated[
    str, AfterValidator(_preset), Field(json_schema_extra=lambda schema: schema.update(enum=[*presets()]))
]
Keys = Annotated[
    Several[str],
    BeforeValidator(one_or_more),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]
BaseUrl = Annotated[str, AfterValidator(_base_url), _texts({"pattern": r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"})]
Proxy = Annotated[str, AfterValidator(_proxy), _texts({"pattern": r"^(https?|socks5)://\S+$"})]
Headers = Annotated[
    Mapping[str, str],
    PlainValidator(_headers),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
