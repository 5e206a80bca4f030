"""What is known about models, and the lanes that follow from it for a configured provider.

The facts are in ``catalogue.toml``. Some belong to a model wherever it runs (sizes, ratios), some to a vendor's own
hosts (refused countries, retirement), some to a wire (what a request can carry), some to a relay (its model names).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from gateway.complaints import Complaints
from gateway.configuration.settings import LaneTable, ProviderTable, key_path, mode_of
from gateway.router.lanes import Lane, LaneClass, Source
from providers.dialects import CONVERSING, dialect_for
from providers.errors import ConfigError
from providers.presets import Preset, preset_for, tuples
from providers.sizes import SIZES, Size

_Item = TypeVar("_Item")
Where = Callable[..., str]
"""Turns a path of keys into the words with which an error about that place begins."""

_FIELD_OF: Final[Mapping[str, str]] = {
    "price": "prices",
    "batch_price": "batch_prices",
    "n": "images_per_call",
    **{
        name: name
        for name in (
            "upstream_model", "lane_class", "sizes", "aspect_ratios", "token_prices", "residency", "refused_countries",
            "references", "reference_bytes", "input_tokens", "capabilities", "thinking_levels", "output_formats",
            "takes_size", "seconds", "released", "retired", "replacement", "stream",
        )
    },
}  # fmt: skip
"""By key of a lane in the configuration, the field of :class:`Lane` that it sets."""

_BY_SIZE: Final = ("prices", "batch_prices", "seconds", "output_tokens")
"""The fields of :class:`Lane` that have a figure for each size."""

_CONVERSING: Final = CONVERSING | {"google", "vertex"}
"""The wires, by dialect or kind, whose requests can tell of earlier turns."""
CONFIGURED: Final = "configuration"
"""The source of what the configuration states without saying where it got it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A vendor's own hosts (shell patterns), and the ISO 3166-1 codes of the countries they refuse.

    *published_limits* is what the vendor lets through, by tier; *quota_zone* the time zone whose midnight ends its day.
    """

    name: str
    kind: str
    hosts: tuple[str, ...]
    refused_countries: tuple[str, ...]
    source: str
    checked: date
    published_limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    quota_zone: str | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)


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
    the usual duration of a call by size. *output_tokens* is how many tokens an image of each size is billed as,
    *input_tokens* the most one request may hold. *thinking_levels* and *output_formats* are the values it knows.
    *free_tier* False: the vendor has none for it. *preview* is the id it had before its release, *preview_retired* the day
    on which the vendor's own hosts gave that id up. *retired* is the day of retirement by surface. *vertex_locations* is
    where Vertex serves it. *method* is the call that makes it draw. *sources* says of single fields where they come
    from; *source* and *checked* hold for all others.
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
    preview_retired: date | None = None
    vertex_locations: tuple[str, ...] = ()
    method: str = "generate"
    takes_size: bool = True
    batch_prices: Mapping[Size, Decimal] = field(default_factory=dict)
    token_prices: Mapping[str, Decimal] = field(default_factory=dict)
    references: int = 0
    reference_bytes: int | None = None
    input_tokens: int | None = None
    output_tokens: Mapping[Size, int] = field(default_factory=dict)
    thinking_levels: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
    images_per_call: int = 1
    free_tier: bool | None = None
    released: date | None = None
    retired: Mapping[str, date] = field(default_factory=dict)
    replacement: str | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def vendor(self) -> str:
        """Who makes it: ``"google"`` or ``"openai"``."""
        return self.surfaces[0]

    def source_of(self, figure: str) -> Source:
        """Where the field called *figure* comes from."""
        return self.sources.get(figure) or Source(self.source, self.checked)


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
    """The model with that canonical id or alias, or None: in any case, and with its vendor in front or without."""
    vendor, slash, bare = name.lower().rpartition("/")
    found = next((row for row in models() if bare in (row.id, *row.aliases)), None)
    return found if found and (not slash or vendor in (found.vendor, "models")) else None


def resolve(name: str) -> str | None:
    """The canonical id of the model with that id or alias, or None: see :func:`model`."""
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
    lanes: list[Lane] = []
    complaints = Complaints()
    for index, table_of_lane in enumerate(told):
        with complaints.gathering():
            lane = _lane(reach, table_of_lane, lambda *keys, index=index: where(*here, index, *keys))
            _check_is_another(lane, lanes, where(*here, index, "model"))
            lanes.append(lane)
    complaints.told()
    return tuple(lanes)


def _check_is_another(lane: Lane, others: Sequence[Lane], place: str) -> None:
    """That none of *others* is of the same model, whatever it is called there."""
    same = next((other for other in others if _identities(other) & _identities(lane)), None)
    if same is not None:
        raise ConfigError(f"{place}: expected one lane for each model, {same.model} has two")


def _identities(lane: Lane) -> set[str]:
    """What stands for the model of *lane*: the canonical ids of what it is called and of what is sent."""
    return {resolve(name) or name.lower() for name in (lane.model, lane.upstream_model)}


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
    return tuple(LaneTable.model_construct(model=row.id) for row in known)


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
    turns = reach.table.task is None and (dialect(reach.table) or reach.table.kind) in _CONVERSING
    lane = replace(base, turns=turns, **_stated(reach, told, base))
    sizes = tuple(size for size in SIZES if size in lane.sizes)
    Complaints(
        f"{where('price', size)}: expected a price, since the catalogue has none for this size"
        for size in sizes
        if size not in lane.prices
    ).told()
    figures: dict[str, Any] = {name: _only(sizes, getattr(lane, name)) for name in _BY_SIZE}
    return replace(lane, sizes=sizes, **figures)


def _only(sizes: tuple[Size, ...], figures: Mapping[Size, Any]) -> Mapping[Size, Any]:
    return {size: figure for size, figure in figures.items() if size in sizes}


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
        source=told.source or CONFIGURED,
        checked=told.checked,
        **_of_surface(reach, None),
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
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        thinking_levels=row.thinking_levels,
        output_formats=row.output_formats,
        images_per_call=(wire and wire.images_per_call) or row.images_per_call,
        capabilities=frozenset(row.capabilities).intersection(wire.capabilities if wire else row.capabilities),
        released=row.released if surface else None,
        # Off the vendor's hosts its date does not hold, but it is worth a warning: the lane keeps it.
        retired=row.retired.get(surface.name if surface else row.vendor),
        replacement=row.replacement,
        vendor_host=surface is not None,
        source=row.source,
        checked=row.checked,
        **_of_surface(reach, row),
    )


def _of_surface(reach: _Reach, row: Model | None) -> dict[str, Any]:
    """The fields of a lane that come from the vendor's hosts, and where each of all fields comes from."""
    surface, sources = reach.surface, row.sources if row else {}
    if surface is None:
        return {"sources": sources}
    limits = {
        tier: limits
        for tier, limits in surface.published_limits.items()
        if not (tier == "free" and row and row.free_tier is False)
    }
    own = Source(surface.source, surface.checked)
    return {
        "refused_countries": frozenset(surface.refused_countries),
        "published_limits": limits,
        "quota_zone": surface.quota_zone,
        "sources": {**sources, "refused_countries": own, **surface.sources},
    }


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


def _stated(reach: _Reach, told: LaneTable, base: Lane) -> dict[str, Any]:
    """The fields of a lane that the configuration sets itself."""
    table = reach.table
    located = table.location if table.kind == "vertex" and reach.surface and table.location != "global" else None
    figures = _figures(told, base)
    mode = mode_of(table, told)
    stated = {
        "residency": located,
        "egress_country": table.egress_country,
        "timeout": table.timeout,
        **figures,
        "price_configured": bool(told.price),
        "retired_configured": told.retired is not None,
        "quota": {**table.quota.stated(), **told.quota.stated()},
        "mode": mode,
        "enabled": mode != "disabled",
        "sources": {**base.sources, **dict.fromkeys(figures, Source(told.source or CONFIGURED, told.checked))},
    }
    return {key: value for key, value in stated.items() if value is not None}


def _figures(told: LaneTable, base: Lane) -> dict[str, Any]:
    """The facts that *told* states, as a lane has them: tables over the base's, lists of names as sets."""
    stated = told.stated()
    figures = {of: stated[key] for key, of in _FIELD_OF.items() if stated.get(key) not in (None, {})}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            figures[name] = {**getattr(base, name), **value}
        elif isinstance(getattr(base, name), frozenset):
            figures[name] = frozenset(value)
    return figures


def _at(hosts: tuple[str, ...], host: str | None) -> bool:
    return host is not None and any(fnmatchcase(host, pattern) for pattern in hosts)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    surfaces: tuple[Surface, ...]
    wires: tuple[Wire, ...]
    models: tuple[Model, ...]


@cache
def _catalogue() -> _Catalogue:
    """The data file as it stands. That its values have the types they should have is looked at in a test, not at start-up."""
    text = files("gateway").joinpath("catalogue.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text, parse_float=Decimal)
    for row in (*data["surfaces"], *data["models"]):
        row["sources"] = {figure: Source(**data["sources"][name]) for figure, name in row.get("sources", {}).items()}
    for row in data["models"]:
        row["seconds"] = {size: float(usual) for size, usual in row["seconds"].items()}
    kinds: Mapping[str, Callable[..., Any]] = {"surfaces": Surface, "wires": Wire, "models": Model}
    return _Catalogue(**{table: tuple(kind(**tuples(row)) for row in data[table]) for table, kind in kinds.items()})
