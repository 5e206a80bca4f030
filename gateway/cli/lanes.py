"""``image-gateway lanes``: what is configured, or known without a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway import catalogue
from gateway.catalogue import Model
from gateway.cli import json_output, tables
from gateway.cli.consoles import stdout, visible
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened
from gateway.cli.options import Common
from gateway.cli.standing import BY_NAME, standing
from gateway.lanes import Lane
from gateway.plan import Exclusion
from providers.sizes import SIZES


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A lane, or a model of the catalogue, as it is shown: *name* below the heading *group*."""

    group: str
    name: str
    facts: Lane | Model
    retired: str
    excluded: Exclusion | None = None


def run(common: Common) -> None:
    """Show the configured lanes."""
    with reporting(common):
        gateway = opened(common)
    barred = standing(gateway)
    lanes = gateway.config.lanes
    if common.as_json:
        json_output.write({"lanes": [_document(lane, barred.get(lane.name)) for lane in lanes]})
    else:
        _show([_row_of_lane(lane, barred.get(lane.name)) for lane in lanes], stdout())


def run_catalogue(common: Common) -> None:
    """Show the built-in catalogue, which takes no configuration."""
    if common.as_json:
        json_output.write({"models": catalogue.models()})
    else:
        _show([_row_of_model(model) for model in catalogue.models()], stdout())


def _document(lane: Lane, excluded: Exclusion | None) -> Mapping[str, object]:
    return {"lane": lane.name, **json_output.plain(lane), "excluded": excluded}


def _row_of_lane(lane: Lane, excluded: Exclusion | None) -> Row:
    retired = str(lane.retired) if lane.retired else ""
    return Row(group=lane.provider, name=lane.model, facts=lane, retired=retired, excluded=excluded)


def _row_of_model(model: Model) -> Row:
    retired = ", ".join(f"{day} ({surface})" for surface, day in model.retired.items())
    return Row(group=", ".join(model.surfaces), name=model.id, facts=model, retired=retired)


def _show(rows: Sequence[Row], console: Console) -> None:
    console.print(_overview(rows))
    for group, members in groupby(rows, lambda row: row.group):
        console.print()
        console.print(visible(group), style="bold")
        for row in members:
            console.print(f"  {visible(row.name)}")
            console.print(_details(row))


def _overview(rows: Sequence[Row]) -> Table:
    """Prices by size, and whether a lane may be used."""
    with_today = any(isinstance(row.facts, Lane) for row in rows)
    made = tables.table("USD per image", "class", *SIZES, *(["today"] if with_today else []), right=SIZES)
    for group, members in groupby(rows, lambda row: row.group):
        made.add_row(Text(visible(group), style="bold"))
        for row in members:
            today = [_today(row.excluded)] if with_today else []
            made.add_row(f"  {visible(row.name)}", row.facts.lane_class, *_prices(row), *today)
    return made


def _today(excluded: Exclusion | None) -> Text:
    if excluded is None:
        return Text("yes", style="green")
    return Text("if named", style="yellow") if excluded.reason in BY_NAME else Text("no", style="red")


def _prices(row: Row) -> Iterator[str]:
    for size in SIZES:
        yield tables.usd(row.facts.prices[size]).removeprefix("$") if size in row.facts.sizes else "–"


def _details(row: Row) -> Table:
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, told, style in _facts(row):
        made.add_row(Text(f"    {name}", style="dim"), Text(visible(told), style=style))
    return made


def _facts(row: Row) -> Iterator[tuple[str, str, str]]:
    """Name, words and style of each line below a lane."""
    facts = row.facts
    if row.excluded:
        style = "yellow" if row.excluded.reason in BY_NAME else "red"
        yield "today", f"{row.excluded.reason}: {row.excluded.detail}", style
    if facts.aliases:
        yield "also", ", ".join(facts.aliases), ""
    if isinstance(facts, Lane):
        yield from _facts_of_lane(facts)
    yield "takes", ", ".join([f"{facts.references} reference images", *sorted(facts.capabilities)]), ""
    if row.retired:
        yield "retired", f"{row.retired}; use {facts.replacement}" if facts.replacement else row.retired, "yellow"
    yield "figures", f"{facts.source}, {facts.checked}" if facts.checked else facts.source, ""


def _facts_of_lane(lane: Lane) -> Iterator[tuple[str, str, str]]:
    """What only a configured lane has."""
    if lane.upstream_model != lane.model:
        yield "sent as", lane.upstream_model, ""
    if lane.residency:
        yield "stays in", lane.residency, ""
    if lane.price_configured:
        yield "prices", "from the configuration", ""
