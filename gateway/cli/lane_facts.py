"""Everything that is known of a lane, or of a model of the catalogue, as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from gateway.catalogue import Model
from gateway.cli import tables
from gateway.cli.dates import ago, retirement
from gateway.router.lanes import Lane, Source

WORTH_A_SOURCE = (
    "prices", "batch_prices", "token_prices", "output_tokens", "input_tokens", "sizes", "aspect_ratios", "references",
    "capabilities", "seconds", "vertex_locations", "published_limits", "refused_countries", "released", "preview_retired",
    "retired",
)  # fmt: skip
"""The figures of which it is told where they come from."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line: what it is about, the words, and their style."""

    name: str
    words: str
    style: str = ""


def facts_of(known: Lane | Model, today: date) -> Iterator[Fact]:
    """The lines about *known*; what is not known of it is left out."""
    own = _of_lane(known) if isinstance(known, Lane) else _of_model(known, today)
    lines = (*_names(known), *own, *_drawing(known), *_money(known), *_dates(known, today), *_sources(known, today))
    return (fact for fact in lines if fact.words)


def _names(known: Lane | Model) -> Iterator[Fact]:
    yield Fact("also", ", ".join(known.aliases))


def _of_lane(lane: Lane) -> Iterator[Fact]:
    """What only a configured lane has."""
    if lane.mode != "normal":
        yield Fact("mode", lane.mode, "yellow")
    if lane.upstream_model != lane.model:
        yield Fact("sent as", lane.upstream_model)
    yield Fact("stays in", lane.residency or "")
    yield Fact("refuses", f"calls from {', '.join(sorted(lane.refused_countries))}" if lane.refused_countries else "")
    yield Fact("quota", _limits(lane.quota) or "none configured")
    published = (f"{tier}: {_limits(limits)}" for tier, limits in lane.published_limits.items())
    yield Fact("published", "; ".join(published) + (" (not enforced)" if lane.published_limits else ""))
    if lane.price_configured:
        yield Fact("prices", "from the configuration")


def _of_model(model: Model, today: date) -> Iterator[Fact]:
    """What only a row of the catalogue has."""
    yield Fact("vertex in", ", ".join(model.vertex_locations))
    if model.free_tier is False:
        yield Fact("free tier", "none")
    if model.preview:
        ended = f", given up by its vendor {ago(model.preview_retired, today)}" if model.preview_retired else ""
        yield Fact("preview", model.preview + ended)


def _drawing(known: Lane | Model) -> Iterator[Fact]:
    """What it draws, and what it takes."""
    yield Fact("ratios", "any" if known.aspect_ratios is None else " ".join(known.aspect_ratios))
    references = f"{known.references} reference images"
    if known.references and known.reference_bytes:
        references += f" of up to {known.reference_bytes / 1e6:g} MB"
    yield Fact("takes", ", ".join([references, *sorted(known.capabilities)]))
    yield Fact("thinking", ", ".join(known.thinking_levels) if "thinking" in known.capabilities else "")
    yield Fact("formats", ", ".join(known.output_formats) if "output_format" in known.capabilities else "")
    yield Fact("per call", _counted(known.images_per_call, "image"))
    yield Fact("takes time", ", ".join(f"{size} {seconds:g} s" for size, seconds in known.seconds.items()))


def _money(known: Lane | Model) -> Iterator[Fact]:
    yield Fact("batch", ", ".join(f"{size} {tables.usd(price)}" for size, price in known.batch_prices.items()))
    tokens = (f"{kind.replace('_', ' ')} {tables.usd(price)}" for kind, price in known.token_prices.items())
    yield Fact("per million", ", ".join(tokens) + (" of tokens" if known.token_prices else ""))
    yield Fact("tokens out", ", ".join(f"{size} {count}" for size, count in known.output_tokens.items()))
    yield Fact("tokens in", f"at most {known.input_tokens:,}" if known.input_tokens else "")


def _dates(known: Lane | Model, today: date) -> Iterator[Fact]:
    if known.released:
        yield Fact("released", f"{known.released}")
    retired = [(known.retired, "")] if isinstance(known, Lane) else [(day, on) for on, day in known.retired.items()]
    told = [retirement(day, today) + (f" on {on}" if on else "") for day, on in retired if day]
    if told and known.replacement:
        told.append(f"use {known.replacement}")
    yield Fact("retirement", "; ".join(told), "yellow")


def _sources(known: Lane | Model, today: date) -> Iterator[Fact]:
    """Each source once, with the figures that come from it."""
    by_source: dict[Source, list[str]] = {}
    for figure in WORTH_A_SOURCE:
        if getattr(known, figure, None):
            by_source.setdefault(known.source_of(figure), []).append(figure.replace("_", " "))
    for number, (source, figures) in enumerate(by_source.items()):
        yield Fact("figures" if number == 0 else " ", f"{', '.join(figures)}: {told(source, today)}", "dim")


def told(source: Source, today: date) -> str:
    """*source* in words, with the day it was checked."""
    return f"{source.name}, {source.checked} ({ago(source.checked, today)})" if source.checked else source.name


def _limits(limits: Mapping[str, int]) -> str:
    units = {"rpm": "requests a minute", "rpd": "requests a day", "ipm": "images a minute"}
    return ", ".join(f"{count:,} {units[key]}" for key, count in limits.items())


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
