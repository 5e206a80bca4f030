"""What is known about models, and the lanes that follow from it for a configured provider.

The facts are in ``catalogue.toml``. Some belong to a model wherever it runs (sizes, ratios), some to a vendor's own
hosts (refused countries, retirement), some to a wire (what a request can carry), some to a relay (its model names).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from gateway.lanes import Lane, LaneClass
from gateway.settings import LaneTable, ProviderTable, key_path
from providers.dialects import dialect_for
from providers.errors import ConfigError
from providers.presets import Preset, preset_for
from providers.sizes import SIZES, Size

_Item = TypeVar("_Item")
Where = Callable[..., str]
"""Turns a path of keys into the words with which an error about that place begins."""

_SAME_NAME = ("upstream_model", "lane_class", "sizes", "aspect_ratios", "references", "released", "retired", "stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A vendor's own hosts (shell patterns), and the ISO 3166-1 codes of the countries they refuse."""

    name: str
    kind: str
    hosts: tuple[str, ...]
    refused_countries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What a request can carry on a wire. *images_per_call* None leaves that to the model."""

    name: str
    vendor: str
    capabilities: tuple[str, ...]
    images_per_call: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The facts about one model.

    *prices* and *batch_prices* are USD per image by size; *token_prices* USD per million tokens of ``input_text``,
    ``input_image``, ``output_text`` (thoughts included) and ``output_image``, as far as they are known. *seconds* is
    the usual duration of a call by size. *retired* is the day of retirement by surface. *vertex_locations* is where
    Vertex serves it. *method* is the call that makes it draw.
    """

    id: str
    lane_class: LaneClass
    surfaces: tuple[str, ...]
    sizes: tuple[Size, ...]
    aspect_ratios: tuple[str, ...]
    prices: Mapping[Size, Decimal]
    seconds: Mapping[Size, float]
    capabilities: tuple[str, ...]
    source: str
    checked: date
    aliases: tuple[str, ...] = ()
    preview: str | None = None
    vertex_locations: tuple[str, ...] = ()
    method: str = "generate"
    takes_size: bool = True
    batch_prices: Mapping[Size, Decimal] = field(default_factory=dict)
    token_prices: Mapping[str, Decimal] = field(default_factory=dict)
    references: int = 0
    reference_bytes: int | None = None
    images_per_call: int = 1
    released: date | None = None
    retired: Mapping[str, date] = field(default_factory=dict)
    replacement: str | None = None

    @property
    def vendor(self) -> str:
        """Who makes it: ``"google"`` or ``"openai"``."""
        return self.surfaces[0]


@dataclass(frozen=True, slots=True)
class _Reach:
    """How a provider's models are reached: on which *wire*, and at a vendor's *surface* or as a *preset* says."""

    provider: str
    table: ProviderTable
    wire: Wire | None
    surface: Surface | None
    preset: Preset | None


def models() -> tuple[Model, ...]:
    """Every model, in the order of the data file."""
    return _catalogue().models


def model(name: str) -> Model | None:
    """The model with that canonical id or alias, in any case, or None."""
    return next((row for row in models() if name.lower() in (row.id, *row.aliases)), None)


def resolve(name: str) -> str | None:
    """The canonical id of the model with that id or alias, in any case, or None."""
    row = model(name)
    return row.id if row else None


def lanes_for(provider: str, table: ProviderTable, where: Where = key_path) -> tuple[Lane, ...]:
    """The lanes of the provider of that name: those its *table* lists, or else the catalogue's for its kind.

    Raises:
        ConfigError: a lane lacks what the catalogue does not know, two lanes are of one model, or there is no lane.
            The message begins with what *where* makes of the path of keys.
    """
    reach = _reach(provider, table)
    here = ("providers", provider, "lanes")
    told = _usual(reach) if table.lanes is None else table.lanes
    if not told:
        raise ConfigError(f"{where(*here)}: expected lanes, since the catalogue knows none for this provider")
    lanes: dict[str, Lane] = {}
    for index, table_of_lane in enumerate(told):
        lane = _lane(reach, table_of_lane, lambda *keys, index=index: where(*here, index, *keys))
        if lane.model in lanes:
            raise ConfigError(f"{where(*here, index, 'model')}: expected one lane for each model, {lane.model} has two")
        lanes[lane.model] = lane
    return tuple(lanes.values())


def dialect(table: ProviderTable) -> str | None:
    """The dialect a provider of kind ``"openai"`` is spoken to in: the stated, else its relay's or its host's."""
    if table.kind != "openai":
        return None
    if table.dialect not in (None, "auto"):
        return table.dialect
    preset = preset_for(table.preset, table.kind, table.base_url)
    return preset.dialect if preset else dialect_for("auto", table.base_url)


def _usual(reach: _Reach) -> tuple[LaneTable, ...]:
    """The lanes of a provider whose table lists none."""
    surface, vendor = reach.surface, reach.wire.vendor if reach.wire else None
    known = [row for row in models() if row.method == "generate"]  # Imagen: only where it is named
    if surface and surface.name == "vertex":
        known = [row for row in known if (reach.table.location or "global") in row.vertex_locations]
    known = [row for row in known if (surface.name in row.surfaces if surface else row.vendor == vendor)]
    return tuple(LaneTable(model=row.id) for row in known)


def _reach(provider: str, table: ProviderTable) -> _Reach:
    facts, host, wire = _catalogue(), _host(table), dialect(table) or table.kind
    surfaces = (each for each in facts.surfaces if (_at(each.hosts, host) if host else each.kind == table.kind))
    wires = (each for each in facts.wires if each.name == wire)
    return _Reach(
        provider, table, next(wires, None), next(surfaces, None), preset_for(table.preset, table.kind, table.base_url)
    )


def _host(table: ProviderTable) -> str | None:
    return urlsplit(table.base_url).hostname if table.base_url else None


def _lane(reach: _Reach, told: LaneTable, where: Where) -> Lane:
    row = model(told.model)
    base = _from_row(reach, row, told.model) if row else _unknown(reach, told, where)
    lane = replace(base, **_stated(reach, told))
    sizes = tuple(size for size in SIZES if size in lane.sizes)
    prices = {size: price for size, price in {**base.prices, **told.price}.items() if size in sizes}
    batch_prices = {size: price for size, price in {**base.batch_prices, **told.batch_price}.items() if size in sizes}
    for size in sizes:
        if size not in prices:
            raise ConfigError(f"{where('price', size)}: expected a price, since the catalogue has none for this size")
    return replace(lane, sizes=sizes, prices=prices, batch_prices=batch_prices)


def _unknown(reach: _Reach, told: LaneTable, where: Where) -> Lane:
    """The beginning of a lane for a model the catalogue does not have."""
    missing = [key for key, value in (("sizes", told.sizes), ("price", told.price)) if not value]
    if missing:
        wanted = " and ".join(missing)
        raise ConfigError(f"{where('model')}: expected {wanted} too, since {told.model} is not in the catalogue")
    return Lane(
        provider=reach.provider,
        model=told.model,
        upstream_model=told.model,
        vendor_host=reach.surface is not None,
        refused_countries=frozenset(reach.surface.refused_countries if reach.surface else ()),
        source="configuration",
    )


def _from_row(reach: _Reach, row: Model, asked: str) -> Lane:
    """The catalogue's facts about *row*, as far as they hold where it is reached."""
    surface, wire = reach.surface, reach.wire
    # What an upstream is known to ignore holds for the dialect it was seen in.
    fixed = reach.preset if reach.preset and reach.preset.dialect in (None, wire and wire.name) else None
    return Lane(
        provider=reach.provider,
        model=row.id,
        upstream_model=_upstream(reach, row, asked),
        lane_class=row.lane_class,
        aliases=row.aliases,
        sizes=_allowed(row.sizes, fixed.sizes if fixed else None),
        takes_size=row.takes_size,
        aspect_ratios=_allowed(row.aspect_ratios, fixed.aspect_ratios if fixed else None),
        prices=row.prices,
        batch_prices=row.batch_prices if surface else {},
        token_prices=row.token_prices if surface else {},
        seconds=row.seconds,
        references=row.references if fixed is None or fixed.references else 0,
        reference_bytes=row.reference_bytes,
        images_per_call=(wire and wire.images_per_call) or row.images_per_call,
        capabilities=frozenset(row.capabilities).intersection(wire.capabilities if wire else row.capabilities),
        refused_countries=frozenset(surface.refused_countries if surface else ()),
        released=row.released if surface else None,
        # Off the vendor's hosts its date does not hold, but it is worth a warning: the lane keeps it.
        retired=row.retired.get(surface.name if surface else row.vendor),
        replacement=row.replacement,
        vendor_host=surface is not None,
        source=row.source,
        checked=row.checked,
    )


def _allowed(offered: tuple[_Item, ...], fixed: tuple[_Item, ...] | None) -> tuple[_Item, ...]:
    """What a model offers, less what the upstream is known not to pass on."""
    return offered if fixed is None else tuple(each for each in offered if each in fixed) or fixed


def _upstream(reach: _Reach, row: Model, asked: str) -> str:
    """The id to send. Vendors take their own; relays mostly still want the preview's."""
    if reach.surface and not reach.preset:
        return row.id
    if asked.lower() == row.preview:
        return row.preview
    pattern = (
        reach.preset.models if reach.preset else "{preview}" if reach.wire and reach.wire.name == "new-api" else "{id}"
    )
    return pattern.format(id=row.id, preview=row.preview or row.id, vendor=row.vendor)


def _stated(reach: _Reach, told: LaneTable) -> dict[str, Any]:
    """The fields of a lane that the configuration sets itself."""
    table = reach.table
    located = table.location if table.kind == "vertex" and reach.surface and table.location != "global" else None
    stated = {
        **{name: getattr(told, name) for name in _SAME_NAME},
        "price_configured": bool(told.price),
        "replacement": told.replacement,
        "images_per_call": told.n,
        "capabilities": None if told.capabilities is None else frozenset(told.capabilities),
        "residency": told.residency or located,
        "refused_countries": None if told.refused_countries is None else frozenset(told.refused_countries),
        "egress_country": table.egress_country,
        "retired_configured": told.retired is not None,
        "timeout": table.timeout,
        "quota": told.quota.model_dump(exclude_none=True),
        "enabled": told.enabled and table.enabled,
    }
    return {key: value for key, value in stated.items() if value is not None}


def _at(hosts: tuple[str, ...], host: str | None) -> bool:
    return host is not None and any(fnmatchcase(host, pattern) for pattern in hosts)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    surfaces: tuple[Surface, ...]
    wires: tuple[Wire, ...]
    models: tuple[Model, ...]


@cache
def _catalogue() -> _Catalogue:
    text = files("gateway").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return TypeAdapter(_Catalogue).validate_python(tomllib.loads(text, parse_float=Decimal))
