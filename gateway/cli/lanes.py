"""``image-gateway lanes``: what is configured, or known without a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway import catalogue
from gateway.catalogue import Model
from gateway.cli import json_output, tables
from gateway.cli.consoles import stdout, visible
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_with_warnings
from gateway.cli.lane_facts import Fact, facts_of
from gateway.cli.options import Common
from gateway.cli.standing import BY_NAME, standing
from gateway.clock import Clock
from gateway.router.lanes import Lane
from gateway.router.plan import Exclusion
from providers.errors import ConfigError
from providers.sizes import SIZES

_Known = TypeVar("_Known", Lane, Model)

MAX_NAME: Final = 31
"""Columns within which a model's name is not broken: what 80 columns have room for beside the prices."""

WIDE: Final = 110
"""Columns from which there is room for more than prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A lane, or a model of the catalogue, as it is shown: *name* below the heading *group*."""

    group: str
    name: str
    facts: Lane | Model
    excluded: Exclusion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Which lanes are shown (*name* None: all), and whether with all that is known (*details*)."""

    name: str | None = None
    details: bool = False


def run(shown: Shown, common: Common) -> None:
    """Show the configured lanes."""
    with reporting(common), opened_with_warnings(common) as gateway:
        barred = standing(gateway)
        lanes = _chosen(shown.name, gateway.config.lanes)
    today = Clock().today()
    if common.as_json:
        json_output.write({"lanes": [_document(lane, barred.get(lane.name), today) for lane in lanes]})
    else:
        rows = [Row(group=lane.provider, name=lane.model, facts=lane, excluded=barred.get(lane.name)) for lane in lanes]
        _show(rows, shown, today, stdout())


def run_catalogue(shown: Shown, common: Common) -> None:
    """Show the built-in catalogue, which takes no configuration."""
    with reporting(common):
        models = _chosen(shown.name, catalogue.models())
    if common.as_json:
        json_output.write({"models": models})
    else:
        rows = [Row(group=", ".join(model.surfaces), name=model.id, facts=model) for model in models]
        _show(rows, shown, Clock().today(), stdout())


def _chosen(name: str | None, known: Sequence[_Known]) -> Sequence[_Known]:
    """Those of *known* that *name* means: a lane, a provider, or a model by any of its names; all for None."""
    if name is None:
        return known
    chosen = [each for each in known if name.lower() in _names(each)]
    if not chosen:
        names = sorted({told for each in known for told in _names(each)})
        nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0)
        raise ConfigError(f"no lane, provider or model is called {name!r}; the nearest name is {''.join(nearest)}")
    return chosen


def _names(known: Lane | Model) -> set[str]:
    own = (known.id, known.preview or known.id) if isinstance(known, Model) else ()
    names = (known.name, known.provider, known.model, known.upstream_model) if isinstance(known, Lane) else own
    return {name.lower() for name in (*names, *known.aliases)}


def _document(lane: Lane, excluded: Exclusion | None, today: date) -> Mapping[str, object]:
    left = (lane.retired - today).days if lane.retired else None
    return {"lane": lane.name, **json_output.plain(lane), "days_to_retirement": left, "excluded": excluded}


def _show(rows: Sequence[Row], shown: Shown, today: date, console: Console) -> None:
    console.print(_overview(rows, console.width >= WIDE, today))
    if shown.details or shown.name is not None:
        _show_details(rows, today, console)
        return
    excluded = [row.excluded for row in rows if row.excluded]
    if excluded:
        console.print()
        console.print(tables.exclusions(excluded, "Left out today"))
    console.print()
    console.print(f"All that is known of one: image-gateway lanes{_option(rows)} NAME; of all: --details.", style="dim")


def _option(rows: Sequence[Row]) -> str:
    return " --catalogue" if any(isinstance(row.facts, Model) for row in rows) else ""


def _show_details(rows: Sequence[Row], today: date, console: Console) -> None:
    for group, members in groupby(rows, lambda row: row.group):
        console.print()
        console.print(visible(group), style="bold")
        for row in members:
            console.print(f"  {visible(row.name)}")
            console.print(_details(row, today))


def _overview(rows: Sequence[Row], wide: bool, today: date) -> Table:
    """Prices by size, and whether a lane may be used."""
    with_today = any(isinstance(row.facts, Lane) for row in rows)
    more = ["references", "retires"] if wide else []
    made = tables.table("USD per image", "class", *SIZES, *(["today"] if with_today else []), *more, right=SIZES)
    for group, members in groupby(rows, lambda row: row.group):
        made.add_row(Text(visible(group), style="bold"))
        for row in members:
            cells = [Text(cell) for cell in (row.facts.lane_class, *_prices(row))]
            cells += [_today(row)] if with_today else []
            cells += _more(row.facts, today) if wide else []
            made.add_row(Text(f"  {visible(row.name)}"), *cells)
    tables.keep_whole(made, "USD per image", MAX_NAME)
    return made


def _today(row: Row) -> Text:
    if row.excluded is None:
        mode = row.facts.mode if isinstance(row.facts, Lane) else "normal"
        return Text("yes", style="green") if mode == "normal" else Text(mode, style="yellow")
    return Text("if named", style="yellow") if row.excluded.reason in BY_NAME else Text("no", style="red")


def _prices(row: Row) -> Iterator[str]:
    for size in SIZES:
        yield tables.usd(row.facts.prices[size]).removeprefix("$") if size in row.facts.sizes else "–"


def _more(known: Lane | Model, today: date) -> list[Text]:
    """The cells for which only wide terminals have room."""
    days = [known.retired] if isinstance(known, Lane) else [*known.retired.values()]
    first = min((day for day in days if day), default=None)
    style = "red" if first and first <= today else "yellow"
    return [Text(str(known.references)), Text(str(first or "–"), style=style if first else "")]


def _details(row: Row, today: date) -> Table:
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for fact in (*_standing(row.excluded), *facts_of(row.facts, today)):
        made.add_row(Text(f"    {fact.name}", style="dim"), Text(visible(fact.words), style=fact.style))
    return made


def _standing(excluded: Exclusion | None) -> Iterator[Fact]:
    if excluded:
        style = "yellow" if excluded.reason in BY_NAME else "red"
        yield Fact("today", f"{excluded.reason}: {excluded.detail}", style)
